"""The page for PLC programmers says what the code does."""

import csv
import re
import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/plc"


def test_its_tables_are_those_of_the_code() -> None:
    generate = runpy.run_path(str(FOLDER / "generate.py"))
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert generate["page"](text) == text, "run python docs/plc/generate.py"
    assert "| 32 + 7 k + 0 | `trigger` |" in text
    assert "| 17 | SIMULATED |" in text


def test_the_tag_list_covers_every_register_once_and_is_that_of_the_code() -> None:
    generate = runpy.run_path(str(FOLDER / "generate.py"))
    text = (FOLDER / "tags.csv").read_text(encoding="utf-8")
    assert generate["tags"]() == text, "run python docs/plc/generate.py"
    rows = list(csv.DictReader(text.splitlines()))
    assert len({row["tag"] for row in rows}) == len(rows)
    words = [
        (row["who_writes"], int(row["input_register"] or row["holding_register"]) + n)
        for row in rows
        for n in range(2 if row["type"] == "DWORD" else 1)
    ]
    assert len(set(words)) == len(words)
    unused = {16, 17, 18, 19, 31}
    assert {at for who, at in words if who == "Senbetsu"} == set(range(176)) - unused
    assert {at for who, at in words if who == "PLC"} == set(range(12))
    assert {row["s7"] for row in rows} >= {"DBW40", "DBD0", "DBW352", "DBD372"}


def test_every_page_that_a_page_points_to_is_there_and_every_setting_that_it_names() -> None:
    settings = (FOLDER.parents[1] / "config.toml").read_text(encoding="utf-8")
    for page in FOLDER.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (FOLDER / target).exists(), f"{page.name}: {target}"
        for name in re.findall(r"`(?:bridge|gates)\.(?:\w+\.)*(\w+)`", text):
            assert re.search(rf"^(# )?(\[bridge\.)?{name}\b", settings, re.MULTILINE), f"{page.name}: {name}"
