"""A graph in the backbone's place: joined it is the whole network again, and one that does not belong there is refused."""

import numpy as np
import openvino as ov
import pytest
import torch

from senbetsu.backbone import find_backbone
from senbetsu.config import EngineSection, ModelSection, load_config
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine, choose_engine
from senbetsu.engine.graph import openvino_model
from senbetsu.engine.openvino import CompiledGraph, OpenVINOEngine
from senbetsu.engine.quantised import QuantisedMaps, load_quantised, save_quantised
from senbetsu.errors import ArtifactError, ConfigError
from senbetsu.judge import load_judge
from senbetsu.maps import MapsNetwork, from_maps
from senbetsu.network import FeatureNetwork
from senbetsu.profile import load_profile
from senbetsu.scoring import scoring_network

INT8 = EngineChoice("openvino", "int8", "cpu")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> QuantisedMaps:
    """The backbone itself, in nothing less than fp32: so that what is joined can be compared exactly."""
    folder = tmp_path_factory.mktemp("front")
    ov.save_model(openvino_model(MapsNetwork, find_backbone(ModelSection())), folder / "g.xml", compress_to_fp16=False)
    return QuantisedMaps((folder / "g.xml").read_bytes(), (folder / "g.bin").read_bytes(), "fp32")


def test_both_halves_make_the_whole_network() -> None:
    backbone = find_backbone(ModelSection())
    side = backbone.input_size
    images = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        joined = from_maps(FeatureNetwork, backbone).eval()(MapsNetwork(backbone).eval()(images))
        whole = FeatureNetwork(backbone).eval()(images)
    for ours, expected in zip(joined, whole, strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_joined_graph_scores_as_the_whole_one_at_every_batch_size(line, front: QuantisedMaps) -> None:
    embedding = load_embedding(line.artifacts)
    constants = tuple(load_profile(line.artifacts, embedding).scorer.constants())
    joined = CompiledGraph(
        scoring_network, constants, embedding.backbone, "fp32", 0, (1, 3), compact=False, quantised=front
    )
    whole = CompiledGraph(scoring_network, constants, embedding.backbone, "fp32", 0, (1, 3), compact=False)
    joined.inputs[:] = whole.inputs[:] = np.random.default_rng(0).integers(0, 256, whole.inputs.shape, np.uint8)
    for count in (1, 3):
        np.testing.assert_allclose(joined.run(count)[0], whole.run(count)[0], rtol=1e-3)


def test_what_was_saved_is_read_and_bound_to_model_and_profile(front: QuantisedMaps, tmp_path) -> None:
    sha256 = save_quantised(tmp_path, front, "model", {})
    read = load_quantised(tmp_path, "model", sha256)
    assert (read.graph, read.weights, read.rest, read.sha256) == (front.graph, front.weights, "fp32", sha256)
    with pytest.raises(ArtifactError, match="made of the model model, but"):
        load_quantised(tmp_path, "another", sha256)
    with pytest.raises(ArtifactError, match="the profile was calibrated with none"):
        load_quantised(tmp_path, "model", "")
    numbers = bytearray((tmp_path / "int8.safetensors").read_bytes())
    numbers[-1] ^= 1
    (tmp_path / "int8.safetensors").write_bytes(numbers)
    with pytest.raises(ArtifactError, match="do not belong together"):
        load_quantised(tmp_path, "model", sha256)


def test_a_cpu_that_computes_the_rest_otherwise_is_refused(
    front: QuantisedMaps, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = save_quantised(tmp_path, QuantisedMaps(front.graph, front.weights, "bf16"), "model", {})
    monkeypatch.setattr("senbetsu.engine.openvino.cpu_has_bf16", lambda: False)
    with pytest.raises(ArtifactError, match="computes in bf16, which this one does not"):
        load_quantised(tmp_path, "model", sha256)


def test_int8_is_openvinos_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senbetsu.engine.openvino.cpu_has_int8", lambda: True)
    assert choose_engine(EngineSection(precision="int8")) == INT8
    with pytest.raises(ConfigError, match=r"int8' runs in openvino on the CPU, but engine.kind = 'torch'"):
        choose_engine(EngineSection(kind="torch", precision="int8"))
    monkeypatch.setattr("senbetsu.engine.openvino.cpu_has_int8", lambda: False)
    with pytest.raises(ConfigError, match="does not compute in 8 bits"):
        choose_engine(EngineSection(precision="int8"))


def test_precision_int8_takes_a_quantised_backbone_and_no_other_precision_does(line, front: QuantisedMaps) -> None:
    embedding = load_embedding(line.artifacts)
    scorer = load_profile(line.artifacts, embedding).scorer
    with pytest.raises(ValueError, match="do not go together"):
        build_engine(scorer, embedding.backbone, INT8)
    with pytest.raises(ValueError, match="do not go together"):
        OpenVINOEngine(scoring_network, scorer.constants(), embedding.backbone, "fp32", 0, (1,), front)


def test_a_profile_of_another_precision_is_not_judged_with_in_int8(line) -> None:
    with pytest.raises(ArtifactError, match="but here it would run with openvino, int8"):
        load_judge(load_config(None, {"artifacts": line.artifacts, "engine.precision": "int8"}))
