"""Drift: the false alarms are as rare as stated, by simulation; what has drifted is told, and how."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from senbetsu.distribution import ScoreDistribution
from senbetsu.drift import (
    LENGTHS,
    MOST_EVIDENCE,
    DriftDetector,
    Expected,
)

N, K, WINDOW, FALSE_ALARM_PARTS = 200, 198, 100, 2000


@pytest.fixture(scope="module")
def expected() -> Expected:
    """For any calibration of N scores: what is expected depends on the ranks alone."""
    return Expected.of(ScoreDistribution.of(np.arange(1.0, N + 1).tolist(), K), WINDOW, FALSE_ALARM_PARTS)


def calibrated(expected: Expected, random: np.random.Generator) -> Expected:
    """The same for a calibration of scores that were drawn."""
    return replace(expected, distribution=ScoreDistribution.of(random.lognormal(0, 0.2, N).tolist(), K))


def see_all(detector: DriftDetector, scores: np.ndarray) -> None:
    threshold = detector.expected.distribution.upper_edges[-1]
    for score in scores.tolist():
        detector.see(score, passed=score <= threshold)


def evidence_of(detector: DriftDetector, test: str) -> np.ndarray:
    """(H,) of each length's running window."""
    first = detector.expected.first_shape
    own = detector._evidence[:, :first] if test == "level" else detector._evidence[:, first:]
    return own.mean(1)


counts = st.lists(st.integers(1, 30), min_size=1, max_size=20)


@settings(deadline=None)
@given(counts=counts, data=st.data())
def test_while_nothing_drifts_the_next_part_leaves_the_evidence_as_it_is_on_average(
    counts: list[int], data: st.DataObject
) -> None:
    """A martingale, whatever came before: then Ville's inequality bounds the chance of a false alarm."""
    c = np.array(counts, float)
    expected = Expected.of(ScoreDistribution(tuple(range(1, len(c) + 1)), tuple(counts), sum(counts)), 50, 1000)
    seen = np.array(data.draw(st.lists(st.integers(0, 500), min_size=len(c), max_size=len(c))), float)
    chance = (c + seen) / (c + seen).sum()
    assert (expected.urns > 0).all()
    np.testing.assert_allclose(((expected.urns + seen) / (c + seen)) @ chance, 1, rtol=1e-12)


@settings(deadline=None)
@given(parts=st.lists(st.floats(0, 1.5), min_size=1, max_size=120), seed=st.integers(0, 99))
def test_the_evidence_is_the_ratio_of_two_dirichlet_multinomial_likelihoods(parts: list[float], seed: int) -> None:
    """In closed form, by log-gamma; so the order within a window does not matter."""
    expected = Expected.of(ScoreDistribution.of(np.random.default_rng(seed).random(60).tolist(), 57), 500, 100_000)
    detector = DriftDetector(expected)
    see_all(detector, np.array(parts))
    edges = np.array(expected.distribution.upper_edges)
    passed = np.array([part for part in parts if part <= edges[-1]])
    seen = np.bincount(np.searchsorted(edges, passed), minlength=len(edges))

    def log_likelihood(balls: np.ndarray) -> np.ndarray:
        k = balls.sum(-1)
        return (gammaln(balls + seen) - gammaln(balls)).sum(-1) + gammaln(k) - gammaln(k + seen.sum())

    exact = np.exp(log_likelihood(expected.urns) - log_likelihood(np.array(expected.distribution.counts, float)))
    np.testing.assert_allclose(detector._evidence, np.tile(exact, (LENGTHS, 1)), rtol=1e-8)


def test_undrifted_parts_alarm_as_rarely_as_stated(expected: Expected) -> None:
    """The calibration is drawn anew each time: an unlucky one makes several windows of its own alarm."""
    random = np.random.default_rng(1)
    parts, calibrations = 1600, 60
    false: dict[str, list[int]] = {"level": [], "shape": []}
    for _ in range(calibrations):
        detector = DriftDetector(calibrated(expected, random))
        raised = dict.fromkeys(false, 0)
        for score in random.lognormal(0, 0.2, parts).tolist():
            before = set(detector.alarms)
            detector.see(score, passed=score <= detector.expected.distribution.upper_edges[-1])
            for test in raised:
                raised[test] += test in set(detector.alarms) - before
        for test, alarms in raised.items():
            false[test].append(alarms)
    for alarms in false.values():
        error = np.std(alarms) / np.sqrt(calibrations)
        assert 0 < np.mean(alarms) <= parts / (4 * FALSE_ALARM_PARTS) + 3 * error


