"""benchmarks/detection measures in memory what the programs do with files: the same threshold must come out."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.features import Features, extract_features
from senbetsu.images import find_images
from tests.conftest import write_parts

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"steps": 60, "folds": 3, "judge_pictures": 12}
FP32 = ("--set", "engine.kind=openvino", "--set", "engine.precision=fp32")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("unseen", [0, 5])
def test_the_threshold_is_that_of_train_and_calibrate(
    senbetsu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unseen: int
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    gauges = importlib.import_module("benchmarks.detection.gauges")
    write_parts(tmp_path / "train", range(16))
    write_parts(tmp_path / "all", range(16 + unseen))
    write_parts(tmp_path / "bad/hole", range(900, 905), defect="hole")
    write_parts(tmp_path / "bad/scratch", range(910, 915), defect="scratch")
    where = ("--artifacts", tmp_path / "artifacts")
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"train.{name}={value}")]
    trained = senbetsu("train", "--normal", tmp_path / "train", "--defects", tmp_path / "bad", *where, *settings)
    assert trained.status == 0, trained.stderr
    calibrated = senbetsu("calibrate", "--normal", tmp_path / "all", *where, *FP32)
    assert calibrated.status == 0, calibrated.stderr
    document = json.loads((tmp_path / "artifacts/profile.json").read_text())

    backbone = find_backbone(ModelSection())
    fit = extract_features(find_images([tmp_path / "train"]), backbone, "train")
    every = extract_features(find_images([tmp_path / "all"]), backbone, "all")
    calibration = every.take(np.array([sha256 not in fit.sha256 for sha256 in every.sha256]))
    defects = Features.joined(
        [extract_features(find_images([tmp_path / "bad" / kind]), backbone, kind) for kind in ("hole", "scratch")]
    )
    kinds = ["hole"] * 5 + ["scratch"] * 5
    bench = gauges.Bench(backbone, fit, calibration, every, defects, kinds, TrainSection(**SETTINGS))
    found = bench.measure(np.arange(10), np.arange(10))
    assert found["claim"]["sentence"] == document["claim_sentence"]
    assert found["claim"]["method"] == "cross"
    assert found["methods"]["fused"]["threshold"] == pytest.approx(document["threshold"], rel=2e-3)
