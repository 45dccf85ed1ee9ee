"""Pictures -> statistics of the backbone, computed once: kept in the cache by the content of each picture.

The reference precision (fp32) is used whatever the line's engine is: what is learned belongs to the parts, not to a PC.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from senbetsu.ahead import in_order
from senbetsu.backbone import Backbone
from senbetsu.errors import ImageError, UserError
from senbetsu.feature_cache import FeatureCache, Row
from senbetsu.fitting import fit
from senbetsu.images import Fill, Picture, content_sha256, decode_image, read_bytes
from senbetsu.network import FeatureNetwork

log = logging.getLogger(__name__)

BATCH = 8

Run = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], ...]]
"""Pictures (BATCH, S, S, 3) -> what FeatureNetwork gives of them."""


Open = Callable[[], tuple[str, Fill]]
"""Gives a picture's content SHA-256, and what fills it in where the statistics are not known yet. Raises ImageError."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Statistics of N unlike pictures (see senbetsu.statistics), with each one's name and content.

    context (N, M), whole (N, 3 M), windows (N, 9, 3 M), float32; places (N, L, P), float16, since they are many.
    """

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]
    context: NDArray[np.float32]
    whole: NDArray[np.float32]
    windows: NDArray[np.float32]
    places: NDArray[np.float16]
    unreadable: tuple[tuple[Path, str], ...] = ()
    """Pictures that were left out, and why."""
    duplicates: int = 0
    """Pictures that were left out since another has the same content."""
    tuned: NDArray[np.float32] | None = None
    """(N, 4 M): context and whole as a fine-tuned backbone has them; None where nothing is tuned."""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def statistics(
        self,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.float32] | None]:
        """context, whole, windows, places, tuned."""
        return self.context, self.whole, self.windows, self.places, self.tuned

    @property
    def head_rows(self) -> NDArray[np.float32]:
        """(N, 4 M): context and whole side by side, of the tuned backbone if there is one: what the head maps."""
        return self.frozen_rows if self.tuned is None else self.tuned

    @property
    def frozen_rows(self) -> NDArray[np.float32]:
        """(N, 4 M): context and whole side by side, of the frozen backbone."""
        return np.concatenate([self.context, self.whole], 1)

    def take(self, which: Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> "Features":
        """Some of the pictures, by index or mask."""
        chosen = np.arange(len(self))[np.asarray(which)] if len(self) else np.zeros(0, int)
        return Features(
            tuple(self.paths[i] for i in chosen),
            tuple(self.sha256[i] for i in chosen),
            self.context[chosen],
            self.whole[chosen],
            self.windows[chosen],
            self.places[chosen],
            tuned=None if self.tuned is None else self.tuned[chosen],
        )

    @staticmethod
    def joined(some: Sequence["Features"]) -> "Features":
        """Several as one, in order."""
        context, whole, windows, places = (
            np.concatenate(column) for column in zip(*(features.statistics[:4] for features in some), strict=True)
        )
        tuned = [features.tuned for features in some if features.tuned is not None]
        return Features(
            tuple(path for features in some for path in features.paths),
            tuple(sha256 for features in some for sha256 in features.sha256),
            context,
            whole,
            windows,
            places,
            tuned=np.concatenate(tuned) if len(tuned) == len(some) else None,
        )


def extract_features(paths: Sequence[Path], backbone: Backbone, what: str) -> Features:
    """Statistics of all readable pictures, each content once, with a progress bar named `what`.

    Raises:
        UserError: not one of the pictures is readable.
    """
    bar = tqdm(paths, desc=what, unit="picture", disable=None, leave=False)
    return _extract(
        ((path, partial(open_file, path)) for path in bar), FeatureCache(backbone), _Extractor(backbone), what
    )


def stream_features(chunks: Iterable[Iterable[tuple[Path, Open]]], backbone: Backbone) -> Iterator[Features]:
    """As `extract_features` chunk by chunk, with one network for all: memory does not grow with their number.

    Args:
        chunks: of pictures, each as its name and what opens it, such as `partial(open_file, path)`.
    """
    cache, extractor = FeatureCache(backbone), _Extractor(backbone)
    for pictures in chunks:
        yield _extract(pictures, cache, extractor, "features")


def open_file(path: Path) -> tuple[str, Fill]:
    """A picture file's content SHA-256, and what decodes it. Raises ImageError."""
    content = read_bytes(path)
    return content_sha256(content), lambda out: fit(decode_image(content, str(path), keep_grey=True), out)


