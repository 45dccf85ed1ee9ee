"""Finding pictures, and reading them whole or not at all. Pillow is the oracle."""

import hashlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from senbetsu.errors import ImageError, UserError
from senbetsu.fitting import fit
from senbetsu.images import content_sha256, decode_image, find_images, images_by_kind, read_image, walk_images

LOSSLESS = [".png", ".bmp", ".tif", ".ppm", ".pnm", ".ras", ".sr"]
LOSSY = [".jpg", ".jp2", ".webp"]
GREY, BELT = 137, 40


def picture(height: int = 97, width: int = 131) -> NDArray[np.uint8]:
    """Smooth enough that a lossy codec keeps it, and without two alike corners."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), np.uint8)


def encoded(suffix: str, image: NDArray[np.generic], flags: tuple[int, ...] = ()) -> bytes:
    done, content = cv2.imencode(suffix, image, flags)
    assert done
    return content.tobytes()


def by_pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Finding


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_searched_to_the_bottom_in_sorted_order(tmp_path: Path) -> None:
    touch(
        tmp_path / "b.png", tmp_path / "a/z.jpg", tmp_path / "a/b/c/d.bmp", tmp_path / "c.TIFF", tmp_path / "notes.txt"
    )
    assert find_images([tmp_path]) == [
        tmp_path / "a/b/c/d.bmp",
        tmp_path / "a/z.jpg",
        tmp_path / "b.png",
        tmp_path / "c.TIFF",
    ]


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".Jpe", ".BMP", ".tif", ".webp", ".ppm", ".pgm", ".pnm"])
def test_every_common_suffix_is_taken_in_either_case(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / f"part{suffix}")
    assert find_images([tmp_path]) == [tmp_path / f"part{suffix}"]


def test_links_are_followed_and_reported_under_the_name_they_were_found_by(tmp_path: Path) -> None:
    touch(tmp_path / "store/real.png", tmp_path / "store/deep/other.png")
    given_folder = tmp_path / "given"
    given_folder.mkdir()
    (given_folder / "alias.png").symlink_to(tmp_path / "store/real.png")
    (given_folder / "folder").symlink_to(tmp_path / "store/deep")
    assert find_images([given_folder]) == [given_folder / "alias.png", given_folder / "folder/other.png"]


def test_links_that_lead_back_up_or_to_each_other_end(tmp_path: Path) -> None:
    touch(tmp_path / "x/one.png", tmp_path / "y/two.png")
    (tmp_path / "x/up").symlink_to(tmp_path)
    (tmp_path / "x/across").symlink_to(tmp_path / "y")
    (tmp_path / "y/across").symlink_to(tmp_path / "x")
    found = find_images([tmp_path])
    assert found[0] == tmp_path / "x/across/two.png"
    assert sorted(walk_images(tmp_path, ordered=False)) == sorted(found)
    assert {path.name for path in found} == {"one.png", "two.png"}


def test_a_link_to_itself_or_to_nothing_is_a_picture_that_cannot_be_read_not_one_less(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert find_images([tmp_path]) == [tmp_path / "gone.png", tmp_path / "loop.png"]
    for path in find_images([tmp_path]):
        with pytest.raises(ImageError, match=path.name):
            read_image(path)


def test_hidden_files_and_folders_are_left_out_unless_they_are_named(tmp_path: Path) -> None:
    touch(tmp_path / ".hidden.png", tmp_path / ".thumbnails/a.png", tmp_path / "seen.png")
    assert find_images([tmp_path]) == [tmp_path / "seen.png"]
    assert find_images([tmp_path / ".thumbnails"]) == [tmp_path / ".thumbnails/a.png"]


def test_files_named_outright_are_taken_whatever_their_suffix_and_keep_their_place(tmp_path: Path) -> None:
    touch(tmp_path / "z.dat", tmp_path / "folder/a.png")
    assert find_images([tmp_path / "z.dat", tmp_path / "folder"]) == [tmp_path / "z.dat", tmp_path / "folder/a.png"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        find_images([tmp_path / "nowhere"])


def test_a_folder_without_a_picture_is_named_even_beside_one_that_has_some(tmp_path: Path) -> None:
    touch(tmp_path / "full/a.png", tmp_path / "empty/readme.txt")
    with pytest.raises(UserError, match=r"empty: no picture.*\.png"):
        find_images([tmp_path / "full", tmp_path / "empty"])


def test_a_folder_is_a_kind_of_defect_and_pictures_beside_the_folders_are_of_kind_defect(tmp_path: Path) -> None:
    touch(
        tmp_path / "scratch/a.png", tmp_path / "scratch/deeper/b.png", tmp_path / "loose.png", tmp_path / "hole/c.png"
    )
    assert images_by_kind(tmp_path) == {
        "defect": [tmp_path / "loose.png"],
        "hole": [tmp_path / "hole/c.png"],
        "scratch": [tmp_path / "scratch/a.png", tmp_path / "scratch/deeper/b.png"],
    }


# Reading


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_a_lossless_picture_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"part{suffix}"
    path.write_bytes(encoded(suffix, picture()))
    read = read_image(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, picture())


@pytest.mark.parametrize("suffix", LOSSY)
def test_a_lossy_picture_is_read_nearly_as_it_was_written(suffix: str) -> None:
    read = decode_image(encoded(suffix, picture()), "part")
    assert np.abs(read.astype(int) - picture()).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".pgm", ".webp"])
def test_a_grey_picture_becomes_three_like_channels(suffix: str) -> None:
    grey = np.full((30, 40), GREY, np.uint8)
    read = decode_image(encoded(suffix, grey), "part")
    assert read.shape == (30, 40, 3)
    np.testing.assert_allclose(read, GREY, atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(suffix: str, channels: int) -> None:
    if suffix == ".pgm" and channels == 3:
        suffix = ".ppm"
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    read = decode_image(encoded(suffix, deep), "part")
    np.testing.assert_allclose(read, np.broadcast_to(deep / 257, (20, 30, 3)), atol=1.01)


def test_a_palette_and_a_bitmap_become_colours() -> None:
    index = np.zeros((20, 30), np.uint8)
    index[10:] = 1
    palette = Image.fromarray(index, "P")
    palette.putpalette([200, 0, 10, 0, 30, 220])
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        read = decode_image(by_pillow(palette, kind), kind)
        assert read[0, 0].tolist() == [10, 0, 200]
        assert read[-1, -1].tolist() == [220, 30, 0]
    bits = decode_image(by_pillow(Image.fromarray(index > 0), "PNG"), "bits")
    assert bits[0, 0].tolist() == [0, 0, 0]
    assert bits[-1, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_what_is_transparent_is_laid_over_black(kind: str, options: dict[str, object]) -> None:
    alpha = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    bgr = picture(48, 64)
    rgba = np.dstack([bgr[:, :, ::-1], alpha])
    read = decode_image(by_pillow(Image.fromarray(rgba, "RGBA"), kind, **options), "part")
    np.testing.assert_allclose(read, bgr * (alpha / 255)[:, :, None], atol=0.51)


def test_transparency_is_laid_over_black_in_grey_deep_and_palette_pngs_too() -> None:
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:10] = 0
    grey = Image.fromarray(np.dstack([np.full_like(alpha, 200), alpha]), "LA")
    palette = Image.fromarray((alpha > 0).astype(np.uint8), "P")
    palette.putpalette([200, 200, 200, 200, 200, 200])
    deep = np.dstack([np.full((20, 30, 3), 200 * 257, np.uint16), alpha.astype(np.uint16) * 257])
    for content in (by_pillow(grey, "PNG"), by_pillow(palette, "PNG", transparency=0), encoded(".png", deep)):
        read = decode_image(content, "part")
        assert read[:10].max() == 0
        assert read[10:].min() == read.max() == 200


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("TIFF", "RGB", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("WEBP", "RGBA", {"lossless": True}),
    ],
)
def test_exif_turns_are_applied_as_pillow_applies_them(
    kind: str, mode: str, options: dict[str, object], turn: int
) -> None:
    image = Image.fromarray(picture(48, 64)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    content = by_pillow(image, kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))[:, :, ::-1]
    read = decode_image(content, "part")
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "MPO"])
def test_of_several_pages_the_first_is_taken(kind: str) -> None:
    first, second = (Image.fromarray(np.full((32, 48, 3), value, np.uint8)) for value in (200, 20))
    read = decode_image(by_pillow(first, kind, save_all=True, append_images=[second]), "part")
    np.testing.assert_allclose(read, 200, atol=2)


def same_fitted(content: bytes) -> bool:
    """Whether it makes no difference to the network that a grey picture was kept grey."""
    fitted = []
    for keep_grey in (False, True):
        for side in (224, 40):
            fitted.append(np.zeros((side, side, 3), np.uint8))
            fit(decode_image(content, "part", keep_grey=keep_grey), fitted[-1])
    return np.array_equal(fitted[0], fitted[2]) and np.array_equal(fitted[1], fitted[3])


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY, ".pgm"])
@pytest.mark.parametrize("kind", ["grey", "colour", "deep"])
def test_kept_grey_it_is_the_same_to_the_network(suffix: str, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 211), dtype=np.uint8)
    image = {"grey": noise, "colour": np.dstack([noise, noise[::-1], noise]), "deep": noise.astype(np.uint16) * 251}[
        kind
    ]
    if (
        (kind == "colour" and suffix == ".pgm")
        or (kind == "grey" and suffix == ".ppm")
        or (kind == "deep" and suffix not in (".png", ".tif", ".pgm"))
    ):
        pytest.skip("the format has no such pictures")
    assert same_fitted(encoded(suffix, image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "GIF", "BMP"])
def test_kept_grey_it_is_the_same_in_every_mode_that_pillow_writes(kind: str, mode: str) -> None:
    try:
        content = by_pillow(Image.fromarray(picture(61, 83)).convert("L").convert(mode), kind)
    except (OSError, ValueError):
        pytest.skip("the format has no such pictures")
    assert same_fitted(content)


@pytest.mark.parametrize("turn", range(1, 9))
def test_kept_grey_it_is_turned_as_exif_says(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(picture(48, 64)).convert("L")
    for kind in ("JPEG", "PNG", "TIFF"):
        content = by_pillow(image, kind, exif=exif)
        assert decode_image(content, "part", keep_grey=True).shape[:2] == decode_image(content, "part").shape[:2]
        assert same_fitted(content)


# Damage

CUT = [
    *[(suffix, ()) for suffix in [".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm", ".jp2", ".ras"]],
    (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    (".tif", (cv2.IMWRITE_TIFF_COMPRESSION, 1)),
    (".tif", (cv2.IMWRITE_TIFF_COMPRESSION, 8)),
    (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
]


@pytest.mark.parametrize(("suffix", "flags"), CUT)
def test_a_file_cut_off_anywhere_is_refused_and_named(suffix: str, flags: tuple[int, ...]) -> None:
    content = encoded(suffix, picture(), flags)
    assert decode_image(content, "whole").shape == (97, 131, 3)
    for share in np.linspace(0.01, 0.999, 40):
        with pytest.raises(ImageError, match="belt/part 7"):
            decode_image(content[: int(share * len(content))], "belt/part 7")


@given(kept=st.floats(0.05, 0.9), seed=st.integers(0, 50), colour=st.booleans())
def test_a_jpeg_that_was_cut_off_and_closed_with_an_end_marker_is_refused(kept: float, seed: int, colour: bool) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3) if colour else (96, 128), dtype=np.uint8)
    content = encoded(".jpg", noise)
    start = content.index(b"\xff\xda") + 16
    cut = content[: start + int(kept * (len(content) - start))].rstrip(b"\xff")
    with pytest.raises(ImageError, match="truncated"):
        decode_image(cut + b"\xff\xd9", "part")
    with pytest.raises(ImageError, match="truncated"):
        decode_image(cut + b"\xff\xd9", "part", keep_grey=True)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_sound_jpeg_of_the_very_grey_that_decoders_fill_up_with_is_read(progressive: int) -> None:
    grey = np.full((64, 80, 3), 128, np.uint8)
    grey[20:40, 20:40] = picture(20, 20)
    read = decode_image(encoded(".jpg", grey, (cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)), "part")
    assert (read[-8:, -8:] == 128).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_bytes_after_the_end_are_no_damage(suffix: str) -> None:
    content = encoded(suffix, picture())
    np.testing.assert_array_equal(decode_image(content + b"\x00notes\xff\xd8", "part"), decode_image(content, "part"))


def test_the_end_of_a_thumbnail_inside_is_not_the_end_of_the_picture() -> None:
    thumbnail = encoded(".jpg", picture(16, 16))
    content = encoded(".jpg", picture())
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = content[:2] + segment + content[2:]
    np.testing.assert_array_equal(decode_image(with_thumbnail, "part"), decode_image(content, "part"))
    with pytest.raises(ImageError, match="truncated"):
        decode_image(with_thumbnail[: len(with_thumbnail) // 2], "part")


def test_a_png_with_one_wrong_byte_is_refused() -> None:
    content = bytearray(encoded(".png", picture()))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageError, match=r"part\.png: .*damaged IDAT"):
        decode_image(bytes(content), "part.png")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF", b"GIF89a", b"no"]
)
def test_what_is_no_picture_is_refused_and_named(content: bytes) -> None:
    with pytest.raises(ImageError, match="part 3"):
        decode_image(content, "part 3")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBPVP8X", b"GIF8"]),
)
def test_any_bytes_are_a_picture_or_an_image_error_and_nothing_else(content: bytes, start: bytes) -> None:
    try:
        image = decode_image(start + content, "noise")
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


@pytest.mark.parametrize("keep_grey", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".pfm"])
def test_a_picture_of_floating_point_numbers_is_refused(suffix: str, keep_grey: bool) -> None:
    """Cut to eight bits, every part of a range of 0 to 1 would be the same black, and pass."""
    with pytest.raises(ImageError, match="8 or 16 bit"):
        decode_image(encoded(suffix, np.full((20, 30), 0.5, np.float32)), "part", keep_grey=keep_grey)


def test_a_folder_or_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.png"):
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with pytest.raises(UserError, match="closed: cannot be read"):
        find_images([tmp_path])


def test_a_picture_is_known_by_its_content() -> None:
    assert content_sha256(b"part") == hashlib.sha256(b"part").hexdigest()
