"""Normal parts taken live: from a folder and from a video played as a camera, with every refusal, interrupted and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import calibrate.shots
from calibrate.live import COMPARED_FROM, MOST_REFUSED, Sieve, finished, take_live
from senbetsu.camera.folder import FolderCamera
from senbetsu.config import CameraSection, Config, GateSection
from senbetsu.errors import ArtifactError, UserError
from senbetsu.images import read_image
from senbetsu.profile import CameraBinding, camera_settings_sha256, check_camera_binding, check_read_back

GATES = (GateSection(name="gate1"),)


def settings(tmp_path: Path, source: Path, kind: str = "folder", **more: object) -> Config:
    section = CameraSection(name="cam1", kind=kind, source=str(source), gate="gate1", **more)  # type: ignore[arg-type]
    return Config(artifacts=tmp_path / "artifacts", cameras=(section,), gates=GATES)


def write(folder: Path, pictures) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{number:04d}.png"), picture)
    return folder


def spoilt(picture: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "over-exposed": cv2.convertScaleAbs(picture, alpha=1.8),
        "under-exposed": cv2.convertScaleAbs(picture, alpha=0.4),
        "blurred": np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.2), np.uint8),
    }


def test_each_fault_has_its_name_once_it_is_known_what_is_usual(drawn_part) -> None:
    sieve = Sieve()
    for seed in range(COMPARED_FROM):
        assert sieve.why_not(drawn_part(seed)) is None
    assert sieve.why_not(drawn_part(3)) == "frozen"
    for why, picture in spoilt(drawn_part(90)).items():
        assert sieve.why_not(picture) == why
    assert sieve.why_not(drawn_part(91)) is None
    assert dict(sieve.refused) == {"frozen": 1, "over-exposed": 1, "under-exposed": 1, "blurred": 1}


def test_a_bad_one_among_the_very_first_is_found_later(drawn_part) -> None:
    sieve = Sieve()
    assert sieve.why_not(spoilt(drawn_part(1))["blurred"]) is None
    for seed in range(2, 40):
        sieve.why_not(drawn_part(seed))
    assert list(sieve.after_all().values()) == ["blurred"]
    assert len(sieve.kept) == 38


@pytest.mark.parametrize(("grey", "why"), [(255, "over-exposed"), (0, "under-exposed")])
def test_a_picture_without_any_structure_is_refused_from_the_start(grey: int, why: str) -> None:
    assert Sieve().why_not(np.full((32, 32), grey, np.uint8)) == why


def test_pictures_are_kept_without_loss_and_the_bad_ones_are_not(drawn_part, tmp_path: Path, caplog) -> None:
    good = [drawn_part(seed) for seed in range(30)]
    source = write(tmp_path / "belt", [*good[:25], good[24], *spoilt(good[3]).values(), *good[25:]])
    (source / "0026a.png").write_bytes((source / "0000.png").read_bytes()[:300])
    with caplog.at_level("INFO"):
        folder, section, _ = take_live(settings(tmp_path, source), "cam1", 30)
    taken = sorted(folder.glob("*.png"))
    assert len(taken) == 30
    assert all(np.array_equal(read_image(path), picture) for path, picture in zip(taken, good, strict=True))
    assert "refused: 1 incomplete, 1 frozen, 1 over-exposed, 1 under-exposed, 1 blurred" in caplog.text
    assert section.name == "cam1"
    finished(folder)
    again, _, _ = take_live(settings(tmp_path, source), "cam1", 1)
    assert json.loads((again / "unfinished.json").read_text())["camera"] == "cam1"


def test_a_video_played_as_a_camera_is_taken_too(drawn_part, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "belt.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 128))
    for seed in range(40):
        video.write(drawn_part(seed))
    video.release()
    folder, _, _ = take_live(settings(tmp_path, tmp_path / "belt.avi", "opencv"), "cam1", 6)
    pictures = [read_image(path) for path in sorted(folder.glob("*.png"))]
    assert len(pictures) == 6
    assert len({picture.tobytes() for picture in pictures}) == 6


def test_a_recording_that_is_over_and_a_camera_that_shows_one_picture_end_with_what_was_taken(
    drawn_part, tmp_path: Path
) -> None:
    source = write(tmp_path / "belt", [drawn_part(seed) for seed in range(3)])
    with pytest.raises(UserError, match=r"has been shown; 3 of 9 pictures are in .*goes on"):
        take_live(settings(tmp_path, source), "cam1", 9)
    with pytest.raises(UserError, match=rf"the last {MOST_REFUSED} pictures were refused \({MOST_REFUSED} frozen"):
        take_live(settings(tmp_path, source, loop=True), "cam1", 9)
    # More parts come: it goes on with those three.
    write(tmp_path / "belt", [drawn_part(seed) for seed in range(12)])
    folder, _, _ = take_live(settings(tmp_path, source), "cam1", 9)
    assert [path.stem for path in sorted(folder.glob("*.png"))] == [f"{number:06d}" for number in range(1, 10)]


def test_an_unknown_camera_and_other_settings_than_it_was_begun_with_are_refused(drawn_part, tmp_path: Path) -> None:
    source = write(tmp_path / "belt", [drawn_part(seed) for seed in range(3)])
    with pytest.raises(UserError, match="--camera cam2: no such camera; configured are cam1"):
        take_live(settings(tmp_path, source), "cam2", 2)
    take_live(settings(tmp_path, source), "cam1", 2)
    other = write(tmp_path / "other", [drawn_part(9)])
    with pytest.raises(UserError, match="begun with other settings"):
        take_live(settings(tmp_path, other), "cam1", 2)


def test_the_profile_is_bound_to_what_the_camera_sees_and_to_nothing_else(tmp_path: Path) -> None:
    config = settings(tmp_path, tmp_path / "belt")
    binding = CameraBinding("cam1", camera_settings_sha256(config.cameras[0]))
    check_camera_binding(binding, config)
    check_camera_binding(None, config)
    check_camera_binding(binding, settings(tmp_path, tmp_path / "belt", rate_hz=77.0, silent_ms=500.0, loop=True))
    for changed in (settings(tmp_path, tmp_path / "other"), settings(tmp_path, tmp_path / "belt", "opencv")):
        with pytest.raises(ArtifactError, match=r"settings \(cameras.cam1\) have changed .*calibrate --camera cam1"):
            check_camera_binding(binding, changed)
    with pytest.raises(ArtifactError, match="camera cam9, which is not configured"):
        check_camera_binding(CameraBinding("cam9", "0"), config)


def test_the_profile_is_bound_to_what_the_camera_reads_back(tmp_path: Path) -> None:
    binding = CameraBinding("cam1", "0", {"roi": [0, 0, 64, 48], "exposure_us": 500.0, "serial": "1", "model": "M"})
    now = {"roi": [0, 0, 64, 48], "exposure_us": 501.0, "serial": "2", "gain_db": 6.0}
    check_read_back(
        binding, {"cam1": now}.__getitem__
    )  # a step of the camera's, another of its kind, what was not told
    check_read_back(binding, {"cam1": {}}.__getitem__)  # not connected
    check_read_back(None, {}.__getitem__)
    with pytest.raises(ArtifactError, match=r"camera cam1 set otherwise: exposure_us is 520\.0, was 500\.0"):
        check_read_back(binding, {"cam1": {**now, "exposure_us": 520.0}}.__getitem__)


def test_pictures_that_a_camera_took_otherwise_are_not_added_to(drawn_part, tmp_path: Path, monkeypatch) -> None:
    reads_back: dict[str, object] = {"gain_db": 6.0}
    monkeypatch.setattr(FolderCamera, "settings", lambda _: reads_back)
    source = write(tmp_path / "belt", [drawn_part(seed) for seed in range(3)])
    with pytest.raises(UserError, match="has been shown"):
        take_live(settings(tmp_path, source), "cam1", 9)
    reads_back["gain_db"] = 0.0
    monkeypatch.setattr(calibrate.shots, "GIVE_UP_S", 0.5)
    with pytest.raises(UserError, match=r"not set as it was: gain_db is 0\.0, was 6\.0"):
        take_live(settings(tmp_path, source), "cam1", 9)
    reads_back["gain_db"] = 6.0
    write(source, [drawn_part(seed) for seed in range(3, 12)])
    _, _, read_back = take_live(settings(tmp_path, source), "cam1", 9)
    assert read_back == {"gain_db": 6.0}


def test_interrupted_resumed_calibrated_and_bound(senbetsu, line, drawn_part, tmp_path: Path) -> None:
    source = write(tmp_path / "belt", [drawn_part(seed) for seed in range(1000, 1030)])
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    for name in ("embedding.json", "embedding.safetensors"):
        (artifacts / name).write_bytes((line.artifacts / name).read_bytes())
    config = tmp_path / "line.toml"
    config.write_text(
        f'artifacts = "{artifacts}"\n[[cameras]]\nname = "cam1"\nkind = "folder"\nsource = "{source}"\ngate = "gate1"\n'
        'trigger = "free_run"\nrate_hz = 10.0\n[[gates]]\nname = "gate1"\n'
    )
    flags = ("calibrate", "--config", str(config), "--camera", "cam1", "--count", "24")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "senbetsu.cli", *flags], stderr=subprocess.PIPE, text=True, env=os.environ,
        # Where the tests run in the background, SIGINT is ignored, and so it would be in the process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 100
    while len(list(artifacts.glob("calibration/*/*.png"))) < 3:
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "of 24 pictures in" in stderr
    assert "the same command goes on" in stderr
    assert not (artifacts / "profile.json").exists()
    done = senbetsu(*flags, "--set", "cameras.0.rate_hz=1000", "--json")
    assert done.status == 0, done.stderr
    assert "going on:" in done.stderr
    assert json.loads(done.stdout)["n"] == 24
    (folder,) = artifacts.glob("calibration/*")
    assert not (folder / "unfinished.json").exists()
    document = json.loads((artifacts / "profile.json").read_text())
    assert document["camera"]["name"] == "cam1"
    other = senbetsu("daemon", "--config", config, "--set", f"cameras.0.source={line.test_normal}")
    assert other.status == 2
    assert "settings (cameras.cam1) have changed since; run `senbetsu calibrate --camera cam1` again" in other.stderr
    (artifacts / "profile.json").write_text(json.dumps({**document, "preprocessing": 999}))
    stale = senbetsu("score", "--artifacts", artifacts, line.test_normal)
    assert stale.status == 2
    assert "calibrated with preprocessing 999" in stale.stderr
    assert "run `senbetsu calibrate` again" in stale.stderr
