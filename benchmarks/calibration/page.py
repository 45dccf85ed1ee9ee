"""Writes the figures of docs/calibration.md from the saved runs, and draws docs/calibration_coverage.png from them.

`python -m benchmarks.calibration.page`
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import betabinom, chi2

from benchmarks.readme import ROOT, conditions, result
from senbetsu.drawing import COLOURS, LINE_COLOUR
from senbetsu.files import write_atomically

PAGE = ROOT / "docs/calibration.md"
PICTURE = ROOT / "docs/calibration_coverage.png"
SETS = {"cookies": "cookies", "magnetic_tile": "magnetic tiles", "elpv": "solar cells (ELPV)"}
FILES = ("coverage", "contamination", "calibration_memory")
Block = dict[str, Any]


def blocks(name: str, ending: str) -> dict[str, Block]:
    """Blocks of a file of results whose name ends so, by set."""
    found = result(name)["blocks"]
    return {key.split()[0]: found[key] for key in found if key.split(maxsplit=1)[1] == ending}


def percent(share: float, digits: int = 2) -> str:
    """As a reader likes it."""
    return f"{100 * share:.{digits}f} %"


def theory(block: Block, rule: Block) -> Any:
    """How many of the rest are rejected: beta-binomial."""
    return betabinom(block["rest"], rule["n"] - rule["k"] + 1, rule["k"])


def over_promise(block: Block, rule: Block) -> tuple[float, float, float]:
    """Share of splits over the promise: seen, predicted, and by how many standard errors it is more than predicted."""
    most = math.floor(rule["rate"] * block["rest"] + 1e-9)
    seen = float((np.array(rule["rejected"]) > most).mean())
    predicted = float(theory(block, rule).sf(most))
    return seen, predicted, (seen - predicted) / math.sqrt(predicted * (1 - predicted) / block["splits"])


def fit_p(block: Block, rule: Block) -> float:
    """Chi-square p-value of the counts against the beta-binomial; cells joined until each expects five splits."""
    expected = theory(block, rule).pmf(np.arange(block["rest"] + 1)) * block["splits"]
    seen = np.bincount(rule["rejected"], minlength=block["rest"] + 1)
    cells: list[list[float]] = [[0.0, 0.0]]
    for wanted, there in zip(expected, seen, strict=True):
        if cells[-1][0] >= 5:
            cells.append([0.0, 0.0])
        cells[-1][0] += wanted
        cells[-1][1] += there
    if len(cells) > 1 and cells[-1][0] < 5:
        last = cells.pop()
        cells[-1] = [cells[-1][0] + last[0], cells[-1][1] + last[1]]
    statistic = sum((there - wanted) ** 2 / wanted for wanted, there in cells)
    return float(chi2.sf(statistic, len(cells) - 1)) if len(cells) > 1 else 1.0


def promised(rule: Block) -> str:
    """In words."""
    if rule["rate"] is None:
        return "none (the maximum: anomalib's rule)"
    how = "expected" if rule["confidence"] is None else f"with {rule['confidence']:.0%} confidence"
    return f"{100 * rule['rate']:g} % {how}"


def coverage_rows() -> list[str]:
    """Both promises at every rate that the parts support."""
    rows = [
        "| set | statistics | promise | n, k | splits | rejected of the rest: mean | theory | 95 % quantile | theory "
        "| splits over the promise | theory | excess in standard errors | distribution, chi-square p |",
        "|---" * 13 + "|",
    ]
    for name, block in blocks("coverage", "split").items():
        for rule in block["rules"].values():
            rates, law = np.array(rule["rejected"]) / block["rest"], theory(block, rule)
            over = "| | | "
            if rule["rate"] is not None:
                seen, predicted, excess = over_promise(block, rule)
                over = f"| {percent(seen, 1)} | {percent(predicted, 1)} | {excess:+.1f} "
            quantile = float(np.quantile(rates, 0.95, method="inverted_cdf"))
            rows.append(
                f"| {SETS[name]} | {', '.join(block['statistics'])} | {promised(rule)} | {rule['n']}, {rule['k']} "
                f"| {block['splits']} | {percent(rates.mean())} | {percent(law.mean() / block['rest'])} "
                f"| {percent(quantile)} | {percent(law.ppf(0.95) / block['rest'])} {over}| {fit_p(block, rule):.2f} |"
            )
    return rows


def verdict_rows() -> list[str]:
    """The largest excess."""
    found = [
        over_promise(block, rule)[2]
        for block in blocks("coverage", "split").values()
        for rule in block["rules"].values()
        if rule["rate"] is not None
    ]
    met = "no promise was broken more often" if max(found) <= 3 else "**a promise was broken more often**"
    return [
        f"Of {len(found)} promises the largest excess is {max(found):+.1f} standard errors: {met} than theory and chance allow."
    ]


def cross_rows() -> list[str]:
    """All shown parts serve twice."""
    rows = [
        "| set | promise | n, k | splits | rejected of the rest: mean (its error) | usually | answered for | worst split |",
        "|---" * 8 + "|",
    ]
    for name, block in blocks("coverage", "cross").items():
        for rule in block["rules"].values():
            rates = np.array(rule["rejected"]) / block["rest"]
            error = float(rates.std(ddof=1)) / math.sqrt(len(rates))
            rows.append(
                f"| {SETS[name]} | {promised(rule | {'confidence': None})} | {rule['n']}, {rule['k']} | {block['splits']} "
                f"| {percent(rates.mean())} ({percent(error)}) | {percent(rule['usual_rate'])} "
                f"| {percent(rule['guaranteed_rate'])} | {percent(rates.max())} |"
            )
    return rows


def rules_rows() -> list[str]:
    """Every rule tried, on the same deals of the same parts."""
    rows = [
        "| set | rule | deals | proved of the expected rate | good parts of the rest rejected (its error) | defects found "
        "| lowest to highest |",
        "|---" * 7 + "|",
    ]
    for name, block in result("rules")["blocks"].items():
        for rule, runs in block["rules"].items():
            rates, found = np.array(runs["rejected"]) / block["rest"], np.array(runs["found"]) / block["defects"]
            error = float(rates.std(ddof=1)) / math.sqrt(len(rates)) if len(rates) > 1 else math.nan
            rows.append(
                f"| {SETS[name]} | {rule} | {len(rates)} | at most {percent(runs['proved'])} | {percent(rates.mean())} "
                f"({percent(error)}) | {found.mean():.3f} | {found.min():.3f} to {found.max():.3f} |"
            )
    return rows


def held_back_rows() -> list[str]:
    """The product's own learning on the fixed split."""
    document = result("held_back")
    rows = [
        "| held back | draws | n, k | promised | AUROC | defects found | good parts rejected "
        "| found, threshold that knows the test normals | as `train --hold-back` deals: found | good parts rejected |",
        "|---" * 10 + "|",
    ]
    for count in sorted({run["held_back"] for run in document["runs"]}):
        runs = [run for run in document["runs"] if run["held_back"] == count]
        claim = runs[0]["claim"]
        cells = []
        for key, scale, digits in (
            ("auroc", 1, 3), ("recall_calibrated", 1, 3), ("false_rejects", 100, 2), ("recall_informed", 1, 3),
        ):  # fmt: skip
            values = [scale * run[key] for run in runs]
            cells.append(f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})")
        cells[2] += " %"
        own = next(run for run in runs if run["draw"] == 0)
        cells += [f"{own['recall_calibrated']:.3f}", percent(own["false_rejects"])]
        rows.append(
            f"| {count} | {len(runs)} | {claim['n']}, {claim['k']} | {percent(claim['guaranteed_rate'])} "
            f"| {' | '.join(cells)} |"
        )
    return rows


