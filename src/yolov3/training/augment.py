"""Random changes to training pictures, boxes following exactly. NumPy and OpenCV alone: no PyTorch here.

`augment` is a pure function of its arguments: the random numbers come from the generator that it is given, which
`sampling.random_stream` makes from (seed, epoch, place in the epoch). Only uniform numbers are drawn from it, whose
values no release of NumPy has changed. Rules and figures: docs/augmentation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import UsageError
from ..geometry import Letterbox, UInt8Array, letterbox_image, plan_letterbox
from ..modelfile import Preprocess
from .placing import Example, Tile, follow, join, paint, place_mosaic, place_single, random_affine

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How pictures are changed for training; by default not at all.

    Attributes:
        mosaic: chance that a picture is one of four around a random point, 0 to 1.
        mixup: chance that a picture (or mosaic) is blended with another, 0 to 1.
        close_mosaic: so many last epochs are without mosaic and mixup, from 0.
        jitter: most change of width and height, each, before a picture is fitted, 0 to 0.9; it is then laid at a
            random place on the grey instead of its middle. Darknet's `jitter`.
        rotate: most turn to either side in degrees, 0 to 180.
        scale: most enlargement or shrinking, 0 to 0.95: 0.5 is from half to one and a half.
        shear: most slant of either axis in degrees, 0 to 60.
        translate: most shift, 0 to 1, in parts of the input's sides.
        flip_horizontal: chance of left for right, 0 to 1.
        flip_vertical: chance of up for down, 0 to 1.
        hue: most turn of the hue to either side, 0 to 0.5, in parts of the colour circle. Darknet's `hue`.
        saturation: least and most factor, the first 0 to 1, the second 1 to 10.
        exposure: least and most factor of the brightness (the V of HSV), the first 0 to 1, the second 1 to 10.
        multi_scale: most change of the network's input size from batch to batch, 0 to 0.9, in parts of it.
        min_side: boxes with a shorter side in the result are dropped, 0 to 100 pixels.
        min_visible: boxes of whose area less is left in the result are dropped, 0 to 1.

    Raises:
        UsageError: a value is outside its range.
    """

    mosaic: float = 0.0
    mixup: float = 0.0
    close_mosaic: int = 0
    jitter: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    hue: float = 0.0
    saturation: Range = (1.0, 1.0)
    exposure: Range = (1.0, 1.0)
    multi_scale: float = 0.0
    min_side: float = 0.0
    min_visible: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _PAIRS:
                object.__setattr__(self, field.name, _pair(field.name, value))
            elif not _between(value, 0, _MOST.get(field.name, 1.0)) or (field.type == "int" and value != int(value)):
                raise _refused(field.name, value, f"0 to {_MOST.get(field.name, 1.0):g}")

    def in_epoch(self, epoch: int, epochs: int) -> AugmentSettings:
        """The settings in epoch `epoch` (from 0) of `epochs`: the last `close_mosaic` are without mosaic and mixup."""
        if epoch < epochs - self.close_mosaic:
            return self
        return replace(self, mosaic=0.0, mixup=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for YAML or JSON; `AugmentSettings(**values)` reads them back."""
        return {name: list(value) if name in _PAIRS else value for name, value in asdict(self).items()}


_PAIRS = frozenset({"saturation", "exposure"})
_MOST = {
    "close_mosaic": 1_000_000,
    "jitter": 0.9,
    "rotate": 180.0,
    "scale": 0.95,
    "shear": 60.0,
    "hue": 0.5,
    "multi_scale": 0.9,
    "min_side": 100.0,
}
"""The largest value of each setting that isn't 1."""


def _between(value: object, least: float, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def _pair(name: str, value: object) -> Range:
    if isinstance(value, (tuple, list)) and len(value) == 2 and _between(value[0], 0, 1) and _between(value[1], 1, 10):
        return float(value[0]), float(value[1])
    raise _refused(name, value, "two factors, the first 0 to 1, the second 1 to 10")


def _refused(name: str, value: object, expected: str) -> UsageError:
    return UsageError(f"augmentation: {name} is {value!r}, expected {expected}")


PRESETS: Mapping[str, AugmentSettings] = MappingProxyType(
    {
        "none": AugmentSettings(),
        "darknet": AugmentSettings(
            jitter=0.3,
            flip_horizontal=0.5,
            hue=0.1,
            saturation=(1 / 1.5, 1.5),
            exposure=(1 / 1.5, 1.5),
            min_side=0.4,
        ),
        "modern": AugmentSettings(
            mosaic=1.0,
            close_mosaic=10,
            scale=0.5,
            translate=0.1,
            flip_horizontal=0.5,
            hue=0.015,
            saturation=(0.3, 1.7),
            exposure=(0.6, 1.4),
            min_side=2.0,
            min_visible=0.1,
        ),
    }
)
"""Settings by name. "darknet" is what yolov3.cfg asks for and Darknet does (`data.c: load_data_detection`), save its
random input sizes (`multi_scale`); "modern" has the figures with which ultralytics/yolov3 trained yolov3-spp."""


class Examples(Protocol):
    """Pictures with their boxes, by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Example:
        """One of them."""
        ...


def augment(
    examples: Examples,
    index: int,
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    random: np.random.Generator,
    preprocess: Preprocess = Preprocess(),
) -> Example:
    """Picture `index` as the network sees it in training.

    With settings that leave a picture where it is (as "none" does) the pixels are exactly the runtime's.

    Args:
        examples: where the picture, and others for mosaic and mixup, come from.
        index: which picture.
        settings: see there.
        size_wh: the network's input size in pixels.
        random: its state decides everything; only uniform numbers are drawn.
        preprocess: how the model wants pictures to be fitted, and its grey.

    Returns:
        An example of `size_wh` pixels; boxes and ignored regions are inside it.
    """
    result = _compose(examples, index, settings, size_wh, random, preprocess)
    if random.random() < settings.mixup:
        other = _compose(examples, _any_index(examples, random), settings, size_wh, random, preprocess)
        result = _mix(result, other, 0.4 + 0.2 * random.random())
    change_colours(result.image, settings, random)
    return result


def _any_index(examples: Examples, random: np.random.Generator) -> int:
    return int(random.random() * len(examples))


def _compose(
    examples: Examples,
    index: int,
    settings: AugmentSettings,
    size_wh: tuple[int, int],
    random: np.random.Generator,
    preprocess: Preprocess,
) -> Example:
    """One picture or a mosaic of four, shifted, scaled, turned and flipped by chance."""
    stretch = preprocess.resize == "stretch"
    if random.random() < settings.mosaic:
        others = [examples[_any_index(examples, random)] for _ in range(3)]
        tiles = place_mosaic([examples[index], *others], size_wh, settings.jitter, stretch, random)
        canvas_wh = (2 * size_wh[0], 2 * size_wh[1])
    else:
        tiles = [place_single(examples[index], size_wh, settings.jitter, stretch, random)]
        canvas_wh = size_wh
    affine = random_affine(settings, canvas_wh, size_wh, random)
    if len(tiles) == 1 and settings.jitter == 0 and np.array_equal(affine, np.eye(2, 3)):
        image = _letterbox(tiles[0], size_wh, preprocess)
    else:
        image = paint(tiles, affine, size_wh, preprocess.pad)
    return follow(image, tiles, affine, min_side=settings.min_side, min_visible=settings.min_visible)


def _letterbox(tile: Tile, size_wh: tuple[int, int], preprocess: Preprocess) -> UInt8Array:
    """The picture laid into the input as the runtime does it."""
    image = tile.example.image
    plan: Letterbox = plan_letterbox((image.shape[1], image.shape[0]), size_wh, resize=preprocess.resize)
    return letterbox_image(image, plan, preprocess.pad)


def _mix(first: Example, second: Example, share: float) -> Example:
    """Two pictures blended, with the boxes of both; `share` is the first one's."""
    image = np.asarray(cv2.addWeighted(first.image, share, second.image, 1 - share, 0), np.uint8)
    return join(image, [first, second])


def change_colours(image: UInt8Array, settings: AugmentSettings, random: np.random.Generator) -> None:
    """Turn the hue and scale saturation and brightness of `image` (H, W, 3 RGB), in place; the grey border too.

    As Darknet's `random_distort_image`, but on 8-bit HSV, and a factor below 1 is uniform itself, not its inverse.
    """
    hue = (2 * random.random() - 1) * settings.hue
    saturation = _factor(settings.saturation, random)
    exposure = _factor(settings.exposure, random)
    if hue == 0 and saturation == 1 and exposure == 1:
        return
    turned = (np.rint(np.arange(256) + 180 * hue) % 180).astype(np.uint8)  # OpenCV's hue is 0 to 179
    cv2.cvtColor(image, cv2.COLOR_RGB2HSV, dst=image)
    hues, saturations, values = cv2.split(image)
    planes = (
        cv2.LUT(hues, turned),
        cv2.convertScaleAbs(saturations, alpha=saturation),
        cv2.convertScaleAbs(values, alpha=exposure),
    )
    cv2.merge(planes, dst=image)
    cv2.cvtColor(image, cv2.COLOR_HSV2RGB, dst=image)


def _factor(limits: Range, random: np.random.Generator) -> float:
    """A factor that is below 1 as often as above, uniform on each side."""
    signed = 2 * random.random() - 1
    return 1 + signed * ((1 - limits[0]) if signed < 0 else (limits[1] - 1))
