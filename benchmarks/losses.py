"""Which selection of triplets collapses and when, and what quadruplets change: on frozen features of a folder set.

    python -m benchmarks.losses DATA_FOLDER SPLIT_FILE     -> benchmarks/results/losses.json; then -m benchmarks.losses_page

SPLIT_FILE names pictures under DATA_FOLDER: train_normal, test_normal, and test_defect by kind; a half of each kind, drawn
by the seed, is learned, the other half is held out. One thread.

collapse: each selection on the linear head as shipped, and on a network of four layers (FaceNet's remark is about deep ones)
with and without normalised embeddings, at two learning rates.
quadruplets: each loss on the linear head. Seed s leaves out kind s altogether, so that distances to kinds that were shown
and to one that was not are measured on parts that nobody saw.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.conditions import save
from senbetsu.auroc import auroc
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.features import extract_features
from senbetsu.network import EMBEDDING_DIM
from train.distances import share_below, squared_distances
from train.head import HeadNetwork, standardisation
from train.health import CollapsedError, Record, require_learned
from train.labels import NORMAL
from train.learning import learn
from train.losses import LOSSES
from train.selections import SELECTIONS

COMMON = {"steps": 240, "images_per_label": 12}
QUADRUPLETS = {"steps": 300, "images_per_label": 16}
RATES = (1e-3, 1e-2)
SEEDS = 5
WIDTH = 256


class Parts(NamedTuple):
    """Standardised statistics: learned (N, F) with labels (N,), and held out."""

    learned: Tensor
    labels: NDArray[np.int64]
    normal: Tensor
    seen: Tensor
    unseen: Tensor


class Statistics(NamedTuple):
    """Statistics of all parts, by group."""

    train_normal: NDArray[np.float32]
    test_normal: NDArray[np.float32]
    kinds: dict[str, NDArray[np.float32]]


class Unit(nn.Module):
    """Rows to unit length."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return nn.functional.normalize(x, dim=1)


def network(name: str, features: int, seed: int, dropout: float) -> nn.Module:
    """A fresh network, the same for a seed."""
    torch.manual_seed(seed)
    if name == "linear head":
        return HeadNetwork(features, dropout)
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for inside in (features, WIDTH, WIDTH):
        layers += [nn.Linear(inside, WIDTH), nn.ReLU()]
    layers.append(nn.Linear(WIDTH, EMBEDDING_DIM))
    return nn.Sequential(*layers, *([Unit()] if name == "four layers" else []))


def statistics(folder: Path, split: dict[str, Any]) -> Statistics:
    """Of the frozen backbone."""

    backbone = find_backbone(ModelSection())

    def of(names: list[str], what: str) -> NDArray[np.float32]:
        return extract_features([folder / name for name in names], backbone, what).whole

    return Statistics(
        of(split["train_normal"], "normal, learned"),
        of(split["test_normal"], "normal, held out"),
        {kind: of(names, kind) for kind, names in split["test_defect"].items()},
    )


def deal(data: Statistics, seed: int, left_out: str | None = None) -> Parts:
    """What is learned and what is held out by this seed."""
    random = np.random.default_rng(seed)
    mean, spread = standardisation(data.train_normal)
    rows, labels, seen = [data.train_normal], [np.zeros(len(data.train_normal), np.int64)], []
    for number, (kind, features) in enumerate(data.kinds.items(), 1):
        if kind != left_out:
            order = random.permutation(len(features))
            half = len(features) // 2
            rows.append(features[order[:half]])
            labels.append(np.full(half, number, np.int64))
            seen.append(features[order[half:]])

    def tensor(features: NDArray[np.float32]) -> Tensor:
        return torch.tensor((features - mean) / spread, dtype=torch.float32)

    unseen = data.kinds[left_out] if left_out is not None else np.zeros((0, len(mean)), np.float32)
    return Parts(
        tensor(np.concatenate(rows)), np.concatenate(labels), tensor(data.test_normal), tensor(np.concatenate(seen)),
        tensor(unseen),
    )  # fmt: skip


def held_out_auroc(net: nn.Module, parts: Parts, defects: Tensor) -> float:
    """By the distance to the mean of the learned normals' embeddings."""
    with torch.no_grad():
        centroid = net(parts.learned[parts.labels == NORMAL]).mean(0)
        normal, defect = ((net(x) - centroid).square().sum(1).numpy() for x in (parts.normal, defects))
    return auroc(normal, defect)


