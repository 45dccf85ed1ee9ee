"""A line PC's daemon starts without what only learning needs: it takes seconds to import, while every part is rejected."""

import subprocess
import sys
from typing import Any

import pytest

STARTS = """
import sys
from pathlib import Path
import daemon.__main__
from senbetsu.config import Config, EngineSection
from senbetsu.judge import load_judge

judge = load_judge(Config(artifacts=Path(sys.argv[1]), engine=EngineSection(device="cpu")), for_line=True)
judge.engine.run(1)
print(*(name for name in ("torch", "torchvision", "timm", "scipy.stats", "matplotlib") if name in sys.modules))
"""


@pytest.fixture
def start(line: Any) -> str:
    """What a daemon that has an engine in OpenVINO has imported of all that."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", STARTS, str(line.artifacts)], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_the_graph_is_kept_nothing_is_imported_that_only_learning_needs(start: str) -> None:
    """`calibrate`, which made the profile, has converted the graph."""
    assert start == ""
