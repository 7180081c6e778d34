"""Training pictures: read, made as small as training needs, kept in memory as far as the budget goes. No PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from ..data import Sample
from ..errors import DataError, UsageError
from ..geometry import UInt8Array, plan_letterbox
from ..images import display_name, read_image
from ..modelfile import Preprocess
from .placing import Example

BadPictures = Literal["skip", "error"]

CACHE_BYTES = 1 << 30
"""The memory for decoded pictures unless told otherwise: 2,700 photos of shape 4:3 at 416 pixels."""


class TrainingPictures:
    """A split's pictures by number, as `Example`s; safe to use from several threads.

    A picture that is larger than the network's input is made smaller once, by the very resize that detection uses, and
    kept so; a smaller one stays as it is. Which pictures are in memory makes no difference to what is given.

    Attributes:
        samples: the pictures and boxes of the dataset.
        bad: why each picture that couldn't be used was left out, by its number in `samples`.
        cached_bytes: the memory that pictures take now.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size_wh: tuple[int, int],
        *,
        preprocess: Preprocess = Preprocess(),
        cache_bytes: int = CACHE_BYTES,
        bad_pictures: BadPictures = "skip",
    ) -> None:
        """Take the pictures without opening one.

        Args:
            samples: the pictures and their boxes.
            size_wh: the largest input of the network that they are for.
            preprocess: how the model wants pictures to be fitted.
            cache_bytes: the memory to spend on pictures that were read, from 0.
            bad_pictures: "skip" puts the next good picture in the place of one that can't be used and notes it in
                `bad`; "error" raises.

        Raises:
            DataError: there is no picture.
            UsageError: `bad_pictures` is another word.
        """
        if not samples:
            raise DataError("no pictures to train on, expected some")
        if bad_pictures not in ("skip", "error"):
            raise UsageError(f"bad pictures: {bad_pictures!r}, expected skip or error")
        self.samples = samples
        self.bad: dict[int, str] = {}
        self.cached_bytes = 0
        self._size_wh, self._resize = size_wh, preprocess.resize
        self._cache_bytes, self._bad_pictures = cache_bytes, bad_pictures
        self._cache: dict[int, Example] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        """Picture `index`, its boxes in pixels of what is given; the pixels are not to be written to.

        Raises:
            DataError: it can't be used and `bad_pictures` is "error", or none can be used.
        """
        for candidate in (*range(index, len(self)), *range(index)):
            if candidate not in self.bad:
                try:
                    return self._cache.get(candidate) or self._read(candidate)
                except DataError as error:
                    if self._bad_pictures == "error":
                        raise
                    self.bad[candidate] = str(error)
        raise DataError(f"none of {len(self)} pictures can be used; the first: {self.bad[0]}")

    def expected_bytes(self) -> int:
        """About the memory that all pictures together would take, by those in memory now; 0 while there is none."""
        with self._lock:
            return self.cached_bytes * len(self) // max(len(self._cache), 1)

    def _read(self, index: int) -> Example:
        sample = self.samples[index]
        image = read_image(sample.image)
        image_wh = (image.shape[1], image.shape[0])
        boxes = sample.boxes_for(image_wh)
        small = self._reduced(image)
        factor = np.array([small.shape[1] / image_wh[0], small.shape[0] / image_wh[1]] * 2)
        small.flags.writeable = False
        name = display_name(sample.image)
        example = Example(small, boxes * factor, sample.labels, sample.crowd | sample.difficult, name)
        self._keep(index, example)
        return example

    def _reduced(self, image: UInt8Array) -> UInt8Array:
        """The picture at the size in which it is laid into the network's largest input, if that is smaller."""
        image_wh = (image.shape[1], image.shape[0])
        width, height = plan_letterbox(image_wh, self._size_wh, resize=self._resize).resized_wh
        if width >= image_wh[0] or height >= image_wh[1]:
            return image
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)

    def _keep(self, index: int, example: Example) -> None:
        with self._lock:
            if index not in self._cache and self.cached_bytes + example.image.nbytes <= self._cache_bytes:
                self._cache[index] = example
                self.cached_bytes += example.image.nbytes