def collapse_run(data: Statistics, name: str, settings: TrainSection, *, keep_curves: bool) -> dict[str, Any]:
    """One run: its curves, or their last figures."""
    parts = deal(data, settings.seed)
    net = network(name, parts.learned.shape[1], settings.seed, settings.dropout)
    separation: list[float] = []

    def observe(_record: Record) -> None:
        separation.append(round(held_out_auroc(net, parts, parts.seen), 4))

    run: dict[str, Any] = {
        "network": name, "selection": settings.selection, "loss": settings.loss,
        "learning_rate": settings.learning_rate, "steps": settings.steps, "seed": settings.seed,
    }  # fmt: skip
    try:
        curve = learn(net, parts.learned, parts.labels, settings, f"{name}, {settings.selection}", [observe])
        curves: dict[str, Sequence[float]] = {
            "step": curve.step, "loss": curve.loss, "active_share": curve.active_share,
            "spread_median": curve.spread_median, "held_out_auroc": separation,
        }  # fmt: skip
        run |= {
            "curve": {key: values if keep_curves else values[-1:] for key, values in curves.items()},
            "empty_steps": curve.empty_steps, "point_loss": curve.point_loss, "final": curve.final._asdict(),
            "called_collapsed": False,
        }  # fmt: skip
        require_learned(curve, settings, name)
    except CollapsedError as error:
        run |= {"called_collapsed": True, "error": str(error)}
    return run


def collapse(data: Statistics) -> list[dict[str, Any]]:
    """Every selection, network and learning rate; the deep normalised network, and what may save it, over more seeds."""
    runs = []
    for name in ("linear head", "four layers", "four layers, free"):
        for rate in RATES:
            for selection in SELECTIONS:
                for seed in range(3 if (name, rate) == ("four layers", RATES[0]) else 1):
                    settings = TrainSection.model_validate(
                        {"selection": selection, "learning_rate": rate, "seed": seed, **COMMON}
                    )
                    runs.append(collapse_run(data, name, settings, keep_curves=(rate, seed) == (RATES[0], 0)))
    for change in (
        {"loss": "soft_margin"}, {"learning_rate": 1e-4}, {"steps": 4 * COMMON["steps"]}, {"margin": 0.05},
    ):  # fmt: skip
        settings = TrainSection.model_validate({"selection": "batch_hard", **COMMON, **change})
        runs.append({"changed": change, **collapse_run(data, "four layers", settings, keep_curves=False)})
    return runs


def within_and_between(net: nn.Module, parts: Parts, defects: Tensor) -> dict[str, float]:
    """Squared distances among held-out normals, and from them to held-out defects."""
    with torch.no_grad():
        embeddings = net(torch.cat([parts.normal, defects]))
    distances = squared_distances(embeddings)
    is_normal = torch.arange(len(distances)) < len(parts.normal)
    both = is_normal[:, None] & is_normal[None, :]
    both.fill_diagonal_(False)
    across = is_normal[:, None] & ~is_normal[None, :]
    within, between = float(distances[both].mean()), float(distances[across].mean())
    return {
        "within": within,
        "between": between,
        "ratio": within / between,
        "share_within_exceeds_between": share_below(distances, both, across, 0.0),
        "auroc": held_out_auroc(net, parts, defects),
    }


def quadruplets(data: Statistics) -> list[dict[str, Any]]:
    """Every loss, the same seeds."""
    runs = []
    for seed in range(SEEDS):
        left_out = list(data.kinds)[seed % len(data.kinds)]
        parts = deal(data, seed, left_out)
        for selection in ("semihard", "all"):
            for loss in LOSSES:
                settings = TrainSection.model_validate(
                    {"loss": loss, "selection": selection, "seed": seed, **QUADRUPLETS}
                )
                net = network("linear head", parts.learned.shape[1], seed, settings.dropout)
                curve = learn(net, parts.learned, parts.labels, settings, f"{loss}, {selection}")
                require_learned(curve, settings, loss)
                runs.append(
                    {
                        "loss": loss, "selection": selection, "seed": seed, "left_out": left_out,
                        "seen": within_and_between(net, parts, parts.seen),
                        "unseen": within_and_between(net, parts, parts.unseen),
                    }
                )  # fmt: skip
    return runs


def rounded(value: Any) -> Any:
    """Five digits are enough to keep."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def main() -> None:
    """The benchmark."""
    if len(sys.argv) == 1:
        print("left out: python -m benchmarks.losses DATA_FOLDER SPLIT_FILE takes a set of pictures")
        return
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m benchmarks.losses DATA_FOLDER SPLIT_FILE")
    torch.set_num_threads(1)
    folder, split_file = Path(sys.argv[1]), Path(sys.argv[2])
    data = statistics(folder, json.loads(split_file.read_text(encoding="utf-8")))
    figures = {
        "set": folder.name,
        "parts": {
            "normal": len(data.train_normal), "normal, held out": len(data.test_normal),
            **{kind: len(features) for kind, features in data.kinds.items()},
        },
        "margin": TrainSection().margin,
        "second_margin": TrainSection().second_margin,
        "settings": {"collapse": COMMON, "quadruplets": QUADRUPLETS},
        "collapse": collapse(data),
        "quadruplets": quadruplets(data),
    }  # fmt: skip
    save("losses", rounded(figures))


if __name__ == "__main__":
    main()
