"""Drawing `Detections` on a picture: the one look of pictures, videos, validation and the web page.

Lines and letters grow with the picture, a class keeps its colour everywhere, and labels stay inside the picture and
off each other where there is room.
"""

from __future__ import annotations

import math
import threading
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .detections import Detections
from .geometry import UInt8Array

Font = ImageFont.FreeTypeFont
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom exclusive

# Eight picked by eye, then farthest-point sampling in OKLab among bright, saturated colours: each is as unlike all
# before it as possible, so that a dataset's first classes, the usual ones, differ most.
_PALETTE = bytes.fromhex(
    "ff4455 ffdd00 22aaff 44dd44 ff66ff 00ddcc 9955ff ff7700 888800 0055ff ff99bb bb55aa "
    "bb99ff 0077bb ff00aa 00aa77 cc00dd aaee99 ccaa44 7755aa 6677ee 99ff00 00aa00 cc6677 "
    "7700ff 99bb00 bb7722 ff66aa ff99ff 9900dd 22ff99 9977cc 77cc88 dd3377 55ccff ffaa66 "
    "33ffff bbdd00 ff00ff cc66ff ee8877 dd4400 bbcc66 dd77cc 6655ff 88aaff ffbb11 0099cc "
    "dd44cc 77aa55 9955cc 0088ee 66ffcc 00ff00 00bbaa bb33ff 3366dd 7744cc 00dd88 dd8800 "
    "ff55cc 88ee66 cc6644 aa77ff 559922 5566bb dd88ff 55bb44 00bbdd ffdd77 aa9922 ddaaff "
    "dd00aa ff0077 ff5511 bb44cc ff0000 8888ee dd55aa dd44ff ddcc22 ddee55 dd4455 bb77dd "
    "ff7788 8833ee ff9900 00cc99 6699ff 44ddee ee99dd ee6655 ff33dd dd7799 ee0044 ff77dd"
)

# Pillow's own font knows ASCII alone. A name in another script is written with the first of these that is
# installed and has all its letters. (Never by bare name: FreeType would first look in the current folder.)
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "PingFang.ttc",
    "wqy-microhei.ttc",
)
_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
_NO_GLYPH = "\U0010ffff"
_OVERSAMPLING = 4  # small letters keep their spacing when they aren't hinted to whole pixels
_font_lock = threading.Lock()  # FreeType's faces aren't made for several threads


def class_color(label: int) -> tuple[int, int, int]:
    """The RGB colour (0–255) of class index `label`: always the same, repeating after 96 classes."""
    start = label * 3 % len(_PALETTE)
    red, green, blue = _PALETTE[start : start + 3]
    return red, green, blue


def draw(
    image: UInt8Array,
    detections: Detections,
    *,
    line_width: int | None = None,
    font_size: int | None = None,
    show_labels: bool = True,
    show_scores: bool = True,
) -> UInt8Array:
    """A copy of `image` with boxes and labels such as `dog 0.87`; the best scores lie on top.

    Args:
        image: RGB uint8 (H, W, 3), the picture that the detections belong to; it isn't changed.
        detections: what to draw; boxes are cut to the picture, those outside it or not finite are left out.
        line_width: pixels, at least 1; by default it follows the picture's size.
        font_size: pixels, at least 1; by default it follows the picture's size.
        show_labels: False draws boxes alone.
        show_scores: False writes names alone.

    Raises:
        ValueError: the image has another shape, type or size than that, or a width or font size below 1.
    """
    _check(image, detections, line_width, font_size)
    canvas = np.array(image, order="C")
    height, width = canvas.shape[:2]
    side = (width * height) ** 0.5
    line_width = line_width or max(1, round(0.6 + side / 330))
    font_size = font_size or round(7 + side / 65)

    best_first = np.argsort(-detections.scores, kind="stable").tolist()
    boxes, colors = detections.boxes.tolist(), [class_color(label) for label in detections.labels.tolist()]
    frames = {i: frame for i in best_first if (frame := _frame(boxes[i], line_width, (width, height)))}
    for i in reversed(frames):
        _draw_frame(canvas, frames[i], line_width, colors[i])
    if show_labels:
        _draw_labels(canvas, detections, frames, font_size, show_scores)
    return canvas


