"""The verdict on a part, and why: the reasons as one table, and the one comparison that decides.

    reject = not (score <= threshold)

so that a NaN, which compares false with everything, rejects.
"""

import math
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """What becomes of a part."""

    PASS = "PASS"
    REJECT = "REJECT"


class Reason(IntEnum):
    """Why. The numbers are part of the PLC contract: fixed, never reused. Only OK passes."""

    NONE = 0
    OK = 1
    ANOMALY = 2
    NO_FRAME = 3
    INCOMPLETE_FRAME = 4
    NO_PART = 5
    DEADLINE = 6
    NONFINITE = 7
    MODEL_FAULT = 8
    CAMERA_FAULT = 9
    OVERLOAD = 10
    NOT_READY = 11
    OUT_OF_STEP = 12
    MISSED = 13
    LOST = 14
    LINK = 15
    RECIPE = 16
    SIMULATED = 17
    BAD_TRIGGER = 18


REASON_MEANINGS: dict[Reason, str] = {
    Reason.NONE: "no result yet",
    Reason.OK: "the score is at or under the threshold",
    Reason.ANOMALY: "the score is over the threshold: the part lies too far from the normal ones",
    Reason.NO_FRAME: "no frame came for the trigger",
    Reason.INCOMPLETE_FRAME: "the frame was incomplete or unreadable",
    Reason.NO_PART: "no part was seen in the frame",
    Reason.DEADLINE: "the verdict did not come in time",
    Reason.NONFINITE: "the score was not a finite number",
    Reason.MODEL_FAULT: "the engine failed",
    Reason.CAMERA_FAULT: "the camera failed",
    Reason.OVERLOAD: "more parts came than could be looked at",
    Reason.NOT_READY: "the line was not ready or not enabled",
    Reason.OUT_OF_STEP: "triggers and frames no longer match one to one",
    Reason.MISSED: "the trigger was never seen; a later one shows that it was sent",
    Reason.LOST: "the result was lost on its way",
    Reason.LINK: "the link to the daemon failed",
    Reason.RECIPE: "another recipe was asked for than the active one",
    Reason.SIMULATED: "the frame was simulated and simulated parts may not pass here",
    Reason.BAD_TRIGGER: "the trigger was malformed or its number out of order",
}


def decide(score: float, threshold: float) -> tuple[Verdict, Reason]:
    """The verdict on one score.

    Args:
        score: distance from the normal parts, >= 0; 1 is about what a typical normal part has. No unit.
        threshold: calibrated; the largest score that still passes.

    Returns:
        PASS with OK, or REJECT with ANOMALY, or REJECT with NONFINITE where either number is not finite.
    """
    if not (math.isfinite(score) and math.isfinite(threshold)):
        return Verdict.REJECT, Reason.NONFINITE
    if not (score <= threshold):
        return Verdict.REJECT, Reason.ANOMALY
    return Verdict.PASS, Reason.OK
