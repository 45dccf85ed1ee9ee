"""Does the pruned selection choose the points that anomalib's own loop chooses? Adds `coreset_check` to peers.json.

On part of the cookies' patches: anomalib's loop needs minutes for all of them, and can take up many gigabytes.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.components import KCenterGreedy

from benchmarks.conditions import RESULTS
from benchmarks.peers.methods import PADIM_LAYERS, PrunedKCenterGreedy, patches
from benchmarks.peers.pictures import Features, read_split
from benchmarks.peers.results import Results

EVERY, RATIO, SEEDS = 4, 0.05, 3


def agreement(bank: torch.Tensor) -> dict[str, Any]:
    """How many of the choices are the same, in order, over SEEDS first centres and projections."""
    same = total = 0
    for seed in range(SEEDS):
        choices = []
        for selection in (KCenterGreedy, PrunedKCenterGreedy):
            torch.manual_seed(seed)
            np.random.seed(seed)  # anomalib's projection draws from numpy's global generator
            choices.append(np.array(selection(bank, RATIO).select_coreset_idxs()))
        same += int((choices[0] == choices[1]).sum())
        total += len(choices[0])
    return {"patches": len(bank), "ratio": RATIO, "seeds": SEEDS, "choices": total, "same_in_order": same}


def main() -> None:
    """The check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as for benchmarks.peers.run")
    parser.add_argument("--output", type=Path, default=RESULTS / "peers.json")
    arguments = parser.parse_args()
    names = read_split(arguments.data / "splits/cookies.json").train_normal
    features = Features(arguments.data, "cookies", names, PADIM_LAYERS)
    found = agreement(patches(features, names)[::EVERY].contiguous())
    Results(arguments.output).put(("coreset_check",), found)
    print(found)


if __name__ == "__main__":
    main()
