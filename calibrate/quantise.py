"""The backbone in 8-bit integers: made by NNCF's post-training quantisation, and refused where it changes what is judged.

Ranges of activations and the correction of biases are taken from pictures of normal parts (Jacob et al. 2018, arXiv
1712.05877; Nagel et al. 2019, arXiv 1906.04721). Statistics, distances and the profile's constants stay what they are in the
unquantised engine. The claim holds for the quantised engine as it stands: the parts that set the threshold are scored by it.
For that they must be no others than it is going to see, so the pictures that the ranges come from are parts that `train` saw,
or are taken from the unseen ones and set no threshold.
"""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from calibrate.parts import SEEN, UNSEEN, Part, Parts
from senbetsu.backbone import Backbone
from senbetsu.engine import EngineChoice
from senbetsu.engine.graph import openvino_model
from senbetsu.engine.openvino import cpu_has_bf16
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.errors import ConfigError, UserError
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.maps import MapsNetwork

log = logging.getLogger("calibrate")

MOST_PICTURES, LEAST_PICTURES = 200, 32
TAKEN_SHARE = 0.2
"""Of the unseen parts, where `train` saw too few of those shown."""
BAND = 0.1
"""Of the threshold: a part whose score lies farther from it than this must keep its verdict."""
LEAST_CORRELATION = 0.95
"""Spearman's, of the scores with and without quantisation."""


def unquantised() -> EngineChoice:
    """The engine that the quantised one is compared with, and in whose precision its rest is computed."""
    return EngineChoice("openvino", "bf16" if cpu_has_bf16() else "fp32", "cpu")


def set_apart(parts: Parts) -> list[Part]:
    """Parts that the quantisation's ranges are taken from; where `train` did not see them, they set no threshold.

    Raises:
        UserError: too few.
    """
    seen, unseen = parts.count(SEEN), parts.count(UNSEEN)
    if seen >= LEAST_PICTURES:
        return parts.by_content(SEEN, MOST_PICTURES)
    count = min(MOST_PICTURES, int(TAKEN_SHARE * unseen))
    if count < LEAST_PICTURES:
        raise UserError(
            f"engine.precision = 'int8' takes {LEAST_PICTURES} normal parts that set no threshold: show as many that `train` "
            f"saw (here are {seen}), or {round(LEAST_PICTURES / TAKEN_SHARE)} that it did not see (here are "
            f"{unseen}), of which it takes {TAKEN_SHARE:.0%}; or set engine.precision to auto"
        )
    taken = parts.by_content(UNSEEN, count)
    parts.take_out(part.sha256 for part in taken)
    return taken


def quantise(backbone: Backbone, paths: Sequence[Path]) -> QuantisedMaps:
    """The backbone in 8-bit integers, with ranges from these pictures.

    Raises:
        ConfigError: NNCF is not installed, or cannot quantise this backbone.
    """
    try:
        import nncf
    except ImportError as error:
        raise ConfigError(
            "engine.precision = 'int8': the package nncf is not installed; pip install 'senbetsu[int8]', or set "
            "engine.precision to auto"
        ) from error
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    logging.getLogger("nncf").setLevel(logging.WARNING)
    log.info("quantising the backbone with %d normal parts", len(paths))
    rest = cast(Literal["bf16", "fp32"], unquantised().precision)
    exact = openvino_model(MapsNetwork, backbone)
    advanced = nncf.AdvancedQuantizationParameters(
        # A defect may be brighter than any normal part: the whole range that was seen, not its average over pictures.
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        # Weights of half the range. A CPU without VNNI adds products in 16 bits, which larger ones overflow: then scores are
        # others, and the same profile judges otherwise on another PC (benchmarks/int8.py).
        overflow_fix=nncf.OverflowFix.ENABLE,
    )
    try:
        # Its progress bars go to standard output, which `--json` promises to one object.
        with contextlib.redirect_stdout(sys.stderr):
            model = nncf.quantize(
                exact,
                nncf.Dataset(_Pictures(paths, backbone.input_size)),
                # Symmetric ranges: an offset takes time in every product and gains nothing (benchmarks/int8.py).
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(paths),
                ignored_scope=nncf.IgnoredScope(names=readers_of_the_picture(exact)),
                fast_bias_correction=False,  # layer by layer, each behind quantised ones; takes longer, and is worth it
                advanced_parameters=advanced,
            )
    except (RuntimeError, ValueError, nncf.ValidationError, nncf.InternalError, nncf.UnsupportedModelError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"engine.precision = 'int8': NNCF cannot quantise the backbone {backbone.name} ({reason}); set engine.precision "
            "to auto, or train with another backbone"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(model, Path(folder) / "graph.xml", compress_to_fp16=False)
        return QuantisedMaps((Path(folder) / "graph.xml").read_bytes(), (Path(folder) / "graph.bin").read_bytes(), rest)


def readers_of_the_picture(model: ov.Model) -> list[str]:
    """Names of the convolutions and products that read the picture itself. They stay as they are.

    Pixels would be rounded and clipped to the range of the normal parts: what a defect is told by may lie beyond it.
    """
    found: list[str] = []
    waiting = list(model.get_parameters())
    while waiting:
        for user in waiting.pop().output(0).get_target_inputs():
            node = user.get_node()
            if node.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
                found.append(node.get_friendly_name())
            elif node.get_type_name() != "Result":
                waiting.append(node)
    return sorted(set(found))


class _Pictures:
    """Batches of one, read when asked for."""

    def __init__(self, paths: Sequence[Path], side: int) -> None:
        self._paths, self._side = paths, side

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for path in self._paths:
            picture = np.zeros((1, self._side, self._side, 3), np.uint8)
            fit(read_image(path), picture[0])
            yield picture

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Normal parts judged with and without quantisation, each against the threshold of its own calibration."""

    parts: int
    band: float
    changed_outside: int
    """Verdicts that differ though the unquantised score lies farther than `band` from its threshold, as a share of it."""
    changed_inside: int
    correlation: float
    """Spearman's, of the scores."""


def agreement(
    scores: NDArray[np.float64], threshold: float, reference: NDArray[np.float64], reference_threshold: float
) -> Agreement:
    """Of scores (n,) of the quantised engine and of the unquantised one, of the same parts."""
    from scipy.stats import spearmanr  # takes seconds

    changed = (scores > threshold) != (reference > reference_threshold)
    outside = np.abs(reference / reference_threshold - 1) > BAND
    return Agreement(
        len(scores),
        BAND,
        int((changed & outside).sum()),
        int((changed & ~outside).sum()),
        round(float(spearmanr(scores, reference).statistic), 4),
    )


def check_agreement(found: Agreement) -> dict[str, float]:
    """What goes into the profile, if the quantised engine may be used.

    Raises:
        UserError: it changes too much; says what to set instead.
    """
    if found.changed_outside or not found.correlation >= LEAST_CORRELATION:
        raise UserError(
            f"engine.precision = 'int8' is refused: of {found.parts} normal parts {found.changed_outside} change their verdict "
            f"though they lie farther than {found.band:.0%} from the threshold (expected none), and the scores correlate by "
            f"{found.correlation:.3f} (expected {LEAST_CORRELATION} or more); set engine.precision to "
            f"{unquantised().precision} and calibrate again"
        )
    return asdict(found)
