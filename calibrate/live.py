"""Normal parts from a camera of the line: taken as they come, kept as they are, and refused where a picture is no good.

When a part is there, see calibrate.shots.

Pictures lie in ARTIFACTS/calibration/CAMERA-TIME/ as PNG, each written whole or not at all; `unfinished.json` beside them says
with which camera settings they are taken, so that the same command goes on where it was interrupted, and never adds to
pictures of another day's settings.
"""

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from calibrate.shots import Every, Shots, check_pace
from senbetsu.camera import CameraSettings, open_camera
from senbetsu.config import CameraSection, Config
from senbetsu.errors import UserError
from senbetsu.files import write_atomically
from senbetsu.images import content_sha256, read_image
from senbetsu.picture_quality import PictureQuality, quality_of
from senbetsu.profile import camera_settings_sha256

log = logging.getLogger("calibrate")

FOLDER, UNFINISHED = "calibration", "unfinished.json"

MOST_OVER, MOST_UNDER = 0.9, 0.95
"""Share of pixels at the end of the scale, at most, whatever the other pictures are like."""
MOST_REFUSED = 200
"""So many pictures refused in a row, and it is for a person to look at the camera."""
COMPARED_FROM = 20
"""So many pictures, and what is usual is known."""
GREY_FACTOR = 1.4
OVER_MORE = 0.1
LEAST_SHARPNESS = 0.4
"""Of the usual one. Blur of one pixel takes more than that away wherever there is anything to see."""

REFUSALS = ("incomplete", "frozen", "over-exposed", "under-exposed", "blurred")


@dataclass(slots=True)
class Sieve:
    """Which pictures are good enough; knows those that were kept. Pure."""

    kept: dict[str, PictureQuality] = field(default_factory=dict)
    """By SHA-256 of the pixels."""
    refused: Counter[str] = field(default_factory=Counter)

    def why_not(self, picture: NDArray[np.uint8]) -> str | None:
        """One of REFUSALS, or None: then it counts as kept."""
        sha256 = content_sha256(str(picture.shape).encode() + picture.tobytes())
        quality = quality_of(picture)
        why = "frozen" if sha256 in self.kept else self._fault(quality)
        if why is None:
            self.kept[sha256] = quality
        else:
            self.refused[why] += 1
        return why

    def after_all(self) -> dict[str, str]:
        """Which of the kept ones differ from what turned out to be usual, by SHA-256; they are kept no longer."""
        faults = {sha256: self._fault(quality) for sha256, quality in self.kept.items()}
        bad = {sha256: why for sha256, why in faults.items() if why is not None}
        for sha256, why in bad.items():
            del self.kept[sha256]
            self.refused[why] += 1
        return bad

    def _fault(self, quality: PictureQuality) -> str | None:
        usual = list(self.kept.values())
        knows = len(usual) >= COMPARED_FROM
        grey = median(q.mean_grey for q in usual) if knows else quality.mean_grey
        over = median(q.over for q in usual) + OVER_MORE if knows else MOST_OVER
        sharpness = median(q.sharpness for q in usual) if knows else quality.sharpness
        if quality.over > over or quality.mean_grey > GREY_FACTOR * max(grey, 1.0):
            return "over-exposed"
        if quality.under > MOST_UNDER or quality.mean_grey * GREY_FACTOR < grey:
            return "under-exposed"
        if quality.sharpness < LEAST_SHARPNESS * sharpness:
            return "blurred"
        return None


