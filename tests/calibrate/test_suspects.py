"""Bad parts among the normal ones: kept out, shown, taken out; and calibration by two processes, which is that of one."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file

from calibrate.parts import Part, Parts
from calibrate.reading import read_list, take_out
from senbetsu.errors import UserError
from senbetsu.images import content_sha256

ROOT = Path(__file__).parents[2]
FP32 = ("--set", "engine.precision=fp32", "--set", "engine.kind=openvino")


def document_of(artifacts: Path) -> dict[str, Any]:
    return json.loads((artifacts / "profile.json").read_text())


@pytest.fixture
def model(line, tmp_path: Path) -> Path:
    """The line's trained model, without a profile."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name in ("embedding.json", "embedding.safetensors"):
        shutil.copy(line.artifacts / name, folder)
    return folder


@pytest.fixture(scope="module")
def mixed(line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """40 normal parts that nobody has trained on, and two with holes."""
    folder = tmp_path_factory.mktemp("mixed")
    for path in sorted(line.calibrate_normal.iterdir())[:40]:
        shutil.copy(path, folder)
    holes = sorted((line.test_defects / "hole").iterdir())[:2]
    return folder, [Path(shutil.copy(path, folder / f"hidden-{path.name}")) for path in holes]


def test_suspects_do_not_set_the_threshold_and_confirmed_ones_do_not_count_at_all(
    senbetsu, line, model: Path, mixed: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    folder, bad = mixed
    flags = ("calibrate", "--normal", folder, "--artifacts", model)
    assert senbetsu(*flags).status == 0
    plain = document_of(model)
    assert plain["suspects"] == []
    done = senbetsu(*flags, "--contamination", 0.05)
    assert done.status == 0, done.stderr
    robust = document_of(model)
    assert {row["path"] for row in robust["suspects"]} == {str(path) for path in bad}
    assert [row["score"] for row in robust["suspects"]] == robust["scores"][:-3:-1]
    assert robust["threshold"] < plain["threshold"]
    assert (robust["claim"]["n"], robust["claim"]["k"], robust["claim"]["suspects"]) == (42, 40, 2)
    assert robust["claim"]["expected_rate"] == pytest.approx(3 / 41)
    assert "--confirmed-bad" in done.stderr
    assert "not among those shown" in done.stderr

    listed = tmp_path / "bad.txt"
    listed.write_text("".join(f"{path}\n" for path in bad) + "# both with a hole\n\n")
    assert senbetsu(*flags, "--confirmed-bad", listed).status == 0
    clean = document_of(model)
    assert (clean["claim"]["n"], clean["claim"]["k"], clean["claim"]["suspects"]) == (40, 40, 0)
    assert clean["threshold"] == pytest.approx(robust["threshold"], rel=1e-6)
    assert set(clean["confirmed_bad"]) == {str(path) for path in bad}


def test_a_promise_that_suspects_take_away_is_refused_with_what_to_do(
    senbetsu, model: Path, mixed: tuple[Path, list[Path]]
) -> None:
    flags = ("calibrate", "--normal", mixed[0], "--artifacts", model, "--contamination", 0.05)
    refused = senbetsu(*flags, "--false-reject-rate", 0.03)
    assert refused.status == 2
    assert "not supported by any number of normal parts while 5 % of them may be bad" in refused.stderr
    missing = senbetsu(*flags, "--false-reject-rate", 0.07)
    assert missing.status == 2
    assert "found 42" in missing.stderr
    assert not (model / "profile.json").exists()


def test_a_list_of_bad_parts_takes_paths_below_its_folder_and_remarks(tmp_path: Path) -> None:
    for name in ("a.png", "b c.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "bad.txt").write_text(f"# looked at on Monday\n\n a.png \n{tmp_path}/b c.png\n")
    assert read_list(tmp_path / "bad.txt") == [tmp_path / "a.png", tmp_path / "b c.png"]


def test_a_list_of_bad_parts_that_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "bad.txt")
    (tmp_path / "bad.txt").write_text("# one\nnowhere.png\n")
    with pytest.raises(UserError, match=r"line 2: .*nowhere\.png is not there"):
        read_list(tmp_path / "bad.txt")


def test_bad_parts_are_known_by_content_and_those_trained_on_need_not_be_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("shown", "trained", "stranger"):
        (tmp_path / name).write_bytes(name.encode())
    sha256 = {name: content_sha256(name.encode()) for name in ("shown", "trained", "good")}
    shown = Parts()
    shown.add([Part(Path("other name"), sha256["shown"], None, 1), Part(Path("good"), sha256["good"], None, 2)])
    listed = [tmp_path / name for name in ("shown", "trained", "stranger")]
    out = take_out(shown, listed, {sha256["trained"]: 2}, tmp_path)
    assert [part.path.name for part in shown.every()] == ["good"]
    assert [(part.path.name, part.fold) for part in out] == [("shown", None), ("trained", 2)]
    assert "stranger is listed as bad, but was neither shown nor trained on" in caplog.text
    (tmp_path / "shown").write_bytes(b"good")
    with pytest.raises(UserError, match="all 1 pictures are listed as bad"):
        take_out(shown, listed, {}, tmp_path)


def test_copies_count_once_and_equal_pictures_all_pass(senbetsu, line, model: Path, tmp_path: Path) -> None:
    """Nine files: eight of one picture that differ in their bytes alone, and a copy of one of these."""
    folder = tmp_path / "equal"
    folder.mkdir()
    picture = cv2.imread(str(next(iter(sorted(line.calibrate_normal.iterdir())))))
    plain = cv2.imencode(".png", picture)[1].tobytes()
    for number in range(8):
        remark = b"tEXt" + f"remark\0{number}".encode()
        chunk = (len(remark) - 4).to_bytes(4, "big") + remark + zlib.crc32(remark).to_bytes(4, "big")
        (folder / f"{number}.png").write_bytes(plain[:-12] + chunk + plain[-12:])
    shutil.copy(folder / "0.png", folder / "copy.png")
    done = senbetsu("calibrate", "--normal", folder, "--artifacts", model)
    assert done.status == 0, done.stderr
    assert "1 pictures have the same content as another one and count once" in done.stderr
    document = document_of(model)
    assert (document["claim"]["n"], document["claim"]["k"]) == (8, 8)
    assert len(set(document["scores"])) == 1
    judged = senbetsu("score", "--artifacts", model, folder, "--output", tmp_path / "scores.jsonl")
    assert judged.status == 0, judged.stderr
    rows = [json.loads(row) for row in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows[:8]] == ["PASS"] * 8
    # The ninth is in a batch of its own, and lies on the threshold: it differs by no more than an engine's rounding.
    assert rows[8]["score"] == pytest.approx(rows[0]["score"], rel=2e-3)


def test_lots_are_held_out_whole_and_what_they_say_of_a_new_one_is_told(senbetsu, line, model: Path) -> None:
    """Lots are the tens of the parts' numbers; all parts were trained on."""
    done = senbetsu(
        "calibrate", "--normal", line.train_normal, "--artifacts", model, "--group", "part-00([0-9])[0-9]",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    document = document_of(model)
    lots = document["lots"]
    assert [(lot["lot"], lot["parts"]) for lot in lots["lots"]] == [(str(number), 10) for number in range(6)]
    assert lots["new_lot_rate"] == pytest.approx((1 + sum(lot["rate"] for lot in lots["lots"])) / 7, rel=1e-6)
    assert "of a part of a new lot they support no better than" in done.stderr
    assert "over several folds" in done.stderr


@pytest.mark.slow
def test_two_processes_calibrate_as_one_does(line, model: Path, tmp_path: Path) -> None:
    """Every part serves twice, lots are held out, a bad one among them is a suspect: all that can be shared is shared."""
    folder = tmp_path / "shown"
    folder.mkdir()
    for path in sorted(line.train_normal.iterdir())[:24]:
        shutil.copy(path, folder)
    shutil.copy(next(iter(sorted((line.test_defects / "hole").iterdir()))), folder / "part-0024.png")
    both = tmp_path / "both"
    shutil.copytree(model, both)
    flags = [str(ROOT / "tests/calibrate/two_processes.py"), "--normal", str(folder), "--contamination", "0.05", *FP32]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for start, artifacts in (([], model), (torchrun, both)):
        command = [sys.executable, *start, *flags, "--artifacts", str(artifacts)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
    one, two = document_of(model), document_of(both)
    assert one["claim"]["method"] == "cross"
    for name in ("claim", "parts", "warnings"):
        assert one[name] == two[name]
    assert [row["path"] for row in one["suspects"]] == [row["path"] for row in two["suspects"]] == [
        str(folder / "part-0024.png")
    ]  # fmt: skip
    assert two["threshold"] == pytest.approx(one["threshold"], rel=1e-6)
    np.testing.assert_allclose(two["scores"], one["scores"], rtol=1e-6, atol=2e-6)
    a, b = load_file(model / "profile.safetensors"), load_file(both / "profile.safetensors")
    assert a.keys() == b.keys()
    for name in ("metric", "whole", "windows"):
        # Directions of equal variance are any basis of what they span: what counts is the matrix that they make.
        for some in (a, b):
            weight = 1 / some[f"{name}.variances"] - 1 / some[f"{name}.rest_variance"]
            directions = some.pop(f"{name}.directions").astype(np.float64)
            some[f"{name}.matrix"] = (directions * weight) @ directions.T * some[f"{name}.rest_variance"]
    for some in (a, b):
        whitening = some.pop("places.whitening").astype(np.float64)
        some["places.matrix"] = whitening @ whitening.T
    for name in a:
        scale = np.abs(a[name]).max()
        np.testing.assert_allclose(b[name], a[name], rtol=1e-6, atol=1e-6 * scale, err_msg=name)
