"""A run of learning as people see it: its progress bar, and a record every few steps."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor
from tqdm import tqdm

from senbetsu.config import TrainSection
from train.health import Curve, Look, Record, active_share, look_at
from train.losses import LOSSES
from train.selections import Quadruplets, Triplets

RECORDS = 60
"""About so many steps of a run are recorded."""

Observer = Callable[[Record], None]


class Recording:
    """Iterate over it for the numbers of the steps, 1 to `steps`, and tell it of each by `note`."""

    def __init__(
        self, what: str, steps: int, settings: TrainSection, observers: Sequence[Observer] = (), *, hidden: bool = False
    ) -> None:
        """`what` names the bar, which is `hidden` in all processes but the first; `observers` get each record at once."""
        self.settings, self.observers, self.steps = settings, observers, steps
        self.records: list[Record] = []
        self.empty_steps = 0
        self._every = max(1, steps // RECORDS)
        # None: shown where standard error is a terminal.
        self._bar = tqdm(range(1, steps + 1), desc=what, unit="step", disable=hidden or None, leave=False)

    def __iter__(self) -> Iterator[int]:
        yield from self._bar

    def note(
        self, step: int, loss: Tensor, embeddings: Tensor, distances: Tensor, labels: Tensor,
        chosen: Triplets | Quadruplets,
    ) -> None:  # fmt: skip
        """What a step came to.

        Args:
            loss: scalar.
            embeddings, distances, labels: (B, D), (B, B) squared and (B,) of its batch, without a gradient.
            chosen: what the loss was taken of.
        """
        self.empty_steps += chosen.anchor.numel() == 0
        if step % self._every and step != self.steps:
            return
        look = look_at(embeddings, distances, labels)
        record = Record(step, loss.item(), active_share(distances, labels, chosen, self.settings), look)
        self.records.append(record)
        self._bar.set_postfix(
            loss=f"{record.loss:.3f}", active=f"{record.active_share:.2f}",
            d_ap=f"{look.positive_distance:.3f}", d_an=f"{look.negative_distance:.3f}",
        )  # fmt: skip
        for observe in self.observers:
            observe(record)

    def curve(self, final: Look) -> Curve:
        """The whole run, and what the embedding looks like at its end."""
        point = LOSSES[self.settings.loss].of_a_point(self.settings.margin, self.settings.second_margin)
        return Curve.of(self.records, self.steps, self.empty_steps, point, final)
