"""`senbetsu train --depth blocks` as its user sees it, from pictures to scores."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.embedding import fit_scorer, load_embedding, normal_moments
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.features import Features, extract_features
from senbetsu.profile import load_profile
from senbetsu.two_fold import with_tuned
from train.crossfit import cross_fit, hidden_kinds
from train.depth import Learned, Learner
from train.head import learn_head
from train.pictures import load_pictures
from train.tunable import PictureStatistics, statistics_of

SIZE = 128
EXACT = ("--set", "engine.kind=openvino", "--set", "engine.precision=fp32")
TINY = (
    "--depth", "blocks", "--steps", "30", "--set", "train.folds=2", "--set", "train.tune_steps=3",
    "--set", "train.tune_images_per_label=3", "--set", "train.judge_pictures=0", "--set", f"model.input_size={SIZE}",
    "--selection", "all",
)  # fmt: skip


def some(source: Path, count: int, target: Path) -> Path:
    target.mkdir(parents=True)
    for path in sorted(source.iterdir())[:count]:
        shutil.copy(path, target)
    return target


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tiny steps gain nothing from a second thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def tuned(senbetsu, parts_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with normal/, unseen/, defects/scratch/ and the artefacts of training with --depth blocks."""
    root = tmp_path_factory.mktemp("tuned")
    some(parts_folder / "train", 12, root / "normal")
    some(parts_folder / "defects/scratch", 6, root / "defects/scratch")
    some(parts_folder / "calibrate", 20, root / "unseen")
    train = senbetsu(
        "train", "--normal", root / "normal", "--defects", root / "defects", "--artifacts", root / "artifacts", *TINY
    )
    assert train.status == 0, train.stderr
    assert "fine-tuning blocks on c" in train.stderr
    assert "3 runs of 3 steps" in train.stderr
    return root


def test_the_tensors_of_the_last_two_blocks_are_kept_for_all_and_for_each_fold(tuned: Path) -> None:
    document = json.loads((tuned / "artifacts/embedding.json").read_text())
    assert document["settings"]["depth"] == "blocks"
    assert document["tuning_curve"]["steps"] == 3
    tensors = safetensors.numpy.load_file(tuned / "artifacts/embedding.safetensors")
    names = {name.split(".tuned.")[1] for name in tensors if name.startswith("axes.tuned.")}
    assert len(names) == document["tuned"]["tensors"] > 10
    assert {".".join(name.split(".")[:3]) for name in names} == {"network.blocks.5", "network.blocks.6"}
    weights = [
        tensors[f"{where}.tuned.network.blocks.6.0.conv_pw.weight"] for where in ("axes", "fold_axes.0", "fold_axes.1")
    ]
    assert all(w.dtype == np.float32 for w in weights)
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])
    assert load_embedding(tuned / "artifacts").backbone.tuned.sha256 == document["tuned"]["sha256"]


@pytest.mark.slow
def test_the_metric_gauge_sees_tuned_maps_and_the_novelty_gauge_frozen_ones(
    senbetsu, tuned: Path, parts_folder: Path, tmp_path: Path
) -> None:
    """By way of the programs, against a network whose weights were replaced by hand, and against the frozen backbone."""
    calibrate = senbetsu("calibrate", "--normal", tuned / "unseen", "--artifacts", tuned / "artifacts", *EXACT)
    assert calibrate.status == 0, calibrate.stderr
    parts = (
        sorted((parts_folder / "test").iterdir())[:2] + sorted((parts_folder / "test-defects/scratch").iterdir())[:2]
    )
    score = senbetsu("score", "--artifacts", tuned / "artifacts", *parts, "--output", tmp_path / "s.jsonl", *EXACT)
    assert score.status == 0, score.stderr
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    embedding = load_embedding(tuned / "artifacts")
    scorer = load_profile(tuned / "artifacts", embedding).scorer
    frozen = find_backbone(ModelSection(input_size=SIZE))
    network = PictureStatistics.of(frozen)
    state = network.stages.state_dict()
    for name, values in embedding.axes.tuned.tensors.items():
        state[name].copy_(torch.from_numpy(values))
    rows = statistics_of(network, load_pictures(parts, SIZE))
    features = extract_features(parts, frozen, "frozen")
    assert np.abs(rows - features.frozen_rows).max() > 1e-3
    expected = scorer.fusion.outputs(scorer.log_distances(*replace(features, tuned=rows).statistics))
    for column, name in enumerate(("score", "metric_distance", "novelty_distance")):
        assert [line[name] for line in lines] == pytest.approx(expected[:, column], rel=2e-3), name
    plain = scorer.fusion.outputs(scorer.log_distances(*features.statistics))
    assert plain[:, 2] == pytest.approx(expected[:, 2], rel=1e-9)
    assert np.abs(plain[:, 1] / expected[:, 1] - 1).max() > 0.01
    engine = build_engine(scorer, embedding.backbone, EngineChoice("torch", "fp32", "cpu"), 0, (4,))
    engine.inputs[:] = load_pictures(parts, SIZE)
    scores = engine.run(4)
    assert [line["metric_distance"] for line in lines] == pytest.approx(scores.metric_distance.tolist(), rel=2e-3)
    assert [line["score"] for line in lines] == pytest.approx(scores.score.tolist(), rel=2e-3)


