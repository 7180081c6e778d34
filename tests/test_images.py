"""Pictures in and out: the header gate, decoding, orientation, colour, hostile files (FAULTS 57 to 70)."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from yolov3.errors import DataError, UsageError, Yolov3Error
from yolov3.images import (
    decode_enough,
    decode_image,
    display_name,
    quiet_decoders,
    read_header,
    read_image,
    write_image,
)

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF")
ORIENTATION = 274


def colourful(width: int = 61, height: int = 43) -> Image.Image:
    """A smooth picture without symmetry, so that a wrong turn or channel order shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def lossless(picture: Image.Image, kind: str) -> bytes:
    return encode(picture, kind, **({"lossless": True, "exact": True} if kind == "WebP" else {}))


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    block[271] = "a maker's name, so that the block is not trivial"
    return block


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    """`segments` put right behind a JPEG's start marker."""
    return jpeg[:2] + segments + jpeg[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def assert_refused(data: bytes, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        decode_image(data, "photo.jpg")
    message = str(caught.value)
    assert message.startswith("photo.jpg: ")
    assert "\n" not in message
    for word in words:
        assert word in message


# ------------------------------------------------------------------------------------------- the ordinary case


@pytest.mark.parametrize("kind", FORMATS)
def test_header_and_pixels_of_every_format(kind: str, tmp_path: Path) -> None:
    data = lossless(colourful(), kind)
    path = tmp_path / "picture"
    path.write_bytes(data)
    header = read_header(data)
    assert (header.format, header.size_wh, header.frames, header.orientation) == (kind, (61, 43), 1, 1)
    assert read_header(path) == header
    image = read_image(path)
    assert image.shape == (43, 61, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(image.astype(int) - expected).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_jpeg_goes_through_opencv_unchanged(options: dict[str, object]) -> None:
    data = encode(colourful(), "JPEG", quality=90, **options)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode_image(data), bgr[..., ::-1])


def test_jpeg_with_restart_markers_and_fill_bytes() -> None:
    data = encode(colourful(), "JPEG", restart_marker_rows=1)
    assert b"\xff\xd0" in data
    filled = data.replace(b"\xff\xda", b"\xff\xff\xff\xda")
    assert np.array_equal(decode_image(filled), decode_image(data))


def test_import_loads_numpy_and_opencv_only() -> None:
    code = "import sys, yolov3.images; assert 'cv2' in sys.modules; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_eight_threads_read_the_same_pixels() -> None:
    files = [lossless(colourful().convert(mode), kind) for mode in ("RGB", "P", "L") for kind in ("PNG", "TIFF", "GIF")]
    alone = [decode_image(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode_image, files * 8))
    for index, image in enumerate(together):
        assert np.array_equal(image, alone[index % len(files)])


# ---------------------------------------------------------------------------------------- FAULTS 57, 65, 66, 69


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"just some text", "begins with the bytes"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n <html>", "a web page"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"GIF89a", "truncated"),
        (b"BM", "truncated"),
        (b"II*\0", "truncated"),
        (b"RIFF\x04\0\0\0WEBP", "without a picture"),
        (b"\xff\xd8\xff\xd9", "without a frame header"),
        (b"\xff\xd8\xff\0" + b"rubbish " * 1000, "rubbish"),
    ],
)
def test_fault_57_no_picture_at_all(data: bytes, words: str) -> None:
    assert_refused(data, words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "XML"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\1\0\1\0\x10\x10", "icon"),
        (b"\xff\x0a", "JPEG XL"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
        (b"\0\0\0\x20ftypisom", "video"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_fault_65_other_kinds_are_refused_by_name(data: bytes, words: str) -> None:
    assert_refused(data + bytes(100), words)


def test_fault_65_a_preview_in_a_camera_file_is_not_taken_for_the_picture() -> None:
    for tag, value in ((254, 1), (50706, b"\1\4\0\0")):
        tags = Image.Exif()
        tags[tag] = value
        assert_refused(encode(colourful(), "TIFF", exif=tags), "raw file")


@pytest.mark.parametrize("brand", [b"avif", b"avis", b"heic", b"heix", b"mif1"])
def test_fault_69_avif_and_heic_are_refused_with_a_way_out(brand: bytes) -> None:
    assert_refused(b"\0\0\0\x20ftyp" + brand + bytes(100), "convert it to JPEG or PNG")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".txt", ""])
def test_fault_66_the_content_tells_the_format(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(lossless(colourful(), kind))
    assert read_header(path).format == kind
    assert read_image(path).shape == (43, 61, 3)


# ------------------------------------------------------------------------------------------- FAULTS 58, 59, 64


@functools.cache
def whole_files() -> dict[str, bytes]:
    picture = colourful(200, 150)
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8))
    return {
        "JPEG": encode(picture, "JPEG"),
        "JPEG noise": encode(noisy, "JPEG", quality=95),
        "progressive": encode(picture, "JPEG", progressive=True),
        "CMYK": encode(picture.convert("CMYK"), "JPEG"),
        "PNG": encode(noisy, "PNG"),
        "palette": encode(picture.convert("P"), "PNG"),
        "WebP": encode(picture, "WebP"),
        "WebP alpha": encode(picture.convert("RGBA"), "WebP", lossless=True),
        "BMP": encode(picture, "BMP"),
        "BMP 8": encode(picture.convert("P"), "BMP"),
        "TIFF": encode(picture, "TIFF"),
        "TIFF LZW": encode(noisy, "TIFF", compression="tiff_lzw"),
        "GIF": encode(picture, "GIF"),
    }


