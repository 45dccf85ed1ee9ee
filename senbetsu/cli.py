"""The `senbetsu` command. It starts a program in its own right (as `python -m PROGRAM`) and never imports one."""

import os
import signal
import sys

from senbetsu import __version__

PROGRAMS = {
    "train": "learn the embedding from normal parts, and from defects where there are some",
    "calibrate": "find centroid, threshold and the claim they support, from normal parts",
    "score": "judge pictures; one line of JSON each",
    "evaluate": "measure defects found and good parts rejected, on parts whose kind is known",
    "recheck": "at shift start: every known bad part must be rejected, every golden one pass",
    "daemon": "watch the line: camera, batches, verdicts, ZeroMQ",
    "recipe": "tell or change what the line inspects, while it runs",
    "bridge": "pass the verdicts to a PLC (Modbus TCP), failing safe",
    "bench": "measure what this PC carries, with or without camera and artefacts",
    "keys": "make keys for ZeroMQ addresses that other machines reach",
    "simulated-plc": "a PLC to try the line with",
}


def usage() -> str:
    """The text of `senbetsu --help`."""
    width = max(map(len, PROGRAMS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in PROGRAMS.items()]
    return "\n".join(["usage: senbetsu PROGRAM [flags]", "", *lines, "", "senbetsu PROGRAM --help says more."])


def main() -> int:  # noqa: RET503  (it is another program when it ends)
    """Replace this process by the program that was asked for."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())  # noqa: T201
        return 0 if arguments else 2
    program, *rest = arguments
    if program == "--version":
        print(f"senbetsu {__version__}")  # noqa: T201
        return 0
    if program not in PROGRAMS:
        print(f"senbetsu: error: no program {program!r}\n\n{usage()}", file=sys.stderr)  # noqa: T201
        return 2
    if program in ("daemon", "bridge"):
        # A wish to read the config again, which they are not there to hear yet. What is ignored stays so.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # -P: a folder of the user that is called as a program must not come first.
    os.execv(sys.executable, [sys.executable, "-P", "-m", program.replace("-", "_"), *rest])


if __name__ == "__main__":
    sys.exit(main())
