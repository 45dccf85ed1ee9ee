"""Solar cells (ELPV, probability 1 against 0, the demo's split): what is found, and whether the engines agree.

normals only: 700 normal cells are learned, 408 others set the threshold, 400 others and all 715 defective ones test it.
with defects: 400 of the defective ones are learned as well, the other 315 test it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import save
from demo.elpv import cells, split
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.engine.openvino import cpu_has_bf16
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.profile import load_profile


def senbetsu(*arguments: str | Path) -> str:
    """Run a program to its end."""
    command = [sys.executable, "-P", "-m", "senbetsu.cli", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def link_all(folder: Path, paths: list[Path]) -> Path:
    """A folder of links."""
    folder.mkdir(parents=True)
    for path in paths:
        (folder / path.name).symlink_to(path)
    return folder


def setting(root: Path, defects: Path | None, groups: dict[str, Path], precision: str) -> dict[str, Any]:
    """Train, calibrate, evaluate by the programs."""
    artifacts = root / f"artifacts-{precision}-{'defects' if defects else 'normals'}"
    engine = ("--set", "engine.kind=openvino", "--set", f"engine.precision={precision}")
    with_defects = () if defects is None else ("--defects", defects)
    senbetsu("train", "--normal", groups["train"], *with_defects, "--artifacts", artifacts)
    senbetsu("calibrate", "--normal", groups["calibrate"], "--artifacts", artifacts, *engine)
    text = senbetsu(
        "evaluate", "--artifacts", artifacts, "--normal", groups["test"], "--defects",
        groups["test_defects" if defects else "all_defects"], "--json", *engine,
    )  # fmt: skip
    report = json.loads(text)
    return {key: report[key] for key in ("auroc", "normal", "defects", "claim", "threshold")}


def parity(artifacts: Path, paths: list[Path]) -> dict[str, Any]:
    """The same pictures through every engine of this machine, against torch in fp32."""
    embedding = load_embedding(artifacts)
    profile = load_profile(artifacts, embedding)
    choices = [EngineChoice("torch", "fp32", "cpu"), EngineChoice("openvino", "fp32", "cpu")]
    if cpu_has_bf16():
        choices.append(EngineChoice("openvino", "bf16", "cpu"))
    scores = {}
    for choice in choices:
        engine = build_engine(profile.scorer, embedding.backbone, choice, 0, (1,))
        rows = []
        for path in paths:
            fit(read_image(path), engine.inputs[0])
            rows.append(float(engine.run(1).score[0]))
        scores[f"{choice.kind} {choice.precision}"] = np.array(rows)
    reference = scores.pop("torch fp32")
    figures = {}
    for name, values in scores.items():
        off = np.abs(values / reference - 1)
        differs = (values > profile.threshold) != (reference > profile.threshold)
        clear = np.abs(reference / profile.threshold - 1) > 1e-2
        figures[name] = {
            "relative_difference": {"median": np.median(off), "p95": np.quantile(off, 0.95), "max": off.max()},
            "verdicts_that_differ": int(differs.sum()),
            "verdicts_that_differ_outside_1_percent_of_the_threshold": int((differs & clear).sum()),
            "parts": len(paths),
        }
    return figures


def main() -> None:
    """The benchmark."""
    parts = split()
    defects = cells(1.0)
    learned = {path.name for path in parts.train_defects}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        groups = {
            "train": link_all(root / "train", parts.train_normal),
            "calibrate": link_all(root / "calibrate", parts.calibrate_normal),
            "test": link_all(root / "test", [path for path, defective in parts.line if not defective]),
            "all_defects": link_all(root / "all/defective", defects).parent,
            "test_defects": link_all(root / "rest/defective", [p for p in defects if p.name not in learned]).parent,
        }
        taught = link_all(root / "taught/defective", parts.train_defects).parent
        precisions = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
        figures: dict[str, Any] = {}
        for precision in precisions:
            figures[f"normals only, {precision}"] = setting(root, None, groups, precision)
            figures[f"with 400 defects, {precision}"] = setting(root, taught, groups, precision)
        sample = sorted(groups["test"].iterdir()) + sorted(groups["test_defects"].rglob("*.png"))
        figures["engines against torch fp32"] = parity(root / "artifacts-fp32-normals", sample)
    save("elpv", figures)


if __name__ == "__main__":
    main()
