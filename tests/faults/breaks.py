"""What the fault table breaks, each as a function of the rig. It returns when the fault is over or has been undone."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable

import zmq
from faults.rig import Rig
from faults.scene import BAD, Spell

from senbetsu.registers import Flag

Break = Callable[[Rig], None]


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


def typo_on_reload(rig: Rig) -> None:
    """The settings are changed with a typo and the daemon is told to read them again (SIGHUP); then they are put right."""
    log = rig.daemon.log
    starts = rig.daemon.starts
    rig.write_config("modbus_prot = 5021")
    rig.daemon.send(signal.SIGHUP)
    rig.until(lambda: "the config file is not loaded, artifacts (1) goes on" in log.read_text(), "the daemon says so")
    assert "modbus_prot: unknown setting" in log.read_text()
    rig.until_passes(5)
    rig.write_config()
    rig.daemon.send(signal.SIGHUP)
    rig.until(lambda: "recipe artifacts (1) judges from here on" in log.read_text(), "put right, they are read")
    assert rig.daemon.starts == starts


def typo_in_a_recipe(rig: Rig) -> None:
    """A recipe with a typo is asked for; then it is put right."""
    recipe = rig.folder / "recipes/second"
    recipe.mkdir(parents=True)
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(f"tcp://127.0.0.1:{rig.ports['request']}")
        for text, loads in (("recipe = 2\nthreshhold = 1.0\n", False), ("recipe = 1\n", True)):
            (recipe / "recipe.toml").write_text(text)
            socket.send_json({"op": "recipe", "name": "second"})
            assert socket.poll(30_000)
            answer = socket.recv_json()
            assert answer["ok"] == loads, answer
            assert loads or "threshhold: unknown setting" in answer["error"], answer
            rig.until_passes(5)


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
