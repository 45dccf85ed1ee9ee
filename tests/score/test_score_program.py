"""`senbetsu score` and `senbetsu evaluate` as their user sees them."""

import json
import os
import shutil
from pathlib import Path

import pytest

KEYS = ["path", "verdict", "reason", "score", "threshold", "metric_distance", "novelty_distance"]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_line_a_picture_and_the_run_goes_on_over_an_unreadable_one(senbetsu, line, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(line.test_normal, mixed)
    (mixed / "aa-broken.png").write_bytes(next(line.test_normal.iterdir()).read_bytes()[:700])
    bad = sorted((line.test_defects / "hole").iterdir())[0]
    output = tmp_path / "out/scores.jsonl"
    done = senbetsu("score", "--artifacts", line.artifacts, mixed, bad, "--output", output)
    assert done.status == 0, done.stderr
    lines = lines_of(output)
    assert len(lines) == 32
    assert all(list(row) == KEYS for row in lines)
    broken, *rest, hole = lines
    assert (broken["verdict"], broken["reason"], broken["score"]) == ("REJECT", "INCOMPLETE_FRAME", None)
    assert (hole["path"], hole["verdict"], hole["reason"]) == (str(bad), "REJECT", "ANOMALY")
    for row in rest:
        assert (row["verdict"] == "PASS") == (row["score"] <= row["threshold"])
    assert sum(row["verdict"] == "PASS" for row in rest) >= 25
    assert "aa-broken.png" in done.stderr


def test_without_output_it_prints(senbetsu, line) -> None:
    picture = sorted(line.test_normal.iterdir())[0]
    done = senbetsu("score", "--artifacts", line.artifacts, picture)
    assert json.loads(done.stdout)["path"] == str(picture)


def test_an_output_that_cannot_be_written_is_one_clear_error(senbetsu, line, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = senbetsu(
        "score", "--artifacts", line.artifacts, line.test_normal, "--output", tmp_path / "file/scores.jsonl"
    )
    assert done.status == 2
    assert "--output" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_is_no_file_is_written_to_and_not_replaced(senbetsu, line, tmp_path: Path) -> None:
    """`--output /dev/null`, run as root, would otherwise put a file in the place of the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        picture = sorted(line.test_normal.iterdir())[0]
        assert senbetsu("score", "--artifacts", line.artifacts, picture, "--output", pipe).status == 0
        assert json.loads(os.read(reader, 65536))["path"] == str(picture)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_evaluate_measures_by_kind_and_says_what_is_not_proven(senbetsu, line) -> None:
    flags = ("evaluate", "--artifacts", line.artifacts, "--normal", line.test_normal, "--defects", line.test_defects)
    report = json.loads(senbetsu(*flags, "--json").stdout)
    assert set(report["kinds"]) == {"hole", "scratch"}
    assert report["normal"]["parts"] == 30
    assert report["normal"]["used_before"] == 0
    assert report["auroc"] >= 0.95
    for figures in (report["normal"], report["defects"], *report["kinds"].values()):
        low, high = figures["interval"]
        assert low <= figures["rate"] <= high
        assert figures["rate"] == pytest.approx(figures["rejected"] / figures["parts"])
    text = senbetsu(*flags).stdout
    assert "not proven (fewer than 20 seen): hole, scratch" in text
    assert "On average at most 0.901 %" in text


def test_evaluate_says_when_the_good_parts_were_seen_before(senbetsu, line) -> None:
    done = senbetsu(
        "evaluate", "--artifacts", line.artifacts, "--normal", line.calibrate_normal, "--defects", line.test_defects
    )
    assert "110 of the 110 normal pictures were trained on or calibrated with" in done.stdout


def test_score_and_evaluate_take_a_config_file_and_refuse_a_wrong_key(senbetsu, line, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(f'artifacts = "{line.artifacts}"\n')
    picture = sorted(line.test_normal.iterdir())[0]
    assert senbetsu("score", "--config", config, picture).status == 0
    config.write_text('[engine]\nprecison = "fp32"\n')
    done = senbetsu("score", "--config", config, picture)
    assert done.status == 2
    assert f"{config}: engine.precison: unknown setting; allowed here: kind, precision" in done.stderr


def test_a_folder_named_as_a_program_is_not_in_its_way(senbetsu, line, tmp_path: Path) -> None:
    """People call their folders `train` and `score`."""
    (tmp_path / "score").mkdir()
    (tmp_path / "senbetsu").mkdir()
    (tmp_path / "score/__main__.py").write_text("raise SystemExit('the wrong program')")
    picture = sorted(line.test_normal.iterdir())[0]
    done = senbetsu("score", "--artifacts", line.artifacts, picture, cwd=tmp_path)
    assert done.status == 0, done.stderr
