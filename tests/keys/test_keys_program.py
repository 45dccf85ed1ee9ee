"""Keys are made once, for the owner's eyes alone."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq.auth

from senbetsu.curve import load_public, load_secret
from senbetsu.errors import UserError


def keys(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "keys", "--dir", str(folder / "keys"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, umask=0)


def test_it_makes_keys_of_daemon_and_bridge_and_secret_ones_have_mode_0600(tmp_path: Path) -> None:
    done = keys(tmp_path)
    assert done.returncode == 0, done.stderr
    made = sorted(str(path.relative_to(tmp_path / "keys")) for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert made == ["bridge.key_secret", "clients/bridge.key", "daemon.key", "daemon.key_secret"]
    for name in ("daemon", "bridge"):
        path = tmp_path / "keys" / f"{name}.key_secret"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        public, secret = load_secret(path)
        assert secret.decode() not in done.stdout + done.stderr
        public_file = tmp_path / "keys" / ("daemon.key" if name == "daemon" else "clients/bridge.key")
        assert load_public(public_file) == public
    assert set(zmq.auth.load_certificates(tmp_path / "keys/clients").values()) == {True}


def test_another_client_is_added_and_nothing_is_overwritten(tmp_path: Path) -> None:
    keys(tmp_path)
    before = (tmp_path / "keys/daemon.key_secret").read_bytes()
    assert keys(tmp_path, "--client", "panel").returncode == 0
    assert (tmp_path / "keys/clients/panel.key").is_file()
    again = keys(tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert keys(tmp_path, "--client", "panel").returncode == 2
    assert (tmp_path / "keys/daemon.key_secret").read_bytes() == before


@pytest.mark.parametrize("name", ["../x", "a b", "daemon", ""])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = keys(tmp_path, "--client", name)
    assert done.returncode == 2
    assert "a name has letters" in done.stderr


def test_a_secret_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys(tmp_path)
    path = tmp_path / "keys/daemon.key_secret"
    path.chmod(0o640)
    with pytest.raises(UserError, match=f"chmod 600 {path}"):
        load_secret(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "holds no key"),
        ('public-key = "abc"\nsecret-key = "def"\n', "a key has 40 characters"),
        (f'public-key = "{"a" * 40}"\n', "holds no secret key"),
    ],
)
def test_a_file_without_a_key_is_an_error_that_names_it(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "x.key_secret"
    if text is not None:
        path.write_text(text)
        path.chmod(0o600)
    with pytest.raises(UserError, match=said) as error:
        load_secret(path)
    assert str(path) in str(error.value)
