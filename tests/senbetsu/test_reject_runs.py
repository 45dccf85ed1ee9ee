"""Rejects in a row, or none: the chances are those of products, of scipy and of simulated lines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from senbetsu.reject_runs import many_rejected, none_rejected, patience_of

N, K = 200, 198


def test_rows_without_a_reject_alarm_as_rarely_as_stated() -> None:
    random = np.random.default_rng(2)
    stated = 3000
    patience = patience_of(N, K, stated)
    parts, lines = 20_000, 1500
    counts = []
    for _ in range(lines):
        rejected = np.flatnonzero(random.random(parts) < random.beta(N - K + 1, K))
        rows = np.diff(np.concatenate([[-1], rejected, [parts]])) - 1
        counts.append((rows >= patience).sum())
    error = np.std(counts) / np.sqrt(lines)
    assert 0.3 * parts / stated < np.mean(counts) <= parts / stated + 3 * error


@settings(deadline=None)
@given(n=st.integers(1, 400), short=st.integers(0, 3), parts=st.integers(0, 300))
def test_the_chance_of_no_reject_is_the_product_of_its_steps(n: int, short: int, parts: int) -> None:
    k = max(1, n - short)
    product = np.prod([(k + i) / (n + 1 + i) for i in range(parts)])
    assert none_rejected(n, k, parts) == pytest.approx(product, rel=1e-6)


@settings(deadline=None)
@given(n=st.integers(1, 3000), short=st.integers(0, 30), stated=st.integers(1000, 10**7))
def test_the_patience_is_the_least_that_keeps_its_rate(n: int, short: int, stated: int) -> None:
    k = max(1, n - short)

    def keeps(parts: int) -> bool:
        first = none_rejected(n, k, parts)
        return first <= parts / stated and first - none_rejected(n, k, parts + 1) <= 1 / stated

    patience = patience_of(n, k, stated)
    assert patience == stated or keeps(patience)
    assert patience == 1 or not keeps(patience - 1)


def test_the_chance_of_many_rejects_is_that_of_simulated_lines() -> None:
    """Three parts bear hardly any claim, so that it is not small."""
    random = np.random.default_rng(8)
    n, k, rejects, passes = 3, 2, 12, 10
    lines = 20_000
    rejected = random.random((lines, rejects + passes - 1)) < random.beta(n - k + 1, k, lines)[:, None]
    seen = (rejected.sum(1) >= rejects).mean()
    assert many_rejected(n, k, rejects, passes) == pytest.approx(seen, abs=3 * np.sqrt(0.25 / lines))


@pytest.mark.parametrize(("n", "k", "rejects", "passes"), [(3, 2, 12, 10), (200, 198, 100, 100), (20, 20, 800, 100)])
def test_the_chance_of_many_rejects_is_scipys(n: int, k: int, rejects: int, passes: int) -> None:
    expected = betabinom.sf(rejects - 1, rejects + passes - 1, n - k + 1, k)
    assert many_rejected(n, k, rejects, passes) == pytest.approx(expected, rel=1e-6, abs=1e-12)