@pytest.mark.parametrize("percent", [30, 60, 90, 99])
@pytest.mark.parametrize("kind", whole_files())
def test_fault_58_truncated(kind: str, percent: int) -> None:
    data = whole_files()[kind]
    with quiet_decoders():
        decode_image(data)
        assert_refused(data[: len(data) * percent // 100])


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WebP"])
def test_fault_58_one_byte_less(kind: str) -> None:
    assert_refused(whole_files()[kind][:-1])


def test_fault_58_a_thumbnail_s_end_marker_does_not_count() -> None:
    thumbnail = encode(colourful(16, 16), "JPEG")
    data = with_segments(encode(colourful(), "JPEG"), segment(0xE1, b"Exif\0\0" + bytes(40) + thumbnail))
    decode_image(data)
    assert_refused(data[:-10], "truncated")


def test_fault_58_bytes_behind_the_picture_are_no_harm() -> None:
    data = encode(colourful(), "JPEG")
    assert np.array_equal(decode_image(data + b"\0\0\0 ftypmp42 a phone's motion photo"), decode_image(data))


def test_fault_58_nothing_of_another_picture_leaks() -> None:
    files = whole_files()
    before = decode_image(files["JPEG noise"])
    for _ in range(2):
        assert_refused(files["JPEG"][: len(files["JPEG"]) // 2])
    assert np.array_equal(decode_image(files["JPEG noise"]), before)


def test_fault_59_damage_inside_a_png_is_noticed() -> None:
    data = bytearray(encode(colourful(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert_refused(bytes(data), "checksum")


def test_fault_59_damage_inside_a_jpeg_never_shows_another_picture() -> None:
    files = whole_files()
    damaged = bytearray(files["JPEG"])
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(range(20))
    with quiet_decoders():
        first = decode_image(bytes(damaged))
        decode_image(files["JPEG noise"])
        assert np.array_equal(decode_image(bytes(damaged)), first)
    assert first.shape == (150, 200, 3)


def test_decoders_own_messages_stay_off_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(whole_files()["JPEG"])
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(range(20))
    decode_image(bytes(damaged))
    assert "JPEG" in capfd.readouterr().err
    with quiet_decoders():
        decode_image(bytes(damaged))
        print("from Python", file=sys.stderr)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "from Python\nafterwards\n"


def test_quiet_decoders_where_standard_error_is_closed() -> None:
    code = "from yolov3.images import quiet_decoders\nwith quiet_decoders(): print('fine')"
    result = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{code}" 2>&-'], stdout=subprocess.PIPE, check=True
    )
    assert result.stdout == b"fine\n"


def test_fault_64_thousands_of_scans() -> None:
    data = encode(colourful(), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    many = data[:start] + data[start:-2] * 2000 + b"\xff\xd9"
    assert_refused(many, "scans")


# ------------------------------------------------------------------------------------------------ FAULT 60, 67, 68


def bombs() -> dict[str, bytes]:
    sof = segment(0xC0, struct.pack(">BHHB", 8, 65500, 65500, 3) + bytes(9))
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 3)
    tiff += b"".join(struct.pack("<HHII", *entry) for entry in ((256, 4, 1, 60000), (257, 4, 1, 60000), (258, 3, 1, 8)))
    return {
        "PNG": png_header(60000, 60000) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""),
        "PNG thin": png_header(1, 100_000) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""),
        "JPEG": b"\xff\xd8" + sof + b"\xff\xd9",
        "GIF": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(9) + b"\2\0;",
        "WebP": b"RIFF\x16\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\0\xff\xff\0",
        "BMP": b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 60000, -60000, 1, 24) + bytes(24),
        "TIFF": tiff + bytes(4),
        "empty": png_header(0, 10) + png_chunk(b"IDAT", b""),
    }


@pytest.mark.parametrize("kind", bombs())
def test_fault_60_bombs_are_refused_by_their_header(kind: str) -> None:
    data = bombs()[kind]
    tracemalloc.start()
    try:
        assert_refused(data, "pixels")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_fault_60_only_the_header_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.write(png_header(100, 100) + struct.pack(">I", 1 << 30) + b"IDAT")
        file.truncate(1 << 40)  # a sparse file of a terabyte
    assert read_header(path).size_wh == (100, 100)
    with pytest.raises(DataError, match="no picture to detect on"):
        read_image(path)


def test_fault_67_rubbish_in_a_png_s_extras_changes_nothing() -> None:
    data = encode(colourful(), "PNG")
    extras = png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(b"no profile" * 99))
    extras += png_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(50_000_000)))
    extras += png_chunk(b"gAMA", struct.pack(">I", 1)) + png_chunk(b"eXIf", b"no exif")
    assert np.array_equal(decode_image(data[:33] + extras + data[33:]), decode_image(data))


