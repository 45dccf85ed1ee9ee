"""What is fitted on which parts, against moments of exactly these; features are numbers, the engine is the reference."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import calibrate.parts
from calibrate.fit import Calibration
from calibrate.fitted import FittedPictures
from calibrate.kept import evenly
from calibrate.lots import hold_out
from calibrate.parts import Part, Parts
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.distributed import Group
from senbetsu.embedding import Axes, Embedding, fit_scorer, normal_moments
from senbetsu.engine import EngineChoice
from senbetsu.errors import UserError
from senbetsu.features import Features
from senbetsu.places import PlaceFrame
from senbetsu.promise import make_claim
from senbetsu.scoring import Fusion, Head, Scorer

SEEN, UNSEEN, FAR, FOLDS = 50, 30, 4, 4
"""Parts that were trained on, and not; the first FAR of each lie far from all others."""
FUSION = Fusion((0.0,) * 4, (1.0,) * 4, (0.2, 0.4, 0.3, 0.3))


def made() -> Features:
    random = np.random.default_rng(0)
    shapes = ((8,), (24,), (9, 24), (16, 12))
    context, whole, windows, places = (
        random.normal(size=(SEEN + UNSEEN, *shape)).astype(np.float32) for shape in shapes
    )
    for far in (slice(0, FAR), slice(SEEN, SEEN + FAR)):
        windows[far] += 6
        whole[far] += 6
    names = tuple(Path(str(number)) for number in range(SEEN + UNSEEN))
    return Features(names, tuple(map(str, names)), context, whole, windows, places.astype(np.float16))


FEATURES = made()
AXES = Axes(
    Head(np.random.default_rng(1).normal(size=(64, 32)).astype(np.float32), np.zeros(64, np.float32)),
    PlaceFrame.of(FEATURES.context, FEATURES.places),
)
PARTS = [Part(Path(str(n)), f"{n:064x}", n % FOLDS if n < SEEN else None, n) for n in range(SEEN + UNSEEN)]


@pytest.fixture(scope="module")
def embedding() -> Embedding:
    moments = normal_moments(AXES, FEATURES.take(np.arange(SEEN)))
    return Embedding(find_backbone(ModelSection()), AXES, (AXES,) * FOLDS, moments, FUSION, 1.0, {})


class Numbers(Calibration):
    """The product's, with pictures and engine taken away."""

    def _measured(self, chunks: Iterable[Sequence[Part]], _: Backbone) -> Iterator[tuple[Sequence[Part], Features]]:
        for chunk in chunks:
            yield chunk, FEATURES.take([number_of(part) for part in chunk])

    def _judged(
        self, scorer: Scorer, _: Backbone, chunks: Iterable[Sequence[Part]], __: int, ___: str
    ) -> Iterator[list[tuple[int, float]]]:
        for chunk in chunks:
            scores = scores_of(scorer, [number_of(part) for part in chunk])
            yield [(part.number, float(score)) for part, score in zip(chunk, scores, strict=True)]


@dataclass(frozen=True, slots=True)
class Found:
    """What a calibration left with the parts."""

    scorer: Scorer
    used: list[int]
    scores: NDArray[np.float64]
    suspects: list[tuple[int, float]]


def number_of(part: Part) -> int:
    return int(part.sha256, 16)


