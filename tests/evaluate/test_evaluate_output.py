"""`senbetsu evaluate --output`: the page, the picture and the JSON, which say the same."""

import json
from pathlib import Path

import cv2

from senbetsu.profile import NAME


def test_page_picture_and_json_are_written_and_agree(senbetsu, line, tmp_path: Path) -> None:
    flags = ("evaluate", "--artifacts", line.artifacts, "--normal", line.test_normal, "--defects", line.test_defects)
    done = senbetsu(*flags, "--output", tmp_path / "out", "--json")
    assert done.status == 0, done.stderr
    told = json.loads(done.stdout)
    assert json.loads((tmp_path / "out/evaluation.json").read_text()) == told
    calibrated = [row for row in told["trade"] if row["calibrated"]]
    assert [row["threshold"] for row in calibrated] == [told["threshold"]]
    assert calibrated[0]["normal"]["rejected"] == told["normal"]["rejected"]
    assert calibrated[0]["defects"]["rejected"] == told["defects"]["rejected"]
    assert set(calibrated[0]["kinds"]) == {"hole", "scratch"}
    # The very rate that the profile's claim has.
    claim = json.loads((line.artifacts / f"{NAME}.json").read_text())["claim"]
    assert claim["expected_rate"] <= calibrated[0]["false_reject_rate"] < claim["expected_rate"] + 1e-3
    page = (tmp_path / "out/evaluation.html").read_text()
    assert "src=" not in page
    assert "<script" not in page
    assert "not proven (fewer than 20 seen): hole, scratch" in page
    assert "calibrate --false-reject-rate R" in page
    for row in told["trade"]:
        assert f"<td>{row['threshold']:.4f}</td>" in page
    picture = cv2.imread(str(tmp_path / "out/trade.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 400


def test_an_output_that_cannot_be_written_is_told_before_the_work(senbetsu, line, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flags = ("evaluate", "--artifacts", line.artifacts, "--normal", line.test_normal, "--defects", line.test_defects)
    done = senbetsu(*flags, "--output", tmp_path / "file/out")
    assert done.status == 2
    assert "file/out: cannot be written" in done.stderr
