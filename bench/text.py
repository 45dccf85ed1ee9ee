"""The figures for a person."""

from typing import Any

from bench.line import JUDGED

HEADER = "parts/s    p50    p95    p99    max ms   looked at"
KEPT_UP = 0.99
"""Of the rate asked for: a client that sent less says so."""


def text_of(report: dict[str, Any]) -> str:
    """Of bench.measure.measure."""
    bare, daemon, conditions = report["bare"], report["daemon"], report["conditions"]
    lines = [
        _about(report),
        "",
        f"bare engine   {bare['parts_per_s']:8.1f} parts/s, {conditions['at_the_same_time']} times "
        f"{conditions['at_a_time']} at the same time;  one part {_one_part(bare['one_part_before'])}",
        f"daemon        {daemon['parts_per_s']:8.1f} parts/s;  ratio {report['daemon_to_bare_ratio']:.3f};  ready "
        f"{daemon['start_to_ready_s']:.1f} s after its start",
        "",
        f"  load   {HEADER}   tier (deadline {report['deadline_ms']:.0f} ms)",
        *(f"{load['load']:6.0%} {_figures(load)}   {load['tier']}{_rest(load)}" for load in report["loads"]),
    ]
    stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in daemon["mean_stage_ms"].items())
    plan = report["carries"]
    lines += [
        "",
        f"a batch's mean time by stage, as busy as it can be, ms: {stages}",
        f"plan for {plan['parts_per_s']:.0f} parts/s: {plan['cameras']} cameras at {plan['at_parts_per_s_each']:.0f} parts/s "
        f"({plan['margin']})",
    ]
    if (memory := _memory(report["loads"][-1])) is not None:
        lines.append(memory)
    return "\n".join(lines)


def text_of_rate(report: dict[str, Any]) -> str:
    """Of bench.measure.measure_rate."""
    load, ratio = report["load"], report["p99_to_engine_p99_ratio"]
    lines = [
        _about(report),
        "",
        f"one part      {_one_part(report['one_part_before'])} before, {_one_part(report['one_part_after'])} after",
        HEADER,
        f"{_figures(load)}{_rest(load)}",
        f"p99 is {'-' if ratio is None else format(ratio, '.2f')} times the engine's own for one part; "
        f"without a result: {load['without_result']} of {load['parts']}",
    ]
    if (memory := _memory(load)) is not None:
        lines.append(memory)
    return "\n".join(lines)


def text_of_overload(report: dict[str, Any]) -> str:
    """Of bench.measure.measure_overload."""
    load = report["load"]
    lines = [
        _about(report),
        "",
        f"daemon        {report['daemon_parts_per_s']:8.1f} parts/s; {load['load']:.0f} times that for "
        f"{report['conditions']['seconds_each']:.0f} s, deadline {report['deadline_ms']:.0f} ms",
        HEADER,
        f"{_figures(load)}{_rest(load)}",
        f"without a result: {load['without_result']} of {load['parts']}",
    ]
    if (memory := _memory(load)) is not None:
        lines.append(memory)
    return "\n".join(lines)


def _about(report: dict[str, Any]) -> str:
    conditions = report["conditions"]
    priority = f", SCHED_FIFO {conditions['fifo_priority']}" if conditions["fifo_priority"] else ""
    return (
        f"{conditions['backbone']}, {conditions['engine']} {conditions['precision']} on {conditions['device']}, "
        f"{conditions['cores']} cores{priority}; frames {conditions['frame']}; profile: {report['profile']}"
    )


def _one_part(one: dict[str, float]) -> str:
    return f"{one['p50_ms']:.2f} ms (p99 {one['p99_ms']:.2f})"


def _figures(load: dict[str, Any]) -> str:
    judged = sum(load["reasons"].get(reason, 0) for reason in JUDGED) / load["parts"]
    quantiles = " ".join(
        f"{'-' if load[name] is None else format(load[name], '.1f'):>{width}}"
        for name, width in (("p50_ms", 6), ("p95_ms", 6), ("p99_ms", 6), ("max_ms", 8))
    )
    return f"{load['rate_hz']:9.1f} {quantiles}   {judged:8.2%}"


def _rest(load: dict[str, Any]) -> str:
    rest = [f"{reason} {count}" for reason, count in load["reasons"].items() if reason not in JUDGED]
    if load["sent_hz"] < KEPT_UP * load["rate_hz"]:
        rest.append(f"sent at {load['sent_hz']:.1f} parts/s")
    return f" ({', '.join(rest)})" if rest else ""


def _memory(load: dict[str, Any]) -> str | None:
    if load["resident_growth_mib"] is None:
        return None
    return (
        f"the daemon's resident memory grew by {load['resident_growth_mib']:.2f} MiB after the first "
        f"{load['settled_s']:.0f} s of that load"
    )
