"""Every rule of the PLC contract has a test and, where something happens over time, a diagram; the page is current."""

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/plc"
GENERATE = runpy.run_path(str(FOLDER / "generate_rules.py"))
PAGES = GENERATE["pages"]()


@pytest.mark.parametrize("number", range(1, 16))
def test_a_rule_has_a_test(number: int) -> None:
    assert GENERATE["tests"]()[number] != []


def test_no_test_names_a_rule_that_is_not_there() -> None:
    assert set(GENERATE["RULES"]) == set(range(1, 16)) == set(GENERATE["tests"]())


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.name)
def test_the_page_and_its_diagrams_are_what_the_contract_does(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path], "run python docs/plc/generate_rules.py"


def test_each_diagram_shows_what_its_rule_says() -> None:
    shows = {
        3: ["DEADLINE", "100 ms: deadline"], 5: ["wait", ">OK<"], 7: ["MISSED"], 10: ["LINK", "ABORTED"], 11: ["RECIPE"],
        12: ["SIMULATED"], 13: ["NOT_READY", "SUSPENDED"],
    }  # fmt: skip
    for number, words in shows.items():
        drawing = PAGES[FOLDER / "timing" / f"rule_{number}.svg"]
        for word in words:
            assert word in drawing, (number, word)


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[FOLDER / "rules.md"]):
        assert (FOLDER / link).resolve().is_file(), link
