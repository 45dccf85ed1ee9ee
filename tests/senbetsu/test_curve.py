"""What is reached from other machines takes keys."""

from pathlib import Path

import pytest
import zmq

from senbetsu.config import Config, load_config
from senbetsu.curve import Curve, client_curve, host_of, is_loopback, server_curve
from senbetsu.errors import UserError
from senbetsu.sockets import SOCKETS, bound_socket, connect, options


@pytest.mark.parametrize(
    ("endpoint", "own"),
    [
        ("tcp://127.0.0.1:5556", True),
        ("tcp://127.3.2.1:5556", True),
        ("tcp://[::1]:5556", True),
        ("tcp://localhost:5556", True),
        ("tcp://0.0.0.0:5556", False),
        ("tcp://*:5556", False),
        ("tcp://[::]:5556", False),
        ("tcp://192.168.0.2:5556", False),
        ("tcp://eth0:5556", False),
        ("tcp://localhost.example:5556", False),
    ],
)
def test_any_address_but_this_pcs_own_takes_keys(endpoint: str, own: bool) -> None:
    assert is_loopback(host_of(endpoint)) == own
    config = load_config(None, {"daemon.request": endpoint, "bridge.subscribe": endpoint})
    with zmq.Context() as context:
        if own:
            assert server_curve(context, config) is None
            assert client_curve("bridge", config, {"bridge.subscribe": endpoint}) is None
            return
        with pytest.raises(UserError, match=r"daemon\.request = .*senbetsu keys"):
            server_curve(context, config)
        with pytest.raises(UserError, match=r"bridge\.subscribe = .*senbetsu keys"):
            client_curve("bridge", config, {"bridge.subscribe": endpoint})


def test_a_daemon_without_clients_is_refused(tmp_path: Path) -> None:
    public, secret = zmq.curve_keypair()
    path = tmp_path / "daemon.key_secret"
    path.write_text(f'curve\n    public-key = "{public.decode()}"\n    secret-key = "{secret.decode()}"\n')
    path.chmod(0o600)
    config = Config.model_validate({"security": {"keys_dir": tmp_path}})
    with zmq.Context() as context, pytest.raises(UserError, match="holds no public key of a client"):
        server_curve(context, config)


def test_what_holds_a_secret_does_not_show_it() -> None:
    public, secret = zmq.curve_keypair()
    curve = Curve(public, secret, public)
    for text in (repr(curve), str(curve), f"{curve}"):
        assert secret.decode() not in text


@pytest.mark.parametrize("role", sorted(SOCKETS))
def test_every_option_of_the_table_is_set_on_the_socket(role: str) -> None:
    with zmq.Context() as context:
        if SOCKETS[role].kind in (zmq.PUB, zmq.ROUTER):
            socket = bound_socket(context, role, "tcp://127.0.0.1:*", "x")
        else:
            socket = context.socket(SOCKETS[role].kind)
            connect(socket, role, "tcp://127.0.0.1:1")
        with socket:
            for option, value in options(role, "tcp://127.0.0.1:1").items():
                assert socket.getsockopt(option) == value, zmq.SocketOption(option)
            socket.setsockopt(zmq.LINGER, 0)