def test_fault_67_rubbish_in_a_jpeg_s_extras_changes_nothing() -> None:
    data = encode(colourful(), "JPEG")
    extras = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"no profile" * 99) + segment(0xE1, b"Exif\0\0MM\0*" + b"\xff" * 99)
    extras += segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 800 + segment(0xFE, b"\xff\xd9\xff\xda" * 99)
    assert np.array_equal(decode_image(with_segments(data, extras)), decode_image(data))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size_wh", [(1, 1), (10, 4000), (4000, 1)])
def test_fault_68_tiny_and_thin(kind: str, size_wh: tuple[int, int]) -> None:
    data = encode(Image.new("RGB", size_wh, (200, 100, 50)), kind)
    assert read_header(data).size_wh == size_wh
    assert decode_image(data).shape == (size_wh[1], size_wh[0], 3)


# ------------------------------------------------------------------------------------------------------ FAULT 61


def slow_turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """The EXIF table, pixel by pixel: where does the stored row 0 and column 0 go?"""
    height, width = image.shape[:2]
    target = {
        1: lambda x, y: (x, y),
        2: lambda x, y: (width - 1 - x, y),
        3: lambda x, y: (width - 1 - x, height - 1 - y),
        4: lambda x, y: (x, height - 1 - y),
        5: lambda x, y: (y, x),
        6: lambda x, y: (height - 1 - y, x),
        7: lambda x, y: (height - 1 - y, width - 1 - x),
        8: lambda x, y: (y, width - 1 - x),
    }[orientation]
    shown = np.zeros((width, height, 3) if orientation > 4 else (height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            column, row = target(x, y)
            shown[row, column] = image[y, x]
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_fault_61_exif_orientation(kind: str, orientation: int) -> None:
    options = {"lossless": True} if kind == "WebP" else {}
    plain = decode_image(encode(colourful(13, 7), kind, **options))
    data = encode(colourful(13, 7), kind, exif=exif(orientation), **options)
    header, image = read_header(data), decode_image(data)
    assert header.orientation == orientation
    assert header.size_wh == ((7, 13) if orientation > 4 else (13, 7))
    assert image.flags.c_contiguous
    assert np.array_equal(image, slow_turn(plain, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("size_wh", "turned_factor"), [((160, 96), 8), ((164, 100), 4), ((163, 101), 1)])
def test_reduced_pictures_are_turned_and_show_the_same(
    orientation: int, size_wh: tuple[int, int], turned_factor: int
) -> None:
    """Against means of squares of the whole picture; what reaches beyond an edge must lie on the right or below."""
    data = encode(colourful(*size_wh), "JPEG", exif=exif(orientation), quality=100)
    whole = decode_image(data)
    asked: list[tuple[int, int]] = []

    def enough(image_wh: tuple[int, int]) -> tuple[int, int]:
        asked.append(image_wh)
        return 10, 10

    reduced = decode_enough(data, "x", enough)
    height, width = whole.shape[:2]
    assert asked == [(width, height)] == [reduced.size_wh]
    factor = 8 if orientation == 1 else turned_factor
    assert reduced.factor == factor
    assert reduced.pixels.shape == (-(-height // factor), -(-width // factor), 3)
    assert reduced.covered_wh[0] - width in range(factor) and reduced.covered_wh[1] - height in range(factor)
    for row in range(height // factor):
        for column in range(width // factor):
            square = whole[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            np.testing.assert_allclose(reduced.pixels[row, column], square.mean(axis=(0, 1)), atol=9)


@pytest.mark.parametrize(
    ("least", "factor"), [(1, 8), (8, 8), (9, 4), (16, 4), (17, 2), (32, 2), (33, 1), (64, 1), (99, 1)]
)
def test_no_fewer_pixels_than_are_enough(least: int, factor: int) -> None:
    data = encode(colourful(64, 128), "JPEG")
    assert decode_enough(data, "x", lambda _: (least, 1)).factor == factor
    assert decode_enough(data, "x", None).factor == 1
    assert decode_enough(encode(colourful(64, 128), "PNG"), "x", lambda _: (1, 1)).factor == 1


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_fault_61_impossible_orientation_is_none(orientation: int) -> None:
    data = encode(colourful(13, 7), "JPEG", exif=exif(orientation))
    assert read_header(data).orientation == 1
    assert decode_image(data).shape == (7, 13, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), [(1, "B3x"), (3, "H2x"), (4, "I")])
def test_fault_61_both_byte_orders_and_all_integers(order: str, kind: int, code: str) -> None:
    block = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, 1)
    block += struct.pack(order + "HHI" + code, ORIENTATION, kind, 1, 6) + bytes(4)
    data = with_segments(encode(colourful(13, 7), "JPEG"), segment(0xE1, b"Exif\0\0" + block))
    assert read_header(data).orientation == 6


def test_fault_61_orientation_of_a_sixteen_bit_tiff() -> None:
    deep = np.arange(13 * 7, dtype=np.uint16).reshape(7, 13) * 700
    plain = decode_image(encode(Image.fromarray(deep), "TIFF"))
    turned = decode_image(encode(Image.fromarray(deep), "TIFF", exif=exif(6)))
    assert np.array_equal(turned, slow_turn(plain, 6))


# ------------------------------------------------------------------------------------------------- FAULT 62, 63


def over_white(rgba: np.ndarray) -> np.ndarray:
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3:] / 255
    return np.rint(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)


def see_through() -> Image.Image:
    picture = colourful()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_fault_62_alpha_lies_over_white(kind: str, mode: str) -> None:
    data = lossless(see_through().convert(mode), kind)
    expected = over_white(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")))
    assert np.array_equal(decode_image(data), expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_fault_62_transparent_palette_entry_is_white(kind: str) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    assert decode_image(encode(picture, kind, transparency=0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_fault_62_transparent_colour_of_a_png_is_white() -> None:
    picture = Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8))
    data = encode(picture, "PNG", transparency=(9, 8, 7))
    assert decode_image(data).tolist() == [[[255, 255, 255], [1, 2, 3]]]


@pytest.mark.parametrize("mode", ["1", "L"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_fault_62_grey_and_black_and_white(mode: str, kind: str) -> None:
    picture = colourful().convert(mode)
    expected = np.asarray(picture.convert("L"))
    image = decode_image(encode(picture, kind))
    for channel in range(3):
        assert np.array_equal(image[..., channel], expected)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_fault_62_cmyk(kind: str) -> None:
    cmyk = Image.fromarray(np.full((16, 16, 4), (0, 128, 255, 51), np.uint8), "CMYK")
    data = encode(cmyk, kind, **({"quality": 100} if kind == "JPEG" else {}))  # Pillow's JPEG is Adobe's, inverted
    expected = [(255 - ink) * (255 - 51) / 255 for ink in (0, 128, 255)]
    assert np.abs(decode_image(data) - np.array(expected)).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fault_62_sixteen_bits_are_divided_by_257(suffix: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), np.uint16)
    data = cv2.imencode(suffix, deep[..., 0] if channels == 1 else deep)[1].tobytes()
    eight = np.rint(deep / 257).astype(np.uint8)
    with quiet_decoders():
        image = decode_image(data)
    if channels == 1:
        expected = np.repeat(eight, 3, axis=2)
    else:
        expected = eight[..., 2::-1] if channels == 3 else over_white(eight[..., [2, 1, 0, 3]])
    assert np.array_equal(image, expected)


def test_fault_62_sixteen_bit_grey_tiff_of_pillow() -> None:
    deep = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    image = decode_image(encode(Image.fromarray(deep), "TIFF"))
    assert np.array_equal(image[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_fault_62_float_tiff_is_zero_to_one() -> None:
    values = np.array([[-1, 0, 0.25, 0.5, 1, 7, np.nan, np.inf]], np.float32)
    image = decode_image(encode(Image.fromarray(values), "TIFF"))
    assert image[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255, 0, 255]


def test_fault_62_samples_without_a_defined_rgb_are_refused() -> None:
    assert_refused(encode(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"), "32-bit")
    assert_refused(encode(colourful().convert("LAB"), "TIFF"), "LAB")


def tiff_with(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with the value of a SHORT tag changed."""
    changed = bytearray(data)
    (offset,) = struct.unpack_from("<I", data, 4)
    for entry in range(offset + 2, offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<I", changed, entry + 8, value)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize(("tag", "value"), [(262, 0), (277, 2), (284, 2), (339, 2)])
def test_fault_62_deep_tiffs_that_opencv_would_misread_are_refused(tag: int, value: int) -> None:
    deep = np.zeros((9, 9, 3), np.uint16)
    data = cv2.imencode(".tiff", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    decode_image(data)
    assert_refused(tiff_with(data, tag, value), "save it as 8-bit RGB")


def test_fault_62_twelve_bit_jpeg_is_refused() -> None:
    data = bytearray(encode(colourful(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert_refused(bytes(data), "12 bits")


@pytest.mark.parametrize("kind", ["GIF", "WebP", "PNG", "TIFF"])
def test_fault_63_the_first_of_several_frames(kind: str) -> None:
    pictures = [Image.new("RGB", (20, 10), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WebP" else {}
    data = encode(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)
    assert read_header(data).frames == 3
    assert np.array_equal(decode_image(data), np.asarray(pictures[0]))


# ----------------------------------------------------------------------------------------------- files, writing


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg: can't be read \(No such file or directory\)"):
        read_image(tmp_path / "none.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_pipes_devices_and_folders_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/zero")):
        for read in (read_image, read_header):
            with pytest.raises(DataError, match="a regular file expected"):
                read(path)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.jpg"))
    try:
        path.write_bytes(encode(colourful(), "JPEG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert read_image(path).shape == (43, 61, 3)
    assert display_name(path).endswith("caf\\xe9\\n.jpg")
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_image(path)
    str(caught.value).encode()


@pytest.mark.parametrize(("suffix", "tolerance"), [(".jpg", 8), (".JPEG", 8), (".png", 0)])
def test_write_image_reads_back(suffix: str, tolerance: int, tmp_path: Path) -> None:
    image = np.asarray(colourful())
    path = tmp_path / f"out{suffix}"
    write_image(path, image)
    assert np.abs(read_image(path).astype(int) - image).max() <= tolerance
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_fault_70_nothing_of_the_camera_is_written(tmp_path: Path) -> None:
    block = exif(1)
    block.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)  # the latitude
    (tmp_path / "in.jpg").write_bytes(encode(colourful(), "JPEG", exif=block))
    for name in ("out.jpg", "out.png"):
        write_image(tmp_path / name, read_image(tmp_path / "in.jpg"))
        with Image.open(tmp_path / name) as picture:
            assert not picture.getexif()
            assert not {"exif", "icc_profile", "comment"} & set(picture.info)


def test_write_image_refuses_other_suffixes_and_missing_folders(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UsageError, match=r"out\.gif: pictures are written as"):
        write_image(tmp_path / "out.gif", image)
    with pytest.raises(Yolov3Error, match="could not be written"):
        write_image(tmp_path / "none" / "out.png", image)


# ---------------------------------------------------------------------------------------------------- properties


def seeds() -> list[bytes]:
    picture = colourful(24, 17)
    frames = {"save_all": True, "append_images": [colourful(24, 17).rotate(180)]}
    files = [encode(picture, kind) for kind in FORMATS]
    files += [encode(picture.convert("P"), kind) for kind in ("PNG", "GIF", "BMP", "TIFF")]
    files += [encode(see_through().resize((24, 17)), kind) for kind in ("PNG", "WebP", "TIFF", "BMP")]
    files += [encode(picture, kind, exif=exif(6)) for kind in ("JPEG", "PNG", "WebP", "TIFF")]
    files += [encode(picture, kind, **frames) for kind in ("GIF", "WebP", "PNG", "TIFF")]
    files += [encode(picture, "JPEG", progressive=True), encode(picture, "TIFF", compression="tiff_lzw")]
    return [*files, encode(picture.convert("CMYK"), "JPEG"), encode(picture.convert("1"), "TIFF")]


def pillow_header(data: bytes) -> tuple[tuple[int, int], int]:
    """Size as displayed, and the orientation, from an independent reader."""
    with Image.open(io.BytesIO(data), formats=[kind.upper() for kind in FORMATS]) as picture:
        orientation = picture.getexif().get(ORIENTATION, 1)
        return ImageOps.exif_transpose(picture).size, orientation


@pytest.mark.parametrize("index", range(len(seeds())))
def test_headers_equal_pillow_s(index: int) -> None:
    data = seeds()[index]
    header = read_header(data)
    assert (header.size_wh, header.orientation) == pillow_header(data)
    with Image.open(io.BytesIO(data)) as picture:
        assert header.frames == getattr(picture, "n_frames", 1)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A picture file with some bytes changed, cut out, doubled or cut off, mostly near its beginning."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        limit = len(data) - 1 if draw(st.booleans()) else min(len(data) - 1, 200)
        if limit < 1:
            break
        start = draw(st.integers(0, limit))
        length = draw(st.sampled_from((1, 2, 4, 16)))
        change = draw(st.sampled_from(("set", "remove", "double", "cut")))
        if change == "set":
            data[start : start + length] = draw(st.binary(min_size=length, max_size=length))
        elif change == "remove":
            del data[start : start + length]
        elif change == "double":
            data[start:start] = data[start : start + length]
        else:
            del data[start:]
    return bytes(data)


SEEDS = seeds()


@settings(deadline=None, max_examples=300)
@given(mutated())
def test_mutated_files_give_pixels_or_a_data_error(data: bytes) -> None:
    try:
        header = read_header(data)
    except DataError:
        with pytest.raises(DataError):
            decode_image(data)
        return
    if header.size_wh[0] * header.size_wh[1] > 4_000_000:  # allowed, but slow
        return
    with quiet_decoders():
        try:
            image = decode_image(data)
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert image.shape == (header.size_wh[1], header.size_wh[0], 3)
            assert image.dtype == np.uint8


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=300), st.sampled_from((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"))
)
def test_any_bytes_give_a_header_or_a_data_error(data: bytes, start: bytes) -> None:
    try:
        read_header(start + data)
    except DataError as error:
        assert "\n" not in str(error)
