"""senbetsu score: picture files -> one line of JSON each, judged by the very engine that the daemon runs."""

import argparse
import io
import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from senbetsu.errors import UserError
from senbetsu.images import find_images
from senbetsu.judge import load_judge
from senbetsu.pictures import PictureScore, score_pictures
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("score")


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    paths = find_images(arguments.paths)
    judge = load_judge(config)
    counts: Counter[str] = Counter()
    with output_file(arguments.output) as file:
        for result in score_pictures(judge.engine, paths, "scoring"):
            verdict, reason = result.decide(judge.threshold)
            counts[f"{verdict.value} {reason.name}"] += 1
            file.write(line(result, judge.threshold) + "\n")
            if result.error is not None:
                log.warning("rejected: %s", result.error)
    log.info("%d pictures: %s", len(paths), ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return 0


def line(result: PictureScore, threshold: float) -> str:
    """One picture's JSON; a number that is not finite is null."""
    verdict, reason = result.decide(threshold)
    document = {
        "path": str(result.path),
        "verdict": verdict.value,
        "reason": reason.name,
        "score": _finite(result.score),
        "threshold": threshold,
        "metric_distance": _finite(result.metric_distance),
        "novelty_distance": _finite(result.novelty_distance),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextmanager
def output_file(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its name when it is complete.

    Raises:
        UserError: it cannot be written, or the disk is full; what was there before stands.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    # A device or a pipe is written to as it is; renaming a file onto it would destroy it.
    direct = path.exists() and not path.is_file()
    partial = path if direct else path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file name may hold bytes that are no text; escaped like this they are valid JSON, and Python reads them back.
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        if not direct:
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another file with --output") from error


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("score", "Judge pictures; one line of JSON each.")
    command.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="pictures, or folders of pictures")
    command.add_argument("--output", type=Path, metavar="FILE", help="JSON lines (default: standard output)")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "score"))
