"""False rejects against defects found: every row counted anew, and the rate that sets it."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluate.trade import RATES, curve, rate_to_ask_for, trade
from senbetsu.conformal import proportion_interval, threshold_at
from senbetsu.pictures import PictureScore
from senbetsu.promise import make_claim


def pictures(scores) -> list[PictureScore]:
    return [PictureScore(Path("a"), score, score, score, "cut off" if math.isnan(score) else None) for score in scores]


def some(seed: int = 0):
    random = np.random.default_rng(seed)
    normals = random.lognormal(0, 0.2, 300).tolist()
    defects = {"hole": random.lognormal(0.6, 0.3, 60).tolist(), "scratch": random.lognormal(0.3, 0.3, 7).tolist()}
    return normals, defects


def test_every_row_is_what_counting_gives() -> None:
    normals, defects = some()
    rows = trade(pictures(normals), {k: pictures(v) for k, v in defects.items()}, 1.4, normals, "split")
    assert [row.threshold for row in rows] == sorted((row.threshold for row in rows), reverse=True)
    assert [row.calibrated for row in rows if row.threshold == 1.4] == [True]
    assert sum(row.calibrated for row in rows) == 1
    for row in rows:
        for share, scores in [(row.normal, normals), *((row.kinds[kind], defects[kind]) for kind in defects)]:
            count = sum(score > row.threshold for score in scores)
            assert (share.rejected, share.parts, share.rate) == (count, len(scores), count / len(scores))
            assert share.interval == proportion_interval(count, len(scores))
        assert row.defects.rejected == sum(share.rejected for share in row.kinds.values())


def test_the_rows_reject_the_round_shares_that_the_parts_can_tell_apart() -> None:
    normals, defects = some()
    rows = trade(pictures(normals), {"hole": pictures(defects["hole"])}, 1.4, normals, "split")
    seen = sorted(row.normal.rate for row in rows if not row.calibrated)
    assert seen == pytest.approx([math.floor(rate * 300) / 300 for rate in RATES if rate == 0 or rate * 300 >= 1])


def test_what_cannot_be_read_or_has_no_score_is_rejected_in_every_row() -> None:
    normals, _ = some()
    rows = trade(pictures([*normals, math.nan]), {"hole": pictures([math.inf, math.nan])}, 1.0, normals, "split")
    assert all(row.defects.rejected == 2 for row in rows)
    assert all(row.normal.rejected >= 1 for row in rows)
    whole = curve(pictures([*normals, math.nan]), {"hole": pictures([math.inf, math.nan])})
    assert whole.normal[-1] == pytest.approx(1 / 301)
    assert set(whole.defects) == {1.0}


@given(
    scores=st.lists(st.floats(0.1, 10).map(lambda x: round(x, 6)), min_size=30, max_size=200, unique=True),
    index=st.integers(0, 29),
)
def test_calibrate_sets_what_the_row_says_to_ask_for(scores: list[float], index: int) -> None:
    threshold = sorted(scores)[-1 - index]
    rate = rate_to_ask_for(scores, threshold, "split")
    if index == len(scores) - 1:
        return
    assert rate is not None
    claim, _ = make_claim(len(scores), len(scores), rate, None)
    near = [score for score in scores if score <= threshold + 1e-6]
    assert threshold_at(scores, claim.k) == max(near)


def test_a_threshold_beyond_all_calibration_scores_takes_more_parts() -> None:
    assert rate_to_ask_for([1.0, 2.0, 3.0], 3.5, "split") is None
    assert rate_to_ask_for([1.0, 2.0, 3.0], 0.5, "split") is None


def test_the_curve_falls_as_the_threshold_rises_and_counts_ties_as_passed() -> None:
    whole = curve(pictures([1.0, 1.0, 2.0]), {"a": pictures([2.0, 3.0])})
    assert whole.thresholds.tolist() == [1.0, 2.0, 3.0]
    assert whole.normal.tolist() == pytest.approx([1 / 3, 0, 0])
    assert whole.defects.tolist() == [1.0, 0.5, 0.0]
