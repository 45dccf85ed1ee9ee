"""senbetsu recheck: golden and challenge parts through what judges on the line; the result goes into a journal.

A check that was not done as it should be has failed: a challenge picture that cannot be read is rejected on the line as well,
and still proves nothing of what the line sees.
"""

import argparse
import json
import logging
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from senbetsu import __version__
from senbetsu.config import Config
from senbetsu.errors import UserError
from senbetsu.files import append_line, check_writable
from senbetsu.images import content_sha256, find_images, read_bytes
from senbetsu.judge import Judge, load_judge
from senbetsu.pictures import PictureScore, score_pictures
from senbetsu.program import EXIT_FAULT, EXIT_OK, parser, run, set_up_logging, settings_of
from senbetsu.verdict import Reason

log = logging.getLogger("recheck")

JOURNAL = "recheck.jsonl"
SCHEMA = 1
MOST_NAMED = 5
EXPECTED = {"golden": Reason.OK, "challenge": Reason.ANOMALY}
"""What every part of a set must get."""
FAULTS = {
    ("golden", Reason.ANOMALY): "golden parts were rejected",
    ("challenge", Reason.OK): "known bad parts passed",
}


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    journal = arguments.journal or config.artifacts / JOURNAL
    check_writable(journal.parent)
    sets = {"golden": find_images([arguments.golden]), "challenge": find_images([arguments.challenge])}
    contents = {name: [_sha256(path) for path in paths] for name, paths in sets.items()}
    both = set(contents["golden"]) & set(contents["challenge"]) - {None}
    if both:
        path = sets["golden"][contents["golden"].index(both.pop())]
        raise UserError(f"{path}: the same picture is among the golden and the challenge parts; take it out of one")
    judge = load_judge(config)
    results = {name: list(score_pictures(judge.engine, paths, name)) for name, paths in sets.items()}
    faults = [fault for name in sets for fault in faults_of(name, results[name], judge.threshold)]
    record = record_of(config, judge, results, contents, faults)
    append_line(journal, json.dumps(record, allow_nan=False).encode())
    count = f"{len(sets['golden'])} golden and {len(sets['challenge'])} challenge parts"
    if faults:
        print(f"senbetsu recheck: FAILED: {'; '.join(faults)}. Do not run the line; see {journal}", file=sys.stderr)  # noqa: T201
        return EXIT_FAULT
    print(f"senbetsu recheck: passed: {count} as they should be; noted in {journal}")  # noqa: T201
    return EXIT_OK


def faults_of(name: str, results: Sequence[PictureScore], threshold: float) -> list[str]:
    """What is wrong with one set (`golden` or `challenge`), by reason."""
    wrong: dict[Reason, list[str]] = {}
    for result in results:
        reason = result.decide(threshold)[1]
        if reason is not EXPECTED[name]:
            wrong.setdefault(reason, []).append(result.path.name)
    faults = []
    for reason, names in wrong.items():
        what = FAULTS.get((name, reason), f"{name} parts could not be judged ({reason.name})")
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        faults.append(f"{len(names)} of {len(results)} {what} ({', '.join(names[:MOST_NAMED])}{more})")
    return faults


def record_of(
    config: Config,
    judge: Judge,
    results: dict[str, list[PictureScore]],
    contents: dict[str, list[str | None]],
    faults: Sequence[str],
) -> dict[str, Any]:
    """One line of the journal."""
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "instance": config.instance,
        "recipe": config.recipe,
        "model_sha256": judge.model_sha256,
        "profile_sha256": judge.profile_sha256,
        "engine": {"kind": judge.engine.kind, "precision": judge.engine.precision},
        "threshold": judge.threshold,
        "passed": not faults,
        "faults": list(faults),
        **{
            name: [_part(result, sha256, judge.threshold) for result, sha256 in zip(parts, contents[name], strict=True)]
            for name, parts in results.items()
        },
    }


def _part(result: PictureScore, sha256: str | None, threshold: float) -> dict[str, Any]:
    verdict, reason = result.decide(threshold)
    return {
        # A name may hold bytes that are no text.
        "path": str(result.path).encode("utf-8", "replace").decode(),
        "sha256": sha256,
        "verdict": verdict.value,
        "reason": reason.name,
        "score": result.score if math.isfinite(result.score) else None,
    }


def _sha256(path: Path) -> str | None:
    """Of the content; None where it cannot be read, which fails the check later."""
    try:
        return content_sha256(read_bytes(path))
    except UserError:
        return None


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("recheck", "At shift start: every known bad part must be rejected, every golden one pass.")
    command.add_argument("--golden", type=Path, required=True, metavar="DIR", help="pictures of parts known to be good")
    command.add_argument(
        "--challenge", type=Path, required=True, metavar="DIR", help="pictures of parts known to be bad"
    )
    command.add_argument(
        "--journal", type=Path, metavar="FILE", help=f"a line of JSON each time (default: {JOURNAL} in --artifacts)"
    )
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "recheck"))
