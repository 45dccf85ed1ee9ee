"""The calibration's page: everything in it, nothing fetched, nothing taken for markup."""

import base64
import os
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibrate.report import LotRow, Report, Shown, page, write_report
from senbetsu.errors import UserError
from senbetsu.picture_quality import PictureQuality


def thumbnail(value: int) -> NDArray[np.uint8]:
    return np.full((160, 160, 3), value, np.uint8)


def a_report(
    claim: str = "On average at most 1 % of good parts are rejected.", name: str = "belt/cell.png", **more: object
) -> Report:
    return Report(
        claim=claim,
        readings=[("expected false-reject rate", "at most 1 %"), ("bound with 95 % confidence", "at most 1.9 %")],
        warnings=["few parts & <few> promises"],
        scores=np.array([0.8, 0.9, 1.0, 1.2, 1.6]),
        threshold=1.5,
        farthest=[
            Shown(name, 1.6, thumbnail(200), thumbnail(10)),
            Shown("belt/other.png", 1.2, thumbnail(90), thumbnail(20)),
        ],
        facts=[("n, k", "408, 405"), ("model SHA-256", "ab" * 32)],
        embeddings=np.eye(5, 64),
        embedded=[name, "belt/other.png", "a.png", "b.png", "c.png"],
        centroid=np.full(64, 0.1),
        **more,
    )


class Reader(HTMLParser):
    """Text, tags, and everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(data.strip())


def test_the_claim_stands_first_and_both_readings_follow() -> None:
    words = Reader(page(a_report())).words
    assert words[1:7] == [
        "Calibration",
        "On average at most 1 % of good parts are rejected.",
        "expected false-reject rate",
        "at most 1 %",
        "bound with 95 % confidence",
        "at most 1.9 %",
    ]


def test_every_warning_and_every_fact_is_there() -> None:
    words = Reader(page(a_report())).words
    for text in ("few parts & <few> promises", "n, k", "408, 405", "model SHA-256", "ab" * 32):
        assert text in words


def test_nothing_is_fetched_and_nothing_runs() -> None:
    reader = Reader(page(a_report()))
    outside = [
        what
        for what in reader.fetched
        if not what.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#"))
    ]
    assert outside == []
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert "url(http" not in page(a_report())
    assert "@import" not in page(a_report())


def test_all_that_is_opened_is_closed() -> None:
    assert Reader(page(a_report())).open == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a & b", '" onload="alert(1)', "'><img src=x>"])
def test_text_is_never_taken_for_markup(text: str) -> None:
    reader = Reader(page(a_report(claim=text, name=f"belt/{text.replace('/', '')}")))
    assert text in reader.words
    assert "script" not in reader.tags
    assert reader.tags.count("img") == 4


def test_the_farthest_parts_are_shown_with_heat_map_score_and_name() -> None:
    reader = Reader(page(a_report()))
    assert "1.600 cell.png" in reader.words
    assert "1.200 other.png" in reader.words
    shown = [what for what in reader.fetched if what.startswith("data:image/jpeg")]
    for data, value in zip(shown, (200, 10, 90, 20), strict=True):
        content = base64.b64decode(data.removeprefix("data:image/jpeg;base64,"))
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        np.testing.assert_allclose(picture, thumbnail(value), atol=2)


def test_histogram_and_feature_space_are_drawn_into_the_page() -> None:
    reader = Reader(page(a_report()))
    assert reader.tags.count("svg") == 2
    assert "path" in reader.tags
    # The farthest two stand as pictures where they lie.
    assert reader.tags.count("image") == 2


def test_suspects_lots_and_exposure_are_shown_only_if_there_are_any() -> None:
    words = Reader(page(a_report())).words
    assert not {"Suspects", "Lots", "Exposure and sharpness"} & set(words)
    suspects = [Shown("belt/odd.png", 2.5, thumbnail(1), thumbnail(2))]
    lots = [LotRow("monday", 40, 1), LotRow("tuesday", 60, 6)]
    qualities = [
        ("a/dark.png", PictureQuality(60.0, 0.2, 0.0, 0.5)),
        ("a/mid.png", PictureQuality(100.0, 0.0, 0.0, 0.4)),
        ("a/soft.png", PictureQuality(110.0, 0.0, 0.01, 0.01)),
    ]
    words = Reader(page(a_report(suspects=suspects, suspect_count=3, lots=lots, qualities=qualities))).words
    assert {"Suspects", "2.500 odd.png", "2 more are listed in profile.json."} <= set(words)
    row = words.index("tuesday")
    assert words[row : row + 5] == ["tuesday", "60", "6", "10.0%", "3.8% to 20.5%"]
    row = words.index("mean grey (0 to 255)")
    assert words[row + 1 : row + 4] == ["60 (dark.png)", "100", "110 (soft.png)"]
    assert words[words.index("sharpness") + 1] == "0.01 (soft.png)"


def test_a_file_name_that_is_no_text_does_not_cost_the_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", a_report(name=os.fsdecode(b"caf\xe9.png")))
    assert "caf?.png" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"report\.html: cannot be written"):
        write_report(tmp_path / "file/report.html", a_report())
