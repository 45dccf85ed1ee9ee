"""`senbetsu calibrate` as its user sees it: the claim it makes, the one it refuses, and what it is bound to."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from senbetsu.conformal import threshold_at
from senbetsu.embedding import load_embedding
from senbetsu.errors import ArtifactError
from senbetsu.profile import load_profile


def document_of(artifacts: Path) -> dict:
    return json.loads((artifacts / "profile.json").read_text())


def test_unseen_parts_all_go_to_the_threshold(line) -> None:
    document = document_of(line.artifacts)
    assert document["claim"]["method"] == "split"
    assert (document["claim"]["n"], document["claim"]["k"]) == (110, 110)
    assert document["claim_sentence"] == "On average at most 0.901 % of good parts like these 110 are rejected."
    assert document["threshold"] == pytest.approx(threshold_at(document["scores"], 110), rel=1e-5)
    assert len(document["parts"]) == 110
    assert not set(document["parts"]) & set(load_embedding(line.artifacts).folds)


def test_the_profile_scores_the_parts_as_calibrate_did(senbetsu, line, tmp_path: Path) -> None:
    """Calibrate scores with the model in its hands, score with what was written of it."""
    output = tmp_path / "scores.jsonl"
    done = senbetsu("score", "--artifacts", line.artifacts, line.calibrate_normal, "--output", output)
    assert done.status == 0, done.stderr
    scores = sorted(json.loads(row)["score"] for row in output.read_text().splitlines())
    np.testing.assert_allclose(scores, document_of(line.artifacts)["scores"], rtol=1e-4)


def test_the_report_is_self_contained_and_leads_with_the_claim(line) -> None:
    page = (line.artifacts / "report.html").read_text()
    assert page.index("On average at most 0.901 %") < page.index("<svg")
    assert "data:image/jpeg;base64," in page
    assert 'src="http' not in page
    assert "<script" not in page
    assert document_of(line.artifacts)["model_sha256"] in page
    assert "Exposure and sharpness" in page
    assert page.count("heat map of part-") == 12


@pytest.fixture
def artifacts(line, tmp_path: Path) -> Path:
    copy = tmp_path / "artifacts"
    shutil.copytree(line.artifacts, copy)
    return copy


def test_a_promise_that_is_not_supported_is_refused_and_the_old_profile_stands(senbetsu, line, artifacts: Path) -> None:
    before = (artifacts / "profile.json").read_bytes()
    flags = ("calibrate", "--normal", line.calibrate_normal, "--artifacts", artifacts)
    bound = senbetsu(*flags, "--false-reject-rate", 0.001, "--confidence", 0.95)
    assert bound.status == 2
    assert "needs 2995 normal parts" in bound.stderr
    assert "2885 are missing" in bound.stderr
    expected = senbetsu(*flags, "--false-reject-rate", 0.005)
    assert expected.status == 2
    assert "needs 199 normal parts" in expected.stderr
    lone = senbetsu(*flags, "--confidence", 0.95)
    assert lone.status == 2
    assert "confidence needs false_reject_rate" in lone.stderr
    assert (artifacts / "profile.json").read_bytes() == before


def test_a_promise_that_is_supported_is_kept_to_the_letter(senbetsu, line, artifacts: Path) -> None:
    done = senbetsu(
        "calibrate", "--normal", line.calibrate_normal, "--artifacts", artifacts, "--false-reject-rate", 0.05,
        "--confidence", 0.9,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    claim = document_of(artifacts)["claim"]
    assert claim["promised"] == "bound"
    assert claim["bound"] <= 0.05
    scores = document_of(artifacts)["scores"]
    assert sum(score <= document_of(artifacts)["threshold"] + 1e-6 for score in scores) == claim["k"]


def test_machines_get_one_json_object_with_the_claim(senbetsu, line, artifacts: Path) -> None:
    done = senbetsu("calibrate", "--normal", line.calibrate_normal, "--artifacts", artifacts, "--json")
    assert done.status == 0, done.stderr
    told, document = json.loads(done.stdout), document_of(artifacts)
    assert told["claim"] == document["claim_sentence"]
    assert (told["n"], told["k"], told["method"]) == (110, 110, "split")
    assert told["threshold"] == document["threshold"]
    assert told["engine"].items() <= document["engine"].items()
    assert document["engine"]["int8_sha256"] is None
    assert told["profile_sha256"] == sha256((artifacts / "profile.json").read_bytes()).hexdigest()
    assert "parts" not in told


def test_eight_parts_that_were_trained_on_give_a_helpful_and_honest_message(
    senbetsu, quickest, line, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(line.train_normal.iterdir())[:8]:
        shutil.copy(path, few)
    assert senbetsu("train", "--normal", few, "--artifacts", tmp_path / "a", *quickest).status == 0
    done = senbetsu("calibrate", "--normal", few, "--artifacts", tmp_path / "a")
    assert done.status == 0, done.stderr
    assert "8 normal parts support no better claim than 22.3 % expected" in done.stderr
    assert "for 1 % show 99 more" in done.stderr
    assert "every part served twice" in done.stderr
    document = document_of(tmp_path / "a")
    assert document["claim"]["method"] == "cross"
    assert document["claim"]["bound"] is None
    assert document["threshold"] == pytest.approx(max(document["scores"]), rel=1e-5)


def test_parts_that_serve_twice_are_scored_by_models_that_never_saw_them(senbetsu, line, tmp_path: Path) -> None:
    """A threshold taken from a part's own fit would lie far below what a new part of the same kind scores."""
    for path in line.artifacts.glob("embedding.*"):
        shutil.copy(path, tmp_path)
    assert senbetsu("calibrate", "--normal", line.train_normal, "--artifacts", tmp_path).status == 0
    twice = np.array(document_of(tmp_path)["scores"])
    fresh = np.array(document_of(line.artifacts)["scores"])
    assert document_of(tmp_path)["claim"]["method"] == "cross"
    assert np.median(twice) >= 0.9 * np.median(fresh)


