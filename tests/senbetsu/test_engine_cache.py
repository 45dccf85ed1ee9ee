"""A converted graph that was damaged in the cache is noticed, whatever is left of it, and made anew."""

from pathlib import Path

import numpy as np
import pytest

import senbetsu.engine.graph
from senbetsu.engine.graph import GRAPH, SUMS, _sums


def test_any_byte_of_a_graph_that_is_another_is_noticed(tmp_path: Path) -> None:
    for name in GRAPH:
        (tmp_path / name).write_bytes(bytes(range(256)) * 9)
    (tmp_path / SUMS).write_text(_sums(tmp_path))
    for name in GRAPH:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:1000] + b"\0" + whole[1001:])
        assert _sums(tmp_path) != (tmp_path / SUMS).read_text()
        (tmp_path / name).write_bytes(whole)
    assert _sums(tmp_path) == (tmp_path / SUMS).read_text()


@pytest.mark.parametrize("what", ["weights", "sums"])
def test_a_damaged_graph_is_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    from torch import Tensor, nn

    from senbetsu.backbone import find_backbone
    from senbetsu.config import ModelSection

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(Tensor(np.arange(12, dtype=np.float32).reshape(3, 4)))

        def forward(self, images: Tensor) -> Tensor:
            return images.float().mean((1, 2)) @ self.weight

    monkeypatch.setattr(senbetsu.engine.graph, "cache_folder", lambda: tmp_path)
    backbone = find_backbone(ModelSection())
    made = []

    def small(_: object) -> nn.Module:
        made.append(1)
        return Small()

    def load() -> None:
        senbetsu.engine.graph.openvino_model(small, backbone)  # type: ignore[arg-type]

    load()
    load()
    assert len(made) == 1
    (folder,) = (tmp_path / "graphs").iterdir()
    damaged = folder / (GRAPH[1] if what == "weights" else SUMS)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with caplog.at_level("WARNING"):
        load()
    assert len(made) == 2
    assert "damaged" in caplog.text
    load()
    assert len(made) == 2