@settings(deadline=None)
@given(
    scores=st.lists(
        st.sampled_from([0.5, 0.7, 0.7, 0.9, 1.0, 1.1, 1.5, 2.5]) | st.floats(0.1, 9), min_size=1, max_size=90
    ),
    data=st.data(),
)
def test_every_passed_score_is_counted_in_the_bin_that_it_falls_into(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    distribution = ScoreDistribution.of(scores, k)
    threshold = sorted(scores)[k - 1]
    passed = sorted(scores)[:k]
    assert distribution.upper_edges[-1] == threshold
    assert (distribution.k, distribution.n) == (k, len(scores))
    counted = np.bincount([distribution.bin_of(score) for score in passed], minlength=len(distribution.counts))
    assert tuple(counted) == distribution.counts


@pytest.mark.parametrize("factor", [1.15, 0.85])
def test_scores_that_creep_alarm_in_the_first_windows_and_tell_the_direction(expected: Expected, factor: float) -> None:
    random = np.random.default_rng(3)
    detector = DriftDetector(calibrated(expected, random))
    see_all(detector, factor * random.lognormal(0, 0.2, 5 * WINDOW))
    assert "level" in detector.alarms
    assert detector.alarms["level"] == f"scores are {'higher' if factor > 1 else 'lower'} than calibrated"
    assert (detector.mean_rank > 0.5) == (factor > 1)
    assert detector.psi > 0.1


def test_a_camera_that_shows_one_picture_alarms_by_its_shape_before_a_window_is_over(expected: Expected) -> None:
    random = np.random.default_rng(4)
    detector = DriftDetector(calibrated(expected, random))
    see_all(detector, np.ones(WINDOW // 2))
    assert "shape" in detector.alarms
    assert detector.windows == 0
    assert detector.p_values["shape"] <= LENGTHS / expected.limits[0]


def test_a_small_drift_that_no_short_window_sees_is_seen_by_a_longer_one() -> None:
    """A tenth of a standard deviation."""
    random = np.random.default_rng(9)
    distribution = ScoreDistribution.of(random.normal(size=20_000).tolist(), 19_900)
    detector = DriftDetector(Expected.of(distribution, 250, 1_000_000))
    raised_by = -1
    for score in random.normal(0.1, 1, 16_000).tolist():
        if detector.see(score, passed=score <= distribution.upper_edges[-1]) and "level" in detector.alarms:
            raised_by = int(np.argmax(evidence_of(detector, "level") >= detector.expected.limits))
            break
    assert detector.alarms["level"] == "scores are higher than calibrated"
    assert raised_by >= 2


def test_far_drift_for_long_keeps_the_evidence_finite(expected: Expected) -> None:
    detector = DriftDetector(expected)
    see_all(detector, np.full(20 * WINDOW, 1.0))
    assert evidence_of(detector, "shape").max() <= MOST_EVIDENCE
    assert "shape" in detector.alarms


def test_nothing_rejected_for_too_long_is_an_alarm_until_the_next_reject(expected: Expected) -> None:
    random = np.random.default_rng(5)
    own = calibrated(expected, random)
    detector = DriftDetector(own)
    draws = random.lognormal(0, 0.2, 3 * own.patience)
    passed = draws[draws <= own.distribution.upper_edges[-1]][: own.patience]
    see_all(detector, passed[:-1])
    assert "few_rejects" not in detector.alarms
    assert detector.see(float(passed[-1]), passed=True)
    assert detector.alarms["few_rejects"] == f"{own.patience} parts in a row without a reject"
    assert detector.see(9.0, passed=False)
    assert "few_rejects" not in detector.alarms


def test_most_parts_rejected_is_an_alarm_before_a_window_has_passed(expected: Expected) -> None:
    detector = DriftDetector(expected)
    assert expected.impatience == WINDOW
    for number in range(1, 2 * WINDOW + 1):
        changed = detector.see(9.0 if number % 2 else 0.0, passed=number % 2 == 0)
        if number == 2 * WINDOW - 1:
            assert changed
            assert detector.alarms["many_rejects"] == "most parts are rejected"
    assert detector.p_values["many_rejects"] <= WINDOW / (4 * FALSE_ALARM_PARTS)
    # A whole window that passes ends it.
    for _ in range(WINDOW):
        detector.see(50.0, passed=True)
    assert "many_rejects" not in detector.alarms


def parts_until(detector: DriftDetector, scores: np.ndarray, *, alarmed: bool) -> int | None:
    """Parts until level or shape alarm, or none of them does any more."""
    threshold = detector.expected.distribution.upper_edges[-1]
    for number, score in enumerate(scores.tolist(), 1):
        detector.see(score, passed=score <= threshold)
        if ({"level", "shape"} & set(detector.alarms) != set()) is alarmed:
            return number
    return None


@pytest.mark.parametrize("shift", [0.15, 0.6])
def test_an_alarm_ends_with_some_times_as_many_good_parts_as_raised_it(shift: float) -> None:
    """In standard deviations of the scores. The window that raised it may be of 16 000, and still hold the drift."""
    random = np.random.default_rng(6)
    raised, ended = [], []
    for _ in range(6):
        distribution = ScoreDistribution.of(random.normal(size=20_000).tolist(), 19_900)
        detector = DriftDetector(Expected.of(distribution, 250, 1_000_000))
        took = parts_until(detector, random.normal(shift, 1, 20_000), alarmed=True)
        over = parts_until(detector, random.normal(size=20_000), alarmed=False)
        assert took is not None
        assert over is not None
        raised.append(took)
        ended.append(over)
        assert detector.p_values["level"] == detector.p_values["shape"] == 1
        assert detector._counts.sum() == 0, "what was before is forgotten"
    assert np.median(ended) < 8 * np.median(raised)
    assert max(ended) < 16_000


@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_an_alarm_lasts_while_the_drift_does(shift: float) -> None:
    random = np.random.default_rng(7)
    for _ in range(8):
        distribution = ScoreDistribution.of(random.normal(size=20_000).tolist(), 19_900)
        detector = DriftDetector(Expected.of(distribution, 250, 1_000_000))
        assert parts_until(detector, random.normal(shift, 1, 20_000), alarmed=True)
        assert parts_until(detector, random.normal(shift, 1, 5000), alarmed=False) is None


def test_an_alarm_that_ends_leaves_the_count_of_rejects_alone(expected: Expected) -> None:
    random = np.random.default_rng(6)
    own = calibrated(expected, random)
    detector = DriftDetector(own)
    see_all(detector, np.full(WINDOW // 2, own.distribution.upper_edges[0]))
    assert {"level", "shape"} <= set(detector.alarms)
    for _ in range(5):
        detector.see(9.0, passed=False)
    edges, counts = own.distribution.upper_edges, own.distribution.counts
    assert parts_until(detector, random.permutation(np.repeat(edges, counts)), alarmed=False)
    assert detector._rejected in (0, 5)
    assert detector._passed > WINDOW // 2


def test_constant_scores_make_one_bin_and_never_alarm_by_level_or_shape() -> None:
    expected = Expected.of(ScoreDistribution.of([1.0] * 50, 50), 50, 2000)
    detector = DriftDetector(expected)
    see_all(detector, np.ones(100))
    assert detector.windows == 2
    assert not {"level", "shape"} & set(detector.alarms)


@pytest.mark.parametrize(
    ("edges", "counts", "n"),
    [((), (), 5), ((1.0, 1.0), (2, 2), 5), ((1.0, 2.0), (2,), 5), ((1.0, float("nan")), (2, 2), 5), ((1.0,), (6,), 5),
     ((1.0, 2.0), (0, 2), 5)],
)  # fmt: skip
def test_a_distribution_that_cannot_be_one_is_refused(edges: tuple, counts: tuple, n: int) -> None:
    with pytest.raises(ValueError, match="upper_edges"):
        ScoreDistribution(edges, counts, n)
