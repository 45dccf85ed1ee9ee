"""senbetsu bench: what this PC carries: the bare engine, the daemon beside it, and how long a verdict takes under load."""

import argparse
import json
import logging
import math
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.measure import OVERLOAD, measure, measure_overload, measure_rate
from bench.random_profile import write_random_artifacts
from bench.text import text_of, text_of_overload, text_of_rate
from senbetsu.backbone import find_backbone
from senbetsu.camera.pattern import picture_size
from senbetsu.config import Config
from senbetsu.embedding import load_embedding
from senbetsu.engine import choose_engine
from senbetsu.errors import ConfigError
from senbetsu.profile import load_profile, save_profile
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("bench")

QUICK_S, FULL_S = 4.0, 60.0
"""Of each measurement."""


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    size = picture_size(arguments.frame, "--frame")
    seconds = arguments.seconds or (FULL_S if arguments.full else QUICK_S)
    with tempfile.TemporaryDirectory(prefix="senbetsu-bench-") as temporary:
        folder = Path(temporary)
        artifacts, what = artifacts_to_use(config, folder)
        config = config.model_copy(update={"artifacts": artifacts})
        if arguments.rate is not None:
            report, write = measure_rate(config, folder, size, seconds, arguments.rate), text_of_rate
        elif arguments.overload:
            report, write = measure_overload(config, folder, size, seconds), text_of_overload
        else:
            report, write = measure(config, folder, size, seconds), text_of
    report["profile"] = what
    if arguments.json:
        print(json.dumps(report, indent=1, allow_nan=False))  # noqa: T201
    else:
        print(write(report))  # noqa: T201
    return 0


def artifacts_to_use(config: Config, folder: Path) -> tuple[Path, str]:
    """The user's own, or where there are none ones of random numbers; and which of them, in words."""
    if (config.artifacts / "profile.json").exists():
        return _without_camera(config, folder), str(config.artifacts)
    choice = choose_engine(config.engine)
    if choice.precision == "int8":
        raise ConfigError(
            "engine.precision = 'int8': the backbone in 8-bit integers is made by `senbetsu calibrate`, and "
            f"{config.artifacts} holds no profile; calibrate with --set engine.precision=int8 first, or measure another "
            "precision"
        )
    backbone = find_backbone(config.model)
    log.warning(
        "%s: no profile; measuring %s with a profile of random numbers. Speed is the same, the verdicts mean nothing",
        config.artifacts, backbone.name,
    )  # fmt: skip
    made = folder / "artifacts"
    made.mkdir()
    write_random_artifacts(made, backbone, choice)
    return made, f"random numbers ({backbone.name})"


def _without_camera(config: Config, folder: Path) -> Path:
    """The user's artefacts; a copy where the profile is bound to a camera, which the one that is measured with is not."""
    profile = load_profile(config.artifacts, load_embedding(config.artifacts, config.model))
    if profile.camera is None:
        return config.artifacts
    made = folder / "artifacts"
    made.mkdir()
    for path in config.artifacts.iterdir():
        if path.is_file():
            shutil.copy(path, made)
    save_profile(made, replace(profile, camera=None), {"parts": []})
    return made


def positive(text: str) -> float:
    """A finite number above zero, for argparse."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("bench", "Measure what this PC carries; works without camera and artefacts.")
    command.add_argument(
        "--frame", default="1024x1024", metavar="WxH", help="size of the camera's frames (default 1024x1024)"
    )
    command.add_argument("--full", action="store_true", help=f"{FULL_S:.0f} s a measurement instead of {QUICK_S:.0f}")
    command.add_argument("--seconds", type=positive, metavar="S", help="as many seconds a measurement")
    one = command.add_mutually_exclusive_group()
    one.add_argument("--rate", type=positive, metavar="HZ", help="only this: so many parts a second, evenly spaced")
    one.add_argument("--overload", action="store_true", help=f"only this: {OVERLOAD:.0f} times what the daemon carries")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "bench"))
