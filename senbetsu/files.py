"""Files that are whole or not there: hashes, and writes that a power cut cannot leave half done."""

import hashlib
import importlib.util
import os
from pathlib import Path

from senbetsu.errors import UserError


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_code(*modules: str) -> list[str]:
    """Of the source of each module, by its full name; none is imported. For the keys of caches."""
    return [sha256_of_file(Path(str(importlib.util.find_spec(name).origin))) for name in modules]  # type: ignore[union-attr]


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name, fsync, rename: readers see the old file or the new one, whole.

    Raises:
        UserError: the folder cannot be made or written to, or the disk is full; the old file stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary_is_there = temporary.parent.is_dir() and temporary.exists()
        if temporary_is_there:
            temporary.unlink()
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; give a folder with write permission and free space "
            "(--artifacts, --output)"
        ) from error


def append_line(path: Path, line: bytes) -> None:
    """Add a line (without its end) to a journal, and have it on the disk before returning.

    What a power cut left of an unfinished line stays a line of its own.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab+") as file:
            torn = False
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            file.write((b"\n" if torn else b"") + line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; name a file in a folder with write permission and free space"
        ) from error


def check_writable(folder: Path) -> None:
    """Find out before the work, not after it, whether its result can be written. Makes the folder.

    Raises:
        UserError: it cannot.
    """
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written to: {error.strerror}; give a folder with write permission (--artifacts)"
        ) from error
