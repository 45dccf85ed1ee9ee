"""What the rig's processes run, each forked from one that has imported all: a start takes milliseconds.

They are the product's own daemon and bridge, with their own sockets, files and signals. In place of a trained network and
an industrial camera the daemon has the scene's. The cable is a TCP relay between PLC and bridge that can be cut.
"""

import asyncio
import contextlib
import os
import resource
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

from faults.scene import THRESHOLD, Cable, Scene, SceneCamera, SceneEngine

import senbetsu.camera.open
from bridge.service import Bridge
from daemon.__main__ import serve
from daemon.recipes import RecipeSource
from senbetsu.config import load_config, read_settings
from senbetsu.judge import Judge
from senbetsu.program import run, set_up_logging


def _log_to(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    set_up_logging(verbose=False)


def _end(status: int) -> None:
    sys.stderr.flush()
    os._exit(status)


def run_daemon(config_path: Path, log_path: Path, scene_path: Path, _limit: int | None = None) -> None:
    """The daemon, on the scene."""
    _log_to(log_path)
    scene = Scene(scene_path)
    senbetsu.camera.open.KINDS["folder"] = SceneCamera

    judge = Judge(SceneEngine(scene), THRESHOLD, "m" * 64, "p" * 64, 299, 0.01)

    def main() -> int:
        settings = read_settings(config_path)
        return serve(
            settings.config(), judge, RecipeSource(settings, lambda: read_settings(config_path), lambda _: judge)
        )

    _end(run(main, "daemon"))


def run_bridge(config_path: Path, log_path: Path, _scene_path: Path, file_limit: int | None = None) -> None:
    """The bridge; no file of it may grow beyond `file_limit` bytes, as on a disk that is full."""
    _log_to(log_path)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    async def main() -> int:
        return await Bridge(load_config(config_path)).run()

    _end(run(lambda: asyncio.run(main()), "bridge"))


def run_cable(listen_port: int, target_port: int, scene_path: Path) -> None:
    """Relays bytes between PLC and bridge, as the scene says."""
    scene = Scene(scene_path)
    listener = socket.create_server(("127.0.0.1", listen_port))
    ends: dict[socket.socket, socket.socket] = {}

    def drop(one: socket.socket) -> None:
        for end in (one, ends.pop(one, None)):
            if end is not None:
                ends.pop(end, None)
                end.close()

    while True:
        state = scene.cable
        if state is Cable.HELD:
            time.sleep(0.002)
            continue
        readable, _, _ = select.select([listener, *ends], [], [], 0.02)
        state = scene.cable
        if state is Cable.HELD:
            continue
        for one in readable:
            if one is listener:
                _connect(listener, target_port, ends, cut=state is Cable.CUT)
            elif one in ends:
                _relay(one, ends, drop)
        if state is Cable.CUT:
            for one in list(ends):
                drop(one)


def _connect(listener: socket.socket, target_port: int, ends: dict[socket.socket, socket.socket], *, cut: bool) -> None:
    near, _ = listener.accept()
    try:
        if cut:
            raise ConnectionRefusedError
        far = socket.create_connection(("127.0.0.1", target_port), timeout=1)
    except OSError:
        near.close()
        return
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ends[near], ends[far] = far, near


def _relay(one: socket.socket, ends: dict[socket.socket, socket.socket], drop: Any) -> None:
    try:
        data = one.recv(65536)
        if data:
            ends[one].sendall(data)
            return
    except OSError:
        pass
    with contextlib.suppress(OSError):
        drop(one)


if __name__ == "__main__":
    _, name, config_file, log_file, scene_file, *more = sys.argv
    limit = int(more[0]) if more and more[0] != "None" else None
    {"run_daemon": run_daemon, "run_bridge": run_bridge}[name](
        Path(config_file), Path(log_file), Path(scene_file), limit
    )
