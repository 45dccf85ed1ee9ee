"""make demo: train, calibrate, then daemon, bridge and simulated PLC as processes of their own on cells nobody trained on.

What has not changed is not done again. At the end: a table, pictures in demo/, and status 1 if any count differs.
"""

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from demo.elpv import CALIBRATE_NORMALS, LINE_DEFECTS, LINE_NORMALS, SEED, TRAIN_DEFECTS, TRAIN_NORMALS, lay_out
from demo.report import ARTIFACTS, ROOT, report, say
from senbetsu.messages import Result, decode_result
from senbetsu.verdict import Verdict

REPOSITORY = ROOT.parent
LOGS = ROOT / "logs"
RATE_HZ = 20


class DemoError(RuntimeError):
    """A step failed; the text says which, and where its log is."""


def main() -> int:
    """The demo."""
    LOGS.mkdir(exist_ok=True)
    began = time.monotonic()
    say("Senbetsu's demo. All that it makes is in demo/")
    step("real pictures: electroluminescence of solar cells (ELPV, CC BY-NC-SA 4.0)", ROOT / "parts.json",
         [ROOT / "elpv.py", SEED], lambda: lay_out(ROOT))  # fmt: skip
    say(f"     {TRAIN_NORMALS} normal and {TRAIN_DEFECTS} defective cells to learn from, {CALIBRATE_NORMALS} normal ones to "
        f"set the threshold,\n     and {LINE_NORMALS} + {LINE_DEFECTS} that nobody has seen, for the line")  # fmt: skip
    sources = sorted([*(REPOSITORY / "senbetsu").rglob("*.py"), *(REPOSITORY / "train").glob("*.py")])
    step("train: learn the embedding", ARTIFACTS / "embedding.json", [ROOT / "parts.json", *sources], train)
    sources += sorted((REPOSITORY / "calibrate").glob("*.py"))
    step(
        "calibrate: threshold and claim",
        ARTIFACTS / "profile.json",
        [ARTIFACTS / "embedding.json", *sources],
        calibrate,
    )
    shutil.copyfile(ARTIFACTS / "feature_space.png", ROOT / "feature_space.png")
    shutil.copyfile(ARTIFACTS / "report.html", ROOT / "report.html")
    results, plc = run_line()
    sound = report(results, plc)
    say(f"\n{time.monotonic() - began:.0f} s in all")
    return 0 if sound else 1


def step(what: str, product: Path, inputs: Sequence[Path | int], work: Callable[[], None]) -> None:
    """Do the work unless its product was made of the same inputs."""
    stamp = LOGS / f"{product.name}.made-of"
    made_of = hashlib.sha256(
        b"".join(i.read_bytes() if isinstance(i, Path) else str(i).encode() for i in inputs)
    ).hexdigest()
    if product.exists() and stamp.exists() and stamp.read_text() == made_of:
        say(f"  .. {what}: unchanged, used again")
        return
    began = time.monotonic()
    say(f"  .. {what}")
    work()
    stamp.write_text(made_of)
    say(f"     done in {time.monotonic() - began:.0f} s")


def train() -> None:
    """senbetsu train, with its progress bar in sight."""
    data = ROOT / "data/train"
    program("train", "--normal", data / "normal", "--defects", data / "defects", "--artifacts", ARTIFACTS)


def calibrate() -> None:
    """senbetsu calibrate."""
    program("calibrate", "--normal", ROOT / "data/calibrate/normal", "--artifacts", ARTIFACTS)


