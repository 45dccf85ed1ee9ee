"""senbetsu daemon: the program that runs on the line."""

import argparse
import logging
import os
import signal
import sys

from daemon.service import Daemon, check_config
from senbetsu.config import Config
from senbetsu.judge import Judge, load_judge
from senbetsu.profile import check_camera_binding
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("daemon")


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    check_config(config)
    judge = load_judge(config)
    check_camera_binding(judge.camera, config)
    return serve(config, judge)


def serve(config: Config, judge: Judge) -> int:
    """Run until SIGTERM or SIGINT, or until it cannot go on."""
    service = Daemon(config, judge)
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
