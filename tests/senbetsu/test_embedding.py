"""What `train` and `calibrate` leave behind comes back as it was: every tensor, and every constant of the graph."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from senbetsu.artifacts import load_artifact, save_artifact
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.conformal import Claim
from senbetsu.embedding import (
    Axes,
    Embedding,
    NormalMoments,
    fit_scorer,
    load_embedding,
    normal_moments,
    save_embedding,
)
from senbetsu.errors import ArtifactError
from senbetsu.features import Features
from senbetsu.places import PlaceFrame
from senbetsu.profile import Profile, load_profile, save_profile
from senbetsu.scoring import Fusion, Head

CHANNELS, PLACES, VALUES = 20, 16, 40


def parts(seed: int, count: int) -> Features:
    random = np.random.default_rng(seed)
    shapes = ((CHANNELS,), (3 * CHANNELS,), (9, 3 * CHANNELS), (PLACES, VALUES))
    context, whole, windows, places = (random.normal(3, 2, (count, *shape)).astype(np.float32) for shape in shapes)
    names = tuple(f"{seed}-{number}" for number in range(count))
    return Features(tuple(map(Path, names)), names, context, whole, windows, places.astype(np.float16))


def random_axes(seed: int, count: int) -> Axes:
    random = np.random.default_rng(seed)
    head = Head(random.normal(size=(64, 4 * CHANNELS)).astype(np.float32), random.normal(size=64).astype(np.float32))
    some = parts(seed, count)
    return Axes(head, PlaceFrame.of(some.context, some.places))


@pytest.fixture(scope="module")
def embedding() -> Embedding:
    """The axes of its folds have fewer directions of context than its own, as with fewer parts they do."""
    axes = random_axes(1, 40)
    folds = random_axes(2, 30), random_axes(3, 27)
    assert len({a.frame.context_map.shape for a in (axes, *folds)}) == 3
    fusion = Fusion((0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8), (1.5, 0.25, 0.35, 0.4))
    return Embedding(
        find_backbone(ModelSection()), axes, folds, normal_moments(axes, parts(1, 40)), fusion, 0.3, {"a": 0, "b": 1}
    )


def assert_same_axes(a: Axes, b: Axes) -> None:
    for mine, other in ((a.head, b.head), (a.frame, b.frame)):
        for field in fields(mine):
            np.testing.assert_array_equal(getattr(mine, field.name), getattr(other, field.name))


def assert_same_moments(a: NormalMoments, b: NormalMoments, rtol: float) -> None:
    for statistic in fields(a):
        mine, other = getattr(a, statistic.name), getattr(b, statistic.name)
        for field in fields(mine):
            expected = np.asarray(getattr(other, field.name))
            scale = float(np.abs(expected).max())
            np.testing.assert_allclose(getattr(mine, field.name), expected, rtol=rtol, atol=rtol * scale)


def test_an_embedding_comes_back_with_every_tensor(tmp_path: Path, embedding: Embedding) -> None:
    sha256 = save_embedding(tmp_path, embedding, {})
    found = load_embedding(tmp_path)
    assert (found.sha256, found.folds, found.backbone) == (sha256, embedding.folds, embedding.backbone)
    assert (found.fusion, found.rest_weight) == (embedding.fusion, embedding.rest_weight)
    assert_same_axes(found.axes, embedding.axes)
    assert len(found.fold_axes) == 2
    for mine, other in zip(found.fold_axes, embedding.fold_axes, strict=True):
        assert_same_axes(mine, other)
    assert_same_moments(found.moments, embedding.moments, 1e-6)
    # Kept in single precision: it must not show in a distance.
    logs = [
        fit_scorer(e.axes, e.moments, e.fusion, e.rest_weight).log_distances(*parts(5, 12).statistics)
        for e in (found, embedding)
    ]
    np.testing.assert_allclose(logs[0], logs[1], atol=1e-3)


def test_a_profile_comes_back_with_every_constant_of_the_graph(tmp_path: Path, embedding: Embedding) -> None:
    saved = replace(embedding, sha256=save_embedding(tmp_path, embedding, {}))
    scorer = fit_scorer(saved.axes, saved.moments, saved.fusion, saved.rest_weight)
    claim = Claim("split", 110, 110, 0.009, 0.03, 0.95, "expected")
    profile = Profile(scorer, 1.7, claim, 224, "openvino", "fp32", saved.sha256, 1)
    save_profile(tmp_path, profile, {})
    found = load_profile(tmp_path, load_embedding(tmp_path))
    assert (found.threshold, found.claim, found.recipe) == (profile.threshold, profile.claim, profile.recipe)
    for name, mine, other in zip(scorer.constants()._fields, found.scorer.constants(), scorer.constants(), strict=True):
        assert np.array_equal(mine, other), name
    np.testing.assert_allclose(
        found.scorer.log_distances(*parts(6, 12).statistics), scorer.log_distances(*parts(6, 12).statistics), atol=1e-4
    )


@pytest.mark.parametrize("name", ["rest_weight", "axes.frame.directions", "moments.places.cross", "fusion"])
def test_a_missing_tensor_is_an_error_that_says_what_to_do(tmp_path: Path, embedding: Embedding, name: str) -> None:
    save_embedding(tmp_path, embedding, {})
    tensors, document = load_artifact(tmp_path, "embedding", "train")
    del tensors[name]
    kept = {key: value for key, value in document.items() if key not in ("schema", "kind", "sha256")}
    save_artifact(tmp_path, "embedding", tensors, kept)
    with pytest.raises(ArtifactError, match=r"incomplete .* run `senbetsu train` again"):
        load_embedding(tmp_path)


def test_moments_of_two_sets_are_those_of_both_together() -> None:
    axes = random_axes(1, 40)
    both = Features.joined([parts(7, 9), parts(8, 14)])
    merged = normal_moments(axes, parts(7, 9)).merged(normal_moments(axes, parts(8, 14)))
    assert merged.count == 23
    assert_same_moments(merged, normal_moments(axes, both), 2e-6)
