"""The fault table as data: what breaks, what the line does about it, by which reasons the gate stays shut.

`break_it` returns when the fault is over or has been undone. Every row is held to the same: no part lost, no bad part passed,
no window against the contract, at least one part kept out for one of `reasons` (where there are any), and good parts pass
again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faults.breaks import (
    Break,
    at_trigger,
    clock_steps,
    config_typo,
    disk_full,
    hold,
    kill,
    never_acknowledge,
    never_reads,
    out_of_memory,
    part,
    port_taken,
    restart_in_mid_part,
    scene,
    set_plc,
    stop,
    stopped_at_trigger,
    typo_in_a_recipe,
    typo_on_reload,
    wrap,
)
from faults.publisher import Publisher
from faults.rig import Rig
from faults.scene import Cable, Camera, Spell


@dataclass(frozen=True)
class Fault:
    """One row.

    `safe`: how the time until the gate is safe is taken: of the `part` that the fault hits (its trigger to its reject), of the
    whole `line` (from the fault until no gate can open on what is known, or new parts are refused), or `always`: no part is
    in danger, and the good ones go on passing.
    """

    name: str
    does: str
    break_it: Break
    reasons: frozenset[str] = frozenset()
    safe: str = "part"
    quick: bool = False
    rig: dict[str, Any] = field(default_factory=dict)
    publisher: Callable[[Rig], Publisher] | None = None
    """In place of the daemon."""


R = frozenset
CUT_OFF = R(
    {"LINK", "DEADLINE", "NOT_READY", "MODEL_FAULT", "run changed", "trigger not confirmed in time", "link down"}
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "camera unplugged",
        "rejects, says so in its state, reconnects",
        scene("camera", Camera.UNPLUGGED, 1.5),
        R({"CAMERA_FAULT", "NOT_READY"}),
        quick=True,
    ),
    Fault(
        "frozen camera",
        "a picture that equals the one before to the last bit is not judged; after 1 s the camera is in fault",
        scene("camera", Camera.FROZEN, 2.0),
        R({"INCOMPLETE_FRAME", "CAMERA_FAULT"}),
    ),
    Fault(
        "incomplete frame", "is not judged by half", scene("camera", Camera.INCOMPLETE, 1.0), R({"INCOMPLETE_FRAME"})
    ),
    Fault(
        "triggers faster than the engine",
        "what cannot be judged in time is rejected by name",
        scene("engine_ms", 150, 2.0),
        R({"OVERLOAD", "DEADLINE", "NO_FRAME"}),
    ),
    Fault(
        "missed trigger",
        "the next number shows it",
        set_plc("skip_one"),
        R({"MISSED", "trigger not confirmed in time"}),
    ),
    Fault("doubled trigger", "the same number is the same part", set_plc("send_twice"), safe="always"),
    Fault(
        "PLC restart",
        "what was on its way is rejected; a new run; an old echo counts for nothing",
        set_plc("restarting"),
        R({"the PLC was off"}),
        safe="line",
    ),
    Fault(
        "trigger number wraps", "65535, 0, 1: parts as all others", wrap, safe="always", rig={"first_trigger": 65_525}
    ),
    Fault(
        "engine hangs",
        "after `daemon.engine_stall_ms` (here 500) the daemon gives up and is started again",
        part(Spell.HANG),
        R({"DEADLINE", "MODEL_FAULT", "LINK"}),
    ),
    Fault(
        "engine raises",
        "an engine that failed once is not asked again: the daemon ends and is started again",
        part(Spell.FAULT),
        R({"MODEL_FAULT", "LINK"}),
        quick=True,
    ),
    Fault("engine raises what nobody expects", "the same", part(Spell.CRASH), R({"MODEL_FAULT", "LINK"})),
    Fault("CUDA error (raised as torch does)", "the same", part(Spell.CUDA), R({"MODEL_FAULT", "LINK"})),
    Fault("NaN embedding", "a score that is no number rejects", part(Spell.NAN), R({"NONFINITE"})),
    Fault("daemon kill -9", "silence rejects; the new epoch begins a new run", kill("daemon"), CUT_OFF, safe="line"),
    Fault(
        "daemon SIGSTOP 5 s",
        "silence rejects; late results are applied to nothing",
        stop("daemon", 5.0),
        R({"LINK"}),
        safe="line",
    ),
    Fault(
        "daemon SIGSTOP 80 ms",
        "what is exposed too late is decided already",
        stopped_at_trigger("daemon", 0.08),
        R({"DEADLINE", "NO_FRAME"}),
    ),
    Fault(
        "daemon restart in mid-part",
        "the part is judged or rejected; a new run",
        restart_in_mid_part,
        CUT_OFF,
        safe="line",
    ),
    Fault("bridge kill -9", "the PLC sees no heartbeat; a new run", kill("bridge"), CUT_OFF, safe="line", quick=True),
    Fault("bridge SIGSTOP 2 s", "the PLC sees no heartbeat", stop("bridge", 2.0), CUT_OFF, safe="line"),
    Fault(
        "bridge SIGSTOP 200 ms",
        "a trigger that waited counts from when it may have come; the PLC keeps out what was not confirmed in time",
        stopped_at_trigger("bridge", 0.2),
        R({"DEADLINE", "trigger not confirmed in time"}),
    ),
    Fault(
        "PLC link down and back",
        "the PLC rejects what it cannot read of; a new run when its heartbeat comes back",
        scene("cable", Cable.CUT, 2.0),
        CUT_OFF,
        safe="line",
    ),
    Fault(
        "PLC link delays everything by up to 300 ms",
        "the PLC keeps out what was not confirmed in time",
        at_trigger(hold(Cable.HELD), hold(Cable.WELL), 0.3),
        R({"trigger not confirmed in time"}),
    ),
    Fault(
        "PLC stops acknowledging",
        "overflow flag and counter; each part still has its verdict",
        never_acknowledge,
        safe="always",
    ),
    Fault(
        "duplicate result",
        "changes nothing",
        lambda rig: rig.until_passes(5) and None,
        safe="always",
        publisher=lambda rig: Publisher(rig.ports, twice=True),
    ),
    Fault(
        "results out of order",
        "each is its own part's; a gap is asked for again",
        lambda rig: rig.until_passes(5) and None,
        safe="always",
        publisher=lambda rig: Publisher(rig.ports, swapped=True),
    ),
    Fault(
        "result of an old epoch",
        "a PASS of a daemon that is no more is not believed",
        lambda rig: rig.until_passes(5) and None,
        R({"ANOMALY"}),
        publisher=lambda rig: Publisher(rig.ports, old_epoch_passes=True),
    ),
    Fault("slow ZeroMQ subscriber", "it misses messages; nobody waits for it", never_reads, safe="always"),
    Fault(
        "wall clock set forward 1 h, and a daemon restart",
        "nothing on a verdict's way reads it",
        clock_steps(3600),
        CUT_OFF,
        safe="line",
        rig={"own_clock": True},
    ),
    Fault(
        "wall clock set back 1 h, and a daemon restart",
        "a smaller epoch is taken once the one before is silent",
        clock_steps(-3600),
        CUT_OFF,
        safe="line",
        rig={"own_clock": True},
    ),
    Fault(
        "disk full for the journal",
        "flag, metric, log; the line goes on",
        disk_full,
        safe="always",
        rig={"bridge_file_limit": 150_000},
    ),
    Fault(
        "typo in the daemon's settings",
        "it names the setting and does not start",
        config_typo("daemon"),
        CUT_OFF,
        safe="line",
    ),
    Fault(
        "typo in the bridge's settings",
        "it names the setting and does not start",
        config_typo("bridge"),
        CUT_OFF,
        safe="line",
    ),
    Fault(
        "typo in the settings, and SIGHUP to the daemon",
        "it names the setting; what judged before goes on",
        typo_on_reload,
        safe="always",
    ),
    Fault(
        "typo in a recipe that is asked for",
        "the answer names the setting; the recipe before it goes on",
        typo_in_a_recipe,
        safe="always",
    ),
    Fault(
        "daemon's port taken",
        "the second one names the setting and ends; the first goes on",
        port_taken("daemon", "daemon.publish"),
        safe="always",
    ),
    Fault(
        "bridge's port taken",
        "the second one names the setting and ends; the first goes on",
        port_taken("bridge", "bridge.modbus_port"),
        safe="always",
    ),
    Fault(
        "out of memory (RLIMIT_AS)",
        "the daemon ends with a failure and is started again",
        out_of_memory,
        R({"MODEL_FAULT", "LINK", "DEADLINE"}),
    ),
)