@pytest.mark.slow
def test_few_parts_are_calibrated_with_the_backbone_of_the_fold_that_never_saw_them(senbetsu, tuned: Path) -> None:
    """Shown the very parts that were trained on: cross-conformal."""
    artifacts = tuned / "again"
    shutil.copytree(tuned / "artifacts", artifacts)
    torch_engine = ("--set", "engine.kind=torch", "--set", "engine.device=cpu", "--set", "engine.precision=fp32")
    calibrate = senbetsu("calibrate", "--normal", tuned / "normal", "--artifacts", artifacts, *torch_engine)
    assert calibrate.status == 0, calibrate.stderr
    document = json.loads((artifacts / "profile.json").read_text())
    assert document["claim"]["method"] == "cross"
    embedding = load_embedding(artifacts)
    frozen = find_backbone(ModelSection(input_size=SIZE))
    paths = sorted((tuned / "normal").iterdir())
    parts = extract_features(paths, frozen, "normal")
    expected = np.zeros(len(parts))
    for fold, axes in enumerate(embedding.fold_axes):
        network = PictureStatistics(
            with_tuned(PictureStatistics.of(frozen).stages, axes.tuned), frozen.mean, frozen.std
        )
        seen = replace(parts, tuned=statistics_of(network, load_pictures(paths, SIZE)))
        inside = np.array([embedding.folds[sha256] == fold for sha256 in parts.sha256])
        moments = normal_moments(axes, seen.take(~inside))
        scorer = fit_scorer(axes, moments, embedding.fusion, embedding.rest_weight)
        held_out = seen.take(inside)
        expected[inside] = scorer.fusion.outputs(scorer.log_distances(*held_out.statistics))[:, 0]
    assert document["scores"] == pytest.approx(sorted(expected), rel=5e-3)


def test_depth_head_learns_what_the_head_alone_learns() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 20)).astype(np.float32)
    labels = np.repeat([0, 1], [30, 10])
    rows[labels == 1] += 2
    settings = TrainSection(steps=20, selection="all")
    which = np.arange(40) % 4 != 0
    learned = Learner(rows, labels, settings).learn(which, "learning")
    head, _ = learn_head(rows[which], labels[which], labels[which] == 0, settings, "learning")
    assert np.array_equal(learned.head.weight, head.weight)
    assert learned.tuned is None
    assert learned.rows is rows


def random_parts(count: int, first: int) -> Features:
    random = np.random.default_rng(first)
    shapes = ((count, 6), (count, 18), (count, 9, 18), (count, 4, 8))
    context, whole, windows, places = (random.normal(size=shape).astype(np.float32) for shape in shapes)
    paths = tuple(Path(str(first + number)) for number in range(count))
    return Features(paths, tuple(map(str, paths)), context, whole, windows, places)


def test_each_fold_and_each_hidden_kind_is_judged_by_a_learner_that_never_saw_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What every run of the cross-fit was given to learn from, noted down."""
    labels = np.repeat([0, 1, 2], [20, 4, 4])
    given: list[np.ndarray] = []
    learn = Learner.learn

    def noting(self: Learner, which: np.ndarray, what: str) -> Learned:
        given.append(which)
        return learn(self, which, what)

    monkeypatch.setattr(Learner, "learn", noting)
    monkeypatch.setattr("train.head.require_learned", lambda *_: None)  # there is nothing to learn in noise
    settings = TrainSection(steps=3, folds=2, selection="all")
    crossed = cross_fit(random_parts(20, 0), random_parts(8, 100), labels, None, settings)
    assert hidden_kinds(labels, 2) == {0: (1,), 1: (2,)}
    assert len(given) == 4
    for fold, (seen, blind) in enumerate(zip(given[::2], given[1::2], strict=True)):
        assert np.array_equal(seen[:20], crossed.normal_fold != fold)
        assert 0 < seen[20:].sum() < 8
        assert np.array_equal(blind, seen & (labels != fold + 1))


def test_without_defects_it_is_refused_before_the_work(senbetsu, parts_folder: Path, tmp_path: Path) -> None:
    done = senbetsu("train", "--normal", parts_folder / "train", "--artifacts", tmp_path, "--depth", "all")
    assert done.status == 2
    assert (
        "--depth all: fine-tuning learns by contrast, and there are no defects; show some with --defects" in done.stderr
    )
    assert not list(tmp_path.iterdir())
