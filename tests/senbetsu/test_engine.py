"""Engines agree with each other, with themselves over batches, and refuse what is not here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from scipy.stats import spearmanr

from senbetsu.backbone import Backbone
from senbetsu.config import EngineSection, load_config
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, Lane, batch_sizes_up_to, build_engine, choose_engine, streams_of
from senbetsu.engine.openvino import IN_TURN, OpenVINOEngine, Stream, cpu_has_bf16
from senbetsu.engine.pytorch import TorchEngine
from senbetsu.errors import ArtifactError, ConfigError
from senbetsu.fitting import fit
from senbetsu.images import find_images, read_image
from senbetsu.judge import load_judge
from senbetsu.profile import Profile, load_profile
from senbetsu.scoring import ScorerConstants, scoring_network
from senbetsu.scoring_network import ScoringNetwork

OPENVINO = EngineChoice("openvino", "fp32", "cpu")
TORCH = EngineChoice("torch", "fp32", "cpu")
CUDA = EngineChoice("torch", "fp32", "cuda")
BF16_TOLERANCE = 0.35
"""Relative, of a score in bf16 against fp32. It is the backbone's own rounding, seen through a whitening that makes small
differences large, and it shifts all parts alike; a profile is bound to its precision, so the two never meet on a line."""


@pytest.fixture(scope="module")
def profile(line) -> Profile:
    return load_profile(line.artifacts, load_embedding(line.artifacts))


@pytest.fixture(scope="module")
def backbone(line) -> Backbone:
    return load_embedding(line.artifacts).backbone


@pytest.fixture(scope="module")
def network(backbone: Backbone) -> ScoringNetwork:
    return scoring_network(backbone)


@pytest.fixture(scope="module")
def pictures(line) -> list[np.ndarray]:
    return [read_image(path) for path in find_images([line.test_normal, line.test_defects])]


def scores_of(engine: Lane, pictures: list[np.ndarray], batch: int) -> np.ndarray:
    rows = []
    for start in range(0, len(pictures), batch):
        some = pictures[start : start + batch]
        for row, picture in enumerate(some):
            fit(picture, engine.inputs[row])
        rows.append(np.stack(engine.run(len(some)), 1).copy())
    return np.concatenate(rows)


def test_openvino_and_torch_agree_in_every_score_and_verdict(
    profile: Profile, backbone: Backbone, pictures: list[np.ndarray]
) -> None:
    fast = scores_of(build_engine(profile.scorer, backbone, OPENVINO, 0, (1, 8)), pictures, 8)
    reference = scores_of(build_engine(profile.scorer, backbone, TORCH, 0, (1, 8)), pictures, 8)
    np.testing.assert_allclose(fast, reference, rtol=1e-3)
    clear = np.abs(reference[:, 0] / profile.threshold - 1) > 1e-2
    assert ((fast[:, 0] > profile.threshold) == (reference[:, 0] > profile.threshold))[clear].all()


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU does not compute in bf16")
def test_bf16_stays_within_its_stated_tolerance(
    profile: Profile, backbone: Backbone, pictures: list[np.ndarray]
) -> None:
    exact = scores_of(build_engine(profile.scorer, backbone, OPENVINO, 0, (8,)), pictures, 8)
    choice = EngineChoice("openvino", "bf16", "cpu")
    rough = scores_of(build_engine(profile.scorer, backbone, choice, 0, (8,)), pictures, 8)
    np.testing.assert_allclose(rough[:, 0], exact[:, 0], rtol=BF16_TOLERANCE)
    assert spearmanr(rough[:, 0], exact[:, 0]).statistic > 0.95


@pytest.mark.parametrize("choice", [OPENVINO, TORCH])
def test_a_parts_score_does_not_depend_on_its_batch(
    profile: Profile, backbone: Backbone, pictures: list[np.ndarray], choice: EngineChoice
) -> None:
    engine = build_engine(profile.scorer, backbone, choice, 0, (1, 2, 4, 8))
    one_by_one = scores_of(engine, pictures[:7], 1)
    np.testing.assert_allclose(scores_of(engine, pictures[:7], 7), one_by_one, rtol=1e-4)
    np.testing.assert_allclose(scores_of(engine, pictures[:7], 3), one_by_one, rtol=1e-4)


def test_streams_judge_at_the_same_time_and_give_the_scores_of_the_whole_engine(
    profile: Profile, backbone: Backbone, pictures: list[np.ndarray]
) -> None:
    engine = build_engine(profile.scorer, backbone, OPENVINO, 0, (1, 8), streams=2)
    assert engine.batch_sizes == (1,)
    assert [len(lane.inputs) for lane in engine.lanes] == [IN_TURN, IN_TURN]
    expected = scores_of(engine, pictures, 1)

    with ThreadPoolExecutor(2) as threads:
        for at_a_time in (1, 3, IN_TURN):
            for scores in threads.map(lambda lane: scores_of(lane, pictures, at_a_time), engine.lanes):  # noqa: B023
                np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "choice",
    [
        TORCH,
        pytest.param(
            CUDA,
            marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
        ),
    ],
    ids=["cpu", "cuda"],
)
def test_lanes_of_torch_judge_batches_at_the_same_time_and_give_the_scores_of_the_engine(
    profile: Profile, backbone: Backbone, pictures: list[np.ndarray], choice: EngineChoice
) -> None:
    """While a batch of one lane is on the GPU, the other's is filled."""
    engine = build_engine(profile.scorer, backbone, choice, 0, (1, 4), streams=2)
    assert engine.batch_sizes == (1, 4)
    assert len({id(one) for one in (engine, *engine.lanes)}) == 3
    expected = scores_of(engine, pictures, 4)
    with ThreadPoolExecutor(3) as threads:
        for scores in threads.map(lambda lane: scores_of(lane, pictures, 4), (engine, *engine.lanes)):
            np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_a_run_that_writes_nothing_gives_no_score_of_the_part_before() -> None:
    class WritesOnce:
        """Stands in for a request of OpenVINO's that says it ran and did not."""

        written = False

        def set_input_tensor(self, tensor: ov.Tensor) -> None: ...

        def set_output_tensor(self, tensor: ov.Tensor) -> None:
            self.out = tensor

        def infer(self) -> None:
            if not self.written:
                self.out.data[:] = 1
            self.written = True

    stream = Stream([WritesOnce(), WritesOnce()], 8)
    assert not np.isnan(stream._outputs).any()
    score, metric, novelty = stream.run(2)
    assert np.isnan([*score, *metric, *novelty]).all()


