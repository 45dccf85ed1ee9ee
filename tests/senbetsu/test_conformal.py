"""The claim against the Beta distribution, against known numbers, and against simulated lines."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from senbetsu.conformal import (
    bad_at_most,
    bound_of_rank,
    parts_for_bound,
    parts_for_rate,
    percent,
    proportion_interval,
    rank_for_bound,
    rank_for_rate,
    rate_of_rank,
    threshold_at,
)
from senbetsu.errors import UserError
from senbetsu.promise import PromiseError, make_claim


def test_the_known_numbers_of_parts() -> None:
    assert [parts_for_bound(rate, 0.95) for rate in (0.01, 0.005, 0.001)] == [299, 598, 2995]
    assert [parts_for_rate(rate) for rate in (0.05, 0.01, 0.001)] == [19, 99, 999]


@given(st.integers(1, 3000), st.sampled_from([0.05, 0.02, 0.01, 0.001, 0.0007, 0.3]))
@settings(deadline=None)
def test_the_expected_rate_is_kept_by_the_smallest_rank_that_keeps_it(n: int, rate: float) -> None:
    k = rank_for_rate(n, rate)
    assert 1 - k / (n + 1) <= rate + 1e-12
    assert 1 - (k - 1) / (n + 1) > rate - 1e-12
    assert (k <= n) == (n >= parts_for_rate(rate))


@given(st.integers(1, 2000), st.sampled_from([0.05, 0.02, 0.01]), st.sampled_from([0.9, 0.95, 0.99]))
@settings(deadline=None, max_examples=60)
def test_the_bound_is_kept_by_the_smallest_rank_that_keeps_it(n: int, rate: float, confidence: float) -> None:
    k = rank_for_bound(n, rate, confidence)
    assert (k <= n) == (n >= parts_for_bound(rate, confidence))
    if k <= n:
        assert beta.cdf(rate, n - k + 1, k) >= confidence - 1e-9
        if k > 1:
            assert beta.cdf(rate, n - k + 2, k - 1) < confidence


def test_simulated_lines_reject_as_the_beta_distribution_says() -> None:
    n, k, lines = 120, 118, 4000
    random = np.random.default_rng(0)
    thresholds = np.sort(random.uniform(size=(lines, n)), axis=1)[:, k - 1]
    rates = 1 - thresholds  # of a uniform score, the share above the threshold
    expected = (n - k + 1) / (n + 1)
    assert rates.mean() == pytest.approx(expected, abs=4 * rates.std() / math.sqrt(lines))
    over = (rates > bound_of_rank(n, k, 0.95)).mean()
    assert over == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / lines))


def test_a_promise_without_support_says_what_is_needed_missing_and_possible() -> None:
    with pytest.raises(PromiseError, match=r"needs 2995 .* found 211, 2784 are missing.*at most 1\.41 %"):
        make_claim(211, 211, 0.001, 0.95)
    with pytest.raises(PromiseError, match=r"needs 999 .* found 211, 788 are missing.* 0\.472 %"):
        make_claim(211, 211, 0.001, None)


def test_asked_for_nothing_it_takes_one_percent_expected() -> None:
    claim, warnings = make_claim(211, 900, None, None)
    assert (claim.method, claim.n, claim.k, claim.promised) == ("split", 211, 210, "expected")
    assert warnings == []


def test_asked_for_nothing_with_few_parts_it_takes_the_tightest_and_warns() -> None:
    claim, warnings = make_claim(20, 20, None, None)
    assert (claim.method, claim.n, claim.k) == ("split", 20, 20)
    assert claim.expected_rate == pytest.approx(1 / 21)
    assert "show 79 more" in warnings[0]


def test_parts_that_serve_twice_answer_for_twice_the_rate_and_no_bound() -> None:
    claim, warnings = make_claim(0, 8, None, None)
    assert (claim.method, claim.n, claim.k) == ("cross", 8, 8)
    assert claim.guaranteed_rate == pytest.approx(2 / 9)
    assert claim.bound is None
    assert any("served twice" in warning for warning in warnings)
    with pytest.raises(PromiseError, match="were trained on and do not count"):
        make_claim(0, 5000, 0.01, 0.95)
    assert make_claim(0, 199, 0.01, None)[0].k == 199
    with pytest.raises(PromiseError):
        make_claim(0, 198, 0.01, None)


def test_no_parts_at_all_are_refused() -> None:
    with pytest.raises(PromiseError, match="no normal parts"):
        make_claim(0, 0, None, None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.data())
def test_the_threshold_lets_k_parts_pass_even_with_ties(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    threshold = threshold_at(scores, k)
    assert threshold in scores
    assert sum(score <= threshold for score in scores) >= k
    assert sum(score < threshold for score in scores) < k


def test_a_threshold_that_is_not_finite_is_refused() -> None:
    with pytest.raises(UserError, match="no finite score"):
        threshold_at([1.0, math.inf], 2)
    with pytest.raises(UserError, match="no finite score"):
        threshold_at([math.nan], 1)


def test_shares_are_rounded_up_since_they_are_promises() -> None:
    assert [percent(rate) for rate in (0.0, 0.01, 0.00943, 0.0094301, 2 / 9, 1.0)] == [
        "0 %", "1 %", "0.943 %", "0.944 %", "22.3 %", "100 %",
    ]  # fmt: skip


def test_the_interval_of_a_proportion_covers_as_often_as_it_says() -> None:
    assert proportion_interval(0, 0) == (0.0, 1.0)
    assert proportion_interval(0, 10)[0] == 0.0
    assert proportion_interval(10, 10)[1] == 1.0
    random = np.random.default_rng(1)
    seen = random.binomial(60, 0.2, 2000)
    covered = [low <= 0.2 <= high for low, high in (proportion_interval(int(x), 60) for x in seen)]
    assert np.mean(covered) >= 0.95


shares = st.sampled_from([0.0, 0.003, 0.01, 0.05, 0.1])


@given(st.integers(1, 1500), st.sampled_from([0.3, 0.1, 0.05, 0.01]), shares)
@settings(deadline=None)
def test_with_bad_parts_among_them_the_rank_is_still_the_smallest_that_keeps_the_rate(
    n: int, rate: float, share: float
) -> None:
    bad = bad_at_most(n, share)
    k = rank_for_rate(n, rate, bad)
    assert rate_of_rank(n, k, bad) <= rate + 1e-12
    assert rate_of_rank(n, k - 1, bad) > rate - 1e-12
    assert rank_for_rate(n, rate) <= k


@pytest.mark.parametrize(("rate", "share"), [(0.05, 0.01), (0.1, 0.05), (0.02, 0.01), (0.05, 0.0), (0.2, 0.1)])
def test_the_number_of_parts_needed_is_the_first_that_supports_the_promise(rate: float, share: float) -> None:
    def supports(n: int) -> bool:
        bad = bad_at_most(n, share)
        return rank_for_rate(n, rate, bad) <= n - bad

    needed = parts_for_rate(rate, share)
    assert needed == next(n for n in range(1, 5000) if supports(n))

    def bounds(n: int) -> bool:
        bad = bad_at_most(n, share)
        return rank_for_bound(n, rate, 0.95, bad) <= n - bad

    needed = parts_for_bound(rate, 0.95, share)
    assert needed is not None
    assert bounds(needed)
    assert not any(bounds(n) for n in range(1, min(needed, 400)))


def test_where_as_many_may_be_bad_as_may_be_rejected_no_number_of_parts_helps() -> None:
    assert parts_for_rate(0.01, 0.05) is None
    assert parts_for_bound(0.01, 0.95, 0.05) is None
    with pytest.raises(PromiseError, match=r"not supported by any number .*confirmed-bad"):
        make_claim(500, 500, 0.01, None, contamination=0.05)


@pytest.mark.parametrize("where", ["below", "above", "mixed"])
def test_wherever_bad_parts_score_the_promise_to_good_ones_is_kept(where: str) -> None:
    n, share, lines = 200, 0.05, 4000
    claim, _ = make_claim(n, n, 0.08, None, contamination=share)
    assert claim.suspects == 10
    random = np.random.default_rng(3)
    scores = random.uniform(size=(lines, n))
    bad = {"below": np.full((lines, 10), -1.0), "above": np.full((lines, 10), 2.0)}.get(where)
    scores[:, :10] = random.uniform(size=(lines, 10)) if bad is None else bad
    rates = 1 - np.clip(np.sort(scores, axis=1)[:, claim.k - 1], 0, 1)
    tolerance = 4 * rates.std() / math.sqrt(lines)
    assert rates.mean() <= claim.expected_rate + tolerance
    assert claim.bound is not None
    assert (rates > claim.bound).mean() <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / lines)
    if where == "below":  # the worst case that the promise is made for
        assert rates.mean() == pytest.approx(claim.expected_rate, abs=tolerance)
    if where == "above":
        assert rates.mean() == pytest.approx(claim.rate_if_suspects_are_bad, abs=tolerance)


def test_suspects_do_not_set_the_threshold_and_both_readings_are_told() -> None:
    claim, warnings = make_claim(133, 133, None, None, contamination=0.01)
    assert (claim.n, claim.k, claim.suspects) == (133, 132, 1)
    assert claim.expected_rate == pytest.approx(2 / 133)
    assert claim.rate_if_suspects_are_bad == pytest.approx(1 / 133)
    assert "even if up to 1 of the 133 are bad" in claim.sentence()
    assert (
        "expected, if all 1 suspects are bad and no other part is (look at them)",
        "at most 0.752 %",
    ) in claim.readings()
    assert "while 1 of them may be bad" in warnings[0]


@pytest.mark.parametrize("n", range(1, 10))
def test_a_handful_of_parts_claims_no_more_than_their_maximum_says(n: int) -> None:
    claim, warnings = make_claim(n, n, None, None)
    assert (claim.k, claim.expected_rate) == (n, pytest.approx(1 / (n + 1)))
    assert claim.bound == pytest.approx(1 - 0.05 ** (1 / n))
    assert f"show {99 - n} more" in warnings[0]
    with pytest.raises(PromiseError, match=f"needs 99 .* found {n}, {99 - n} are missing"):
        make_claim(n, n, 0.01, None)


@pytest.mark.parametrize("tied", [0.5, 0.9, 1.0])
def test_ties_and_constant_scores_reject_fewer_than_promised(tied: float) -> None:
    """One-sided data: a share of the parts has the lowest score there is."""
    n, lines = 60, 2000
    claim, _ = make_claim(n, n, 0.05, None)
    random = np.random.default_rng(4)
    scores = np.maximum(random.uniform(size=(lines, n)), tied)
    thresholds = np.array([threshold_at(row, claim.k) for row in scores])
    rates = np.where(thresholds <= tied, 1 - tied, 1 - thresholds)
    rates = np.where(thresholds >= 1, 0, rates)
    assert rates.mean() <= claim.expected_rate + 4 * rates.std() / math.sqrt(lines)
    if tied == 1.0:
        assert rates.max() == 0
