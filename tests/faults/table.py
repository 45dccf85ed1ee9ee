"""The fault table as data: what breaks, what the line does about it, by which reasons the gate stays shut.

`break_it` returns when the fault is over or has been undone. Every row is held to the same: no part lost, no bad part passed, no
window against the contract, at least one part kept out for one of `reasons` (where there are any), and good parts pass again.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from faults.publisher import Publisher
from faults.rig import Rig
from faults.scene import BAD, Cable, Camera, Spell
from senbetsu.registers import Flag

Break = Callable[[Rig], None]


@dataclass(frozen=True)
class Fault:
    """One row. `safe`: how the time until the gate is safe is taken: of the `part` that the fault hits (its trigger to its
    reject), of the whole `line` (from the fault until no gate can open on what is known, or new parts are refused), or `always`:
    no part is in danger, and the good ones go on passing."""

    name: str
    does: str
    break_it: Break
    reasons: frozenset[str] = frozenset()
    safe: str = "part"
    quick: bool = False
    rig: dict[str, Any] = field(default_factory=dict)
    publisher: Callable[[Rig], Publisher] | None = None
    """In place of the daemon."""


def scene(what: str, value: int, seconds: float) -> Break:
    """Something in the scene for a while."""

    def break_it(rig: Rig) -> None:
        setattr(rig.scene, what, value)
        time.sleep(seconds)
        setattr(rig.scene, what, 0)

    return break_it


def part(grey: int) -> Break:
    """The next part puts a spell on the engine."""

    def break_it(rig: Rig) -> None:
        rig.plc.next_greys.append(grey)
        rig.until(lambda: any(p.grey == grey and p.record.decided_at_ns for p in rig.plc.parts), "the part is decided")

    return break_it


def kill(name: str, number: int = signal.SIGKILL) -> Break:
    """A signal to a program, which is started again when it ends."""

    def break_it(rig: Rig) -> None:
        program = getattr(rig, name)
        starts = program.starts
        rig.plc.watch_for_safe()
        program.send(number)
        rig.until(lambda: program.starts > starts, f"{name} is started again")

    return break_it


def stop(name: str, seconds: float) -> Break:
    """SIGSTOP, and on."""

    def break_it(rig: Rig) -> None:
        program = getattr(rig, name)
        program.send(signal.SIGSTOP)
        time.sleep(seconds)
        program.send(signal.SIGCONT)

    return break_it


def at_trigger(begin: Break, end: Break, seconds: float) -> Break:
    """Something breaks when a bad part is before the camera and before its trigger is written, and is over after a while.

    Whoever takes its picture later than it stays there sees a good one.
    """

    def break_it(rig: Rig) -> None:
        over = threading.Event()

        def undo() -> None:
            end(rig)
            over.set()

        def do() -> None:
            begin(rig)
            threading.Timer(seconds, undo).start()

        rig.plc.next_greys.append(BAD)
        rig.plc.at_trigger = do
        rig.until(over.is_set, "it broke, and is over")

    return break_it


def signal_to(name: str, number: int) -> Break:
    """A signal to a program."""
    return lambda rig: getattr(rig, name).send(number)


def stopped_at_trigger(name: str, seconds: float) -> Break:
    """SIGSTOP when a trigger is about to be written, and on."""
    return at_trigger(signal_to(name, signal.SIGSTOP), signal_to(name, signal.SIGCONT), seconds)


def hold(value: int) -> Break:
    """The cable."""
    return lambda rig: setattr(rig.scene, "cable", value)


def restart_in_mid_part(rig: Rig) -> None:
    """The daemon is told to end while a part is with its (slow) engine."""
    rig.scene.engine_ms = 30
    count = len(rig.plc.parts)
    rig.until(lambda: len(rig.plc.parts) > count, "a part comes")
    kill("daemon", signal.SIGTERM)(rig)
    rig.scene.engine_ms = 0


def set_plc(name: str, *, seconds: float = 0.0) -> Break:
    """The PLC does something wrong, once or for a while."""

    def break_it(rig: Rig) -> None:
        setattr(rig.plc, name, True)
        if seconds:
            time.sleep(seconds)
            setattr(rig.plc, name, False)
        else:
            rig.until(lambda: not getattr(rig.plc, name), f"the PLC did {name}")

    return break_it


def never_acknowledge(rig: Rig) -> None:
    """Long enough for all slots to be needed twice."""
    rig.plc.never_acknowledge = True
    rig.until(lambda: rig.plc.window is not None and Flag.OVERFLOW in rig.plc.window.flags, "the overflow flag")
    assert (rig.plc_counters() or {}).get("lost", 0) > 0
    rig.plc.never_acknowledge = False


def wrap(rig: Rig) -> None:
    """Until the numbers have gone over 65535 (the rig begins just before it)."""
    rig.until(lambda: any(p.record.trigger == 2 and p.record.decided_at_ns for p in rig.plc.parts), "trigger 2")


def never_reads(rig: Rig) -> None:
    """A subscriber that takes nothing: the line does not wait for it."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVBUF, 4096)
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{rig.ports['publish']}")
        rig.until_passes(10)


