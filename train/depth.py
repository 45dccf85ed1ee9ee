"""How deep is learned: the head alone, or the backbone with it; from some of the parts, with the rest to be judged.

Fine-tuning is judged as the head is, on parts that it never saw: by the same folds, and by the same hidden kinds. A weight
that is chosen on parts which the backbone was tuned on would be chosen by its memory. So it is done once for each fold, once
for each kind of defect that is hidden, and once on all parts; a single part held out would cost less and, with the few
defects that there mostly are, prove nothing. train.folds = 2 is the least.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.config import TrainSection
from senbetsu.distributed import Group
from senbetsu.features import Features
from senbetsu.scoring import Head
from senbetsu.tuned import Tuned
from train.finetune import fine_tune
from train.head import learn_head, standardisation
from train.health import Curve, require_learned
from train.labels import NORMAL
from train.recording import Observer
from train.tensorboard import observer
from train.tunable import PictureStatistics, StandardisedHead, learned_tensors, statistics_of, tunable_parameters


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A head, and the backbone that it belongs to."""

    head: Head
    rows: NDArray[np.float32]
    """(M, F): what the head maps, of all parts, whether they were learned from or not."""
    tuned: Tuned | None
    """None: the backbone is as it came."""
    head_curve: Curve | None
    """None: no defects among the parts, nothing was learned."""
    tuning_curve: Curve | None

    def seen_by(self, parts: Features, first: int) -> Features:
        """Parts, of which the first is number `first` of all, as this backbone sees them."""
        return parts if self.tuned is None else replace(parts, tuned=self.rows[first : first + len(parts)])


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
        rows: NDArray[np.float32],
        labels: NDArray[np.int64],
        some: NDArray[np.int64],
        what: str,
        observers: Sequence[Observer] = (),
    ) -> Learned:
        """Learn from some of the parts alone.

        Args:
            head: learned from the same parts.
            rows: (M, F) of the frozen backbone, of all parts.
            labels: (M,) of all parts.
            some: indices of the parts to learn from.
            what: name of the run.
            observers: called with each record.

        Raises:
            UserError, CollapsedError: see train.finetune.fine_tune and train.health.require_learned.
        """
        settings = self.settings
        network = PictureStatistics.of(self.backbone).to(self.group.device)
        mean, spread = standardisation(rows[some[labels[some] == NORMAL]])
        learned = StandardisedHead(head, mean, spread).to(self.group.device)
        curve = fine_tune(network, learned, self.pictures, some, labels[some], settings, what, self.group, observers)
        require_learned(curve, settings, what, tuning=True)
        names = tunable_parameters(network.stages, settings.depth, settings.tuned_blocks, self.backbone.input_size)
        tuned = learned_tensors(network.stages, names)
        return Learned(learned.folded(), statistics_of(network, self.pictures), tuned, None, curve)


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """All parts, from any of which it learns as deep as the settings say."""

    rows: NDArray[np.float32]
    """(M, F) of the frozen backbone."""
    labels: NDArray[np.int64]
    """(M,) normal parts first."""
    settings: TrainSection
    tuner: Tuner | None = None
    """None: the head alone."""

    def learn(self, which: NDArray[np.bool_], what: str) -> Learned:
        """From the parts where `which` (M,) is True.

        Raises:
            UserError, CollapsedError: see train.head.learn_head and Tuner.tune.
        """
        labels = self.labels[which]
        head, curve = learn_head(self.rows[which], labels, labels == NORMAL, self.settings, what)
        if self.tuner is None or curve is None:
            return Learned(head, self.rows, None, curve, None)
        name = f"fine-tuning: {what}"
        logs = self.settings.tensorboard
        observers = [] if logs is None or not self.tuner.group.is_first else [observer(logs, name)]
        deeper = self.tuner.tune(head, self.rows, self.labels, np.flatnonzero(which), name, observers)
        return replace(deeper, head_curve=curve)
