"""Augmentation: boxes follow the pixels, "none" is the runtime's letterbox, only the seed decides."""

from __future__ import annotations

import colorsys
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from data.makers import coco, fingerprint, write_picture, yolo
from yolov3.data import load_dataset
from yolov3.errors import UsageError
from yolov3.geometry import letterbox_image, plan_letterbox
from yolov3.images import read_image
from yolov3.modelfile import Preprocess
from yolov3.training.augment import PRESETS, AugmentSettings, augment, change_colours
from yolov3.training.pictures import TrainingPictures
from yolov3.training.placing import Example, Tile, follow
from yolov3.training.sampling import random_stream
from yolov3.training.sheet import augmented_sheet

SIZE_WH = (160, 128)
NONE = PRESETS["none"]


def example(
    image: np.ndarray, boxes: Sequence[tuple[float, ...]] = (), *, ignore: bool = False, label: int = 0, file: str = "x"
) -> Example:
    image.flags.writeable = False
    count = len(boxes)
    return Example(
        image,
        np.array(boxes, float).reshape(count, 4),
        np.full(count, label),
        np.full(count, ignore),
        file,
    )


def grey(size_wh: tuple[int, int], value: int = 200) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


class Marked:
    """A thousand black pictures with two whole-pixel boxes each; one box of all is painted white.

    A box's label is twice the picture's number, and one more for the second.
    """

    def __init__(self, painted: int = -1) -> None:
        self.painted = painted
        self.used: list[int] = []

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Example:
        self.used.append(index)
        rng = np.random.default_rng(index)
        width, height = rng.integers(90, 220, 2)
        boxes = []
        for left, top in ((0, 0), (width // 2, height // 3)):
            x1, y1 = left + rng.integers(0, 20), top + rng.integers(0, 20)
            boxes.append((x1, y1, min(x1 + rng.integers(14, 70), width), min(y1 + rng.integers(14, 70), height)))
        image = np.zeros((height, width, 3), np.uint8)
        if self.painted // 2 == index:
            x1, y1, x2, y2 = boxes[self.painted % 2]
            image[y1:y2, x1:x2] = 255
        return replace(example(image, boxes), labels=np.array([2 * index, 2 * index + 1]))


part = st.floats(0, 1)
geometries = st.builds(
    AugmentSettings,
    mosaic=st.sampled_from([0.0, 1.0]),
    jitter=st.sampled_from([0.0, 0.3]),
    rotate=st.sampled_from([0.0, 0.0, 30.0, 180.0]),
    shear=st.sampled_from([0.0, 0.0, 10.0]),
    scale=st.sampled_from([0.0, 0.5]),
    translate=st.sampled_from([0.0, 0.1, 0.4]),
    flip_horizontal=st.sampled_from([0.0, 1.0]),
    flip_vertical=st.sampled_from([0.0, 1.0]),
)


@given(setting=geometries, index=st.integers(0, 999), place=st.integers(0, 10**6), stretch=st.booleans())
@settings(max_examples=100, deadline=None)
def test_boxes_are_where_the_pixels_are(setting: AugmentSettings, index: int, place: int, stretch: bool) -> None:
    """The slow reference: paint one box white, change the picture, look for white."""
    preprocess = Preprocess(resize="stretch" if stretch else "letterbox", pad=0)
    unpainted = Marked()
    result = augment(unpainted, index, setting, SIZE_WH, random_stream(5, 0, place), preprocess)
    assert not result.image.any()
    used = set(unpainted.used)
    if len(used) < len(unpainted.used):
        return  # a picture that comes twice would be painted twice
    turned = bool(setting.rotate or setting.shear)
    for label in (2 * number + box for number in used for box in (0, 1)):
        image = augment(Marked(label), index, setting, SIZE_WH, random_stream(5, 0, place), preprocess).image
        found = extent(image[..., 0] > 127)
        boxes = result.boxes[result.labels == label]
        assert len(boxes) <= 1
        if found is not None and (found[2:] - found[:2]).min() > 2:
            assert len(boxes) == 1, f"box {label} is at {found} but was dropped"
        if len(boxes) and (boxes[0, 2:] - boxes[0, :2]).min() > (12 if turned else 3):
            assert found is not None
            np.testing.assert_array_less(np.abs(found - boxes[0]), unseen(boxes[0]) if turned else 0.6)


def unseen(box: np.ndarray) -> np.ndarray:
    """How much of each side of a turned box the pixels may not show.

    The tip of a slanted corner covers too little of a pixel. Where the input's edge cuts a box, the tip is as sharp as
    the angle between them: a wedge as high as the box grows by a pixel in so many pixels as the box is wider than high.
    """
    width, height = box[2:] - box[:2]
    cut = (box[:2] < 0.01).any() or (box[2:] > np.array(SIZE_WH) - 0.01).any()
    return 2.0 + cut * np.array([width / height, height / width] * 2)


def extent(mask: np.ndarray) -> np.ndarray | None:
    """xyxy around the pixels that are set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) if len(rows) else None


@given(setting=geometries, place=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_boxes_lie_in_the_input_and_have_area(setting: AugmentSettings, place: int) -> None:
    setting = replace(setting, mixup=0.5, min_side=2.0, min_visible=0.1)
    result = augment(Marked(), 1, setting, SIZE_WH, random_stream(0, 0, place))
    assert result.image.shape == (128, 160, 3) and result.boxes.shape == (len(result.labels), 4)
    assert (result.boxes >= 0).all() and (result.boxes <= [160, 128, 160, 128]).all()
    assert (result.boxes[:, 2:] - result.boxes[:, :2] >= 2).all()


# ------------------------------------------------------------------------------------------ "none" is the runtime


@pytest.mark.parametrize("size_wh", [(300, 200), (200, 300), (96, 64), (50, 40), (96, 30), (10, 900), (1, 1), (97, 63)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_none_is_the_runtimes_letterbox_to_the_byte(tmp_path: Path, size_wh: tuple[int, int], resize: str) -> None:
    yolo(tmp_path, {"a": "0 0.5 0.5 1 1"})
    write_picture(tmp_path / "images/train/a.png", size_wh, seed=4)
    samples = load_dataset(tmp_path).samples["train"]
    preprocess = Preprocess(resize=resize, pad=99)
    pictures = TrainingPictures(samples, (96, 64), preprocess=preprocess)
    plan = plan_letterbox(size_wh, (96, 64), resize=resize)
    expected = letterbox_image(read_image(samples[0].image), plan, 99)
    for _ in range(2):  # read, then out of the cache
        result = augment(pictures, 0, NONE, (96, 64), random_stream(0, 0, 0), preprocess)
        np.testing.assert_array_equal(result.image, expected)
        np.testing.assert_allclose(result.boxes, plan.to_canvas(np.array([[0, 0, *size_wh]], float)), atol=1e-9)


def test_a_flip_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    for axis, setting in ((1, AugmentSettings(flip_horizontal=1)), (0, AugmentSettings(flip_vertical=1))):
        result = augment([example(image)], 0, setting, SIZE_WH, random_stream(0, 0, 0))
        np.testing.assert_array_equal(result.image, cv2.flip(image, axis))


def test_darknets_jitter_changes_the_shape_and_the_place_and_cuts_nothing() -> None:
    setting, places = AugmentSettings(jitter=0.3), set()
    for place in range(60):
        result = augment([example(grey((90, 60)))], 0, setting, (96, 96), random_stream(0, 0, place))
        x1, y1, x2, y2 = extent(result.image[..., 0] == 200)
        assert max(x2 - x1, y2 - y1) == 96
        assert 1.5 * 0.7 / 1.3 - 0.05 < (x2 - x1) / (y2 - y1) < 1.5 * 1.3 / 0.7 + 0.15
        places.add((x1, y1))
    assert len(places) > 20


# --------------------------------------------------------------------------------------------------- mosaic, mixup


def test_the_tiles_of_a_mosaic_meet_without_a_gap() -> None:
    """Four white pictures of the input's shape always fill the middle of the canvas."""
    white = [example(grey((80, 64), 255))]
    for place in range(40):
        result = augment(white, 0, AugmentSettings(mosaic=1, flip_horizontal=0.5), SIZE_WH, random_stream(0, 0, place))
        assert (result.image == 255).all()


def test_a_mosaic_shows_four_pictures_around_a_point() -> None:
    values = range(20, 220, 5)
    pictures = [example(grey(SIZE_WH, value), [(0, 0, *SIZE_WH)], label=value, file=str(value)) for value in values]
    shown = []
    for place in range(20):
        result = augment(pictures, place, AugmentSettings(mosaic=1), SIZE_WH, random_stream(0, 0, place))
        corners = result.image[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist()
        shown.append(len(set(corners)))
        assert str(values[place]) == result.file.split(" + ")[0] and values[place] in corners
        for box, label in zip(result.boxes, result.labels, strict=True):
            x1, y1, x2, y2 = np.rint(box).astype(int)
            assert (result.image[y1:y2, x1:x2] == label).all()
        assert set(np.unique(result.image)) <= set(values)
    assert max(shown) == 4


def test_mixup_blends_two_pictures_and_keeps_the_boxes_of_both() -> None:
    pictures = [
        example(grey(SIZE_WH, 0), [(0, 0, 80, 64)], label=1, file="a"),
        example(grey(SIZE_WH, 250), [(80, 64, 160, 128)], label=2, file="b"),
    ]
    for place in range(20):
        result = augment(pictures, 0, AugmentSettings(mixup=1), SIZE_WH, random_stream(0, 0, place))
        if result.file == "a + b":
            assert result.labels.tolist() == [1, 2] and len(np.unique(result.image)) == 1
            assert 0.4 * 250 - 1 <= result.image[0, 0, 0] <= 0.6 * 250 + 1
            return
    raise AssertionError("twenty times a picture was blended with itself")


def test_a_dataset_of_one_picture_is_enough() -> None:
    result = augment(
        [example(grey((30, 20)), [(5, 5, 25, 15)])],
        0,
        replace(PRESETS["modern"], mixup=1.0),
        SIZE_WH,
        random_stream(0, 0, 0),
    )
    assert result.image.shape == (128, 160, 3) and result.file == "x"


# ------------------------------------------------------------------------------------------------------ what is kept


def shift_right(box: tuple[float, ...], *, ignore: bool = False, **rule: float) -> list[list[float]]:
    """The boxes left of `box` when a 160×128 picture is moved so that its columns up to 80 leave the input."""

    class Right:
        def random(self) -> float:
            return next(self.numbers)

        numbers = iter([0.9, *[0.5] * 4, 0.0, 0.5, 0.9, 0.9, 0.9, 0.5, 0.5, 0.5])

    setting = AugmentSettings(translate=0.5, **rule)
    picture = example(grey(SIZE_WH), [box], ignore=ignore)
    return augment([picture], 0, setting, SIZE_WH, Right()).boxes.tolist()  # type: ignore[arg-type]


def test_boxes_are_cut_to_the_input() -> None:
    assert shift_right((60, 10, 100, 50)) == [[0, 10, 20, 50]]
    assert shift_right((0, 10, 80, 50)) == []
    assert shift_right((80, 10, 90, 50)) == [[0, 10, 10, 50]]


@pytest.mark.parametrize(("least", "kept"), [(0.0, 1), (0.25, 1), (0.26, 0), (1.0, 0)])
def test_boxes_mostly_cut_off_are_dropped(least: float, kept: int) -> None:
    assert len(shift_right((50, 10, 90, 50), min_visible=least)) == kept  # a quarter is left
    assert len(shift_right((90, 10, 120, 50), min_visible=least)) == 1


@pytest.mark.parametrize(("least", "kept"), [(0.0, 1), (4.0, 1), (4.5, 0)])
def test_thin_boxes_are_dropped(least: float, kept: int) -> None:
    assert len(shift_right((44, 10, 84, 50), min_side=least)) == kept  # 4 pixels are left


def test_ignored_regions_stay_as_long_as_anything_is_seen() -> None:
    assert shift_right((0, 10, 81, 50), ignore=True, min_side=4.0, min_visible=0.5) == [[0, 10, 1, 50]]
    assert shift_right((0, 10, 79, 50), ignore=True) == []


@pytest.mark.parametrize(("least", "kept"), [(0.0, 1), (0.249, 1), (0.251, 0)])
def test_a_turned_box_is_measured_by_what_is_seen_of_it(least: float, kept: int) -> None:
    """A square turned by 45°, its centre in the input's corner: a quarter is seen."""
    tile = Tile(example(grey((60, 60)), [(10, 10, 50, 50)]), np.ones(2), np.zeros(2), np.array([0.0, 0, 60, 60]))
    turn = np.array([[1, -1], [1, 1]]) * 0.5**0.5
    affine = np.column_stack([turn, -turn @ [30, 30]])
    result = follow(grey(SIZE_WH), [tile], affine, min_side=0, min_visible=least)
    assert len(result.boxes) == kept
    for box in result.boxes:
        np.testing.assert_allclose(box, [0, 0, 20 * 2**0.5, 20 * 2**0.5], atol=1e-4)


def test_boxes_without_area_are_dropped() -> None:
    picture = example(grey(SIZE_WH), [(10, 10, 10, 50), (10, 10, 50, 10), (10, 10, 20, 20)])
    for setting in (NONE, AugmentSettings(rotate=30)):
        assert len(augment([picture], 0, setting, SIZE_WH, random_stream(0, 0, 0)).boxes) == 1


# ------------------------------------------------------------------------------------------------------------ colours


def test_colours_against_a_slow_reference() -> None:
    setting = AugmentSettings(hue=0.1, saturation=(0.5, 1.5), exposure=(0.5, 1.5))
    image = np.random.default_rng(1).integers(0, 256, (6, 40, 3), np.uint8)
    for place in range(10):
        changed = image.copy()
        change_colours(changed, setting, random_stream(0, 0, place))
        draws = 2 * random_stream(0, 0, place).random(3) - 1
        for before, after in zip(image.reshape(-1, 3), changed.reshape(-1, 3), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
            hue, saturation = (hue + 0.1 * draws[0]) % 1, min(saturation * (1 + 0.5 * draws[1]), 1)
            value = min(value * (1 + 0.5 * draws[2]), 1)
            expected = np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255
            assert np.abs(after - expected).max() <= 10  # HSV of 8 bits: hue in steps of two degrees


def test_hue_and_saturation_leave_grey_alone() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    changed = image.copy()
    change_colours(changed, AugmentSettings(hue=0.5, saturation=(0.0, 10.0)), random_stream(0, 0, 0))
    np.testing.assert_array_equal(changed, image)


def test_darknets_factors_stay_within_its_limits() -> None:
    white, limits = grey((1, 1), 120), []
    for place in range(300):
        image = white.copy()
        change_colours(image, PRESETS["darknet"], random_stream(0, 0, place))
        limits.append(image[0, 0, 0] / 120)
    assert 1 / 1.5 - 0.01 <= min(limits) < 0.72 and 1.42 < max(limits) <= 1.51
    assert 0.4 < np.mean(np.array(limits) > 1) < 0.6


# ------------------------------------------------------------------------------------------------ purity, settings


@pytest.mark.parametrize("name", ["darknet", "modern"])
def test_fault_92_a_picture_is_a_function_of_seed_epoch_and_place(name: str) -> None:
    def run(seed: int, epoch: int, place: int) -> bytes:
        np.random.seed(seed + epoch)  # the global state must not matter
        return augment(Marked(3), 1, PRESETS[name], SIZE_WH, random_stream(seed, epoch, place)).image.tobytes()

    assert run(1, 2, 3) == run(1, 2, 3)
    assert len({run(1, 2, 3), run(0, 2, 3), run(1, 0, 3), run(1, 2, 0)}) == 4


def test_pictures_given_are_not_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    picture, before = example(image, [(1, 2, 30, 40)]), image.copy()
    for setting in (*PRESETS.values(), AugmentSettings(rotate=10, mixup=1, exposure=(0, 2))):
        for place in range(3):
            augment([picture], 0, setting, SIZE_WH, random_stream(0, 0, place))
    np.testing.assert_array_equal(picture.image, before)
    assert picture.boxes.tolist() == [[1, 2, 30, 40]]


def test_random_streams_never_change() -> None:
    """Resuming on another machine or with another NumPy goes on with the same pictures."""
    expected = [0.8700474360314032, 0.6785924374665298]
    np.testing.assert_allclose(
        [random_stream(7, 3, 5).random(), random_stream(7, 3, 5, 1).random()], expected, atol=1e-8
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mosaic", 1.1),
        ("mosaic", -0.1),
        ("mixup", float("nan")),
        ("scale", 0.96),
        ("rotate", 181),
        ("hue", 0.6),
        ("jitter", True),
        ("close_mosaic", 1.5),
        ("close_mosaic", -1),
        ("translate", "0.1"),
        ("saturation", 1.5),
        ("saturation", (0.5, 0.9)),
        ("exposure", (1.1, 1.5)),
        ("exposure", (0.5, 1.5, 2)),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"augmentation: {name} is .*, expected "):
        AugmentSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_settings_go_to_plain_values_and_back(name: str) -> None:
    plain = PRESETS[name].to_dict()
    assert AugmentSettings(**plain) == PRESETS[name]
    assert all(isinstance(value, (int, float, list)) for value in plain.values())


def test_the_last_epochs_are_without_mosaic() -> None:
    setting = AugmentSettings(mosaic=1, mixup=0.5, close_mosaic=3, hue=0.1)
    assert [setting.in_epoch(epoch, 10).mosaic for epoch in (0, 6, 7, 9)] == [1, 1, 0, 0]
    assert setting.in_epoch(7, 10) == AugmentSettings(close_mosaic=3, hue=0.1)
    assert setting.in_epoch(7, 20) == setting


def test_no_pytorch_is_needed() -> None:
    words = (
        "import sys, yolov3.training.sheet as s; assert 'torch' not in sys.modules, 'torch'; print(s.augmented_sheet)"
    )
    subprocess.run([sys.executable, "-c", words], check=True, capture_output=True)


# -------------------------------------------------------------------------------------------------- the sheet


@pytest.fixture
def make_sheet(tmp_path: Path) -> Callable[..., np.ndarray]:
    yolo(tmp_path, dict.fromkeys("abcde", "1 0.5 0.5 0.5 0.5\n"))
    before = fingerprint(tmp_path)

    def make(**options: object) -> np.ndarray:
        sheet = augmented_sheet(load_dataset(tmp_path), **{"settings": PRESETS["modern"], "size": 64, **options})  # type: ignore[arg-type]
        assert fingerprint(tmp_path) == before
        return sheet

    return make


@pytest.mark.parametrize(
    ("n", "shape"), [(1, (80, 80, 3)), (4, (152, 152, 3)), (5, (152, 224, 3)), (99, (152, 224, 3))]
)
def test_the_sheet_holds_what_was_asked_for(
    make_sheet: Callable[..., np.ndarray], n: int, shape: tuple[int, ...]
) -> None:
    assert make_sheet(n=n).shape == shape


def test_the_sheet_follows_seed_and_epoch(make_sheet: Callable[..., np.ndarray]) -> None:
    sheets = [make_sheet(seed=0), make_sheet(seed=1), make_sheet(epoch=1)]
    assert len({sheet.tobytes() for sheet in sheets}) == 3
    assert sheets[0].tobytes() == make_sheet(seed=0, split="train").tobytes()


def test_the_sheet_shows_crowds_as_ignored(tmp_path: Path) -> None:
    dataset = load_dataset(coco(tmp_path), images=tmp_path / "images")
    sheet = augmented_sheet(dataset, NONE, size=128, n=2)
    assert sheet.shape == (144, 280, 3)


@pytest.mark.parametrize("options", [{"n": 0}, {"size": 16}, {"seed": -1}, {"split": "val"}])
def test_a_sheet_of_nothing_is_refused(make_sheet: Callable[..., np.ndarray], options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"expected|no split"):
        make_sheet(**options)


# --------------------------------------------------------------------------------------------------- documentation


def test_the_docs_table_shows_the_presets() -> None:
    text = (ROOT / "docs/augmentation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", text, re.MULTILINE))
    assert rows.keys() == NONE.to_dict().keys()
    for name, cells in rows.items():
        for preset, cell in zip(("none", "darknet", "modern"), cells.split(" | "), strict=True):
            written = [float(number) for number in cell.split(" to ")]
            np.testing.assert_allclose(written, np.atleast_1d(getattr(PRESETS[preset], name)), atol=4e-4)
