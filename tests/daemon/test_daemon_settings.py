"""Settings that are well formed but cannot work are one clear error before anything starts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemon.check import check_config
from senbetsu.camera import CameraFault, open_camera
from senbetsu.config import CameraSection, Config
from senbetsu.errors import UserError

CAMERA: dict[str, Any] = {"name": "cam1", "kind": "folder", "source": "parts", "gate": "gate1"}
GATE: dict[str, Any] = {"name": "gate1"}


def config(cameras: list[dict[str, Any]], gates: list[dict[str, Any]]) -> Config:
    return Config.model_validate({"cameras": cameras, "gates": gates})


def test_a_daemon_without_a_camera_says_how_to_get_one() -> None:
    with pytest.raises(UserError, match=r"no camera is configured.*\[\[cameras\]\]"):
        check_config(config([], []))


def test_a_gate_is_either_triggered_or_free_running() -> None:
    with pytest.raises(UserError, match=r"gates\.gate1.*free_run and software"):
        check_config(config([CAMERA, {**CAMERA, "name": "cam2", "trigger": "free_run"}], [GATE]))


@pytest.mark.parametrize(
    ("kind", "source", "says"),
    [
        ("folder", "/nowhere/at/all", "no such file or folder"),
        ("folder", "{empty}", "no picture in this folder"),
        ("folder", "{video}", "not a video"),
        ("opencv", "/nowhere/at/all.mp4", "there is no /nowhere/at/all.mp4"),
        ("opencv", "{text}", "cannot be opened"),
        ("opencv", "rtsp://127.0.0.1:9/none", "network stream"),
    ],
)
def test_a_source_that_is_not_there_is_an_error_that_names_the_setting(
    tmp_path: Path, kind: str, source: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no pictures")
    (tmp_path / "video.mp4").write_text("no video")
    places = {"empty": tmp_path / "empty", "text": tmp_path / "text", "video": tmp_path / "video.mp4"}
    section = CameraSection.model_validate({**CAMERA, "kind": kind, "source": source.format(**places)})
    with pytest.raises(UserError, match=r"^cameras\.cam1\.(source|trigger) = .*") as caught:
        open_camera(section)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("rtsp://127.0.0.1:9/none", "cannot be opened"),
        ("77", "there is no /dev/video77"),
        ("/dev/nothing", "there is no /dev/nothing"),
    ],
)
def test_a_camera_or_stream_that_is_not_there_yet_is_waited_for(source: str, says: str) -> None:
    settings = {"kind": "opencv", "source": source, "trigger": "free_run", "silent_ms": 500}
    camera = open_camera(CameraSection.model_validate({**CAMERA, **settings}))
    with pytest.raises(CameraFault, match=rf"^cameras\.cam1\.source = '{source}': {says}.*; reconnecting"):
        camera.grab(0, 0)
    camera.close()


@pytest.mark.parametrize("setting", [{"exposure_us": 500.0}, {"roi": [0, 0, 64, 64]}])
def test_a_setting_that_the_camera_would_not_be_given_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(setting))}: only pylon and genicam"):
        CameraSection.model_validate({**CAMERA, "kind": "opencv", "source": "0", **setting})
