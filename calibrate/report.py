"""The report of a calibration: one page that holds all it shows, to read, to print and to sign."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.drawing import score_histogram, svg_of
from senbetsu.files import write_atomically

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
.claim { font-size: 1.35em; border-left: 5px solid #0072B2; padding: .3em .8em; margin: 1em 0; }
.warning { border-left: 5px solid #D55E00; padding: .2em .8em; margin: .6em 0; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15em 1.2em .15em 0; vertical-align: top; }
td { overflow-wrap: anywhere; } figure { display: inline-block; margin: 0 .6em .8em 0; width: 160px; }
figcaption { font-size: .8em; overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; }
@media print { body { margin: 0; } figure, table, svg { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What the page shows.

    `readings` and `facts` are (name, value); `scores` (n,) are those that set the threshold; `farthest` are (file,
    score, picture (H, W, 3) uint8 BGR), the farthest first.
    """

    claim: str
    readings: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    scores: NDArray[np.float64]
    threshold: float
    farthest: Sequence[tuple[str, float, NDArray[np.uint8]]]
    facts: Sequence[tuple[str, str]]


def write_report(path: Path, report: Report) -> None:
    """Write the page. Raises UserError where it cannot be written."""
    # "replace": a file name may hold bytes that are no text.
    write_atomically(path, page(report).encode("utf-8", "replace"))


def page(report: Report) -> str:
    """The page's HTML: no script, nothing fetched from anywhere."""
    escape = html.escape
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in report.warnings)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Calibration</title><style>{STYLE}</style></head><body>
<h1>Calibration</h1>
<p class="claim">{escape(report.claim)}</p>
{_table(report.readings)}
{warnings}
<h2>Scores of the normal parts</h2>
{svg_of(score_histogram(report.scores, report.threshold))}
<h2>The farthest normal parts</h2>
<p>Look at them: a part that is not normal makes the threshold too high. Take it out and calibrate again.</p>
<div>{"".join(_figure(*part) for part in report.farthest)}</div>
<h2>How this came about</h2>
{_table(report.facts)}
</body></html>
"""


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _figure(name: str, score: float, picture: NDArray[np.uint8]) -> str:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    data = base64.b64encode(jpeg.tobytes()).decode()
    caption = html.escape(Path(name).name)
    return (
        f'<figure><img width="160" alt="{caption}" title="{html.escape(name)}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{score:.3f} {caption}</figcaption></figure>"
    )