def take_live(
    config: Config, name: str, count: int, every: Every | None = None
) -> tuple[Path, CameraSection, CameraSettings]:
    """Take parts until `count` are kept; the folder they lie in, the camera's settings, and those that it read back.

    Raises:
        UserError: no camera of that name, it is not clear when a part is before it (calibrate.shots), it delivers nothing, or
            a recording is over; what was taken stays.
        KeyboardInterrupt: as it comes; what was taken stays.
    """
    sections = {section.name: section for section in config.cameras}
    if name not in sections:
        raise UserError(
            f"--camera {name}: no such camera; configured are {', '.join(sections) or 'none'} ([[cameras]] in the config)"
        )
    section = sections[name]
    folder = _folder(config.artifacts / FOLDER, section)
    sieve, files = Sieve(), {}
    for path in sorted(folder.glob("*.png")):
        if sieve.why_not(read_image(path)) is None:
            files[next(reversed(sieve.kept))] = path
        else:
            path.unlink()
    sieve.refused.clear()
    if files:
        log.info("going on: %d pictures are in %s", len(files), folder)
    camera = open_camera(section, _read_back_before(folder))
    try:
        check_pace(section, every, simulated=camera.simulated)
        _take(Shots(camera, section, every), section.name, folder, sieve, files, count)
        read_back = camera.settings()
    except KeyboardInterrupt:
        log.warning("interrupted with %d of %d pictures in %s; the same command goes on", len(files), count, folder)
        raise
    finally:
        _remember(folder, camera.settings())
        camera.close()
        log.info("%d pictures kept, refused: %s", len(files), _counts(sieve))
    return folder, section, read_back


def finished(folder: Path) -> None:
    """The pictures have been calibrated with: the next time begins anew."""
    (folder / UNFINISHED).unlink()


def _folder(root: Path, section: CameraSection) -> Path:
    settings = camera_settings_sha256(section)
    for marker in sorted(root.glob(f"{section.name}-*/{UNFINISHED}"), reverse=True):
        try:
            begun = json.loads(marker.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{marker}: cannot be read ({error}); remove {marker.parent}") from error
        if begun.get("camera") == section.name and begun.get("settings_sha256") == settings:
            return marker.parent
        if begun.get("camera") == section.name:
            raise UserError(
                f"{marker.parent}: pictures of camera {section.name} were begun with other settings of the camera; "
                "set them back to go on, or remove the folder to begin anew"
            )
    folder = root / f"{section.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    content = {"camera": section.name, "settings_sha256": settings}
    write_atomically(folder / UNFINISHED, json.dumps(content).encode())
    return folder


def _read_back_before(folder: Path) -> CameraSettings | None:
    """What the camera told of itself when these pictures were begun."""
    before: CameraSettings | None = json.loads((folder / UNFINISHED).read_text(encoding="utf-8")).get("read_back")
    return before


def _remember(folder: Path, read_back: CameraSettings) -> None:
    marker = folder / UNFINISHED
    begun = json.loads(marker.read_text(encoding="utf-8"))
    if read_back and "read_back" not in begun:
        write_atomically(marker, json.dumps({**begun, "read_back": read_back}).encode())


def _take(shots: Shots, name: str, folder: Path, sieve: Sieve, files: dict[str, Path], count: int) -> None:
    number = max((int(path.stem) for path in files.values()), default=0)
    bar = tqdm(total=count, initial=len(files), desc=f"camera {name}", unit="picture", disable=None, leave=False)
    refused = 0
    waiting: list[NDArray[np.uint8] | None] = []
    while True:
        if len(files) >= count or len(files) == COMPARED_FROM:
            for sha256 in sieve.after_all():
                files.pop(sha256).unlink()
            bar.n = len(files)
            if len(files) >= count:
                break
        waiting = waiting or shots.next(f"{len(files)} of {count} pictures are in {folder}")
        picture = waiting.pop(0)
        if picture is None:
            sieve.refused["incomplete"] += 1
            continue
        refused += 1
        if sieve.why_not(picture) is None:
            refused = 0
            number += 1
            path = folder / f"{number:06d}.png"
            there, png = cv2.imencode(".png", picture)
            if not there:
                raise UserError(f"{path}: the camera's picture of shape {picture.shape} cannot be kept as PNG")
            write_atomically(path, png.tobytes())
            files[next(reversed(sieve.kept))] = path
            bar.update()
        if refused == MOST_REFUSED:
            raise UserError(
                f"camera {name}: the last {refused} pictures were refused ({_counts(sieve)} in all); does it still "
                f"see new parts, in the right light and focus? {len(files)} of {count} pictures are in {folder}; the same "
                "command goes on"
            )
        bar.set_postfix_str(_counts(sieve))
    bar.close()


def _counts(sieve: Sieve) -> str:
    return ", ".join(f"{sieve.refused[why]} {why}" for why in REFUSALS if sieve.refused[why]) or "none"