def drift_rows() -> list[str]:
    """Parts until an alarm."""
    document = result("drift")
    longest, own = document["longest"], document["without_repeats"]
    rows = [
        "| change | good parts rejected | mean rank of those that pass | alarmed within "
        f"{longest} parts | parts until then: median | 95 % | good parts rejected by then | change after "
        f"{document['changes']['blurred, sigma 1 px']['later']['unchanged_parts_before']} parts: alarmed | median | 95 % |",
        "|---" * 10 + "|",
    ]
    for name, row in document["changes"].items():
        if "later" not in row:
            continue
        cells = []
        for run in (row["from_the_first_part"], row["later"]):
            until = ["" if parts is None else str(parts) for parts in run["parts_until_alarm"].values()]
            cells.append([percent(run[f"alarmed_within_{longest}_parts"], 1), *until])
        rejected = row["from_the_first_part"].get("rejected_until_alarm", "")
        rows.append(
            f"| {name} | {percent(row['false_rejects'], 1)} | {row['mean_rank_of_passed']:.3f} | {' | '.join(cells[0])} "
            f"| {rejected} | {' | '.join(cells[1])} |"
        )
    unchanged = document["changes"]["unchanged"]["from_the_first_part"]
    return [
        f"{document['n']} cells calibrate, k = {document['k']}; `drift_window` {document['window']}, "
        f"`drift_false_alarm_parts` {document['false_alarm_parts']}; {document['engine']}.",
        "",
        *rows,
        "",
        f"Nothing changed: {percent(unchanged[f'alarmed_within_{longest}_parts'])} of {unchanged['streams']} streams of "
        f"{longest} parts alarmed; at most {percent(document['stated_alarms_of_unchanged'])} is stated. No cell used twice, "
        f"one false alarm in {own['false_alarm_parts']} parts stated: {percent(own['alarmed'])} of {own['streams']} streams "
        f"of {own['parts']} parts alarmed; at most {percent(own['stated_at_most'])} is stated.",
    ]