def program(name: str, *flags: str | Path) -> None:
    """Run one program to its end, its words in sight."""
    command = [sys.executable, "-m", name, *map(str, flags)]
    if subprocess.run(command, cwd=REPOSITORY, check=False).returncode != 0:
        raise DemoError(f"`senbetsu {name}` failed; what it said is above")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A program that runs beside the others, its words in a log file."""

    def __init__(self, name: str, *flags: str | Path) -> None:
        self.name = name
        LOGS.mkdir(exist_ok=True)
        self.log = LOGS / f"{name}.log"
        with self.log.open("w", encoding="utf-8") as file:
            command = [sys.executable, "-m", name, *map(str, flags)]
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=file)

    def wait_until_ready(self, limit_s: float = 120.0) -> None:
        """Until its log says so."""
        until = time.monotonic() + limit_s
        while ": ready" not in self.log.read_text(encoding="utf-8"):
            if self.process.poll() is not None:
                raise self.failed(f"ended with status {self.process.returncode} before it was ready")
            if time.monotonic() > until:
                raise self.failed(f"was not ready after {limit_s:g} s")
            time.sleep(0.1)

    def failed(self, how: str) -> DemoError:
        """With the last lines of its log."""
        tail = "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-12:])
        return DemoError(f"{self.name} {how}; the end of {self.log}:\n{tail}")

    def stop(self) -> int:
        """Ask it to end, as systemd would."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=20)


class Listener(threading.Thread):
    """The demo's own subscriber: hears every result."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.results: list[Result] = []
        self._endpoint = endpoint
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until told to stop and nothing more comes."""
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.connect(self._endpoint)
            subscriber.subscribe(b"result.")
            while subscriber.poll(300) or not self._stopping.is_set():
                if subscriber.poll(0):
                    self.results.append(decode_result(subscriber.recv_multipart()[1]))

    def stop(self) -> list[Result]:
        """All that was heard."""
        self._stopping.set()
        self.join()
        return self.results


def run_line() -> tuple[list[Result], dict[str, Any]]:
    """Daemon, bridge and simulated PLC over real sockets, until all parts have passed."""
    count = LINE_NORMALS + LINE_DEFECTS
    say(f"  .. the line: {count} cells at {RATE_HZ} a second past the camera; daemon, bridge and a simulated PLC")
    publish, request = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    modbus = free_port()
    config = ["--config", "config.toml", "--artifacts", str(ARTIFACTS)]
    settings = {
        "daemon.publish": publish, "daemon.request": request, "daemon.metrics_port": 0, "bridge.subscribe": publish,
        "bridge.request": request, "bridge.modbus_port": modbus, "bridge.metrics_port": 0,
        "bridge.state_dir": str(ROOT / "var"),
    }  # fmt: skip
    for key, value in settings.items():
        config += ["--set", f"{key}={value}"]
    report_file = ROOT / "plc.json"
    report_file.unlink(missing_ok=True)
    with ExitStack() as stack:
        daemon = Service("daemon", *config)
        stack.callback(daemon.stop)
        bridge = Service("bridge", *config)
        stack.callback(bridge.stop)
        daemon.wait_until_ready()
        bridge.wait_until_ready()
        listener = Listener(publish)
        listener.start()
        time.sleep(1.0)  # a subscription takes its time to arrive; what is heard is counted at the end
        plc = Service(
            "simulated_plc", "--port", str(modbus), "--parts", str(count), "--rate-hz", str(RATE_HZ), "--allow-simulated",
            "--report", report_file,
        )  # fmt: skip
        watch(plc, listener, count)
        results = listener.stop()
        for service in (daemon, bridge):
            if service.process.poll() is not None:
                raise service.failed(f"ended on the way with status {service.process.returncode}")
        if daemon.stop() != 0:
            raise daemon.failed("did not end cleanly")
        if bridge.stop() != 0:
            raise bridge.failed("did not end cleanly")
    return results, json.loads(report_file.read_text())


def watch(plc: Service, listener: Listener, count: int) -> None:
    """Tell how it goes until the PLC is through."""
    until = time.monotonic() + 60 + 3 * count / RATE_HZ
    next_line = time.monotonic() + 5
    while plc.process.poll() is None:
        if time.monotonic() > until:
            plc.process.kill()
            raise plc.failed("did not get through its parts in time")
        if time.monotonic() > next_line:
            next_line += 5
            heard = list(listener.results)
            rejects = sum(result.verdict is Verdict.REJECT for result in heard)
            say(f"     {len(heard):4d} of {count} parts, {rejects} rejected")
        time.sleep(0.1)
    if plc.process.returncode != 0:
        raise plc.failed(f"ended with status {plc.process.returncode}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as error:
        say(f"\nThe demo failed: {error}")
        sys.exit(1)
