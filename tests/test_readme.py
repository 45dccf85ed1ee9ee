"""The README against what it speaks of: its figures, its files, its commands."""

import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from senbetsu.cli import PROGRAMS
from senbetsu.metrics import BRIDGE_METRICS, DAEMON_METRICS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = [
    match.group(1).strip()
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    if (match := re.match(r"(?:\.venv/bin/)?senbetsu ([^#]*)", line))
]


def figures_writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_readme", ROOT / "benchmarks/readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_is_that_of_the_saved_runs() -> None:
    assert figures_writer().with_figures(README) == README, "run benchmarks/readme.py"


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_file_that_it_points_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()


def test_every_program_is_in_the_table() -> None:
    for program in PROGRAMS:
        assert re.search(rf"^\| `{program}` \|", README, re.MULTILINE), program


def test_it_shows_how_each_program_is_called() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(PROGRAMS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_the_program_takes(command: str) -> None:
    program, *flags = shlex.split(command)
    module = importlib.import_module(f"{program.replace('-', '_')}.__main__")
    module.flags().parse_args(flags)


def test_every_metric_that_it_names_is_published() -> None:
    published = {f"senbetsu_{metric.name}" for metric in (*DAEMON_METRICS, *BRIDGE_METRICS)}
    named = set(re.findall(r"`(senbetsu_\w+)", README)) - {"senbetsu_"}
    assert named
    assert named <= published


def test_its_python_is_python() -> None:
    examples = [block for language, block in BLOCKS if language == "python"]
    assert examples
    for example in examples:
        ast.parse(example)