def repair_rows() -> list[str]:
    """Parts until an alarm ends."""
    document = result("drift")
    rows = [
        "| change, repaired | alarms | parts until it was over: median | 95 % | longest | "
        "change after 5000 parts: alarms | median | 95 % | longest | ended though the change lasted |",
        "|---" * 10 + "|",
    ]
    lasted = 0
    for name, row in document["changes"].items():
        runs = [row[when] for when in ("from_the_first_part", "later") if "ended_though_it_lasted" in row.get(when, {})]
        if len(runs) < 2:
            continue
        cells = []
        for run in runs:
            there, over = run["ended_though_it_lasted"], run.get("parts_until_over", {})
            lasted = there["parts"]
            cells.append([str(there["of"]), *(str(over.get(what, "")) for what in ("median", "p95", "longest"))])
        ended, of = (sum(run["ended_though_it_lasted"][what] for run in runs) for what in ("ended", "of"))
        rows.append(f"| {name} | {' | '.join(cells[0])} | {' | '.join(cells[1])} | {ended} of {of} |")
    if not lasted:
        return ["Not in the saved run."]
    return [
        *rows,
        "",
        f"The change lasted {lasted} parts more after the alarm, then its parts were as before it. Streams were followed for "
        f"{4 * result('drift')['longest']} parts: where that is the longest, the alarm was not over by then.",
    ]


def few_rows() -> list[str]:
    """31 cookies."""
    rows = [
        "| threshold | good cookies rejected: mean | in the worst split | splits without any |",
        "|---|---|---|---|",
    ]
    block = blocks("coverage", "few")["cookies"]
    for name, counts in block["rejected"].items():
        rates = np.array(counts) / block["rest"]
        rows.append(
            f"| {name} | {percent(rates.mean(), 1)} | {percent(rates.max(), 1)} | {percent((rates == 0).mean(), 0)} |"
        )
    return [
        f"{block['n']} shown, {block['rest']} others, {block['splits']} random splits. Cross-conformal in {block['folds']} "
        f"folds, k = {block['k']}: usually {percent(block['usual_rate'], 1)}, answered for "
        f"{percent(block['guaranteed_rate'], 1)}.",
        "",
        *rows,
    ]


def within_rows() -> list[str]:
    """What each lot gets of a promise that holds on average over all of them."""
    rows = ["| set | promise | rejected of all | by lot |", "|---|---|---|---|"]
    for name, block in blocks("coverage", "split").items():
        for rule in block["rules"].values():
            if rule["confidence"] is None and rule["rate"] is not None:
                lots = ", ".join(
                    f"{lot} {percent(rejected / of, 1)}" for lot, (rejected, of) in rule["by_lot"].items() if of >= 1000
                )
                total = sum(rule["rejected"]) / (block["splits"] * block["rest"])
                rows.append(f"| {SETS[name]} | {promised(rule)} | {percent(total, 1)} | {lots} |")
    return rows


