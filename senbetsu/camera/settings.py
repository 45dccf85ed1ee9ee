"""Whether a camera sees as it did when the line was calibrated: the settings that it reads back itself. Pure."""

import math

from senbetsu.camera.interface import CameraSettings

OF_THE_DEVICE = frozenset(("vendor", "serial"))
"""Another camera of the same model sees alike."""
TOLERANCE = 0.01
"""Relative, of numbers: cameras round to their own steps."""


def differences(expected: CameraSettings, found: CameraSettings) -> str:
    """What is not as it was, in words; empty where all is. What one of them does not tell is not compared."""
    return ", ".join(
        f"{name} is {found[name]!r}, was {expected[name]!r}"
        for name in expected.keys() & found.keys() - OF_THE_DEVICE
        if not _same(expected[name], found[name])
    )


def _same(a: object, b: object) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)
    return a == b
