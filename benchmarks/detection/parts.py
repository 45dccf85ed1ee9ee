"""A folder set and its split file -> features in memory.

A split file names the pictures of `train_normal` (and of these, `calib_normal`, held out for a threshold), `test_normal` and
`test_defect` by kind. Solar cells come from the wheel `elpv-dataset`: a name `normal/mono_cell0011.png` of the split is its
`images/cell0011.png`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.features import Features, extract_features


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """One set. `kind` (D,) numbers each defect's entry in `kinds`."""

    name: str
    train: Features
    """All of train_normal."""
    is_calibration: NDArray[np.bool_]
    """Which of them are calib_normal."""
    test: Features
    defects: Features
    kind: NDArray[np.int64]
    kinds: tuple[str, ...]


def load_parts(data: Path, name: str, backbone: Backbone) -> Parts:
    """Set `name` of `data`, which holds one folder a set and `splits/`."""
    split = json.loads((data / "splits" / f"{name}.json").read_text(encoding="utf-8"))
    held_out = {_picture(data, name, one) for one in split["calib_normal"]}
    of_kind = {_picture(data, name, one): kind for kind, names in split["test_defect"].items() for one in names}
    kinds = tuple(split["test_defect"])
    train = extract_features([_picture(data, name, one) for one in split["train_normal"]], backbone, f"{name}: train")
    test = extract_features([_picture(data, name, one) for one in split["test_normal"]], backbone, f"{name}: test")
    defects = extract_features(list(of_kind), backbone, f"{name}: defects")
    return Parts(
        name, train, np.array([path in held_out for path in train.paths]), test, defects,
        np.array([kinds.index(of_kind[path]) for path in defects.paths], np.int64), kinds,
    )  # fmt: skip


def _picture(data: Path, name: str, entry: str) -> Path:
    if name != "elpv":
        return data / name / entry
    import elpv_dataset

    file = Path(entry).name.split("_", 1)[1]
    return Path(elpv_dataset.__file__).parent / "data/images" / file
