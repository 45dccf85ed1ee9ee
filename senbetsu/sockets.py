"""The options of every ZeroMQ socket, as one table, and the two ways to make a socket: bound and connected.

Nothing is left to a default that somebody would have to know: how many messages may wait, what becomes of them when the
socket closes, how soon a peer that is gone is seen, how soon it is tried again, and how long a message may be.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zmq

from senbetsu.errors import UserError

if TYPE_CHECKING:
    from senbetsu.curve import Curve


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """One socket's."""

    kind: int
    purpose: str
    send_high_water: int
    """Messages to one peer that may wait; a publisher drops what comes beyond, a router too."""
    receive_high_water: int
    max_message_bytes: int
    """A frame that is longer ends its connection; -1: any."""
    linger_ms: int = 0
    """How long a closing socket still sends."""
    immediate: bool = False
    """Nothing waits for a peer that is not there."""


HEARTBEAT_MS = 1000
"""ZMTP heartbeats: a peer is asked this often for a sign of life,"""
HEARTBEAT_TIMEOUT_MS = 3000
"""and its connection ends when none came for this long. What waited for it is freed."""
RECONNECT_MS, RECONNECT_MAX_MS = 50, 500
HANDSHAKE_MS = 3000
"""Who has not said who it is by then is sent away."""
MAX_REQUEST_BYTES = 16 * 1024

SOCKETS: dict[str, SocketOptions] = {
    "publish": SocketOptions(
        zmq.PUB, "daemon: results, heartbeats, states", send_high_water=20_000, receive_high_water=1000,
        max_message_bytes=MAX_REQUEST_BYTES, linger_ms=500,
    ),
    "request": SocketOptions(
        zmq.ROUTER, "daemon: requests of its clients", send_high_water=1000, receive_high_water=1000,
        max_message_bytes=MAX_REQUEST_BYTES, linger_ms=500,
    ),
    "subscriber": SocketOptions(
        zmq.SUB, "bridge: hears the daemon", send_high_water=1000, receive_high_water=100_000, max_message_bytes=-1
    ),
    "requester": SocketOptions(
        zmq.DEALER, "bridge: asks the daemon; a trigger that nobody takes now must never reach a daemon that starts later",
        send_high_water=1000, receive_high_water=1000, max_message_bytes=-1, immediate=True,
    ),
}  # fmt: skip


def options(role: str, endpoint: str) -> dict[int, int]:
    """What is set on a socket of this role before it binds or connects, by libzmq's option."""
    chosen = SOCKETS[role]
    return {
        zmq.SNDHWM: chosen.send_high_water,
        zmq.RCVHWM: chosen.receive_high_water,
        zmq.MAXMSGSIZE: chosen.max_message_bytes,
        zmq.LINGER: chosen.linger_ms,
        zmq.IMMEDIATE: int(chosen.immediate),
        zmq.HEARTBEAT_IVL: HEARTBEAT_MS,
        zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
        zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
        zmq.RECONNECT_IVL: RECONNECT_MS,
        zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
        zmq.IPV6: int("[" in endpoint),
    }


POLLIN = int(zmq.POLLIN)


def has_message(socket: "zmq.Socket[bytes]") -> bool:
    """Whether one waits to be received. `poll`, or an exception where there is none, takes many times as long."""
    return bool(int(socket.get(zmq.EVENTS)) & POLLIN)


def bound_socket(
    context: "zmq.Context[Any]", role: str, endpoint: str, setting: str, curve: "Curve | None" = None
) -> "zmq.Socket[bytes]":
    """A socket that listens. Raises UserError, naming the setting, where the address is taken or not ours."""
    socket: zmq.Socket[bytes] = context.socket(SOCKETS[role].kind)
    for option, value in options(role, endpoint).items():
        socket.setsockopt(option, value)
    if curve is not None:
        curve.serve(socket)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise UserError(
            f"{setting} = {endpoint!r}: cannot listen there: {error.strerror}; is another daemon running? "
            "Else set a free port and an address of this machine"
        ) from error
    return socket


def connect(socket: Any, role: str, endpoint: str, curve: "Curve | None" = None) -> None:
    """Connect a socket of this role's kind, now and whenever the other side is there again."""
    for option, value in options(role, endpoint).items():
        socket.setsockopt(option, value)
    if curve is not None:
        curve.join(socket)
    socket.connect(endpoint)