def lots_rows() -> list[str]:
    """A lot that was not shown."""
    rows = [
        "| set | promise | lots held out | rejected of the new lot: mean | lowest to highest lot | told of a new lot |",
        "|---|---|---|---|---|---|",
    ]
    for name, block in blocks("coverage", "lots").items():
        rules = dict.fromkeys(rule for run in block["runs"] for rule in run["rules"])
        for rule in rules:
            runs = [run for run in block["runs"] if rule in run["rules"]]
            of = {
                lot: [r["rules"][rule]["rejected"] / r["rest"] for r in runs if r["left_out"] == lot]
                for lot in block["lots"]
            }
            means = [float(np.mean(rates)) for rates in of.values() if rates]
            told = np.mean([run["rules"][rule]["new_lot"] for run in runs])
            rate, which = rule.split()
            of_new = f"at most {percent(told, 1)}" if which == "with" else ""
            rows.append(
                f"| {SETS[name]} | {100 * float(rate):g} % expected (cross) | {'yes' if which == 'with' else 'no'} "
                f"| {percent(float(np.mean(means)), 1)} | {percent(min(means), 1)} to {percent(max(means), 1)} | {of_new} |"
            )
    return rows


def shares_rows() -> list[str]:
    """Real defects among the shown parts."""
    rows = [
        "| set | draws | bad among the shown | method | stated | AUROC | defects found | good parts rejected | promised "
        "| if the suspects are bad | bad ones among the suspects |",
        "|---" * 11 + "|",
    ]
    for name, block in blocks("contamination", "shares").items():
        for share in dict.fromkeys(run["share"] for run in block["runs"]):
            runs = [run for run in block["runs"] if run["share"] == share]
            for method in ("plain", "robust"):
                of = [run["methods"][method] for run in runs]
                area, found, promise, bad = (
                    float(np.mean([one[key] for one in of]))
                    for key in ("auroc", "found", "promised", "if_suspects_are_bad")
                )
                rejected = float(np.mean([one["false_rejects"] for one in of])) / block["rest"]
                robust = method == "robust"
                suspects = (
                    f"{np.mean([r['bad_among_suspects'] for r in runs]):.1f} of {np.mean([r['bad'] for r in runs]):.0f}"
                )
                rows.append(
                    f"| {SETS[name]} | {len(runs)} | {percent(share, 0)} | {method} "
                    f"| {percent(runs[0]['stated'] if robust else 0, 0)} "
                    f"| {area:.3f} | {found:.3f} | {percent(rejected)} | {percent(promise)} "
                    f"| {percent(bad) if robust else ''} | {suspects if robust and share else ''} |"
                )
    return rows


def stained_rows() -> list[str]:
    """One stained tile among those that set the threshold."""
    block = blocks("contamination", "stained")["magnetic_tile"]
    rows = [
        "| calibrated | n, k | defects found | good parts rejected | promised | if the suspect is bad |",
        "|---" * 6 + "|",
    ]
    names = {
        "plain": "with the stain", "one suspect": "--contamination 0.01: one suspect",
        "confirmed bad": "a person confirmed it (--confirmed-bad)",
    }  # fmt: skip
    for name, row in block["rows"].items():
        rows.append(
            f"| {names[name]} | {row['n']}, {row['k']} | {row['found']:.3f} | {row['false_rejects']} of {block['rest']} "
            f"| {percent(row['promised'])} | {percent(row['if_suspects_are_bad']) if row['suspects'] else ''} |"
        )
    return rows


def memory_rows() -> list[str]:
    """Resident size against the number of parts."""
    document = result("calibration_memory")
    rows = ["| what runs | parts | libraries and model | peak | grown |", "|---" * 5 + "|"]
    ways = {
        "program": "`calibrate` from files to report, stand-ins for model and engine",
        "moments": "fitting and scoring of made-up feature vectors, cross-conformal",
    }
    for way, what in ways.items():
        rows.extend(
            f"| {what} | {run['parts']} | {run['before_mib']:.0f} MiB | {run['peak_mib']:.0f} MiB "
            f"| {run['peak_mib'] - run['before_mib']:.1f} MiB |"
            for run in document[way]["runs"]
        )
    parts = document["program"]["runs"][-1]["parts"]
    first = document["program"]["runs"][0]["parts"]
    grown = (f"{document[way]['bytes_a_part']:.2f}" for way in ways)
    return [*rows, "", f"From {first} to {parts} parts that is {' and '.join(grown)} bytes a part."]


