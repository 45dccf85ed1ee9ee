"""What looks at the parts, and how it is trained and calibrated: [model], [engine], [train], [calibrate]."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from senbetsu.config.section import Section

MIN_INPUT_SIZE = 128
"""A network that reduces the picture 32 times leaves 4 x 4 places of it."""


class ModelSection(Section):
    """Which backbone looks at the parts."""

    backbone: Annotated[str, Field(min_length=1)] | None = None
    """Name of the frozen feature network: efficientnet_lite0, 1 or 2, or a model of timm. Left out: efficientnet_lite0 to
    train with, and whatever was trained with from then on."""
    weights: Path | None = None
    """File of its weights; only for a model of timm."""
    input_size: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side of the square picture that the network sees, in pixels; 0: the backbone's own."""

    @field_validator("input_size")
    @classmethod
    def _large_enough(cls, value: int) -> int:
        if 0 < value < MIN_INPUT_SIZE:
            raise ValueError(f"must be 0 (the backbone's own) or at least {MIN_INPUT_SIZE}")
        return value


class EngineSection(Section):
    """What computes the scores. A profile is bound to the engine and precision that it was calibrated on."""

    kind: Literal["auto", "openvino", "torch"] = "auto"
    """auto: torch where there is a CUDA device, else openvino."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """auto: bf16 in openvino on a CPU that has it, fp16 in torch on CUDA, else fp32. int8: openvino, the backbone in 8-bit
    integers; `calibrate` makes them, which takes pip install 'senbetsu[int8]'."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    """torch only."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0: all cores."""
    streams: Annotated[int, Field(ge=0, le=1024)] = 0
    """On the line: with openvino, parts judged at the same time, each on its share of the cores; 0: one a core, at most 16.
    On CUDA, batches under way at the same time; 0: one for every two cores, 2 to 8."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Most parts in one batch, padded to 1, 2, 4, 8, ... up to this; openvino's streams take up to 8 of these one by one."""


class TrainSection(Section):
    """How the embedding is learned."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    hold_back: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """So many of the normal pictures are not learned from, so that `calibrate`, shown the same folder, sets the threshold with
    parts that nothing was fitted on. For 1 % expected: 99, 199, 299, ...; see docs/calibration.md."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """Gradient steps."""
    loss: Literal["triplet", "soft_margin", "quadruplet", "quadruplet_chen"] = "triplet"
    """soft_margin has no margin; a quadruplet takes two labels beside the normals'. quadruplet: the slides' form;
    quadruplet_chen: that of Chen et al. 2017."""
    selection: Literal["semihard", "all", "hard", "batch_hard", "slide"] = "semihard"
    """Which triplets of a batch are learned from. semihard is FaceNet's rule; docs/losses.md shows what each does."""
    margin: Annotated[float, Field(gt=0, le=4)] = 0.2
    """Margin alpha of the triplet loss, in squared L2 distance of unit vectors; also bounds what is semi-hard."""
    second_margin: Annotated[float, Field(gt=0, le=4)] = 0.1
    """quadruplet_chen only: beta, by which two unlike images lie farther apart than two alike; smaller than margin."""
    labels_per_batch: Annotated[int, Field(ge=2, le=256)] = 8
    """P of P x K batches (or as many as there are)."""
    images_per_label: Annotated[int, Field(ge=2, le=256)] = 32
    """K of P x K batches."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the statistics that is hidden from the head at each step."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts that judge what was learned are left out of learning, one fold after the other."""
    group: Annotated[str, Field(min_length=1)] | None = None
    """What tells lots apart, as calibrate.group does: then the parts of a lot are left out together."""
    judge_pictures: Annotated[int, Field(ge=0, le=100_000)] = 270
    """Copies of normal parts, damaged on purpose, that judge which statistic sees damage best; 0: all weigh the same."""
    teach_damage: bool = False
    """depth head: these copies teach as well, as one more label beside the real kinds of defect. A quadruplet loss with one
    real kind of defect needs it."""
    depth: Literal["head", "blocks", "all"] = "head"
    """What is learned: a head on the frozen features, or the backbone's last blocks or all of it together with the head."""
    tuned_blocks: Annotated[int, Field(ge=1, le=64)] = 2
    """depth blocks: how many of the backbone's last stages (those whose maps are used) are learned."""
    tune_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """depth blocks and all: gradient steps, after the head's own."""
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """depth blocks and all: of the backbone. The head goes on with a tenth of learning_rate."""
    tune_images_per_label: Annotated[int, Field(ge=2, le=256)] = 8
    """depth blocks and all: K of P x K batches; every picture of a batch goes through the backbone."""
    augment_flips: bool = True
    """depth blocks and all: mirror pictures, both ways. false where the orientation of a part matters."""
    augment_shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """depth blocks and all: shift pictures by up to this share of their side, each way."""
    augment_light: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """depth blocks and all: make pictures brighter or darker by up to this share."""
    tensorboard: Path | None = None
    """Folder for TensorBoard, which has to be installed: pip install 'senbetsu[tensorboard]'."""

    @model_validator(mode="after")
    def _the_second_margin_is_the_smaller(self) -> Self:
        if self.loss == "quadruplet_chen" and self.second_margin >= self.margin:
            raise ValueError(
                f"second_margin = {self.second_margin} has to be smaller than margin = {self.margin}: the anchor's own "
                "negative comes first"
            )
        return self


class CalibrateSection(Section):
    """What the threshold promises. Leave both out to get 1 % expected, or the tightest that the parts support."""

    false_reject_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Promise: the share of good parts that is rejected. A promise that the parts do not support is refused."""
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Makes the promise a bound that holds with this confidence; without it the promise is the expected rate."""
    contamination: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Up to this share of the normal pictures may be bad. The least normal ones, so many, neither move centroid and whitening
    nor set the threshold; the claim counts them as good parts that are rejected."""
    group: Annotated[str, Field(min_length=1)] | None = None
    """What tells lots apart: a regular expression on paths, a CSV of path,lot, or gap:MINUTES. Lots are held out whole."""

    @model_validator(mode="after")
    def _confidence_needs_a_rate(self) -> Self:
        if self.confidence is not None and self.false_reject_rate is None:
            raise ValueError("confidence needs false_reject_rate: it says with what confidence that rate is kept")
        return self
