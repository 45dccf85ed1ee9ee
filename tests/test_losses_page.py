"""docs/losses.md against what it speaks of: its figures, its pictures, the tables of the code."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from train.losses import LOSSES
from train.selections import SELECTIONS

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/losses.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return importlib.import_module("benchmarks.losses_page")


def test_every_figure_is_that_of_the_saved_runs(writer: ModuleType) -> None:
    assert PAGE.count("<!-- measured: ") == PAGE.count("<!-- /measured -->") == 5
    assert writer.with_figures(PAGE) == PAGE, "run python -m benchmarks.losses_page"


def test_outside_of_what_is_written_by_the_script_there_is_no_measured_figure() -> None:
    by_hand = re.sub(r"<!-- measured: .*?<!-- /measured -->|arXiv [\d.]+", "", PAGE, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d\d|\d %", by_hand)


@pytest.mark.parametrize("name", ["losses_collapse.png", "losses_quadruplets.png"])
def test_a_picture_shows_the_saved_runs(writer: ModuleType, name: str) -> None:
    assert f"]({name})" in PAGE
    assert writer.results_sha256().encode() in (ROOT / "docs" / name).read_bytes(), (
        "run python -m benchmarks.losses_page"
    )


def test_it_names_every_loss_and_selection() -> None:
    for name in (*LOSSES, *SELECTIONS):
        assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE), name
