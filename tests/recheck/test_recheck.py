"""`senbetsu recheck` at shift start: what it lets pass, what it does not, and what it writes down."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from recheck.__main__ import faults_of
from senbetsu.errors import UserError
from senbetsu.files import append_line
from senbetsu.pictures import PictureScore


def copied(folder: Path, paths: list[Path]) -> Path:
    folder.mkdir()
    for path in paths:
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def golden(line, tmp_path: Path) -> Path:
    """Parts that the threshold was set with lie at or under it: all pass."""
    return copied(tmp_path / "golden", sorted(line.calibrate_normal.iterdir())[:10])


@pytest.fixture
def challenge(line, tmp_path: Path) -> Path:
    return copied(tmp_path / "challenge", sorted((line.test_defects / "hole").iterdir())[:4])


def records(journal: Path) -> list[dict]:
    return [json.loads(row) for row in journal.read_text().splitlines()]


def test_it_passes_and_notes_every_score_and_then_fails_by_the_first_bad_part_that_passes(
    senbetsu, line, golden: Path, challenge: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal/recheck.jsonl"
    flags = (
        "recheck",
        "--artifacts",
        line.artifacts,
        "--golden",
        golden,
        "--challenge",
        challenge,
        "--journal",
        journal,
    )
    good = senbetsu(*flags)
    assert good.status == 0, good.stderr
    assert "passed: 10 golden and 4 challenge parts" in good.stdout
    (record,) = records(journal)
    assert record["passed"] is True
    assert record["profile_sha256"] == sha256((line.artifacts / "profile.json").read_bytes()).hexdigest()
    assert [len(record[name]) for name in ("golden", "challenge")] == [10, 4]
    assert all(part["score"] <= record["threshold"] for part in record["golden"])
    assert all(part["score"] > record["threshold"] for part in record["challenge"])
    assert record["golden"][0]["sha256"] == sha256(sorted(golden.iterdir())[0].read_bytes()).hexdigest()

    # A good part among the known bad ones passes, as a defect would that the line no longer sees.
    stray = sorted(line.calibrate_normal.iterdir())[20]
    shutil.copy(stray, challenge)
    (challenge / "cut-off.png").write_bytes(stray.read_bytes()[:500])
    bad = senbetsu(*flags)
    assert bad.status == 1
    assert f"1 of 6 known bad parts passed ({stray.name})" in bad.stderr
    assert "1 of 6 challenge parts could not be judged (INCOMPLETE_FRAME) (cut-off.png)" in bad.stderr
    assert "Do not run the line" in bad.stderr
    first, second = records(journal)
    assert first == record
    assert second["passed"] is False
    assert len(second["faults"]) == 2


def test_a_picture_in_both_sets_and_a_journal_that_cannot_be_written_are_refused(
    senbetsu, line, golden: Path, challenge: Path, tmp_path: Path
) -> None:
    flags = ("recheck", "--artifacts", line.artifacts, "--golden", golden, "--challenge", challenge)
    (tmp_path / "file").write_text("")
    unwritable = senbetsu(*flags, "--journal", tmp_path / "file/journal.jsonl")
    assert unwritable.status == 2
    assert "cannot be written" in unwritable.stderr
    shutil.copy(next(golden.iterdir()), challenge / "again.png")
    both = senbetsu(*flags, "--journal", tmp_path / "journal.jsonl")
    assert both.status == 2
    assert "the same picture is among the golden and the challenge parts" in both.stderr
    assert not (tmp_path / "journal.jsonl").exists()


def picture(name: str, score: float, error: str | None = None) -> PictureScore:
    return PictureScore(Path(name), score, score, score, error)


def test_only_the_right_reason_counts() -> None:
    """A bad part that is rejected for having no score, or no whole picture, was not seen to be bad."""
    assert faults_of("challenge", [picture("a", 1.1)], 1.0) == []
    assert faults_of("golden", [picture("a", 1.0)], 1.0) == []
    assert faults_of("golden", [picture("a", 1.1)], 1.0) == ["1 of 1 golden parts were rejected (a)"]
    assert faults_of("challenge", [picture("a", np.nan)], 1.0) == [
        "1 of 1 challenge parts could not be judged (NONFINITE) (a)"
    ]
    many = [picture(f"p{number}", 0.5) for number in range(8)]
    assert faults_of("challenge", many, 1.0) == ["8 of 8 known bad parts passed (p0, p1, p2, p3, p4 and 3 more)"]


def test_an_unfinished_line_of_a_journal_stays_alone(tmp_path: Path) -> None:
    journal = tmp_path / "deep/journal.jsonl"
    append_line(journal, b"one")
    with journal.open("ab") as file:
        file.write(b'{"tor')
    append_line(journal, b"two")
    append_line(journal, b"three")
    assert journal.read_bytes() == b'one\n{"tor\ntwo\nthree\n'
    with pytest.raises(UserError, match="cannot be written"):
        append_line(journal / "below", b"x")
