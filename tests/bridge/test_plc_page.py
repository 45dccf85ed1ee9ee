"""The page for PLC programmers says what the code does."""

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/plc"


def test_its_tables_are_those_of_the_code() -> None:
    generate = runpy.run_path(str(FOLDER / "generate.py"))
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert generate["page"](text) == text, "run python docs/plc/generate.py"
    assert "| 32 + 7 k + 0 | `trigger` |" in text
    assert "| 17 | SIMULATED |" in text
