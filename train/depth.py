"""How deep is learned: the head alone, or the backbone with it, from some of the parts, with the rest to be judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.config import TrainSection
from senbetsu.scoring import Head
from senbetsu.tuned import Tuned
from train.distributed import Group
from train.finetune import fine_tune
from train.head import standardisation
from train.health import Curve, require_learned
from train.learning import Observer
from train.tunable import PictureStatistics, StandardisedHead, learned_tensors, statistics_of, tunable_parameters


@dataclass(frozen=True, slots=True, eq=False)
class FineTuned:
    """A backbone that was learned from some of the parts."""

    tuned: Tuned
    head: Head
    """For the tuned statistics."""
    statistics: NDArray[np.float32]
    """(M, F) tuned statistics of all pictures, whether they were learned from or not."""
    curve: Curve


@dataclass(frozen=True, slots=True, eq=False)
class Tuner:
    """What fine-tuning needs, whichever parts it is to learn from."""

    backbone: Backbone
    pictures: NDArray[np.uint8]
    """(M, S, S, 3) uint8 BGR of all parts."""
    settings: TrainSection
    group: Group

    def tune(
        self,
        head: Head,
        statistics: NDArray[np.float32],
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        what: str,
        observers: Sequence[Observer] = (),
    ) -> FineTuned:
        """Learn from the parts `rows` alone.

        Args:
            head: learned from the same parts.
            statistics: (M, F) frozen ones, of all parts.
            labels: (M,) of all parts, 0 the normal ones.
            rows: indices of the parts to learn from.
            what: name of the run.
            observers: called with each record.

        Raises:
            UserError, CollapsedError: see train.finetune.fine_tune and train.health.require_learned.
        """
        settings = self.settings
        network = PictureStatistics.of(self.backbone).to(self.group.device)
        mean, spread = standardisation(statistics[rows[labels[rows] == 0]])
        learned = StandardisedHead(head, mean, spread).to(self.group.device)
        curve = fine_tune(network, learned, self.pictures, rows, labels[rows], settings, what, self.group, observers)
        require_learned(curve, settings, what, tuning=True)
        names = tunable_parameters(network.stages, settings.depth, settings.tuned_blocks, self.backbone.input_size)
        return FineTuned(
            learned_tensors(network.stages, names), learned.folded(), statistics_of(network, self.pictures), curve
        )