def _check(image: UInt8Array, detections: Detections, line_width: int | None, font_size: int | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}, expected RGB uint8 (H, W, 3)")
    if (image.shape[1], image.shape[0]) != tuple(detections.image_wh):
        width, height = detections.image_wh
        raise ValueError(
            f"image is {image.shape[1]}×{image.shape[0]}, but the detections belong to one of {width}×{height}"
        )
    for name, value in (("line_width", line_width), ("font_size", font_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")


def _frame(box: list[float], line_width: int, size_wh: tuple[int, int]) -> Rectangle | None:
    """The outer edge of a box's line, pulled into the picture, so that the line shows at the border too."""
    (x1, y1, x2, y2), (width, height) = box, size_wh
    if not (x1 <= x2 and y1 <= y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0):  # False for NaN too
        return None
    outside = line_width // 2
    left = max(round(max(x1, 0)) - outside, 0)
    top = max(round(max(y1, 0)) - outside, 0)
    right = min(round(min(x2, width)) + outside, width)
    bottom = min(round(min(y2, height)) + outside, height)
    # A box thinner than a pixel is still a mark.
    left, top = min(left, width - 1), min(top, height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _draw_frame(canvas: UInt8Array, frame: Rectangle, width: int, color: tuple[int, int, int]) -> None:
    """A line inside `frame`, its edges darkened, so that it shows on a background of its own colour too."""
    edge = (width + 1) // 3
    for strip in _ring(frame, edge, width + edge):
        canvas[strip] -= canvas[strip] // 3
    for rows, columns in _ring(frame, 0, width):
        corners = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
        cv2.rectangle(canvas, *corners, color, cv2.FILLED)


def _ring(frame: Rectangle, outwards: int, inwards: int) -> list[tuple[slice, slice]]:
    """Rows and columns of up to four strips along the sides of `frame`, none empty, no pixel in two."""
    left, top, right, bottom = frame
    inner_left, inner_right = min(left + inwards, right), max(right - inwards, left + inwards)
    inner_top, inner_bottom = min(top + inwards, bottom), max(bottom - inwards, top + inwards)
    columns = slice(max(left - outwards, 0), right + outwards)
    rows = slice(inner_top, inner_bottom)
    strips = (
        (slice(max(top - outwards, 0), inner_top), columns),
        (slice(inner_bottom, bottom + outwards), columns),
        (rows, slice(columns.start, inner_left)),
        (rows, slice(inner_right, columns.stop)),
    )
    return [(y, x) for y, x in strips if y.start < y.stop and x.start < x.stop]


def _draw_labels(
    canvas: UInt8Array, detections: Detections, frames: dict[int, Rectangle], font_size: int, show_scores: bool
) -> None:
    """Place labels best score first, so that it gets the best place, and draw them worst first."""
    occupied = np.zeros(canvas.shape[:2], bool)
    placed = []
    for i, frame in frames.items():
        label = int(detections.labels[i])
        score = f"{detections.scores[i]:.2f}" if show_scores else ""
        mask = _label_mask(detections.names[label], label, score, font_size, occupied.shape)
        if mask is not None:
            area = _place(frame, mask.shape, occupied)
            occupied[area] = True
            placed.append((area, mask, class_color(label)))
    for area, mask, color in reversed(placed):
        canvas[area] = cv2.applyColorMap(mask, _shades(color)[:, None])


def _place(frame: Rectangle, size_hw: tuple[int, ...], occupied: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns for a label: above its box, else inside, below or beside, where it covers least."""
    left, top, right, bottom = frame
    height, width = size_hw
    last_left, last_top = occupied.shape[1] - width, occupied.shape[0] - height
    columns = min(left, last_left), min(max(right - width, 0), last_left)
    choices = [(x, y) for y in (top - height, top, bottom, bottom - height) for x in columns]
    choices += [(right, top), (left - width, top)]
    least, best = occupied.size, (slice(0), slice(0))
    for x, y in choices:
        if 0 <= x <= last_left and 0 <= y <= last_top:
            area = slice(y, y + height), slice(x, x + width)
            covered = int(np.count_nonzero(occupied[area]))
            if covered == 0:
                return area
            if covered < least:
                least, best = covered, area
    return best


def _label_mask(name: str, label: int, score: str, font_size: int, room_hw: tuple[int, ...]) -> UInt8Array | None:
    """How much each pixel (h, w) of a label is text (0–255), or None when there is no room for it.

    What doesn't fit in the width (or in 20 font sizes) is given up in this order: the score, the end of the name,
    the label. A picture less than three labels high has none: they would hide it.
    """
    margin, height = max(2, round(0.3 * font_size)), round(1.35 * font_size)
    if 3 * height > room_hw[0]:
        return None
    room = min(room_hw[1] - 2 * margin, 20 * font_size)
    text, font_path = _legible(name, label)
    score_width = margin + _text_width(score, "", font_size) if score else 0
    if _text_width(text, font_path, font_size) + score_width > room:
        score_width = 0
        text = _shortened(text, font_path, font_size, room)
    if not text:
        return None
    text_width = _text_width(text, font_path, font_size)
    mask = np.zeros((height, text_width + score_width + 2 * margin), np.uint8)
    mask[:, margin : margin + text_width] = _text_mask(text, font_path, font_size)
    if score_width:
        mask[:, 2 * margin + text_width : -margin] = _text_mask(score, "", font_size)
    return mask


@lru_cache(maxsize=256)
def _shades(color: tuple[int, int, int]) -> UInt8Array:
    """256 colours from `color` to that of its text: white where its contrast (WCAG 2) is at least 4, else black."""
    rgb = np.array(color) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    text = 255 if 1.05 / (luminance + 0.05) >= 4 else 0
    return np.rint(np.linspace(color, (text, text, text), 256)).astype(np.uint8)


@lru_cache(maxsize=1024)
def _legible(name: str, label: int) -> tuple[str, str]:
    """What to write for a class and with which font file ("" is Pillow's own).

    The name itself, where a font for it is at hand; else the name without its accents, or `class 7`.
    """
    text = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())[:200]
    for font_path in ("", *_system_fonts()) if text else ():
        if _can_write(font_path, text):
            return text, font_path
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return (plain if plain and _can_write("", plain) else f"class {label}"), ""


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    found = {path.name: str(path) for folder in _FONT_FOLDERS for path in Path(folder).rglob("*.tt[fc]")}
    return tuple(found[name] for name in _SYSTEM_FONTS if name in found)


def _can_write(font_path: str, text: str) -> bool:
    with _font_lock:
        try:
            font = _font(font_path, 16)
        except OSError:  # a damaged or unreadable font file
            return False
        missing = bytes(font.getmask(_NO_GLYPH))
        return all(letter == " " or bytes(font.getmask(letter)) != missing for letter in set(text))


@lru_cache(maxsize=32)
def _font(font_path: str, size: int) -> Font:
    # Not ImageFont.truetype: for a damaged file it takes another of that name from somewhere else.
    return Font(font_path, size) if font_path else cast(Font, ImageFont.load_default(size))


@lru_cache(maxsize=1024)
def _text_width(text: str, font_path: str, font_size: int) -> int:
    with _font_lock:
        return math.ceil(_font(font_path, font_size * _OVERSAMPLING).getlength(text) / _OVERSAMPLING) + 1


@lru_cache(maxsize=1024)
def _shortened(text: str, font_path: str, font_size: int, room: int) -> str:
    """`text`, or as much of its beginning and an ellipsis as fits in `room` pixels, or nothing."""
    if _text_width(text, font_path, font_size) <= room:
        return text
    kept = bisect_right(range(1, len(text)), room, key=lambda end: _text_width(f"{text[:end]}…", font_path, font_size))
    return f"{text[:kept].rstrip()}…" if kept else ""


@lru_cache(maxsize=512)
def _text_mask(text: str, font_path: str, font_size: int) -> UInt8Array:
    """Anti-aliased text, slightly bold, 1.35 font sizes high, its baseline 0.98 font sizes from the top."""
    width, height = _text_width(text, font_path, font_size), round(1.35 * font_size)
    image = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    where = (_OVERSAMPLING / 2, round(0.98 * font_size) * _OVERSAMPLING)
    bold = font_size * _OVERSAMPLING / 50
    with _font_lock:
        font = _font(font_path, font_size * _OVERSAMPLING)
        ImageDraw.Draw(image).text(where, text, fill=255, font=font, anchor="ls", stroke_width=bold)
    return np.asarray(image.reduce(_OVERSAMPLING))