def _extract(
    pictures: Iterable[tuple[Path, Open]], cache: FeatureCache, extractor: "_Extractor", what: str
) -> Features:
    kept: dict[str, Path] = {}
    rows: dict[str, Row] = {}
    unreadable: list[tuple[Path, str]] = []
    readable = 0

    def look_up(one: tuple[Path, Open]) -> tuple[str, Row | Picture] | ImageError:
        try:
            sha256, fill = one[1]()
            row = cache.get(sha256)
            if row is not None:
                return sha256, row
            picture = extractor.empty()
            fill(picture)
        except ImageError as error:
            return error
        return sha256, picture

    for (path, _), found in in_order(pictures, look_up):
        if isinstance(found, ImageError):
            unreadable.append((path, str(found)))
            continue
        readable += 1
        sha256, row = found
        if sha256 in kept:
            continue
        kept[sha256] = path
        if isinstance(row, tuple):
            rows[sha256] = row
        else:
            np.copyto(extractor.slot(), row)
            rows.update(_kept(cache, extractor.add(sha256)))
    rows.update(_kept(cache, extractor.flush()))
    for _, reason in unreadable:
        log.warning("left out: %s", reason)
    if not kept:
        raise UserError(f"{what}: none of the {len(unreadable)} pictures can be read; the first: {unreadable[0][1]}")
    context, whole, windows, places, tuned = _table([rows[sha256] for sha256 in kept])
    return Features(
        tuple(kept.values()), tuple(kept), context, whole, windows, places, tuple(unreadable), readable - len(kept), tuned
    )  # fmt: skip


def features_of(pictures: Iterable[NDArray[np.uint8]], backbone: Backbone, what: str, count: int) -> Features:
    """Statistics of `count` pictures in memory, each (S, S, 3) BGR, in order; their paths are numbers."""
    cache, extractor = FeatureCache(backbone), _Extractor(backbone)
    keys: list[str] = []
    rows: dict[str, Row] = {}
    for picture in tqdm(pictures, desc=what, unit="picture", total=count, disable=None, leave=False):
        sha256 = content_sha256(picture.tobytes())
        keys.append(sha256)
        if sha256 in rows:
            continue
        row = cache.get(sha256)
        if row is not None:
            rows[sha256] = row
            continue
        np.copyto(extractor.slot(), picture)
        rows.update(_kept(cache, extractor.add(sha256)))
    rows.update(_kept(cache, extractor.flush()))
    context, whole, windows, places, tuned = _table([rows[key] for key in keys])
    numbers = tuple(Path(str(number)) for number in range(len(keys)))
    return Features(numbers, tuple(keys), context, whole, windows, places, tuned=tuned)


def _table(rows: Sequence[Row]) -> tuple[Any, Any, Any, Any, Any]:
    context, whole, windows, places, *tuned = (np.stack(column) for column in zip(*rows, strict=True))
    return context, whole, windows, places.astype(np.float16), tuned[0] if tuned else None


def _kept(cache: FeatureCache, made: dict[str, Row]) -> dict[str, Row]:
    for sha256, row in made.items():
        cache.put(sha256, row)
    return made


class _Extractor:
    """Collects pictures into batches and runs the feature network, on CUDA where there is one, else in OpenVINO."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._waiting: list[str] = []
        self._inputs = np.zeros((BATCH, backbone.input_size, backbone.input_size, 3), np.uint8)
        self._run: Run | None = None

    def empty(self) -> Picture:
        """Room for one picture, (S, S, 3)."""
        return np.empty(self._inputs.shape[1:], np.uint8)

    def slot(self) -> Picture:
        """Where the next picture goes, (S, S, 3)."""
        row: NDArray[np.uint8] = self._inputs[len(self._waiting)]
        return row

    def add(self, sha256: str) -> dict[str, Row]:
        """The picture is in its slot; gives rows by content when a batch is full."""
        self._waiting.append(sha256)
        return self.flush() if len(self._waiting) == BATCH else {}

    def flush(self) -> dict[str, Row]:
        """Rows of all that waits."""
        if not self._waiting:
            return {}
        outputs = self._network()(self._inputs)
        made = {sha256: tuple(output[i].copy() for output in outputs) for i, sha256 in enumerate(self._waiting)}
        self._waiting = []
        return made

    def _network(self) -> Run:
        if self._run is None:
            self._run = (_on_cuda if torch.cuda.is_available() else _on_cpu)(self._backbone)
        return self._run


def _on_cuda(backbone: Backbone) -> Run:
    network = FeatureNetwork(backbone).eval().cuda()

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            statistics = network(torch.from_numpy(images).cuda())
        return tuple(statistic.cpu().numpy() for statistic in statistics)

    return run


def _on_cpu(backbone: Backbone) -> Run:
    from senbetsu.engine.openvino import CompiledGraph

    graph = CompiledGraph(FeatureNetwork, (), backbone, "fp32", 0, (BATCH,))

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        np.copyto(graph.inputs, images)
        return graph.run(BATCH)

    return run
