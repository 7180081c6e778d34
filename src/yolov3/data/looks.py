"""Looking at a dataset's pictures: can each be decoded, is it the size it should be, does it stand in two splits?

Equal files are found by a hash of their bytes. Nearly equal pictures (scaled, recompressed, brightened) are found by a
difference hash: the picture in grey, shrunk to 17×16, and for each pixel whether its right neighbour is brighter
(N. Krawetz, "Kind of Like That", 2013), compared by the number of differing bits.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..images import decode_image, display_name, read_header, read_picture_bytes
from .dataset import Dataset, Sample, size_mismatch
from .problems import Problem, problem_of

NEAR_BITS = 32
"""Pictures whose difference hashes differ in at most so many of 256 bits are taken for nearly the same.

Measured on photographs and on microscope pictures: recompressed, scaled, blurred or slightly cut copies differ in 0 to
30 bits, different pictures in 65 and more.
"""

_HASH_WH = (17, 16)
_MATCH_ROWS = 1 << 17
# OpenCV's matcher takes fewer than 2^18 rows at once.


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one picture.

    Attributes:
        size_wh: (width, height) as displayed.
        orientation: EXIF's, 1 to 8.
        digest: a hash of the file's bytes.
        hash: uint8 (32,), the difference hash of the displayed picture.
    """

    size_wh: tuple[int, int]
    orientation: int
    digest: bytes
    hash: NDArray[np.uint8]


def look(picture: Path) -> Look:
    """Read and decode one picture.

    Raises:
        DataError: it can't be read or decoded.
    """
    name = display_name(picture)
    data = read_picture_bytes(picture, name)
    header = read_header(data, name)
    image = decode_image(data, name)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Look(header.size_wh, header.orientation, digest, difference_hash(image))


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The difference hash, uint8 (32,), of an RGB picture (H, W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, _HASH_WH, interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1])


def look_at_pictures(dataset: Dataset, problems: list[Problem]) -> dict[Path, Look]:
    """Look at every picture of a dataset, several at a time; what is wrong goes to `problems`.

    Pictures that are known to be missing are passed over.
    """
    missing = {problem.image for problem in dataset.problems if problem.code in ("picture-missing", "not-a-file")}
    chosen: dict[Path, tuple[str, Sample]] = {}
    for split, members in dataset.samples.items():
        for sample in members:
            if sample.image not in missing:
                chosen.setdefault(sample.image, (split, sample))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(_try_look, chosen)
        looks = {}
        for (picture, (split, sample)), result in zip(chosen.items(), results, strict=True):
            if isinstance(result, Look):
                looks[picture] = result
                problems += _compare(sample, split, result)
            else:
                problems.append(problem_of("picture-bad", picture, result, split=split, image=picture))
    return looks


def _try_look(picture: Path) -> Look | DataError:
    try:
        return look(picture)
    except DataError as error:
        return error


def _compare(sample: Sample, split: str, seen: Look) -> Iterable[Problem]:
    """What a picture's own size and orientation say about its annotation."""
    declared = sample.declared_wh
    if declared is not None and declared != seen.size_wh:
        words = size_mismatch(seen.size_wh, declared)
        yield Problem("picture-size", sample.image, words, None, split, sample.image)
    if seen.orientation != 1:
        words = f"displayed turned (EXIF orientation {seen.orientation}): its boxes are taken as displayed"
        yield Problem("exif", sample.image, words, None, split, sample.image)


def find_leaks(samples: Mapping[str, list[Sample]], looks: Mapping[Path, Look]) -> list[Problem]:
    """Pictures that stand in two splits, or twice in one, under different names."""
    pictures = {
        split: [sample.image for sample in members if sample.image in looks] for split, members in samples.items()
    }
    problems = _repeats(pictures, looks)
    equal = {problem.image for problem in problems}
    for (split, members), (other, others) in itertools.combinations(pictures.items(), 2):
        known = set(members)
        asked = [picture for picture in others if picture not in known and picture not in equal]
        problems += _near(split, members, other, asked, looks)
    return problems


def _repeats(pictures: Mapping[str, list[Path]], looks: Mapping[Path, Look]) -> list[Problem]:
    """Files of equal content: each is reported beside the first of its kind."""
    first: dict[bytes, tuple[str, Path]] = {}
    problems = []
    for split, members in pictures.items():
        for picture in members:
            other, twin = first.setdefault(looks[picture].digest, (split, picture))
            if twin == picture:
                continue
            code = "repeated-picture" if other == split else "leak-exact"
            where = f" in {other}" if other != split else ""
            words = f"the same picture as {display_name(twin)}{where}, expected once: take one out"
            problems.append(Problem(code, picture, words, None, split, picture))
    return problems


def _near(
    split: str, members: list[Path], other: str, asked: list[Path], looks: Mapping[Path, Look]
) -> Iterable[Problem]:
    """For each asked picture the nearest of `members`, if it is near enough."""
    for start in range(0, len(members) if asked else 0, _MATCH_ROWS):
        part = members[start : start + _MATCH_ROWS]
        matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
        matches = matcher.match(_hashes(asked, looks), _hashes(part, looks))
        for match in matches:
            if match.distance <= NEAR_BITS:
                picture, twin = asked[match.queryIdx], part[match.trainIdx]
                words = (
                    f"nearly the same picture as {display_name(twin)} in {split} ({int(match.distance)} of 256 bits "
                    f"of the hash differ), expected no likeness between {split} and {other}: take one out"
                )
                yield Problem("leak-near", picture, words, None, other, picture)


def _hashes(pictures: list[Path], looks: Mapping[Path, Look]) -> NDArray[np.uint8]:
    return np.stack([looks[picture].hash for picture in pictures])
