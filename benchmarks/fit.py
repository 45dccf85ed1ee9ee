"""What it takes to shrink a camera's frame to the network's input, in one step and by way of half its size, and what differs.

The difference is told in grey levels: for noise, the worst case, and for noise that a lens has blurred.

    python -m benchmarks.fit
"""

import time

import cv2
import numpy as np

from benchmarks.conditions import save
from senbetsu.fitting import fit
from senbetsu.images import Picture

FRAMES = ((1024, 1024), (1920, 1080), (2048, 2048))
SIDE, ROUNDS = 224, 200


def times(frame: Picture, out: Picture) -> dict[str, list[float]]:
    """Milliseconds of each way, in turns."""
    took: dict[str, list[float]] = {"one_step": [], "fit": []}
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        cv2.resize(frame, (SIDE, SIDE), dst=out, interpolation=cv2.INTER_AREA)
        between_s = time.perf_counter()
        fit(frame, out)
        took["fit"].append(1e3 * (time.perf_counter() - between_s))
        took["one_step"].append(1e3 * (between_s - began_s))
    return took


def main() -> None:
    """Measure and save."""
    figures = {}
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    for width, height in FRAMES:
        frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        smooth = np.asarray(cv2.GaussianBlur(frame, (0, 0), 2), np.uint8)
        apart = {}
        for name, picture in (("noise", frame), ("noise, blurred by 2 px", smooth)):
            fit(picture, out)
            one = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            levels = np.abs(out.astype(int) - one)
            apart[name] = {"mean": round(float(levels.mean()), 2), "max": int(levels.max())}
        quantiles = {
            way: {f"p{q}_ms": round(float(np.quantile(some, q / 100)), 3) for q in (50, 99)}
            for way, some in times(frame, out).items()
        }
        figures[f"{width}x{height}"] = {**quantiles, "grey_levels_apart": apart}
    save("fit", {"to": f"{SIDE}x{SIDE}", "rounds": ROUNDS, "frames": figures})


if __name__ == "__main__":
    main()
