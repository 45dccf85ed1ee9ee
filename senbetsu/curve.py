"""Who may talk to the daemon: CURVE keys (elliptic curves, RFC 26 of ZeroMQ) and the list of clients (ZAP, RFC 27).

On the PC itself (127.0.0.1, ::1) no keys are needed. On any other address a socket without them would let anybody on the
network announce parts or, worse, pass for the daemon: that is refused at the start. With keys everything is encrypted, a
client knows the daemon by its public key, and the daemon answers those clients alone whose public keys it holds.

A folder of keys, made by `senbetsu keys`, in the format of pyzmq's certificates:

    daemon.key            public: every client needs a copy
    daemon.key_secret     on the daemon's PC only, mode 0600
    clients/NAME.key      public keys of those who may connect
    NAME.key_secret       on that client's PC only, mode 0600; the bridge is NAME = bridge
"""

import ipaddress
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from senbetsu.config import Config
from senbetsu.errors import UserError

SERVER = "daemon"
CLIENTS = "clients"
MAKE_KEYS = "make keys with `senbetsu keys --dir DIR` and set security.keys_dir = DIR"


@dataclass(frozen=True, slots=True, repr=False)
class Curve:
    """One program's keys. It has no representation: nothing of it may get into a log."""

    public: bytes
    secret: bytes
    server_public: bytes
    authenticator: ThreadAuthenticator | None = None

    def serve(self, socket: "zmq.Socket[bytes]") -> None:
        """Before `bind`: only clients whose keys the authenticator holds get in."""
        socket.curve_publickey, socket.curve_secretkey, socket.curve_server = self.public, self.secret, True
        socket.zap_domain = b"senbetsu"

    def join(self, socket: Any) -> None:
        """Before `connect`: only the daemon that has the key is believed."""
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.curve_serverkey = self.server_public

    def close(self) -> None:
        """End the authenticator's thread."""
        if self.authenticator is not None:
            self.authenticator.stop()


def server_curve(context: "zmq.Context[Any]", config: Config) -> Curve | None:
    """The daemon's keys, and the thread that lets the known clients in; None where none are asked for.

    Raises:
        UserError: a socket listens on more than this PC and there are no keys, or they cannot be used.
    """
    for setting in ("publish", "request"):
        _refuse_open_network(f"daemon.{setting}", getattr(config.daemon, setting), config)
    folder = config.security.keys_dir
    if folder is None:
        return None
    public, secret = load_secret(folder / f"{SERVER}.key_secret")
    clients = folder / CLIENTS
    if not clients.is_dir() or not any(clients.glob("*.key")):
        raise UserError(f"{clients}: holds no public key of a client, so that nobody could connect; {MAKE_KEYS}")
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="senbetsu", location=str(clients))
    return Curve(public, secret, public, authenticator)


def client_curve(name: str, config: Config, endpoints: dict[str, str]) -> Curve | None:
    """A client's keys; None where none are asked for.

    Args:
        name: whose; `NAME.key_secret` is read.
        endpoints: what it connects to, by setting.

    Raises:
        UserError: the daemon is on another PC and there are no keys, or they cannot be used.
    """
    for setting, endpoint in endpoints.items():
        _refuse_open_network(setting, endpoint, config)
    folder = config.security.keys_dir
    if folder is None:
        return None
    public, secret = load_secret(folder / f"{name}.key_secret")
    return Curve(public, secret, load_public(folder / f"{SERVER}.key"))


def load_secret(path: Path) -> tuple[bytes, bytes]:
    """Public and secret key of a file that nobody else may read. Raises UserError."""
    public, secret = _load(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UserError(f"{path}: others can read this secret key; run: chmod 600 {path}")
    if secret is None:
        raise UserError(f"{path}: holds no secret key; {MAKE_KEYS}")
    return public, secret


def load_public(path: Path) -> bytes:
    """The public key of a file. Raises UserError."""
    return _load(path)[0]


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or 'no such file'}); {MAKE_KEYS}") from error
    except ValueError as error:
        raise UserError(f"{path}: holds no key; {MAKE_KEYS}") from error
    for key in (public, secret):
        if key is not None and len(key) != 40:
            raise UserError(f"{path}: a key has 40 characters, this one {len(key)}; {MAKE_KEYS}")
    return public, secret


def host_of(endpoint: str) -> str:
    """`tcp://HOST:PORT` -> HOST, without the brackets of IPv6."""
    return endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether only this PC reaches it. A name other than localhost may be anything, and counts as outside."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_open_network(setting: str, endpoint: str, config: Config) -> None:
    if config.security.keys_dir is None and not is_loopback(host_of(endpoint)):
        raise UserError(
            f"{setting} = {endpoint!r}: reached from other machines, which takes keys; {MAKE_KEYS}, or stay on 127.0.0.1"
        )
