"""Real networks, small enough for tests."""

import timm
import torch

from senbetsu.backbone import find_backbone
from senbetsu.backbone_network import load_backbone
from senbetsu.config import ModelSection
from senbetsu.stages import Stages, timm_network


def lite0() -> Stages:
    return load_backbone(find_backbone(ModelSection(input_size=128)))


def resnet18() -> Stages:
    """With random weights; its activations and shortcuts change tensors in place."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    return Stages(timm_network("resnet18", state, 128), (1, 2, 3, 4)).eval()
