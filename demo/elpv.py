"""Real parts for the demo: electroluminescence pictures of solar cells, from the wheel `elpv-dataset`.

2 624 cells, 300 x 300 pixels, each with the probability that it is defective as experts judged it. Here 0 is normal and
1 is defective; the doubtful ones in between are left out. CC BY-NC-SA 4.0: Buerhop-Lutz et al., "A Benchmark for Visual
Identification of Defective Solar Cells in Electroluminescence Imagery", EU PVSEC 2018; Deitsch et al., "Automatic
classification of defective photovoltaic module cells in electroluminescence images", Solar Energy 185, 2019.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import elpv_dataset
import numpy as np

SEED = 20240
TRAIN_NORMALS, CALIBRATE_NORMALS, LINE_NORMALS = 700, 408, 400
TRAIN_DEFECTS, LINE_DEFECTS = 400, 200


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures by what they are for. No picture is in two groups."""

    train_normal: list[Path]
    train_defects: list[Path]
    calibrate_normal: list[Path]
    line: list[tuple[Path, bool]]
    """In the order in which they pass the camera, with whether they are defective."""


def cells(probability: float) -> list[Path]:
    """The cells that are defective with this probability, in the wheel's order."""
    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines()]
    return [folder / path for path, judged, _type in rows if float(judged) == probability]


def split() -> Split:
    """The same split every time."""
    normal, defective = cells(0.0), cells(1.0)
    random = np.random.default_rng(SEED)
    normal = [normal[i] for i in random.permutation(len(normal))]
    defective = [defective[i] for i in random.permutation(len(defective))]
    on_line = [(path, False) for path in normal[-LINE_NORMALS:]] + [(path, True) for path in defective[-LINE_DEFECTS:]]
    return Split(
        normal[:TRAIN_NORMALS],
        defective[:TRAIN_DEFECTS],
        normal[TRAIN_NORMALS : TRAIN_NORMALS + CALIBRATE_NORMALS],
        [on_line[i] for i in random.permutation(len(on_line))],
    )


def lay_out(root: Path) -> None:
    """Write the groups as folders of pictures, and `parts.json` with what each part on the line is."""
    parts = split()
    groups = {
        root / "data/train/normal": parts.train_normal,
        root / "data/train/defects/defective": parts.train_defects,
        root / "data/calibrate/normal": parts.calibrate_normal,
    }
    for folder, paths in groups.items():
        _fill(folder, [(path, path.name) for path in paths])
    names = [f"part-{number:04d}{path.suffix}" for number, (path, _) in enumerate(parts.line, 1)]
    _fill(root / "parts", [(path, name) for (path, _), name in zip(parts.line, names, strict=True)])
    truth = [
        {"file": name, "cell": path.name, "defective": defective}
        for name, (path, defective) in zip(names, parts.line, strict=True)
    ]
    (root / "parts.json").write_text(json.dumps(truth, indent=1))


def _fill(folder: Path, pictures: list[tuple[Path, str]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, name in pictures:
        shutil.copyfile(path, folder / name)