def throughput_rows() -> list[str]:
    """Passes over the parts against the engine alone."""
    document = result("calibration_throughput")
    rate, ratio = document["pictures_per_s"], document["of_its_own"]
    titles = {
        "scoring": ("scoring through the line's engine", "engine"),
        "moments": ("measuring and adding up moments", "network"),
        "whole": ("reading and scoring together: all that is done to a part that `train` did not see", "engine"),
        "without_store": ("scoring where pictures had no room in the file", "engine"),
    }
    rows = ["| pass | pictures/s | the engine's own | share (lowest to highest) |", "|---" * 4 + "|"]
    rows += [
        f"| {title} | {rate[name]:.0f} | {rate[own]:.0f} | {ratio[name]['median']:.2f} "
        f"({ratio[name]['lowest']:.2f} to {ratio[name]['highest']:.2f}) |"
        for name, (title, own) in titles.items()
    ]
    return [
        *rows,
        "",
        f"Medians of {document['rounds']} rounds, {document['engine']} (moments: fp32), {document['conditions']['cores']} "
        f"cores, all of which the engine takes. The first pass alone: {rate['reading']:.0f} pictures/s.",
    ]


def conditions_rows() -> list[str]:
    """On what it was measured."""
    found = result("coverage")["blocks"]
    where = next(block["conditions"] for block in found.values() if "conditions" in block)
    return [f"fp32 features, EfficientNet-Lite0, 224 px; {conditions({'conditions': where})}"]


BLOCKS = {
    "coverage": coverage_rows, "cross": cross_rows, "drift": drift_rows, "repair": repair_rows, "throughput": throughput_rows,
    "verdict": verdict_rows, "few": few_rows, "within": within_rows, "lots": lots_rows,
    "shares": shares_rows, "stained": stained_rows, "memory": memory_rows, "conditions": conditions_rows,
    "rules": rules_rows, "held_back": held_back_rows,
}  # fmt: skip


def with_figures(page: str) -> str:
    """The page with every block between <!-- measured: NAME --> and <!-- /measured --> written anew."""
    block = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.DOTALL)
    return block.sub(lambda m: f"{m.group(1)}\n" + "\n".join(BLOCKS[m.group(2)]()) + f"\n\n{m.group(3)}", page)


def coverage_figure() -> Figure:
    """Counted false rejects of all splits against the beta-binomial."""
    shown: Sequence[tuple[str, str]] = [
        (name, rule)
        for name in blocks("coverage", "split")
        for rule in ("0.05 expected", "0.05 with 0.95", "0.01 expected")
    ]
    drawn = Figure(figsize=(10, 5.6), layout="constrained")
    for axes, (name, which) in zip(drawn.subplots(2, 3).ravel(), shown, strict=True):
        block = blocks("coverage", "split")[name]
        rule = block["rules"][which]
        counts = np.arange(max(rule["rejected"]) + 3)
        seen = np.bincount(rule["rejected"], minlength=len(counts))[: len(counts)]
        axes.bar(100 * counts / block["rest"], seen, 90 / block["rest"], color=COLOURS[0], alpha=0.7, label="splits")
        axes.plot(
            100 * counts / block["rest"], theory(block, rule).pmf(counts) * block["splits"], "o-", color=COLOURS[1],
            markersize=3, linewidth=1, label="beta-binomial",
        )  # fmt: skip
        axes.axvline(100 * rule["rate"], color=LINE_COLOUR, linewidth=1, linestyle="--", label="promise")
        axes.set_title(f"{SETS[name]}: {promised(rule)}", fontsize=9)
        axes.set_xlabel("good parts of the rest rejected, %")
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return drawn


def runs_sha256() -> str:
    """Of the saved runs; the picture carries it."""
    return hashlib.sha256(json.dumps(blocks("coverage", "split")).encode()).hexdigest()


def draw() -> None:
    """Write the picture, which says which runs it shows."""
    buffer = io.BytesIO()
    figure = coverage_figure()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Source": runs_sha256()})
    write_atomically(PICTURE, buffer.getvalue())


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw()
    print("wrote docs/calibration.md and its picture")