def test_there_are_as_many_streams_as_cores_unless_the_config_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senbetsu.engine.openvino.cores_to_use", lambda: 6)
    assert streams_of(EngineSection(), OPENVINO) == 6
    assert streams_of(EngineSection(streams=1), OPENVINO) == 1
    assert streams_of(EngineSection(streams=3), OPENVINO) == 3
    assert streams_of(EngineSection(streams=9), OPENVINO) == 6
    assert streams_of(EngineSection(threads=4), OPENVINO) == 4
    assert streams_of(EngineSection(), TORCH) == 1
    assert streams_of(EngineSection(), CUDA) == 3
    assert streams_of(EngineSection(threads=2), CUDA) == 2
    assert streams_of(EngineSection(streams=1), CUDA) == 1
    assert streams_of(EngineSection(streams=9), CUDA) == 9
    monkeypatch.setattr("senbetsu.engine.openvino.cores_to_use", lambda: 64)
    assert streams_of(EngineSection(), OPENVINO) == 16
    assert streams_of(EngineSection(), CUDA) == 8


@pytest.mark.parametrize("which", ScorerConstants._fields)
@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_a_statistic_that_is_not_finite_gives_no_finite_score(
    profile: Profile, backbone: Backbone, network: ScoringNetwork, kind: str, which: str
) -> None:
    """OpenVINO's maximum takes NaN for the smaller number, and so does a scalar fused with it: the score came out finite."""
    constants = profile.scorer.constants()
    broken = getattr(constants, which).copy()
    broken.reshape(-1)[0] = np.nan
    constants = constants._replace(**{which: broken})
    engine = (
        OpenVINOEngine(scoring_network, constants, backbone, "fp32", 0, (1,))
        if kind == "openvino"
        else TorchEngine(network, constants, backbone.input_size, "fp32", "cpu", 0, (1,))
    )
    engine.inputs[:] = 128
    assert not np.isfinite(engine.run(1).score[0])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_reference(profile: Profile, backbone: Backbone, pictures: list[np.ndarray]) -> None:
    reference = scores_of(build_engine(profile.scorer, backbone, TORCH, 0, (8,)), pictures, 8)
    np.testing.assert_allclose(
        scores_of(build_engine(profile.scorer, backbone, CUDA, 0, (1, 8)), pictures, 8), reference, rtol=5e-3
    )
    half = EngineChoice("torch", "fp16", "cuda")
    np.testing.assert_allclose(
        scores_of(build_engine(profile.scorer, backbone, half, 0, (1, 8)), pictures, 8),
        reference,
        rtol=BF16_TOLERANCE,
    )


def test_auto_never_survives_the_choice() -> None:
    choice = choose_engine(EngineSection())
    assert choice.kind in ("openvino", "torch")
    assert choice.precision in ("fp32", "bf16", "fp16")
    assert choose_engine(EngineSection(device="cpu")).kind == "openvino"
    assert choose_engine(EngineSection(kind="torch", device="cpu")) == TORCH


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine\.device.*no CUDA device"):
        choose_engine(EngineSection(device="cuda"))
    with pytest.raises(ConfigError, match=r"engine\.precision = 'fp16'"):
        choose_engine(EngineSection(kind="torch", precision="fp16"))


def test_batch_sizes_double_up_to_the_largest() -> None:
    assert [batch_sizes_up_to(n) for n in (1, 2, 3, 8, 12)] == [(1,), (1, 2), (1, 2, 3), (1, 2, 4, 8), (1, 2, 4, 8, 12)]


def test_a_profile_of_another_precision_is_refused_with_what_to_do(line, tmp_path: Path) -> None:
    made_with = load_profile(line.artifacts, load_embedding(line.artifacts)).precision
    other = "fp32" if made_with != "fp32" else "bf16"
    config = load_config(None, {"artifacts": line.artifacts, "engine.precision": other})
    with pytest.raises(ArtifactError, match=r"calibrated with engine .* run `senbetsu calibrate`"):
        load_judge(config)
