"""Batches for training: pictures read, changed and stacked by threads while the network computes.

Threads, not processes: OpenCV and NumPy let go of Python's lock while they work, so threads use all cores, and there is
no worker process that could be killed, no shared memory that could run out, nothing to be sent between processes, and
one cache for all (docs/decisions/005-loader-threads.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import Sample
from ..errors import UsageError, Yolov3Error
from ..geometry import xyxy_to_cxcywh
from ..images import display_name
from ..modelfile import Preprocess
from .augment import PRESETS, AugmentSettings, augment
from .pictures import CACHE_BYTES, BadPictures, TrainingPictures
from .placing import Example
from .sampling import batch_bounds, class_weights, epoch_order, input_sizes, random_stream, share, step_size

BATCHES_AHEAD = 3
"""So many batches are ready or in work while the network computes."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one process computes in one step.

    Attributes:
        images: uint8 (N, 3, H, W), RGB, laid out channels-last in memory.
        targets: float32 (M, 6): number of the picture in the batch, label, then centre x, centre y, width, height in
            pixels of the input.
        ignore: float32 (K, 5): number of the picture, then the corners x1, y1, x2, y2 of a region in which the network
            is neither rewarded nor blamed.
        files: the N pictures' names; those of a mosaic are joined by " + ".
    """

    images: Tensor
    targets: Tensor
    ignore: Tensor
    files: list[str]

    def __len__(self) -> int:
        return len(self.images)


class Loader(AbstractContextManager["Loader"]):
    """The batches of each epoch.

    A batch is a pure function of the arguments, the epoch and the step: the number of threads, what was loaded before
    and what is in the cache make no difference, so training resumes at any step. With several processes ("ranks") each
    takes its share of every batch; together they see what one process would.

    Attributes:
        pictures: the pictures behind it; `pictures.bad` says which were left out and why.
        sizes: the input sizes (width, height) that come; one without multi-scale.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size_wh: tuple[int, int],
        *,
        batch: int,
        epochs: int = 1,
        settings: AugmentSettings = PRESETS["none"],
        seed: int = 0,
        shuffle: bool = True,
        balanced_classes: int = 0,
        workers: int = 2,
        rank: int = 0,
        ranks: int = 1,
        stride: int = 32,
        preprocess: Preprocess = Preprocess(),
        cache_bytes: int = CACHE_BYTES,
        bad_pictures: BadPictures = "skip",
    ) -> None:
        """Prepare; no picture is opened yet.

        Args:
            samples: the pictures and their boxes, a split of a `Dataset`.
            size_wh: the network's input size in pixels, multiples of the stride.
            batch: most pictures in a step, of all processes together.
            epochs: how many there will be; settings may change in the last ones.
            settings: how pictures are changed.
            seed: 0 to 2^63 − 1.
            shuffle: False takes the pictures in the dataset's order.
            balanced_classes: the number of classes, to show pictures of rare classes more often (`class_weights`); 0
                shows each picture once an epoch.
            workers: threads beside the caller's; 0 works in the caller's own.
            rank, ranks: this process's number, from 0, and how many there are.
            stride: the network's largest.
            preprocess: how the model wants pictures to be fitted.
            cache_bytes: the memory for pictures that were read.
            bad_pictures: "skip" or "error", see `TrainingPictures`.

        Raises:
            DataError: there are no pictures, or too few for the processes.
            UsageError: an argument can't be meant.
        """
        if not 0 <= rank < ranks or workers < 0 or not 0 <= seed < 2**63:
            raise UsageError(f"rank {rank} of {ranks}, {workers} workers, seed {seed}: expected numbers from 0")
        self.sizes = input_sizes(size_wh, settings.multi_scale, stride)
        self.pictures = TrainingPictures(
            samples, self.sizes[-1], preprocess=preprocess, cache_bytes=cache_bytes, bad_pictures=bad_pictures
        )
        self._bounds = batch_bounds(len(samples), batch, ranks)
        self._weights = class_weights(samples, balanced_classes) if balanced_classes else None
        self._epochs, self._settings, self._seed, self._shuffle = epochs, settings, seed, shuffle
        self._rank, self._ranks, self._preprocess = rank, ranks, preprocess
        self._opencv_threads = cv2.getNumThreads()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        cv2.setNumThreads(1)  # the loader's threads are as many as were asked for; they don't want helpers

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self._bounds) - 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(self._opencv_threads)

    def epoch(self, epoch: int, step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (from 0), beginning with step `step`; those before cost nothing.

        Raises:
            DataError: a picture can't be used and shall not be left out, or none can be used.
            Yolov3Error: preparing a picture failed in another way; it is named.
        """
        order = self._order(epoch)
        started: deque[_Started] = deque()
        for number in range(step, len(self)):
            started.append(self._start(order, epoch, number))
            if len(started) > (BATCHES_AHEAD if self._pool else 0):
                yield started.popleft().finish()
        while started:
            yield started.popleft().finish()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self._shuffle:
            return np.arange(len(self.pictures))
        return epoch_order(len(self.pictures), self._seed, epoch, self._weights)

    def _start(self, order: NDArray[np.int64], epoch: int, step: int) -> _Started:
        """Have the pictures of a step prepared."""
        places = share(range(self._bounds[step], self._bounds[step + 1]), self._rank, self._ranks)
        size_wh = step_size(self.sizes, self._seed, epoch, step)
        images = np.empty((len(places), size_wh[1], size_wh[0], 3), np.uint8)
        results: list[Callable[[], Example]] = []
        for image, place in zip(images, places, strict=True):
            work = partial(self._prepare, int(order[place]), epoch, place, image)
            results.append(self._pool.submit(work).result if self._pool else work)
        return _Started(images, results)

    def _prepare(self, index: int, epoch: int, place: int, out: NDArray[np.uint8]) -> Example:
        """Prepare one picture and write it to `out` (H, W, 3)."""
        settings = self._settings.in_epoch(epoch, self._epochs)
        random = random_stream(self._seed, epoch, place)
        size_wh = (out.shape[1], out.shape[0])
        try:
            example = augment(self.pictures, index, settings, size_wh, random, self._preprocess)
        except (Yolov3Error, MemoryError):
            raise
        except Exception as error:
            name = display_name(self.pictures.samples[index].image)
            raise Yolov3Error(f"{name}: can't be prepared for training ({type(error).__name__}: {error})") from error
        out[:] = example.image
        return example


@dataclass(frozen=True, slots=True, eq=False)
class _Started:
    """A batch in work: its pixels, uint8 (N, H, W, 3), and a call for each picture that waits for the rest of it."""

    images: NDArray[np.uint8]
    results: list[Callable[[], Example]]

    def finish(self) -> Batch:
        """Wait for the pictures and put the batch together."""
        examples = [result() for result in self.results]
        targets, ignore = [], []
        for number, example in enumerate(examples):
            objects = ~example.ignore
            first = np.full((len(example.boxes), 1), number)
            rows = np.hstack([first, example.labels[:, None], xyxy_to_cxcywh(example.boxes)])
            targets.append(rows[objects])
            ignore.append(np.hstack([first, example.boxes])[~objects])
        return Batch(
            torch.from_numpy(self.images).permute(0, 3, 1, 2),  # (N, H, W, 3) → (N, 3, H, W), no copy
            torch.from_numpy(np.concatenate(targets).astype(np.float32)),
            torch.from_numpy(np.concatenate(ignore).astype(np.float32)),
            [example.file for example in examples],
        )