def test_a_profile_of_another_model_is_refused(senbetsu, quickest, line, artifacts: Path) -> None:
    assert senbetsu("train", "--normal", line.train_normal, "--artifacts", artifacts, *quickest).status == 0
    with pytest.raises(ArtifactError, match=r"calibrated for the model .* run `senbetsu calibrate` again"):
        load_profile(artifacts, load_embedding(artifacts))
    done = senbetsu("score", "--artifacts", artifacts, line.test_normal)
    assert done.status == 2
    assert "calibrated for the model" in done.stderr


@pytest.mark.parametrize("threshold", ["NaN", "Infinity", "null", "0.0", "-1.0", '"1"'])
def test_a_threshold_that_is_no_positive_number_is_refused(artifacts: Path, threshold: str) -> None:
    path = artifacts / "profile.json"
    document = json.loads(path.read_text())
    document["threshold"] = "THRESHOLD"
    path.write_text(json.dumps(document).replace('"THRESHOLD"', threshold))
    with pytest.raises(ArtifactError, match="threshold"):
        load_profile(artifacts, load_embedding(artifacts))


@pytest.mark.parametrize("name", ["embedding.json", "embedding.safetensors", "profile.json", "profile.safetensors"])
def test_a_damaged_or_missing_artefact_names_the_program_that_makes_it(
    senbetsu, line, artifacts: Path, name: str
) -> None:
    program = "train" if name.startswith("embedding") else "calibrate"
    whole = (artifacts / name).read_bytes()
    (artifacts / name).write_bytes(whole[: len(whole) // 2])
    damaged = senbetsu("score", "--artifacts", artifacts, line.test_normal)
    assert damaged.status == 2
    assert f"senbetsu {program}" in damaged.stderr
    (artifacts / name).unlink()
    missing = senbetsu("score", "--artifacts", artifacts, line.test_normal)
    assert missing.status == 2
    assert f"{name}: not there; run `senbetsu {program}`" in missing.stderr
