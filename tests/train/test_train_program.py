"""`senbetsu train` as its user sees it: what it writes, that it repeats itself, and what it says of bad input."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from senbetsu.embedding import load_embedding
from senbetsu.images import content_sha256


def test_it_writes_what_it_learned_and_how(line) -> None:
    document = json.loads((line.artifacts / "embedding.json").read_text())
    assert document["learned"] is True
    assert document["classes"] == {"normal": 60, "hole": 15, "scratch": 15}
    assert document["settings"]["steps"] == 100
    assert document["settings"]["judge_pictures"] == 36
    curve = document["curve"]
    for name in ("loss", "active_share", "positive_distance", "negative_distance", "spread_median", "effective_rank"):
        assert len(curve[name]) == len(curve["step"]) > 10, name
    assert curve["step"][-1] == curve["steps"] == 100
    assert curve["point_loss"] == 0.2
    assert curve["final"]["positive_distance"] < curve["final"]["negative_distance"]
    assert len(document["folds"]) == 60
    picture = cv2.imread(str(line.artifacts / "feature_space.png"))
    assert picture is not None
    assert picture.shape[1] > picture.shape[0]
    assert cv2.imread(str(line.artifacts / "damage.png")) is not None
    embedding = load_embedding(line.artifacts)
    assert embedding.moments.count == 60
    assert len(embedding.fold_axes) == 3
    assert embedding.sha256 == document["sha256"]


def test_it_keeps_the_evidence_that_the_weights_rest_on(line) -> None:
    document = json.loads((line.artifacts / "embedding.json").read_text())
    embedding = load_embedding(line.artifacts)
    judgement, share = document["judgement"], document["metric_weight"]
    assert set(judgement["auroc"]) == {"whole", "windows", "places"}
    assert embedding.fusion.weights == pytest.approx((share["weight"], *judgement["weights"]))
    assert document["fusion"]["statistics"] == ["metric", "whole", "windows", "places"]
    assert embedding.rest_weight == judgement["rest_weight"]
    by_rest = {float(weight): area for weight, area in judgement["auroc_by_rest_weight"].items()}
    assert by_rest[embedding.rest_weight] == max(by_rest.values())
    # Two kinds were shown, so that each was hidden once.
    assert set(share["seen"]) == set(share["hidden"])
    assert min(share["seen"].values()) > 0.5


def test_the_same_seed_gives_the_same_model(senbetsu, quick, line, tmp_path: Path) -> None:
    again = senbetsu(
        "train", "--normal", line.train_normal, "--defects", line.train_defects, "--artifacts", tmp_path, "--steps", 100,
        *quick,
    )  # fmt: skip
    assert again.status == 0, again.stderr
    assert load_embedding(tmp_path).sha256 == load_embedding(line.artifacts).sha256


def test_with_normals_alone_it_works_and_says_what_it_does_instead(senbetsu, line, tmp_path: Path) -> None:
    done = senbetsu(
        "train", "--normal", line.train_normal, "--artifacts", tmp_path, "--set", "train.folds=2",
        "--set", "train.judge_pictures=0",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert "no defects (--defects): nothing can be learned by contrast" in done.stderr
    assert "the statistics of the novelty gauge weigh the same" in done.stderr
    assert load_embedding(tmp_path).fusion.weights == pytest.approx((0.0, 1 / 3, 1 / 3, 1 / 3))
    assert not (tmp_path / "damage.png").exists()
    assert (tmp_path / "feature_space.png").exists()


@pytest.mark.slow
def test_what_is_held_back_is_not_learned_from_and_alone_sets_the_threshold(
    senbetsu, quick, line, tmp_path: Path
) -> None:
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", line.train_defects, "--artifacts", tmp_path, "--hold-back", 25,
        *quick,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    embedding = load_embedding(tmp_path)
    assert embedding.moments.count == len(embedding.folds) == 35
    assert json.loads((tmp_path / "embedding.json").read_text())["classes"] == {"normal": 35, "hole": 15, "scratch": 15}
    every = {content_sha256(path.read_bytes()) for path in line.train_normal.iterdir()}
    assert every - embedding.folds.keys() == set(sorted(every)[:25])
    done = senbetsu("calibrate", "--normal", line.train_normal, "--artifacts", tmp_path, "--false-reject-rate", 0.04)
    assert done.status == 0, done.stderr
    claim = json.loads((tmp_path / "profile.json").read_text())["claim"]
    assert (claim["method"], claim["n"], claim["k"]) == ("split", 25, 25)


def test_holding_back_too_many_is_an_error_that_says_how_many_are_left(senbetsu, line, tmp_path: Path) -> None:
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", tmp_path, "--hold-back", 57)
    assert done.status == 2
    assert "of 60 unlike normal pictures 3 are left to learn from; at least 4 are needed" in done.stderr
    assert not (tmp_path / "embedding.json").exists()


def test_pictures_of_every_kind_and_size_are_taken_and_a_damaged_one_is_left_out_by_name(
    senbetsu, quickest, line, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed/deep/deeper"
    folder.mkdir(parents=True)
    source = sorted(line.train_normal.iterdir())
    picture = cv2.imread(str(source[0]))
    cv2.imwrite(str(folder / "a.JPG"), picture)
    cv2.imwrite(str(folder / "b.bmp"), cv2.resize(picture, (300, 200)))
    cv2.imwrite(str(folder / "c.png"), cv2.cvtColor(cv2.imread(str(source[1])), cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(folder / "d.png"), cv2.imread(str(source[2])).astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "e.png"), cv2.cvtColor(cv2.imread(str(source[3])), cv2.COLOR_BGR2BGRA))
    cv2.imwrite(str(folder / "f.tiff"), cv2.imread(str(source[4])))
    (folder / "broken.jpg").write_bytes((folder / "a.JPG").read_bytes()[:1500])
    shutil.copy(source[5], folder / "g.png")
    shutil.copy(source[5], folder / "copy-of-g.png")
    (folder / "link.png").symlink_to(source[6])
    done = senbetsu("train", "--normal", tmp_path / "mixed", "--artifacts", tmp_path / "out", *quickest)
    assert done.status == 0, done.stderr
    assert "broken.jpg: a JPEG that ends before its picture does" in done.stderr
    assert load_embedding(tmp_path / "out").moments.count == 8


@pytest.mark.parametrize("what", ["missing", "empty", "unreadable", "three", "normal kind", "same picture"])
def test_bad_input_gets_one_clear_error_and_writes_nothing(senbetsu, line, tmp_path: Path, what: str) -> None:
    normal, defects, out = tmp_path / "normal", tmp_path / "defects", tmp_path / "out"
    if what != "missing":
        normal.mkdir()
    good = sorted(line.train_normal.iterdir())
    if what == "unreadable":
        (normal / "a.png").write_bytes(b"no picture")
    elif what == "three":
        for path in good[:3]:
            shutil.copy(path, normal)
    elif what in ("normal kind", "same picture"):
        for path in good[:6]:
            shutil.copy(path, normal)
        kind = defects / ("normal" if what == "normal kind" else "dent")
        kind.mkdir(parents=True)
        shutil.copy(good[0] if what == "same picture" else good[10], kind / "x.png")
    flags = ["--defects", defects] if defects.exists() else []
    done = senbetsu("train", "--normal", normal, *flags, "--artifacts", out)
    said = {
        "missing": f"{normal}: no such file or folder",
        "empty": f"{normal}: no picture in this folder",
        "unreadable": "none of the 1 pictures can be read",
        "three": "3 unlike readable pictures; learning what is normal takes at least 4",
        "normal kind": "a kind of defect cannot be called 'normal'",
        "same picture": "the same picture as",
    }[what]
    assert done.status == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "embedding.json").exists()


def test_a_folder_that_cannot_be_written_to_is_found_out_before_the_work(senbetsu, line, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", blocked / "out")
    assert done.status == 2
    assert "cannot be written to" in done.stderr
    assert "--artifacts" in done.stderr


def test_a_folder_of_unknown_kind_and_pictures_beside_the_folders_are_taken_for_what_they_are(
    senbetsu, quickest, line, tmp_path: Path
) -> None:
    defects = tmp_path / "defects"
    (defects / "unknown").mkdir(parents=True)
    shutil.copytree(line.train_defects / "scratch", defects / "zigzag")
    for number, path in enumerate(sorted((line.train_defects / "hole").iterdir())):
        shutil.copy(path, defects / "unknown" if number < 8 else defects)
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", defects, "--artifacts", tmp_path / "out", "--steps", 40,
        "--loss", "quadruplet_chen", "--selection", "all", *quickest,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    document = json.loads((tmp_path / "out/embedding.json").read_text())
    assert document["classes"] == {"normal": 60, "defect": 7, "zigzag": 15, "unknown": 8}
    assert list(document["classes"])[-1] == "unknown"
    assert (document["settings"]["loss"], document["settings"]["selection"]) == ("quadruplet_chen", "all")
    assert document["curve"]["point_loss"] == pytest.approx(0.3)
    assert "active share of all" in done.stderr


def test_quadruplets_of_one_kind_are_refused_before_the_work(senbetsu, line, tmp_path: Path) -> None:
    shutil.copytree(line.train_defects / "scratch", tmp_path / "defects/scratch")
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", tmp_path / "defects", "--artifacts", tmp_path / "out",
        "--loss", "quadruplet",
    )  # fmt: skip
    assert done.status == 2
    assert "--loss quadruplet: a quadruplet needs two labels beside 0 (normal), found 1" in done.stderr
    assert not (tmp_path / "out/embedding.json").exists()


@pytest.mark.parametrize("missing", ["defects", "judge"])
def test_damage_teaches_only_beside_real_defects(senbetsu, line, tmp_path: Path, missing: str) -> None:
    shown = [] if missing == "defects" else ["--defects", line.train_defects, "--set", "train.judge_pictures=0"]
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", tmp_path, "--teach-damage", *shown)
    assert done.status == 2
    assert "takes --defects, --depth head and train.judge_pictures > 0" in done.stderr


def test_with_damage_as_the_other_label_one_kind_is_enough_for_quadruplets(
    senbetsu, line, quick, tmp_path: Path
) -> None:
    one = tmp_path / "defects"
    shutil.copytree(line.train_defects / "hole", one / "hole")
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", one, "--artifacts", tmp_path / "artifacts",
        "--loss", "quadruplet", "--teach-damage", "--steps", 60, *quick,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    document = json.loads((tmp_path / "artifacts/embedding.json").read_text())
    assert document["learned"]
    assert document["settings"]["teach_damage"]


def test_two_kinds_are_enough_for_quadruplets_though_neither_can_be_hidden(
    senbetsu, quickest, line, tmp_path: Path
) -> None:
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", line.train_defects, "--artifacts", tmp_path, "--steps", 40,
        "--loss", "quadruplet", *quickest,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    share = json.loads((tmp_path / "embedding.json").read_text())["metric_weight"]
    assert share["hidden"] == {}
    assert share["weight"] <= 1


def test_one_defect_is_enough_to_train_with(senbetsu, quickest, line, tmp_path: Path) -> None:
    (tmp_path / "defects/scratch").mkdir(parents=True)
    shutil.copy(sorted((line.train_defects / "scratch").iterdir())[0], tmp_path / "defects/scratch")
    done = senbetsu(
        "train", "--normal", line.train_normal, "--defects", tmp_path / "defects", "--artifacts", tmp_path / "out",
        "--steps", 40, *quickest,
    )  # fmt: skip
    assert done.status == 0, done.stderr


def test_parts_are_not_held_back_one_by_one_where_they_come_in_lots(senbetsu, line, tmp_path: Path) -> None:
    together = ("--group", "part-00([0-9])[0-9]", "--hold-back", "9")
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", tmp_path, *together)
    assert done.status != 0
    assert "keep whole lots out of --normal" in done.stderr


@pytest.mark.slow
def test_lots_are_left_out_whole_and_calibrate_with_the_same_rule_finds_them_so(
    senbetsu, quick, line, tmp_path: Path
) -> None:
    """Lots are the tens of the parts' numbers."""
    rule = ("--group", "part-00([0-9])[0-9]")
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", tmp_path, *rule, *quick)
    assert done.status == 0, done.stderr
    assert "6 lots, left out whole in 3 folds" in done.stderr
    document = json.loads((tmp_path / "embedding.json").read_text())
    assert document["settings"]["group"] == rule[1]
    fold_of_lot: dict[str, set[int]] = {}
    for path in line.train_normal.iterdir():
        fold = document["folds"][sha256(path.read_bytes()).hexdigest()]
        fold_of_lot.setdefault(path.name[:8], set()).add(fold)
    assert [len(folds) for folds in fold_of_lot.values()] == [1] * 6
    assert set.union(*fold_of_lot.values()) == set(range(3))
    calibrated = senbetsu("calibrate", "--normal", line.train_normal, "--artifacts", tmp_path, *rule)
    assert calibrated.status == 0, calibrated.stderr
    assert "over several folds" not in calibrated.stderr


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("exp(", "no regular expression"),
        ("part", "60 of 60 normal parts are of one lot, of 1 in all; without it 0 are left"),
    ],
)
def test_a_rule_for_lots_that_leaves_nothing_is_refused(
    senbetsu, line, tmp_path: Path, rule: str, message: str
) -> None:
    done = senbetsu("train", "--normal", line.train_normal, "--artifacts", tmp_path, "--group", rule)
    assert done.status == 2
    assert message in done.stderr
    assert not (tmp_path / "embedding.json").exists()
