"""The command line of `senbetsu calibrate`."""

import argparse
from pathlib import Path

from calibrate.shots import Every
from senbetsu.program import parser


def positive(text: str) -> int:
    """A whole number from 1. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def pace(text: str) -> Every:
    """Seconds, or `enter`. Raises ValueError."""
    if text == "enter":
        return "enter"
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("calibrate", "Find centroid, threshold and the claim they support, from normal parts.")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--normal", type=Path, metavar="DIR", help="pictures of normal parts")
    source.add_argument("--camera", metavar="NAME", help="take normal parts from this camera of the config, live")
    command.add_argument(
        "--count", type=positive, default=500, metavar="N", help="with --camera: how many (default: %(default)s)"
    )
    command.add_argument(
        "--every", type=pace, metavar="SECONDS",
        help="with --camera: a picture every so many seconds at most, or `enter`: each time that you press Enter; needed where "
        "the camera waits for a software trigger",
    )  # fmt: skip
    command.add_argument(
        "--false-reject-rate", type=float, metavar="R", help="promise: the share of good parts rejected, on average"
    )
    command.add_argument(
        "--confidence", type=float, metavar="C", help="make the promise a bound that holds with this confidence"
    )
    command.add_argument(
        "--contamination", type=float, metavar="SHARE",
        help="up to this share of the pictures may be bad: the least normal ones are suspects and do not count",
    )  # fmt: skip
    command.add_argument(
        "--confirmed-bad", type=Path, metavar="FILE",
        help="pictures that a person has found to be bad, one path a line: taken out of all that is fitted",
    )  # fmt: skip
    command.add_argument(
        "--group", metavar="RULE",
        help="what tells lots apart: a regular expression on paths ('^(lot[0-9]+)_'), a CSV of path,lot, or gap:MINUTES",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print one JSON object with the claim")
    return command
