"""Tell systemd how the service is: sd_notify(3), one datagram to the socket that NOTIFY_SOCKET names.

Without that variable (no systemd) every call does nothing. The watchdog is fed by whoever has proof of progress, never
by a timer alone.
"""

import contextlib
import os
import socket


class SystemdNotifier:
    """Sends READY, STATUS, WATCHDOG and STOPPING to the service manager."""

    def __init__(self, address: str | None = None) -> None:
        """`address`: the socket's path or @abstract name; None: that of NOTIFY_SOCKET, if set."""
        address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._address = ("\0" + address[1:]) if address and address.startswith("@") else (address or "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None

    def ready(self, status: str) -> None:
        """The service is up."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line that `systemctl status` shows."""
        self._send(f"STATUS={status}")

    def watchdog(self) -> None:
        """There was progress since the last call."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The service is going down as asked."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            # Nobody may be there to hear it, or too busy: the line does not wait for that, and systemd misses its watchdog.
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
