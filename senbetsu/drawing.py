"""Pictures for people: the feature space, the scores against the threshold, and parts with their scores."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from senbetsu.files import write_atomically

# Okabe & Ito's palette: told apart with every common colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
NORMAL_COLOUR, DEFECT_COLOUR, LINE_COLOUR = COLOURS[0], COLOURS[1], "#222222"

# Beyond the colours, another shape tells the classes apart.
MARKERS = "osD^v<>p*"

Picture = NDArray[np.uint8]

matplotlib.rcParams.update(
    {"svg.hashsalt": "senbetsu", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
)


def png_of(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def svg_of(figure: Figure) -> str:
    """A figure as an SVG element to put into a page."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def principal_plane(
    vectors: NDArray[np.floating], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Projection of (N, D) on the two directions in which all of them vary most.

    Returns:
        points (N, 2), the mean of the `reference` ones (2,), and the share of the variance that each axis carries (2,).
        Signs are fixed, so that the same vectors always give the same picture.
    """
    X = np.asarray(vectors, np.float64)
    centred = X - X.mean(0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, X.shape[1]))
    axes[: min(2, len(directions))] = directions[:2]
    for axis in axes:
        axis *= np.sign(axis[np.abs(axis).argmax()]) or 1.0
    points = centred @ axes.T
    total = float(np.square(sizes).sum()) or 1.0
    shares = np.zeros(2)
    shares[: min(2, len(sizes))] = np.square(sizes[:2]) / total
    return points, points[reference].mean(0), shares


def feature_space(
    before: NDArray[np.floating], after: NDArray[np.floating] | None, labels: Sequence[str], centroid_label: str
) -> Figure:
    """The feature space before and after learning, classes in colour, the mean of the normal parts marked."""
    names = sorted(set(labels), key=lambda name: (name != centroid_label, name))
    of = np.array(labels)
    spaces: list[tuple[str, NDArray[np.floating]]] = [("before learning: features of the frozen backbone", before)]
    if after is not None:
        spaces.append((f"after learning: the {after.shape[1]}-d embedding", after))
    figure = Figure(figsize=(5.2 * len(spaces), 4.8), layout="constrained")
    for number, (title, vectors) in enumerate(spaces):
        axes = figure.add_subplot(1, len(spaces), number + 1)
        points, centroid, shares = principal_plane(vectors, of == centroid_label)
        for index, name in enumerate(names):
            mine = points[of == name]
            axes.scatter(
                mine[:, 0], mine[:, 1], s=9, alpha=0.55, linewidths=0, color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index // len(COLOURS) % len(MARKERS)],
                label=f"{name} ({len(mine)})",
            )  # fmt: skip
        axes.scatter(
            centroid[0], centroid[1], marker="X", s=130, color="white", edgecolors=LINE_COLOUR, linewidths=1.6, zorder=3,
            label=f"mean of {centroid_label}",
        )  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"first direction ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"second direction ({shares[1]:.0%})")
        axes.set_xticks([])
        axes.set_yticks([])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_feature_space(
    path: Path,
    before: NDArray[np.floating],
    after: NDArray[np.floating] | None,
    labels: Sequence[str],
    centroid_label: str = "normal",
) -> None:
    """Write `feature_space` as PNG. Vectors (N, D) and (N, 64); `after` is None where nothing was learned.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomically(path, png_of(feature_space(before, after, labels, centroid_label)))


def project(
    vectors: NDArray[np.floating], centroid: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, D) and the centroid (D,) in the plane of `principal_plane`: (N, 2) and (2,)."""
    everything = np.concatenate([np.asarray(vectors, np.float64), np.asarray(centroid, np.float64)[None]])
    points, _, _ = principal_plane(everything, np.ones(len(everything), bool))
    return points[:-1], points[-1]


def parts_in_space(
    points: NDArray[np.floating],
    centroid: NDArray[np.floating],
    pictures: Sequence[tuple[NDArray[np.floating], Picture]],
) -> Figure:
    """Parts (N, 2) in a plane with their centroid (2,), and some of them as pictures (where, BGR)."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(points[:, 0], points[:, 1], s=9, alpha=0.55, linewidths=0, color=NORMAL_COLOUR)
    for where, picture in pictures:
        image = OffsetImage(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), zoom=34 / max(picture.shape[:2]))
        frame = {"edgecolor": DEFECT_COLOUR, "linewidth": 0.8}
        axes.add_artist(AnnotationBbox(image, (float(where[0]), float(where[1])), pad=0.05, bboxprops=frame))
    axes.scatter(
        centroid[0], centroid[1], marker="X", s=130, color="white", edgecolors=LINE_COLOUR, linewidths=1.6, zorder=9
    )
    axes.margins(0.1)
    axes.set_xlabel("first direction")
    axes.set_ylabel("second direction")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def score_histogram(
    normal_scores: NDArray[np.floating], threshold: float, defect_scores: NDArray[np.floating] | None = None
) -> Figure:
    """Scores of normal parts (and of defects) on a logarithmic axis, with the threshold as a line.

    The legend counts every part, those without a finite score too: they are rejected, and have no bar.
    """
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    groups = [("normal parts", np.asarray(normal_scores, np.float64), NORMAL_COLOUR)]
    if defect_scores is not None and len(defect_scores):
        groups.append(("defects", np.asarray(defect_scores, np.float64), DEFECT_COLOUR))
    everything = np.concatenate([scores for _, scores, _ in groups] + [np.array([threshold])])
    drawable = everything[np.isfinite(everything) & (everything > 0)]
    low, high = (drawable.min() * 0.93, drawable.max() * 1.07) if len(drawable) else (0.5, 2.0)
    bins = np.geomspace(low, high, 50)
    for name, scores, colour in groups:
        rejected = int((~(scores <= threshold)).sum())
        inside = np.clip(scores[np.isfinite(scores)], low, high)
        axes.hist(inside, bins.tolist(), color=colour, alpha=0.7, label=f"{len(scores)} {name}, {rejected} rejected")
    axes.axvline(threshold, color=LINE_COLOUR, linewidth=1.4, label=f"threshold {threshold:.3f}")
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    ticks = _ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("score (1: a typical normal part; to the right: farther from the normal parts)")
    axes.set_ylabel("parts")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers: evenly apart on a short axis; on a long one, where even ones would crowd, growing."""
    if high / low < 4:
        even = MaxNLocator(9, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 3, 5, 7) if high / low < 30 else (1, 2, 5)
    return [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]


def draw_score_histogram(
    path: Path,
    normal_scores: NDArray[np.floating],
    threshold: float,
    defect_scores: NDArray[np.floating] | None = None,
) -> None:
    """Write `score_histogram` as PNG. Raises UserError where the file cannot be written."""
    write_atomically(path, png_of(score_histogram(normal_scores, threshold, defect_scores)))
