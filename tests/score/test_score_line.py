"""The line that `score` writes of one picture."""

import json
import math
import os
from pathlib import Path

from score.__main__ import line, output_file
from senbetsu.pictures import PictureScore


def test_a_file_name_that_is_no_text_is_written_and_read_back(tmp_path: Path) -> None:
    """Such a name once ended the run in the middle, and the parts after it had no verdict."""
    name = os.fsdecode(b"caf\xe9 \xff.png")
    with output_file(tmp_path / "scores.jsonl") as file:
        file.write(line(PictureScore(Path(name), 0.5, 0.4, 0.3), 1.0) + "\n")
    read = json.loads((tmp_path / "scores.jsonl").read_text(encoding="utf-8"))
    assert read["path"] == name
    assert os.fsencode(read["path"]) == b"caf\xe9 \xff.png"


def test_what_is_no_number_rejects_and_is_null() -> None:
    read = json.loads(line(PictureScore(Path("a.png"), math.nan, math.inf, 0.3), 1.0))
    assert (read["verdict"], read["reason"], read["score"], read["metric_distance"]) == (
        "REJECT",
        "NONFINITE",
        None,
        None,
    )


def test_a_run_that_fails_leaves_what_was_there_before(tmp_path: Path) -> None:
    target = tmp_path / "scores.jsonl"
    target.write_text("before")
    try:
        with output_file(target) as file:
            file.write("half")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert target.read_text() == "before"
