"""The one comparison that decides."""

import math

from hypothesis import given
from hypothesis import strategies as st

from senbetsu.verdict import REASON_MEANINGS, Reason, Verdict, decide


@given(st.floats(), st.floats())
def test_only_a_finite_score_at_or_under_a_finite_threshold_passes(score: float, threshold: float) -> None:
    verdict, reason = decide(score, threshold)
    passes = math.isfinite(score) and math.isfinite(threshold) and score <= threshold
    assert (verdict is Verdict.PASS) == passes
    assert (reason is Reason.OK) == passes
    if not (math.isfinite(score) and math.isfinite(threshold)):
        assert reason is Reason.NONFINITE


def test_the_numbers_are_the_contract() -> None:
    assert {reason.name: reason.value for reason in Reason} == {
        "NONE": 0, "OK": 1, "ANOMALY": 2, "NO_FRAME": 3, "INCOMPLETE_FRAME": 4, "NO_PART": 5, "DEADLINE": 6,
        "NONFINITE": 7, "MODEL_FAULT": 8, "CAMERA_FAULT": 9, "OVERLOAD": 10, "NOT_READY": 11, "OUT_OF_STEP": 12,
        "MISSED": 13, "LOST": 14, "LINK": 15, "RECIPE": 16, "SIMULATED": 17, "BAD_TRIGGER": 18,
    }  # fmt: skip
    assert set(REASON_MEANINGS) == set(Reason)
