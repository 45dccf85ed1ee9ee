"""senbetsu daemon: the program that runs on the line."""

import faulthandler
import signal

if __name__ == "__main__":
    # Until there is a line to read the config for, being told to read it again is no reason to end: neither while all else is
    # imported, which takes seconds, nor while the engine is built.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A crash in the code of an engine or a camera's driver would leave no word else.
    faulthandler.enable()

import argparse
import logging
import os
import sys

from daemon.check import check_config
from daemon.recipes import RecipeSource
from daemon.service import Daemon
from senbetsu.config import Config
from senbetsu.judge import Judge, load_judge
from senbetsu.profile import check_camera_binding, check_recipe_binding
from senbetsu.program import parser, read, run, set_up_logging
from senbetsu.realtime import take_priority

log = logging.getLogger("daemon")


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    settings = read(arguments)
    config = settings.config()
    check_config(config)
    take_priority(config.realtime.fifo_priority)
    return serve(config, _first_judge(config), RecipeSource(settings, lambda: read(arguments), _load))


def _first_judge(config: Config) -> Judge:
    judge = _load(config)
    check_recipe_binding(judge.recipe, config)
    check_camera_binding(judge.camera, config)
    return judge


def _load(config: Config) -> Judge:
    return load_judge(config, for_line=True)


def serve(config: Config, judge: Judge, recipes: RecipeSource | None = None) -> int:
    """Run until SIGTERM or SIGINT, or until it cannot go on; SIGHUP reads the config file again."""
    service = Daemon(config, judge, recipes=recipes)
    del judge  # its memory is freed once another recipe judges
    signal.signal(signal.SIGHUP, lambda *_: service.read_config_again())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    return service.run()


def flags() -> argparse.ArgumentParser:
    """The command line."""
    return parser("daemon", "Watch the line: camera, batches, verdicts, ZeroMQ.")


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    status = run(lambda: main(given), "daemon")
    logging.shutdown()
    # A thread that hangs in the engine or in a camera's driver must not keep a finished daemon alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
