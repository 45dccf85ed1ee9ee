"""senbetsu keys: makes CURVE keys for the daemon, the bridge, and any other client. Nothing that is there is overwritten."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import zmq.auth

from senbetsu.curve import CLIENTS, SERVER
from senbetsu.errors import UserError
from senbetsu.program import parser, run, set_up_logging

NAMED = "a name has letters, digits, - and _"


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    folder: Path = arguments.dir
    names = arguments.client or ["bridge"]
    for name in names:
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or name == SERVER:
            raise UserError(f"--client {name}: {NAMED}, and is not {SERVER}")
    try:
        (folder / CLIENTS).mkdir(parents=True, exist_ok=True, mode=0o755)
        made = [] if (folder / f"{SERVER}.key_secret").exists() and arguments.client else make(folder, SERVER, folder)
        for name in names:
            made += make(folder, name, folder / CLIENTS)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}; give a folder with --dir") from error
    for path in made:
        print(path)  # noqa: T201
    print(f"\nNow set security.keys_dir = {str(folder)!r}; what goes where: docs/security.md")  # noqa: T201
    return 0


def make(folder: Path, name: str, public_folder: Path) -> list[Path]:
    """One pair of keys: the secret one in `folder`, mode 0600 from its first byte on, the public one in its own."""
    secret, public = folder / f"{name}.key_secret", public_folder / f"{name}.key"
    for path in (secret, public):
        if path.exists():
            raise UserError(f"{path} is there already; move it away first, if its keys are to be replaced")
    # Made in a folder that nobody else can enter, since pyzmq writes the file before anybody could restrict it.
    with tempfile.TemporaryDirectory(dir=folder) as closed:
        new_public, new_secret = zmq.auth.create_certificates(closed, name)
        Path(new_secret).chmod(0o600)
        Path(new_public).chmod(0o644)
        for made, target in ((new_secret, secret), (new_public, public)):
            os.link(made, target)  # unlike a rename, it never replaces a file
    return [secret, public]


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("keys", "Make the keys for ZeroMQ addresses that other machines reach.")
    command.add_argument("--dir", type=Path, default=Path("keys"), help="the folder (default: keys)")
    command.add_argument(
        "--client", action="append", metavar="NAME", help="keys for this client (default: bridge); may be repeated"
    )
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "keys"))
