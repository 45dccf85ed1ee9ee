"""The report of a calibration: one page that holds all it shows, to read, to print and to sign."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from senbetsu.conformal import DEFAULT_CONFIDENCE, proportion_interval
from senbetsu.drawing import parts_in_space, project, score_histogram, svg_of
from senbetsu.files import write_atomically
from senbetsu.picture_quality import PictureQuality

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
.claim { font-size: 1.35em; border-left: 5px solid #0072B2; padding: .3em .8em; margin: 1em 0; }
.warning { border-left: 5px solid #D55E00; padding: .2em .8em; margin: .6em 0; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15em 1.2em .15em 0; vertical-align: top; }
td { overflow-wrap: anywhere; } figure { display: inline-block; margin: 0 .6em .8em 0; width: 246px; }
figure img { margin-right: 3px; }
.sign { margin-top: 3em; border-top: 1px solid #222; padding-top: .3em; }
figcaption { font-size: .8em; overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; }
@media print { body { margin: 0; } figure, table, svg { break-inside: avoid; } }
"""


Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A part as a picture: file, score, the picture (H, W, 3) uint8 BGR, and the same with its heat map."""

    name: str
    score: float
    picture: Picture
    heat: Picture


@dataclass(frozen=True, slots=True)
class LotRow:
    """What the threshold does to one lot."""

    lot: str
    parts: int
    rejected: int


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What the page shows.

    `readings` and `facts` are (name, value); `scores` (n,) are those that set the threshold; `farthest` and `suspects` the
    farthest first. `embeddings` (m, 64) are those of the parts `embedded`, and `centroid` (64,) is their centre.
    """

    claim: str
    readings: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    scores: NDArray[np.float64]
    threshold: float
    farthest: Sequence[Shown]
    facts: Sequence[tuple[str, str]]
    embeddings: NDArray[np.float64]
    embedded: Sequence[str]
    centroid: NDArray[np.float64]
    qualities: Sequence[tuple[str, PictureQuality]] = ()
    suspects: Sequence[Shown] = ()
    suspect_count: int = 0
    """All of them, also where not all are shown."""
    lots: Sequence[LotRow] = ()


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
<p>Look at them: a part that is not normal makes the threshold too high. Take it out and calibrate again. Red is what lies
farther than the farthest places of a typical normal part: where the novelty gauge sees something.</p>
<div>{"".join(_figure(part) for part in report.farthest)}</div>
{_suspects(report)}
{_lots(report.lots)}
<h2>The feature space</h2>
<p>The learned embedding of {len(report.embeddings)} of the parts, seen along the two directions in which they differ most;
the cross is the centroid, and the farthest parts stand where they lie.</p>
{svg_of(_space(report))}
{_light(report.qualities)}
<h2>How this came about</h2>
{_table(report.facts)}
<p class="sign">Date, name, signature:</p>
</body></html>
"""


def _suspects(report: Report) -> str:
    if not report.suspects:
        return ""
    more = report.suspect_count - len(report.suspects)
    rest = f"<p>{more} more are listed in profile.json.</p>" if more > 0 else ""
    return (
        "<h2>Suspects</h2><p>These were kept out of centroid and threshold, since they may not be normal. "
        "Confirm each by eye.</p>"
        f"<div>{''.join(_figure(part) for part in report.suspects)}</div>{rest}"
    )


def _lots(lots: Sequence[LotRow]) -> str:
    if not lots:
        return ""
    rows = []
    for lot in lots:
        low, high = proportion_interval(lot.rejected, lot.parts)
        rate = lot.rejected / lot.parts
        rows.append((lot.lot, str(lot.parts), str(lot.rejected), f"{rate:.1%}", f"{low:.1%} to {high:.1%}"))
    head = ("lot", "parts", "rejected", "share", f"{DEFAULT_CONFIDENCE:.0%} interval")
    return f"<h2>Lots</h2>{_grid(head, rows)}"


def _light(qualities: Sequence[tuple[str, PictureQuality]]) -> str:
    """Exposure and sharpness over the pictures: the ends are what to look at."""
    if not qualities:
        return ""
    names = [Path(name).name for name, _ in qualities]
    measures = [
        ("mean grey (0 to 255)", [quality.mean_grey for _, quality in qualities], "{:.0f}"),
        ("under-exposed pixels", [quality.under for _, quality in qualities], "{:.1%}"),
        ("over-exposed pixels", [quality.over for _, quality in qualities], "{:.1%}"),
        ("sharpness", [quality.sharpness for _, quality in qualities], "{:.3g}"),
    ]
    rows = []
    for what, values, form in measures:
        least, most = int(np.argmin(values)), int(np.argmax(values))
        rows.append(
            (
                what,
                f"{form.format(values[least])} ({names[least]})",
                form.format(float(np.median(values))),
                f"{form.format(values[most])} ({names[most]})",
            )
        )
    return (
        f"<h2>Exposure and sharpness</h2>{_grid(('of ' + str(len(qualities)) + ' pictures', 'least', 'median', 'most'), rows)}"
        "<p>Sharpness is the variance of the Laplacian over the squared mean grey; it compares pictures of one camera.</p>"
    )


def _space(report: Report) -> Figure:
    points, centre = project(report.embeddings, report.centroid)
    at = dict(zip(report.embedded, points, strict=True))
    pictures = [(at[part.name], part.picture) for part in report.farthest if part.name in at]
    return parts_in_space(points, centre, pictures)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _figure(part: Shown) -> str:
    caption = html.escape(Path(part.name).name)
    return (
        f'<figure title="{html.escape(part.name)}">{_image(part.picture, caption)}{_image(part.heat, "heat map of " + caption)}'
        f"<figcaption>{part.score:.3f} {caption}</figcaption></figure>"
    )


def _image(picture: Picture, text: str) -> str:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    data = base64.b64encode(jpeg.tobytes()).decode()
    return f'<img width="120" alt="{text}" src="data:image/jpeg;base64,{data}">'
