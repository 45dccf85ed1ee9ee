"""Fine-tuned weights: kept, applied to a copy, and a backbone that gives frozen and tuned maps in one pass."""

import numpy as np
import pytest
import timm
import torch
from networks import lite0, resnet18

from senbetsu.stages import Stages, timm_network
from senbetsu.tuned import Tuned
from senbetsu.two_fold import TwoFold, with_tuned

PICTURE = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def without_steps() -> Stages:
    """A network that timm does not take apart."""
    torch.manual_seed(0)
    state = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    return Stages(timm_network("vit_tiny_patch16_224", state, 128), (1, 2)).eval()


def doubled(stages: Stages, *starts: str) -> Tuned:
    """All parameters whose name starts so, half as large again."""
    return Tuned({name: 1.5 * tensor.numpy() for name, tensor in stages.named_parameters() if name.startswith(starts)})


@pytest.mark.parametrize(
    ("make", "starts", "shared"),
    [
        (lite0, ("network.blocks.5.", "network.blocks.6."), 5),
        (lite0, ("network.blocks.6.",), 6),
        (lite0, ("network.",), 0),
        (resnet18, ("network.layer4.",), 4),
        (resnet18, ("network.conv1",), 0),
        (without_steps, ("network.model.blocks.11.",), 0),
    ],
)
def test_both_versions_come_out_as_if_each_had_run_alone(make, starts: tuple[str, ...], shared: int) -> None:
    stages, separate = make(), make()
    tuned = doubled(stages, *starts)
    assert tuned.tensors
    both = TwoFold(stages, tuned)
    with torch.no_grad():
        frozen_maps, tuned_maps = both(PICTURE)
        expected = separate(PICTURE)
        for name, parameter in separate.named_parameters():
            if name.startswith(starts):
                parameter.mul_(1.5)
        other = separate(PICTURE)
    assert both.shared_steps == shared
    assert len(frozen_maps) == len(tuned_maps) == len(expected)
    for found, wanted in zip([*frozen_maps, *tuned_maps], [*expected, *other], strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)
    assert not torch.allclose(frozen_maps[-1], tuned_maps[-1], atol=1e-3)


def test_a_network_that_wants_red_green_blue_gets_it_in_both_versions() -> None:
    stages, separate = resnet18(), resnet18()
    stages.reorder = separate.reorder = True
    both = TwoFold(stages, doubled(stages, "network.layer4."))
    with torch.no_grad():
        frozen_maps, _ = both(PICTURE)
        for found, wanted in zip(frozen_maps, separate(PICTURE), strict=True):
            assert torch.allclose(found, wanted, atol=1e-5)


def test_the_hash_tells_any_other_name_number_or_shape() -> None:
    values = np.arange(6, dtype=np.float32)
    same = Tuned({"a": values, "b": values}).sha256
    assert Tuned({"b": values.copy(), "a": values.copy()}).sha256 == same
    others = [
        {"a": values, "c": values}, {"a": values, "b": values + 1e-6}, {"a": values, "b": values.reshape(2, 3)},
        {"a": values},
    ]  # fmt: skip
    assert len({same, *(Tuned(other).sha256 for other in others)}) == 5


@pytest.mark.parametrize(
    "tensors", [{"network.nothing": np.zeros(1, np.float32)}, {"network.conv1.weight": np.zeros(3, np.float32)}]
)
def test_tensors_of_another_network_are_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="the backbone has no tensor"):
        with_tuned(resnet18(), Tuned(tensors))
