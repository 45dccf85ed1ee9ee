"""Fine-tuned weights of a backbone, as numbers.

The novelty gauge looks at the frozen features whatever was learned, the metric gauge at the tuned ones: senbetsu.two_fold
runs both.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The tensors of a backbone that were learned, float32, by their names in its `Stages`."""

    tensors: dict[str, NDArray[np.float32]]

    @property
    def sha256(self) -> str:
        """Of names, shapes and numbers: for the keys of caches."""
        digest = hashlib.sha256()
        for name, values in sorted(self.tensors.items()):
            digest.update(f"{name} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values, np.float32).tobytes())
        return digest.hexdigest()
