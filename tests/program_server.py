"""Starts programs quickly: a process that has imported what they import, and forks itself for each.

`python -P program_server.py` reads a JSON object a line: `program`, `arguments`, `cwd`, `environment`, `stdout`, `stderr`
(files), and writes the process id of the child, then its exit status, a line each. In the child the program runs as by
`python -m`. Nothing here may start a thread before the fork.
"""

import json
import os
import runpy
import sys
import traceback
from typing import Any

import cv2  # noqa: F401
import matplotlib.figure  # noqa: F401
import openvino  # noqa: F401
import scipy.stats  # noqa: F401
import timm  # noqa: F401
import torch  # noqa: F401
import torchvision  # noqa: F401


def run_in_child(request: dict[str, Any]) -> None:
    """Does not return."""
    status = 1
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdin = os.fdopen(0)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        sys.argv = [request["program"], *request["arguments"]]
        runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  (as the interpreter does)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run_in_child(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
