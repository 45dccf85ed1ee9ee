"""The results' file: a tree that grows seed by seed, that several runs may share, all of one set of versions."""

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions
from benchmarks.peers.figures import RULES, summary

PACKAGES = ("anomalib", "torch", "torchvision", "timm", "numpy", "opencv-python-headless", "elpv-dataset")


class Results:
    """Reads and extends the file; a reader never sees half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Any]:
        """What is known so far, empty at first."""
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    def has(self, set_name: str, method: str, seed: int) -> bool:
        """Whether this was computed before."""
        per_seed = self.read().get("sets", {}).get(set_name, {}).get(method, {}).get("per_seed", {})
        return str(seed) in per_seed

    def add(self, set_name: str, method: str, seed: int, figures: dict[str, Any]) -> None:
        """Write one seed's figures, and mean, minimum and maximum over the seeds anew. Raises as `put`."""
        self.put(("sets", set_name, method, "per_seed", str(seed)), summary([figures], np.mean))

    def put(self, keys: Sequence[str], value: Any) -> None:
        """Write a value at a place of the tree. Raises RuntimeError where the file is of other versions."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # let go when closed
            here = {**conditions(PACKAGES), "torch_threads": torch.get_num_threads()}
            tree = self.read() or {"conditions": here, "rules": RULES}
            if tree["conditions"]["versions"] != here["versions"]:
                raise RuntimeError(f"{self._path} is of other versions than installed here; delete it to start anew")
            node = tree
            for key in keys[:-1]:
                node = node.setdefault(key, {})
            node[keys[-1]] = value
            for methods in tree.get("sets", {}).values():
                for entry in methods.values():
                    seeds = list(entry["per_seed"].values())
                    entry |= {name: summary(seeds, of) for name, of in (("mean", np.mean), ("min", min), ("max", max))}
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)
        finally:
            os.close(folder)
