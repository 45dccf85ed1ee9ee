"""senbetsu bridge: the program between the daemon and the PLC."""

import signal

if __name__ == "__main__":
    # A wish to read the config again is no reason to end: not while all else is imported, and not later (bridge.service).
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

import argparse
import asyncio
import sys

from bridge.service import Bridge
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.realtime import take_priority


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    if daemons := config.realtime.fifo_priority:
        take_priority(
            daemons + 1
        )  # it does little, and the PLC must hear of it even where the daemon takes all it can get

    async def serve() -> int:
        return await Bridge(config).run()

    return asyncio.run(serve())


def flags() -> argparse.ArgumentParser:
    """The command line."""
    return parser("bridge", "Pass the verdicts to a PLC (Modbus TCP), failing safe.")


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "bridge"))
