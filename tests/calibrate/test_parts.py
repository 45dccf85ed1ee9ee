"""The parts on the disk: found, dealt out, ranked and shared as lists in memory would be, which are the oracle."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import calibrate.parts
from calibrate.fitted import FittedPictures
from calibrate.parts import ALL, SEEN, UNSEEN, Part, Parts
from calibrate.reading import read_parts
from senbetsu.distributed import Group
from senbetsu.errors import ImageError, UserError
from senbetsu.fitting import fit
from senbetsu.images import content_sha256, find_images, read_image

ALONE = Group(torch.device("cpu"))


def made(count: int, trained: int = 0) -> Parts:
    parts = Parts()
    parts.add(
        [Part(Path(f"{n}.png"), content_sha256(b"%d" % n), n % 3 if n < trained else None, n) for n in range(count)]
    )
    return parts


names = st.lists(st.lists(st.sampled_from(["a", "b", "a-b", "a.b", "é", "z"]), min_size=1, max_size=4), max_size=12)


@settings(deadline=None)
@given(names, st.randoms())
def test_names_come_in_the_order_in_which_folders_are_searched(found: list[list[str]], random) -> None:
    paths = [Path("/shown", *one, "part.png") for one in found]
    shuffled = list(paths)
    random.shuffle(shuffled)
    parts = Parts()
    assert parts.list_paths(shuffled) == len(paths)
    listed = [path for chunk in parts.listed(ALONE) for _, path in chunk]
    assert listed == sorted(paths, key=lambda path: path.parts)


def test_a_file_name_that_is_no_text_is_found_again() -> None:
    parts = Parts()
    name = Path(os.fsdecode(b"/shown/caf\xe9 \\x00.png"))
    parts.list_paths([name])
    assert next(parts.listed(ALONE)) == [(1, name)]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_chunks_that_are_the_same_however_many_they_are(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate.parts, "CHUNK", 4)
    parts = made(30, trained=13)
    parts.take_out([content_sha256(b"%d" % n) for n in (14, 15, 29)])
    alone = [[part.number for part in chunk] for chunk in parts.chunks(UNSEEN, ALONE)]
    assert [n for chunk in alone for n in chunk] == [13, *range(16, 29)]
    shared = [
        [[part.number for part in chunk] for chunk in parts.chunks(UNSEEN, Group(torch.device("cpu"), rank, processes))]
        for rank in range(processes)
    ]
    assert [shared[place % processes][place // processes] for place in range(len(alone))] == alone


scores = st.lists(st.sampled_from([0.5, 1.0, 1.5]) | st.floats(0.01, 9), min_size=1, max_size=60)


@settings(deadline=None)
@given(scores, st.data())
def test_ranks_suspects_and_counts_are_those_of_sorted_lists(found: list[float], data: st.DataObject) -> None:
    parts = made(len(found))
    parts.set_scores(enumerate(found))
    count, rank = data.draw(st.integers(0, len(found))), data.draw(st.integers(1, len(found)))
    assert parts.scores_at(ALL, [rank, 1, rank]) == [sorted(found)[rank - 1], min(found), sorted(found)[rank - 1]]
    assert parts.count_upto(ALL, found[rank - 1]) == sum(score <= found[rank - 1] for score in found)
    last = sorted(range(len(found)), key=lambda n: (found[n], n))[len(found) - count :]
    assert parts.mark_suspects(ALL, count) is (count > 0)
    assert {part.number for part in parts.every("suspect")} == set(last)
    assert not parts.mark_suspects(ALL, count)
    farthest = parts.farthest(ALL, 5)
    assert [part.number for part, _ in farthest] == sorted(range(len(found)), key=lambda n: (-found[n], n))[:5]


def test_what_is_no_number_counts_as_farthest() -> None:
    parts = made(3)
    parts.set_scores([(0, float("nan")), (1, 2.0), (2, 1.0)])
    assert parts.scores_at(ALL, [1, 2, 3]) == [1.0, 2.0, float("inf")]


@given(st.integers(1, 60), st.integers(1, 20))
@settings(deadline=None)
def test_an_even_choice_holds_both_ends(count: int, most: int) -> None:
    chosen = [part.number for part in made(count).evenly(ALL, most)]
    assert chosen == sorted({int(place) for place in np.linspace(0, count - 1, min(count, most))})


def test_one_hash_stands_for_all_contents() -> None:
    parts = made(9, trained=4)
    contents = sorted(part.sha256 for part in parts.every(SEEN))
    assert parts.content(SEEN) == content_sha256("\n".join(contents).encode())


def test_every_readable_picture_is_read_once_and_kept_as_the_network_sees_it(
    drawn_part, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    folder = tmp_path / "shown"
    for number in range(9):
        (folder / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number % 2}/{number}.png"), drawn_part(number))
    (folder / "0/copy.png").write_bytes((folder / "1/1.png").read_bytes())
    (folder / "0/cut.png").write_bytes((folder / "1/1.png").read_bytes()[:99])
    monkeypatch.setattr("calibrate.reading.CHUNK", 4)
    monkeypatch.setattr("calibrate.parts.CHUNK", 4)
    trained = content_sha256((folder / "1/3.png").read_bytes())
    pictures = FittedPictures(40, most_bytes=8 * 40 * 40 * 3)
    parts = read_parts(folder, {trained: 2}, 40, pictures, ALONE)
    unlike = [path for path in find_images([folder]) if path.name not in ("cut.png", "1.png")]
    assert [part.path for part in parts.every()] == unlike
    assert [part.path.name for part in parts.every(SEEN)] == ["3.png"]
    assert "left out" in caplog.text
    assert "1 pictures have the same content" in caplog.text
    out, expected = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    for part in parts.every():
        fit(read_image(part.path), expected)
        pictures.read(part, out)
        np.testing.assert_array_equal(out, expected)
        assert pictures.open(part)[0] == part.sha256
    # Numbers 1 to 7 had room; those do not need their files any more, the others notice that they are other ones.
    for part in parts.every():
        part.path.write_bytes(b"changed")
        if part.number < 8:
            pictures.read(part, out)
        else:
            with pytest.raises(ImageError, match="has changed"):
                pictures.read(part, out)


def test_a_folder_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of the 1 pictures can be read; the first: .*a\.png"):
        read_parts(tmp_path, {}, 40, FittedPictures(40), ALONE)


def test_a_disk_that_is_full_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    import calibrate.__main__ as program
    from calibrate.flags import flags

    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(program, "calibrate", full)
    with pytest.raises(UserError, match="disk is full; free some space in /var/tmp"):
        program.main(flags().parse_args(["--normal", "parts"]))
