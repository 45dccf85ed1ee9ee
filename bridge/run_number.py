"""The run number, kept on disk: 1 to 65535, never the same twice in a row, whatever happened in between."""

from pathlib import Path

from senbetsu.errors import UserError
from senbetsu.files import write_atomically

LARGEST = 65535


class RunNumbers:
    """One gate's numbers. A file that cannot be read is taken for none: the number that follows is still a new one."""

    def __init__(self, folder: Path, gate: str) -> None:
        """Raises UserError where the folder cannot be written to: then the past could not be ruled out."""
        self._path = folder / f"run-{gate}"
        self._last = self._read()
        try:
            self._write()
        except UserError as error:
            raise UserError(f"bridge.state_dir = {str(folder)!r}: {error}") from error

    def _read(self) -> int:
        try:
            number = int(self._path.read_text())
        except (OSError, ValueError):
            return 0
        return number if 0 <= number <= LARGEST else 0

    def _write(self) -> None:
        write_atomically(self._path, str(self._last).encode())

    def next(self) -> int:
        """The next number, on disk before it is used."""
        self._last = self._last % LARGEST + 1
        self._write()
        return self._last
