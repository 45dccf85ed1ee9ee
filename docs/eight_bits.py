"""What 8 bits are worth, for docs/realtime.md: from the saved runs of benchmarks/int8.py."""

from collections.abc import Iterator, Mapping
from typing import Any

Figures = Mapping[str, Any]

RUNS = ("int8", "int8_amx", "int8_fp32")
"""Of a CPU with bf16, of one with AMX besides, and of one with neither."""
OFFSET = "ranges with an offset"
"""Which `calibrate` asked for until it was measured beside ranges without."""
TEXT = """
## 8 bits

`calibrate --set engine.precision=int8` puts the backbone into 8-bit integers (NNCF), and refuses them where the good parts' scores
correlate by less than .95 with those of the unquantised engine. `benchmarks/int8.py`: the whole graph in turns with the
unquantised one, and the demo's solar cells judged by both, each with its own threshold:
"""


def eight_bits(measured: Figures) -> Iterator[str]:
    """The section."""
    yield TEXT
    runs = [measured[name] for name in RUNS if name in measured]
    yield "| | int8, p10 / median | unquantised, p10 / median | times as fast | AUROC, int8 less unquantised | verdicts changed |"
    yield "|---|---|---|---|---|---|"
    for run in runs:
        where, cells = run["conditions"], run["cells"]
        older = "" if OFFSET in run["ways"] else f", {OFFSET}"
        for batch, times in run["whole_graph"].items():
            plain = next(name for name in times if name != "int8")
            one, other, faster = times["int8"], times[plain], times[plain]["over_int8"]
            yield (
                f"| {where['cpu']}, {where['date']}, {plain}, {batch}{older} | {one['p10_ms']:.2f} / {one['median_ms']:.2f} ms "
                f"| {other['p10_ms']:.2f} / {other['median_ms']:.2f} ms | {faster['p10_ms']:.2f} / {faster['median_ms']:.2f} "
                f"| {cells[plain]['auroc_of_int8_minus_this']:+.4f} | {cells[plain]['verdicts_changed_by_int8']} of {cells['good'] + cells['defective']} |"
            )
    yield "\nWhat `calibrate` asks of NNCF beyond its defaults, and the same without:\n"
    yield "| | correlation of good cells' scores | AUROC less unquantised | batch 8, p10 / median |"
    yield "|---|---|---|---|"
    for run in runs:
        for way, found in run["ways"].items():
            with_offset = "" if OFFSET in run["ways"] else f", {OFFSET}"
            took = "{p10_ms:.2f} / {median_ms:.2f} ms".format(**found["batch_8"]) if "batch_8" in found else ""
            yield (
                f"| {run['conditions']['cpu']}: {way}{with_offset} | {found['correlation']:.3f} "
                f"| {found['auroc_minus_unquantised']:+.4f} | {took} |"
            )
    yield (
        "\nA CPU without VNNI adds the products of 8-bit numbers in 16 bits. With weights of the whole range these sums overflow, and "
        "a profile would judge otherwise than on a CPU that has it; so weights take half the range on all. Ranges with an offset "
        "take time in every product and gain nothing."
    )
