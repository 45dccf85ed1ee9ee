"""Statistics of files and of pictures in memory: the same numbers, each picture's own, in order, kept or not."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from senbetsu.backbone import Backbone, find_backbone
from senbetsu.cache import cache_folder
from senbetsu.config import ModelSection
from senbetsu.features import BATCH, Features, extract_features, features_of, open_file, stream_features
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.network import FeatureNetwork

COUNT = BATCH + 2


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return find_backbone(ModelSection())


@pytest.fixture(scope="module")
def paths(parts_folder: Path) -> list[Path]:
    return sorted((parts_folder / "train").iterdir())[:COUNT]


@pytest.fixture(scope="module")
def pictures(paths: list[Path], backbone: Backbone) -> list[np.ndarray]:
    made = []
    for path in paths:
        made.append(np.zeros((backbone.input_size, backbone.input_size, 3), np.uint8))
        fit(read_image(path), made[-1])
    return made


def assert_equal(a: Features, b: Features) -> None:
    assert a.tuned is b.tuned is None
    for one, other in zip(a.statistics[:4], b.statistics[:4], strict=True):
        assert one.dtype == other.dtype
        # On some CPUs the last bits depend on how many pictures are measured together.
        eps = np.finfo(one.dtype).eps
        np.testing.assert_allclose(one, other, rtol=8 * eps, atol=8 * eps)


def test_pictures_in_memory_have_the_statistics_of_their_files(
    paths: list[Path], pictures: list[np.ndarray], backbone: Backbone
) -> None:
    from_files = extract_features(paths, backbone, "files")
    in_memory = features_of(iter(pictures), backbone, "memory", COUNT)
    assert [str(path) for path in in_memory.paths] == [str(number) for number in range(COUNT)]
    assert_equal(in_memory, from_files)
    # This time all come from the cache.
    assert_equal(features_of(iter(pictures), backbone, "memory", COUNT), from_files)
    assert_equal(extract_features(paths, backbone, "files"), from_files)


def test_streamed_in_chunks_they_are_the_same(paths: list[Path], backbone: Backbone) -> None:
    named = [(path, partial(open_file, path)) for path in paths]
    chunks = list(stream_features(iter([named[:3], named[3:]]), backbone))
    assert [len(chunk) for chunk in chunks] == [3, COUNT - 3]
    assert_equal(Features.joined(chunks), extract_features(paths, backbone, "files"))


def test_the_same_picture_twice_has_two_rows(pictures: list[np.ndarray], backbone: Backbone) -> None:
    order = [0, 1, 0, 2, 0]
    found = features_of((pictures[i] for i in order), backbone, "memory", len(order))
    alone = features_of(iter(pictures[:3]), backbone, "memory", 3)
    assert_equal(found, alone.take(order))
    assert found.sha256[0] == found.sha256[2] == found.sha256[4]


def test_the_statistics_are_the_networks(pictures: list[np.ndarray], backbone: Backbone) -> None:
    found = features_of(iter(pictures[:3]), backbone, "memory", 3)
    with torch.inference_mode():
        expected = FeatureNetwork(backbone).eval()(torch.from_numpy(np.stack(pictures[:3])))
    for name, tolerance in (("context", 1e-3), ("whole", 5e-3), ("windows", 2e-2), ("places", 5e-3)):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name).numpy(), atol=tolerance, rtol=2e-3)
    np.testing.assert_array_equal(found.head_rows, np.concatenate([found.context, found.whole], 1))


def test_some_and_all_keep_every_row_with_its_name(pictures: list[np.ndarray], backbone: Backbone) -> None:
    found = features_of(iter(pictures[:4]), backbone, "memory", 4)
    first, rest = found.take(np.array([True, False, False, True])), found.take([1, 2])
    joined = Features.joined([first, rest])
    assert joined.sha256 == tuple(found.sha256[i] for i in (0, 3, 1, 2))
    assert_equal(joined, found.take([0, 3, 1, 2]))
    assert len(found.take(np.zeros(4, bool))) == 0


def test_one_name_too_few_or_a_copy_is_left_out_and_order_is_kept(
    paths: list[Path], backbone: Backbone, tmp_path: Path
) -> None:
    (tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    (tmp_path / "cut.png").write_bytes(paths[1].read_bytes()[:50])
    shown = [paths[0], tmp_path / "cut.png", paths[1], tmp_path / "copy.png", paths[2]]
    found = extract_features(shown, backbone, "files")
    assert list(found.paths) == paths[:3]
    assert found.duplicates == 1
    assert [path.name for path, _ in found.unreadable] == ["cut.png"]
    assert_equal(found, extract_features(paths[:3], backbone, "files"))


def test_on_a_disk_that_is_nearly_full_nothing_is_kept(
    paths: list[Path], backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    (tmp_path / "graphs").symlink_to(cache_folder() / "graphs")  # which need not be converted anew
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr("senbetsu.feature_cache.LEAST_FREE", 1.0)
    found = extract_features(paths[:2], backbone, "files")
    assert len(found) == 2
    assert not list(tmp_path.rglob("*.npz"))
    assert "of the disk is free: features are not kept" in caplog.text