def scores_of(scorer: Scorer, numbers: Sequence[int]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = FUSION.outputs(scorer.log_distances(*FEATURES.take(numbers).statistics))[:, 0]
    return scores


def fitted_on(numbers: Sequence[int]) -> Scorer:
    return fit_scorer(AXES, normal_moments(AXES, FEATURES.take(numbers)), FUSION, 1.0)


def fitted(
    embedding: Embedding, shown: Sequence[Part], rate: float | None, share: float = 0.0, bad: Sequence[Part] = ()
) -> Found:
    unseen = sum(part.fold is None for part in shown)
    claim, _ = make_claim(unseen, len(shown), rate, None, contamination=share)
    group = Group(torch.device("cpu"))
    calibration = Numbers(embedding, EngineChoice("torch", "fp32", "cpu"), 1, group, FittedPictures(8, 0))
    parts = Parts()
    assert parts.add(shown) == len(shown)
    hold_out(parts, FOLDS, by_lot=False)
    found = calibration.fit_and_score(claim, parts, bad, share)
    used = list(parts.every(found.used))
    scores = {part.number: score for part, score in parts.farthest(found.used, len(used))}
    return Found(
        found.scorer, [number_of(part) for part in used], np.array([scores[part.number] for part in used]),
        [(number_of(part), score) for part, score in parts.farthest("suspect", len(shown))],
    )  # fmt: skip


def test_crossed_every_part_is_scored_by_a_model_without_its_fold(embedding: Embedding) -> None:
    found = fitted(embedding, PARTS[:SEEN], None)
    assert found.used == list(range(SEEN))
    assert found.suspects == []
    for fold in range(FOLDS):
        inside = [n for n in range(SEEN) if n % FOLDS == fold]
        without = fitted_on([n for n in range(SEEN) if n % FOLDS != fold])
        np.testing.assert_allclose(found.scores[inside], scores_of(without, inside), rtol=1e-4)
    np.testing.assert_allclose(
        scores_of(found.scorer, range(SEEN)), scores_of(fitted_on(range(SEEN)), range(SEEN)), rtol=1e-4
    )


def test_crossed_the_far_parts_are_the_suspects_and_move_nothing(embedding: Embedding) -> None:
    found = fitted(embedding, PARTS[:SEEN], None, FAR / SEEN)
    assert {number for number, _ in found.suspects} == set(range(FAR))
    assert [score for _, score in found.suspects] == sorted(found.scores, reverse=True)[:FAR]
    kept = range(FAR, SEEN)
    np.testing.assert_allclose(scores_of(found.scorer, range(SEEN)), scores_of(fitted_on(kept), range(SEEN)), rtol=1e-4)
    inside = [n for n in range(SEEN) if n % FOLDS == 1]
    without = fitted_on([n for n in kept if n % FOLDS != 1])
    np.testing.assert_allclose(found.scores[inside], scores_of(without, inside), rtol=1e-4)


def test_split_the_unseen_parts_set_the_threshold_and_the_suspects_among_the_seen_leave_the_moments(
    embedding: Embedding,
) -> None:
    share = 0.14
    found = fitted(embedding, PARTS, 0.2, share)
    assert found.used == list(range(SEEN, SEEN + UNSEEN))
    suspects = {number for number, _ in found.suspects}
    assert set(range(SEEN, SEEN + FAR)) | set(range(FAR)) <= suspects
    assert len(suspects) == FAR + int(share * SEEN)
    kept = [n for n in range(SEEN) if n not in suspects]
    np.testing.assert_allclose(found.scores, scores_of(fitted_on(kept), range(SEEN, SEEN + UNSEEN)), rtol=1e-4)


@pytest.mark.parametrize("crossed", [True, False])
def test_a_bad_part_that_was_trained_on_leaves_no_trace(embedding: Embedding, crossed: bool) -> None:
    bad, shown = PARTS[:FAR], PARTS[FAR:SEEN] if crossed else PARTS[SEEN + FAR :]
    found = fitted(embedding, shown, None if crossed else 0.2, bad=bad)
    everyone = range(SEEN + UNSEEN)
    np.testing.assert_allclose(
        scores_of(found.scorer, everyone), scores_of(fitted_on(range(FAR, SEEN)), everyone), rtol=1e-4
    )


def test_chunks_of_any_size_give_the_same(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(embedding, PARTS[:SEEN], None, FAR / SEEN)
    monkeypatch.setattr(calibrate.parts, "CHUNK", 7)
    pieces = fitted(embedding, PARTS[:SEEN], None, FAR / SEEN)
    np.testing.assert_allclose(pieces.scores, whole.scores, rtol=1e-5)
    assert [number for number, _ in pieces.suspects] == [number for number, _ in whole.suspects]


def test_too_few_parts_to_hold_a_fold_out_are_refused(embedding: Embedding) -> None:
    with pytest.raises(UserError, match=r"2 normal parts are too few .* since 1 are left where a fold is held out"):
        fitted(embedding, PARTS[:2], None)


@pytest.mark.parametrize(("count", "size", "processes"), [(0, 4, 2), (3, 4, 2), (17, 4, 3), (16, 8, 1)])
def test_processes_share_whole_chunks_and_leave_none_out(count: int, size: int, processes: int) -> None:
    shares = [Group(torch.device("cpu"), rank, processes).chunks(count, size) for rank in range(processes)]
    dealt = sorted((chunk.start, chunk.stop) for share in shares for chunk in share)
    assert dealt == [(start, min(start + size, count)) for start in range(0, count, size)]


@given(st.integers(1, 500), st.integers(2, 60))
def test_of_many_scores_evenly_spaced_ranks_are_kept(n: int, count: int) -> None:
    kept = evenly(n, count)
    assert len(set(kept)) == min(n, count)
    assert (kept[0], kept[-1]) == (1, n)
    assert np.ptp(np.diff(kept)) <= 1 if len(kept) > 1 else True
