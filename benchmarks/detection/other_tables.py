"""Tables of docs/detection.md that are of other benchmarks' saved runs."""

import numpy as np

from benchmarks.detection.bars import Run
from benchmarks.readme import conditions, result

SETS = {"cookies": "cookies", "magnetic_tile": "magnetic tiles", "elpv": "solar cells (ELPV, p = 1)"}


def centroids_rows(_: Run) -> list[str]:
    """K centroids with one whitening: how well they describe normal parts that were left out, and what they find."""
    rows = [
        "| set | centroids | seeds | log likelihood of normal parts left out, nats against one centroid | AUROC "
        "| found at 1 % of the test normals |",
        "|---" * 6 + "|",
    ]
    for name, some in result("centroids")["sets"].items():
        one = some[0]["held_out_log_likelihood"]
        for row in some:
            low, high = (value - one for value in row["held_out_log_likelihood_range"])
            gain = (
                f"{row['held_out_log_likelihood'] - one:+.1f} ({low:+.1f} to {high:+.1f})" if row["seeds"] > 1 else "0"
            )
            area = f"{row['auroc']:.4f}"
            if row["seeds"] > 1:
                area += f" ({row['auroc_range'][0]:.4f} to {row['auroc_range'][1]:.4f})"
            found = row["recall_at_1_percent_of_the_test_normals"]
            rows.append(f"| {SETS[name]} | {row['centroids']} | {row['seeds']} | {gain} | {area} | {found:.3f} |")
    return rows


FIGURES = {
    "auroc": "AUROC",
    "recall_calibrated": "found as calibrated",
    "recall_informed": "found at 1 % of the test normals",
}


def teacher_rows(_: Run) -> list[str]:
    """Damage made on purpose as one more label, against the same runs without it."""
    document = result("damage_teacher")
    rows = [
        "| setting | gauge | figure | runs | without | with | gain: mean (lowest to highest) |",
        "|---" * 7 + "|",
    ]
    for setting, methods in document["gains"].items():
        runs = [run for run in document["runs"] if run["setting"] == setting and "collapsed" not in run]
        for method, figures in methods.items():
            for key, gain in figures.items():
                without, with_ = (np.mean([run[which][method][key] for run in runs]) for which in ("without", "with"))
                rows.append(
                    f"| {setting} | {method} | {FIGURES[key]} | {gain['runs']} | {without:.4f} | {with_:.4f} "
                    f"| {gain['mean']:+.4f} ({gain['lowest']:+.4f} to {gain['highest']:+.4f}) |"
                )
    return rows


def fusions_rows(_: Run) -> list[str]:
    """Other ways to make one score of the same distances."""
    sets = result("fusions")["sets"]
    columns = {
        "auroc": "AUROC", "found_as_calibrated": "found as calibrated",
        "found_at_the_rank_below": "found at the rank below (good parts rejected)",
        "found_informed": "found, threshold that knows the test normals",
    }  # fmt: skip
    rows = [f"| score | {' | '.join(f'{SETS[name]}: {said}' for name in sets for said in columns.values())} |"]
    rows += ["|---" * (1 + len(sets) * len(columns)) + "|"]
    for way in next(iter(sets.values())):
        if way.startswith("claim"):
            continue
        cells = []
        for some in sets.values():
            weights = f" ({', '.join(map(str, some[way]['weights']))})" if "weights" in some[way] else ""
            below = (
                f"{some[way]['found_at_the_rank_below']:.3f} ({100 * some[way]['rejected_at_the_rank_below']:.1f} %)"
            )
            cells += [f"{some[way]['auroc']:.4f}", f"{some[way]['found_as_calibrated']:.3f}{weights}", below]
            cells += [f"{some[way]['found_informed']:.3f}"]
        rows.append(f"| {way} | {' | '.join(cells)} |")
    return rows


def ranks_rows(_: Run) -> list[str]:
    """Fewer maps, and fewer directions."""
    settings = {"whole": "all training normals", "held out": "calibration parts left out"}
    rows = [
        f"| variant | {' | '.join(f'{SETS[name]}: AUROC, {said}' for name in SETS for said in settings.values())} "
        f"| {' | '.join(f'{SETS[name]}: found as calibrated' for name in SETS)} | graph over bare backbone, batch 1 / 8 |",
        "|---" * (2 + len(SETS) * (1 + len(settings))) + "|",
    ]
    for variant, row in result("ranks")["variants"].items():
        areas = [f"{row[name][setting]['auroc']:.4f}" for name in SETS for setting in settings]
        found = [f"{row[name]['held out']['found_as_calibrated']:.3f}" for name in SETS]
        cost = " / ".join(f"{ratio:.2f}" for ratio in row.get("graph_over_bare", {}).values())
        rows.append(f"| {variant} | {' | '.join([*areas, *found, cost])} |")
    return [*rows, "", conditions(result("ranks"))]


def speed_rows(_: Run) -> list[str]:
    """One picture, ours and theirs, on three CPUs."""
    return [
        *speed_of(result("speed_peers")),
        "",
        "On a CPU with AMX:",
        "",
        *speed_of(result("speed_peers_amx")),
        "",
        "On a CPU without bf16, where both sides compute in fp32:",
        "",
        *speed_of(result("speed_peers_avx2")),
    ]


def speed_of(document: Run) -> list[str]:
    """One picture, ours and theirs, of one run."""
    plain, int8 = list(document["one_picture"])[:2]
    times = {(one["of"], one["to"]): one for one in document["times_ours"]}
    rows = [
        f"| frame in memory to score | p50 / p99 ms | against {plain} | against {int8} | AUROC of the timed frames |",
        "|---|---|---|---|---|",
    ]
    for way, one in document["one_picture"].items():
        ratios = " | ".join(
            f"{times[way, our]['ratio']:.1f} ({times[way, our]['p10_p90'][0]:.1f} to {times[way, our]['p10_p90'][1]:.1f})"
            if (way, our) in times else ""
            for our in (plain, int8)
        )  # fmt: skip
        area = document["auroc_of_the_timed_frames"].get(way)
        rows.append(
            f"| {way} | {one['p50_ms']:.2f} / {one['p99_ms']:.2f} | {ratios} | {'' if area is None else f'{area:.3f}'} |"
        )
    rows += ["", "| bar | measured | met |", "|---|---|---|"]
    rows += [
        f"| {bar['of']} takes >= {bar['bar']:g} times as long as {bar['to']} | {bar['ratio']:.2f} ({bar['p10_p90'][0]:.2f} to "
        f"{bar['p10_p90'][1]:.2f}) | {'yes' if bar['met'] else '**no**'} |"
        for bar in document["bars"]
    ]
    here, there = (document[side]["conditions"] for side in ("ours", "theirs"))
    return [
        *rows,
        "",
        f"{here['cores']} cores of an {here['cpu']}, {here['date']}; ours: "
        f"{', '.join(f'{name} {version}' for name, version in here['versions'].items())}; theirs: "
        f"{', '.join(f'{name} {version}' for name, version in there['versions'].items())}. Load average before and after: "
        f"{document['load_average']['before'][0]:.1f}, {document['load_average']['after'][0]:.1f}.",
    ]
