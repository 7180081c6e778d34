"""Drawing: what may never go wrong, on pictures made here."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolov3 import annotate
from yolov3.annotate import class_color, draw
from yolov3.detections import Detections

GREY = 90
NAMES = ("person", "bicycle", "car")


def picture(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def found(
    size_wh: tuple[int, int],
    *boxes: tuple[float, float, float, float],
    labels: list[int] | None = None,
    names: tuple[str, ...] = NAMES,
) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        np.array(labels if labels is not None else [0] * len(boxes), np.int64),
        names,
        size_wh,
    )


def ink(image: NDArray[np.uint8]) -> int:
    """How many pixels are black: letters, on the labels used here."""
    return int((image == 0).all(axis=2).sum())


def test_fault_133_input_is_untouched_and_output_is_a_new_array() -> None:
    image = picture(200, 100)
    before = image.copy()
    drawn = draw(image, found((200, 100), (20, 20, 150, 90)))
    assert np.array_equal(image, before)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and drawn.flags.writeable
    assert not np.array_equal(drawn, before)


def test_no_detections_give_an_equal_copy() -> None:
    image = picture(64, 48)
    drawn = draw(image, Detections.empty(NAMES, (64, 48)))
    assert np.array_equal(drawn, image) and not np.shares_memory(drawn, image)


def test_annotate_of_detections_draws() -> None:
    detections = found((200, 100), (20, 20, 150, 90))
    assert np.array_equal(detections.annotate(picture(200, 100)), draw(picture(200, 100), detections))


def test_line_lies_on_the_box_and_the_inside_stays() -> None:
    drawn = draw(picture(200, 100), found((200, 100), (50, 40, 150, 90), labels=[2]), show_labels=False)
    expected = picture(200, 100)
    expected[40:90, 50:150] = class_color(2)
    expected[41:89, 51:149] = GREY
    assert np.array_equal(drawn, expected)


def test_line_of_a_box_as_large_as_the_picture_is_whole() -> None:
    drawn = draw(picture(90, 60), found((90, 60), (0, 0, 90, 60)), line_width=4, show_labels=False)
    for edge in (drawn[:4], drawn[-4:], drawn[:, :4], drawn[:, -4:]):
        assert (edge == class_color(0)).all()
    assert (drawn[5:-5, 5:-5] == GREY).all()


def test_line_shows_on_a_background_of_its_own_colour() -> None:
    image = np.full((200, 300, 3), class_color(0), np.uint8)
    drawn = draw(image, found((300, 200), (50, 40, 150, 90)), line_width=3, show_labels=False)
    inside, outside = drawn[42, 60:140], drawn[38, 60:140]
    assert (drawn[39:42, 60:140] == class_color(0)).all()
    assert (inside < image[0, 0]).all() and (outside < image[0, 0]).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (7, 3), (32, 32), (100, 75), (2000, 40)])
def test_tiny_and_narrow_pictures(width: int, height: int) -> None:
    drawn = draw(picture(width, height), found((width, height), (0, 0, width, height), (0, 0, 1, 1)))
    assert drawn.shape == (height, width, 3)
    assert (drawn[0, 0] == class_color(0)).all()


def test_lines_and_letters_grow_with_the_picture() -> None:
    small, large = (
        draw(picture(side, side), found((side, side), (side / 4, side / 4, side * 0.75, side * 0.75)))
        for side in (320, 3200)
    )
    widths = [int((drawn[len(drawn) // 2] == class_color(0)).all(axis=1).sum()) / 2 for drawn in (small, large)]
    assert 1 <= widths[0] <= 2 and 8 <= widths[1] <= 12
    assert 8 * ink(small) < ink(large)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 40, 40), (260, 0, 300, 40), (0, 160, 40, 200), (260, 160, 300, 200), (0, 0, 300, 200), (298, 90, 300, 92)],
)
def test_labels_are_whole_wherever_the_box_is(box: tuple[float, float, float, float]) -> None:
    in_the_middle = draw(picture(300, 200), found((300, 200), (120, 80, 160, 120)))
    assert ink(draw(picture(300, 200), found((300, 200), box))) == ink(in_the_middle) > 0


def test_labels_of_equal_boxes_do_not_cover_each_other() -> None:
    box = (100.0, 80.0, 180.0, 150.0)
    detections = found((300, 200), box, box, box, labels=[0, 1, 2])
    together = draw(picture(300, 200), detections, show_scores=False)
    apart = [draw(picture(300, 200), detections[[i]], show_scores=False) for i in range(3)]
    assert ink(together) == sum(ink(each) for each in apart)


def test_the_best_score_lies_on_top() -> None:
    drawn = draw(picture(90, 60), found((90, 60), (10, 10, 50, 50), (10, 10, 50, 50), labels=[1, 2]), show_labels=False)
    assert (drawn[10, 20] == class_color(1)).all()


def test_what_is_written_follows_the_options() -> None:
    detections = found((300, 200), (100, 80, 180, 150))
    inks = [
        ink(draw(picture(300, 200), detections, show_labels=labels, show_scores=scores))
        for labels, scores in ((False, True), (True, False), (True, True))
    ]
    assert 0 == inks[0] < inks[1] < inks[2]


def test_long_names_end_in_an_ellipsis_inside_the_picture() -> None:
    names = ("a name as long as a sentence, of which there is no need to read the end",)
    drawn = draw(picture(150, 100), found((150, 100), (20, 50, 140, 90), names=names))
    assert ink(drawn) > 0
    short = annotate._shortened(names[0], "", 10, 100)
    assert short.endswith("…") and names[0].startswith(short[:-1])
    assert annotate._text_width(short, "", 10) <= 100


def test_first_colours_are_fixed() -> None:
    assert [class_color(label) for label in range(3)] == [(255, 68, 85), (255, 221, 0), (34, 170, 255)]
    assert class_color(96) == class_color(0) and class_color(9600 + 5) == class_color(5)


def test_colours_differ_between_neighbours_and_all_classes_of_coco() -> None:
    colors = np.array([class_color(label) for label in range(96)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 1000 * np.eye(96)
    assert distances[:80, :80].min() > 24
    assert distances[:8, :8].min() > 70
    assert np.diagonal(distances, 1).min() > 60


def test_text_contrasts_with_its_label() -> None:
    def luminance(rgb: NDArray[np.uint8]) -> float:
        unit = [value / 255 for value in rgb.tolist()]
        red, green, blue = (u / 12.92 if u <= 0.04045 else ((u + 0.055) / 1.055) ** 2.4 for u in unit)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for label in range(96):
        dark, light = sorted(luminance(shade) for shade in annotate._shades(class_color(label))[[0, 255]])
        assert (light + 0.05) / (dark + 0.05) >= 4  # WCAG 2 asks 3 of large letters, 4.5 of small ones


@pytest.mark.parametrize(
    "name", ["éléphant", "собака", "狗", "كلب", "🐕", "", " ", "a\nb\tc", "x" * 5000, "bad\udc80name", "\0", "ß", "%s"]
)
@pytest.mark.parametrize("system_fonts", [True, False])
def test_any_name_is_drawn(name: str, system_fonts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not system_fonts:
        monkeypatch.setattr(annotate, "_system_fonts", lambda: ())
    annotate._legible.cache_clear()
    assert ink(draw(picture(300, 200), found((300, 200), (100, 80, 180, 150), names=(name,)))) > 0
    annotate._legible.cache_clear()


@pytest.mark.parametrize(
    ("name", "instead"), [("éléphant", "elephant"), ("狗", "class 0"), ("", "class 0"), ("a\n  b", "a b")]
)
def test_names_without_a_font_are_written_sensibly(name: str, instead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "_system_fonts", lambda: ())
    annotate._legible.cache_clear()
    drawn, expected = (
        draw(picture(300, 200), found((300, 200), (100, 80, 180, 150), names=(each,))) for each in (name, instead)
    )
    annotate._legible.cache_clear()
    assert np.array_equal(drawn, expected)


def test_damaged_system_font_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "DejaVuSans.ttf").write_bytes(b"not a font")
    monkeypatch.setattr(annotate, "_FONT_FOLDERS", (str(tmp_path),))
    annotate._system_fonts.cache_clear()
    annotate._legible.cache_clear()
    assert annotate._system_fonts() == (str(tmp_path / "DejaVuSans.ttf"),)
    assert annotate._legible("собака", 5) == ("class 5", "")
    annotate._system_fonts.cache_clear()
    annotate._legible.cache_clear()


def test_fault_133_read_only_and_non_contiguous_pictures() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, (120, 200, 3), np.uint8)
    detections = found((100, 60), (20, 20, 90, 50))
    expected = draw(np.ascontiguousarray(whole[::2, ::2]), detections)
    assert np.array_equal(draw(whole[::2, ::2], detections), expected)
    bgr = np.ascontiguousarray(whole[::2, ::2, ::-1])
    bgr.setflags(write=False)
    assert np.array_equal(draw(bgr[..., ::-1], detections), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 20), np.uint8), "expected RGB uint8"),
        (np.zeros((10, 20, 4), np.uint8), "expected RGB uint8"),
        (np.zeros((10, 20, 3), np.float32), "expected RGB uint8"),
        (np.zeros((20, 10, 3), np.uint8), "belong to one of 20×10"),
    ],
)
def test_wrong_pictures_are_refused(image: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(image, Detections.empty(NAMES, (20, 10)))


@pytest.mark.parametrize("option", ["line_width", "font_size"])
def test_options_below_one_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 0"):
        draw(picture(20, 10), Detections.empty(NAMES, (20, 10)), **{option: 0})  # type: ignore[arg-type]


coordinate = st.one_of(st.floats(-300, 600, width=32), st.floats(width=32))


@settings(deadline=None, max_examples=150)
@given(
    boxes=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=8),
    size_wh=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    line_width=st.none() | st.integers(1, 400),
    font_size=st.none() | st.integers(1, 400),
)
def test_no_box_breaks_it(
    boxes: list[tuple[float, float, float, float]],
    size_wh: tuple[int, int],
    line_width: int | None,
    font_size: int | None,
) -> None:
    image = picture(*size_wh)
    drawn = draw(image, found(size_wh, *boxes), line_width=line_width, font_size=font_size)
    assert drawn.shape == image.shape and (image == GREY).all()


@pytest.mark.parametrize("box", [(-50, -50, -10, -10), (500, 10, 600, 20), (np.nan, 0, 10, 10), (50, 50, 20, 20)])
def test_boxes_outside_or_meaningless_leave_no_mark(box: tuple[float, float, float, float]) -> None:
    assert np.array_equal(draw(picture(200, 100), found((200, 100), box)), picture(200, 100))


def test_a_box_without_area_is_a_mark() -> None:
    drawn = draw(picture(200, 100), found((200, 100), (200, 100, 200, 100), (50, 50, 50, 50)), show_labels=False)
    assert (drawn[50, 50] == class_color(0)).all()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_places_are_inside_the_picture(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(3, 80)), data.draw(st.integers(1, 80))
    size_hw = (data.draw(st.integers(1, height // 3)), data.draw(st.integers(1, width)))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    frame = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    occupied = np.random.default_rng(0).random((height, width)) < data.draw(st.floats(0, 1))
    rows, columns = annotate._place(frame, size_hw, occupied)
    assert rows.start >= 0 and rows.stop <= height and rows.stop - rows.start == size_hw[0]
    assert columns.start >= 0 and columns.stop <= width and columns.stop - columns.start == size_hw[1]


def crowd(seed: int) -> tuple[NDArray[np.uint8], Detections]:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 400, (60, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    names = tuple(f"class name {i}" for i in range(80))
    labels, scores = rng.integers(0, 80, 60), rng.random(60).astype(np.float32)
    return rng.integers(0, 255, (400, 400, 3), np.uint8), Detections(corners, scores, labels, names, (400, 400))


def test_fault_132_eight_threads_draw_what_one_draws() -> None:
    tasks = [crowd(seed) for seed in range(8)] * 3
    for cached in (annotate._text_mask, annotate._text_width, annotate._font, annotate._shades, annotate._legible):
        cached.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda task: draw(*task), tasks))
    for task, result in zip(tasks, drawn, strict=True):
        assert np.array_equal(result, draw(*task))


def test_caches_are_bounded() -> None:
    cached = [value for value in vars(annotate).values() if hasattr(value, "cache_info")]
    assert cached and all(function.cache_info().maxsize is not None for function in cached)


def test_detections_do_not_import_what_only_drawing_needs() -> None:
    code = "import sys, yolov3.detections; assert 'PIL' not in sys.modules and 'cv2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
