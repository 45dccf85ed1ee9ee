"""What the profile's JSON keeps of a calibration beside what judges, and what `--json` prints."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from calibrate.lots import Spread
from calibrate.parts import Part, Parts
from senbetsu import __version__
from senbetsu.profile import Profile

SCORES_KEPT = 10_000
"""In profile.json: of more, so many evenly spaced ranks, lowest and highest among them."""
PARTS_KEPT = 10_000
"""Content hashes in profile.json; `parts_sha256` is one hash over all of them, sorted, a line each."""
SUSPECTS_KEPT = 10_000
"""In profile.json, the highest scores."""


def details_of(
    parts: Parts,
    used: str,
    n: int,
    *,
    warnings: list[str],
    bad: Sequence[Part],
    int8_agreement: dict[str, float] | None,
    spread: Spread | None,
    group: str | None,
) -> dict[str, Any]:
    """The profile's JSON as far as it is an account of the calibration.

    Args:
        parts: all of them.
        used: which set the threshold; `n` of them.
        bad: those that a person found to be bad.
        int8_agreement: of the quantised engine with the unquantised one, if it is quantised.
        spread: over lots, told apart by `group`, if they are.
    """
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "warnings": warnings,
        "scores": [round(score, 6) for score in parts.scores_at(used, evenly(n, SCORES_KEPT))],
        "parts": [part.sha256 for part in islice(parts.every(used), PARTS_KEPT)],
        "parts_sha256": parts.content(used),
        "suspects": [
            {"path": str(part.path), "score": round(score, 6)}
            for part, score in parts.farthest("suspect", SUSPECTS_KEPT)
        ],
        "confirmed_bad": [str(part.path) for part in bad],
        "int8_agreement": int8_agreement,
        "lots": None if spread is None else {"group": group, **asdict(spread)},
    }


def evenly(n: int, count: int) -> list[int]:
    """At most `count` of the ranks 1 to n, evenly spaced, the first and the last included."""
    return [int(rank) for rank in np.linspace(1, n, min(n, count)).round()]


def summary(profile: Profile, sha256: str, details: dict[str, Any]) -> dict[str, Any]:
    """What `--json` prints: the claim with all its numbers, and the profile's JSON but for the lists of parts."""
    claim = profile.claim
    return {
        "claim": claim.sentence(),
        **asdict(claim),
        "guaranteed_rate": claim.guaranteed_rate,
        "threshold": profile.threshold,
        "model_sha256": profile.model_sha256,
        "profile_sha256": sha256,
        "engine": {
            "kind": profile.engine_kind,
            "precision": profile.precision,
            "int8_sha256": profile.quantised_sha256 or None,
        },
        "input_size": profile.input_size,
        "recipe": profile.recipe,
        **{key: value for key, value in details.items() if key not in ("scores", "parts")},
    }