def disk_full(rig: Rig) -> None:
    """The bridge's files may not grow any more (RLIMIT_FSIZE, set at its start)."""
    rig.until(lambda: rig.plc.window is not None and Flag.JOURNAL_FAILING in rig.plc.window.flags, "the flag")
    rig.until_passes(5)


def config_typo(name: str) -> Break:
    """The settings are changed with a typo, and the program is started again."""

    def break_it(rig: Rig) -> None:
        program = getattr(rig, name)
        program.supervised = False
        rig.write_config("modbus_prot = 5021")
        program.send(signal.SIGTERM)
        program.wait_for_end()
        program.start()
        assert program.wait_for_end() == 2
        assert "modbus_prot: unknown setting" in program.log.read_text()
        time.sleep(0.5)
        rig.write_config()
        program.supervised = True

    return break_it


def port_taken(name: str, setting: str) -> Break:
    """A second one on the same address ends at once, and the first goes on."""

    def break_it(rig: Rig) -> None:
        first = getattr(rig, name)
        second = type(first)(name, first.target, first.arguments, first.log, supervised=False)
        second.start()
        assert second.wait_for_end() == 2
        assert setting in first.log.read_text()
        assert first.process.is_alive()

    return break_it


def out_of_memory(rig: Rig) -> None:
    """The daemon may take 100 MB more of address space than now; then its engine wants more."""
    pid = rig.daemon.process.pid
    pages = int(open(f"/proc/{pid}/statm").read().split()[0])  # noqa: PTH123, SIM115
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (100 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    starts = rig.daemon.starts
    part(Spell.LEAK)(rig)
    rig.until(lambda: rig.daemon.starts > starts, "the daemon is started again")
    assert "MemoryError" in rig.daemon.log.read_text()


def clock_steps(seconds: int) -> Break:
    """The wall clock of daemon and bridge jumps; in mid-run, and once more over a restart of the daemon."""

    def break_it(rig: Rig) -> None:
        rig.set_wall_clock(seconds)
        rig.until_passes(5)
        kill("daemon")(rig)

    return break_it


R = frozenset
CUT_OFF = R({"LINK", "DEADLINE", "NOT_READY", "MODEL_FAULT", "run changed", "trigger not confirmed in time", "link down"})

FAULTS: tuple[Fault, ...] = (
    Fault("camera unplugged", "rejects, says so in its state, reconnects", scene("camera", Camera.UNPLUGGED, 1.5), R({"CAMERA_FAULT", "NOT_READY"}), quick=True),
    Fault("frozen camera", "a picture that equals the one before to the last bit is not judged; after 1 s the camera is in fault", scene("camera", Camera.FROZEN, 2.0), R({"INCOMPLETE_FRAME", "CAMERA_FAULT"})),
    Fault("incomplete frame", "is not judged by half", scene("camera", Camera.INCOMPLETE, 1.0), R({"INCOMPLETE_FRAME"})),
    Fault("triggers faster than the engine", "what cannot be judged in time is rejected by name", scene("engine_ms", 150, 2.0), R({"OVERLOAD", "DEADLINE", "NO_FRAME"})),
    Fault("missed trigger", "the next number shows it", set_plc("skip_one"), R({"MISSED", "trigger not confirmed in time"})),
    Fault("doubled trigger", "the same number is the same part", set_plc("send_twice"), safe="always"),
    Fault("PLC restart", "what was on its way is rejected; a new run; an old echo counts for nothing", set_plc("restarting"), R({"the PLC was off"}), safe="line"),
    Fault("trigger number wraps", "65535, 0, 1: parts as all others", wrap, safe="always", rig={"first_trigger": 65_525}),
    Fault("engine hangs", "after `daemon.engine_stall_ms` (here 500) the daemon gives up and is started again", part(Spell.HANG), R({"DEADLINE", "MODEL_FAULT", "LINK"})),
    Fault("engine raises", "an engine that failed once is not asked again: the daemon ends and is started again", part(Spell.FAULT), R({"MODEL_FAULT", "LINK"}), quick=True),
    Fault("engine raises what nobody expects", "the same", part(Spell.CRASH), R({"MODEL_FAULT", "LINK"})),
    Fault("CUDA error (raised as torch does)", "the same", part(Spell.CUDA), R({"MODEL_FAULT", "LINK"})),
    Fault("NaN embedding", "a score that is no number rejects", part(Spell.NAN), R({"NONFINITE"})),
    Fault("daemon kill -9", "silence rejects; the new epoch begins a new run", kill("daemon"), CUT_OFF, safe="line"),
    Fault("daemon SIGSTOP 5 s", "silence rejects; late results are applied to nothing", stop("daemon", 5.0), R({"LINK"}), safe="line"),
    Fault("daemon SIGSTOP 80 ms", "what is exposed too late is decided already", stopped_at_trigger("daemon", 0.08), R({"DEADLINE", "NO_FRAME"})),
    Fault("daemon restart in mid-part", "the part is judged or rejected; a new run", restart_in_mid_part, CUT_OFF, safe="line"),
    Fault("bridge kill -9", "the PLC sees no heartbeat; a new run", kill("bridge"), CUT_OFF, safe="line", quick=True),
    Fault("bridge SIGSTOP 2 s", "the PLC sees no heartbeat", stop("bridge", 2.0), CUT_OFF, safe="line"),
    Fault("bridge SIGSTOP 200 ms", "a trigger that waited counts from when it may have come; the PLC keeps out what was not confirmed in time", stopped_at_trigger("bridge", 0.2), R({"DEADLINE", "trigger not confirmed in time"})),
    Fault("PLC link down and back", "the PLC rejects what it cannot read of; a new run when its heartbeat comes back", scene("cable", Cable.CUT, 2.0), CUT_OFF, safe="line"),
    Fault("PLC link delays everything by up to 300 ms", "the PLC keeps out what was not confirmed in time", at_trigger(hold(Cable.HELD), hold(Cable.WELL), 0.3), R({"trigger not confirmed in time"})),
    Fault("PLC stops acknowledging", "overflow flag and counter; each part still has its verdict", never_acknowledge, safe="always"),
    Fault("duplicate result", "changes nothing", lambda rig: rig.until_passes(5) and None, safe="always", publisher=lambda rig: Publisher(rig.ports, twice=True)),
    Fault("results out of order", "each is its own part's; a gap is asked for again", lambda rig: rig.until_passes(5) and None, safe="always", publisher=lambda rig: Publisher(rig.ports, swapped=True)),
    Fault("result of an old epoch", "a PASS of a daemon that is no more is not believed", lambda rig: rig.until_passes(5) and None, R({"ANOMALY"}), publisher=lambda rig: Publisher(rig.ports, old_epoch_passes=True)),
    Fault("slow ZeroMQ subscriber", "it misses messages; nobody waits for it", never_reads, safe="always"),
    Fault("wall clock set forward 1 h, and a daemon restart", "nothing on a verdict's way reads it", clock_steps(3600), CUT_OFF, safe="line", rig={"own_clock": True}),
    Fault("wall clock set back 1 h, and a daemon restart", "a smaller epoch is taken once the one before is silent", clock_steps(-3600), CUT_OFF, safe="line", rig={"own_clock": True}),
    Fault("disk full for the journal", "flag, metric, log; the line goes on", disk_full, safe="always", rig={"bridge_file_limit": 150_000}),
    Fault("typo in the daemon's settings", "it names the setting and does not start", config_typo("daemon"), CUT_OFF, safe="line"),
    Fault("typo in the bridge's settings", "it names the setting and does not start", config_typo("bridge"), CUT_OFF, safe="line"),
    Fault("daemon's port taken", "the second one names the setting and ends; the first goes on", port_taken("daemon", "daemon.publish"), safe="always"),
    Fault("bridge's port taken", "the second one names the setting and ends; the first goes on", port_taken("bridge", "bridge.modbus_port"), safe="always"),
    Fault("out of memory (RLIMIT_AS)", "the daemon ends with a failure and is started again", out_of_memory, R({"MODEL_FAULT", "LINK", "DEADLINE"})),
)  # fmt: skip
