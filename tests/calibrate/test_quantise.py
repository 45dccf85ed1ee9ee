"""Which parts the 8-bit ranges come from, when int8 is refused, and the whole way through the programs."""

import json
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as ops

from calibrate.parts import Part, Parts
from calibrate.quantise import (
    BAND,
    LEAST_PICTURES,
    MOST_PICTURES,
    agreement,
    check_agreement,
    quantise,
    readers_of_the_picture,
    set_apart,
)
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, load_config
from senbetsu.errors import ArtifactError, ConfigError, UserError
from senbetsu.judge import load_judge


def parts(seen: int, unseen: int) -> Parts:
    shown = Parts()
    shown.add([Part(Path(str(n)), f"{n:064x}", 0 if n < seen else None, n) for n in range(seen + unseen)])
    return shown


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 1500))
def test_no_part_sets_both_a_range_and_the_threshold(seen: int, unseen: int) -> None:
    shown = parts(seen, unseen)
    everyone = {part.sha256 for part in shown.every()}
    try:
        ranges = set_apart(shown)
    except UserError:
        assert seen < LEAST_PICTURES
        assert unseen < 5 * LEAST_PICTURES
        return
    assert LEAST_PICTURES <= len(ranges) <= MOST_PICTURES
    threshold = {part.sha256 for part in shown.every() if part.fold is None}
    assert not threshold & {part.sha256 for part in ranges}
    assert {part.sha256 for part in [*ranges, *shown.every()]} == everyone


def test_too_few_parts_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(UserError, match=r"int8.*takes 32 normal parts.*here are 3\).*160.*here are 40\)"):
        set_apart(parts(3, 40))


def test_a_verdict_that_changes_far_from_the_threshold_refuses_int8() -> None:
    reference = np.linspace(0.5, 1.5, 200)
    scores = reference.copy()
    near = int(np.argmin(np.abs(reference - (1 + BAND / 2))))
    scores[near] = 0.99
    found = agreement(scores, 1.0, reference, 1.0)
    assert (found.changed_inside, found.changed_outside) == (1, 0)
    assert check_agreement(found)["changed_inside"] == 1
    far = int(np.argmin(np.abs(reference - (1 + 2 * BAND))))
    scores[far] = 0.99
    with pytest.raises(UserError, match=r"int8' is refused: of 200 normal parts 1 change.*set engine.precision to"):
        check_agreement(agreement(scores, 1.0, reference, 1.0))


def test_each_engine_is_held_against_its_own_threshold() -> None:
    reference = np.linspace(0.5, 1.5, 200)
    found = agreement(1.1 * reference, 1.1, reference, 1.0)
    assert (found.changed_inside, found.changed_outside, found.correlation) == (0, 0, 1.0)


@pytest.mark.parametrize("scores", [np.random.default_rng(0).uniform(0.1, 0.9, 200), np.full(200, 0.5)])
def test_scores_that_do_not_correlate_refuse_int8_though_no_verdict_changes(scores: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"0 change.*correlate by (nan|-?0\.\d+)"), np.errstate(all="ignore"):
        check_agreement(agreement(scores, 1.0, np.linspace(0.1, 0.9, 200), 1.0))


def test_only_what_reads_the_picture_stays_as_it_is() -> None:
    picture = ops.parameter([1, 8, 8, 3], np.uint8)
    x = ops.transpose(ops.convert(picture, np.float32), np.array([0, 3, 1, 2]))
    weights = np.ones((3, 3, 1, 1), np.float32)

    def convolution(of: ov.Node, name: str) -> ov.Node:
        made = ops.convolution(of, weights, [1, 1], [0, 0], [0, 0], [1, 1])
        made.set_friendly_name(name)
        return made

    first, other = convolution(ops.divide(x, np.float32(2)), "stem"), convolution(x, "shortcut")
    last = convolution(ops.relu(ops.add(first, other)), "second")
    assert readers_of_the_picture(ov.Model([last], [picture])) == ["shortcut", "stem"]


def test_without_nncf_calibrate_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ConfigError, match=r"nncf is not installed; pip install 'senbetsu\[int8\]'"):
        quantise(find_backbone(ModelSection()), [])


def test_a_backbone_that_nncf_cannot_quantise_is_named(
    monkeypatch: pytest.MonkeyPatch, drawn_part, tmp_path: Path
) -> None:
    nncf = pytest.importorskip("nncf")

    def fails(*_: object, **__: object) -> None:
        raise nncf.UnsupportedModelError("no such operation")

    monkeypatch.setattr(nncf, "quantize", fails)
    monkeypatch.setattr("calibrate.quantise.openvino_model", lambda *_: ov.Model([], [], "nothing"))
    with pytest.raises(
        ConfigError, match=r"NNCF cannot quantise the backbone efficientnet_lite0 \(no such operation\)"
    ):
        quantise(find_backbone(ModelSection()), [])


@pytest.mark.slow
def test_what_calibrate_quantised_judges_where_nncf_is_not_installed(
    senbetsu, quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of real cells: drawn parts are so much alike that their scores differ by little more than bf16 rounds them."""
    pytest.importorskip("nncf")
    pytest.importorskip("elpv_dataset")
    from demo.elpv import split

    artifacts, shown = tmp_path / "artifacts", tmp_path / "shown"
    cells = split()
    for folder, paths in (("train", cells.train_normal[:120]), ("calibrate", cells.calibrate_normal[:200])):
        (shown / folder).mkdir(parents=True)
        for path in paths:
            (shown / folder / path.name).symlink_to(path.resolve())
    trained = senbetsu("train", "--normal", shown / "train", "--artifacts", artifacts, *quick)
    assert trained.status == 0, trained.stderr
    int8 = ("--artifacts", artifacts, "--set", "engine.precision=int8")
    done = senbetsu("calibrate", "--normal", shown, *int8, "--json")
    assert done.status == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["engine"]["precision"] == "int8"
    assert told["engine"]["int8_sha256"] == json.loads((artifacts / "int8.json").read_text())["sha256"]
    assert told["int8_agreement"]["changed_outside"] == 0
    assert set(json.loads((artifacts / "int8.json").read_text())["ranges_from"]).isdisjoint(
        json.loads((artifacts / "profile.json").read_text())["parts"]
    )

    monkeypatch.setitem(sys.modules, "nncf", None)
    config = load_config(None, {"artifacts": artifacts, "engine.precision": "int8"})
    judge = load_judge(config)
    assert judge.engine.precision == "int8"
    judge.engine.inputs[:] = 128
    assert np.isfinite(judge.engine.run(1).score).all()
    # Nothing else judges by this profile, and this profile by no other 8-bit backbone.
    with pytest.raises(ArtifactError, match="calibrated with engine openvino, int8"):
        load_judge(load_config(None, {"artifacts": artifacts, "engine.precision": "fp32"}))
    document = json.loads((artifacts / "profile.json").read_text())
    document["engine"]["int8_sha256"] = "0" * 64
    (artifacts / "profile.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="the profile was calibrated with 000000000000"):
        load_judge(config)
