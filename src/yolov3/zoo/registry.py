"""The official weights: what they are and where they were published."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..files import open_regular


@dataclass(frozen=True, slots=True)
class OfficialWeights:
    """One published Darknet weight file.

    Attributes:
        name: the model's name.
        urls: where it was published, and other places that have it.
        size: bytes.
        sha256: of the file.
        masks: the anchor masks that it was trained with, in the cfg's order of heads.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    masks: tuple[tuple[int, ...], ...]


# Darknet's site, its old address, and (yolov3, yolov3-tiny) the release page of Darknet's successor.
_SITES = ("https://data.pjreddie.com/files", "https://pjreddie.com/media/files")
_RELEASE = "https://github.com/hank-ai/darknet/releases/download/v2.0"
_THREE = ((6, 7, 8), (3, 4, 5), (0, 1, 2))

OFFICIAL_WEIGHTS = (
    OfficialWeights(
        "yolov3",
        tuple(f"{site}/yolov3.weights" for site in (*_SITES, _RELEASE)),
        248_007_048,
        "523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
        _THREE,
    ),
    OfficialWeights(
        "yolov3-spp",
        tuple(f"{site}/yolov3-spp.weights" for site in _SITES),
        252_209_544,
        "87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4",
        _THREE,
    ),
    # Trained with masks 1,2,3 at stride 16; the cfg's 0,1,2 came three months after the weights.
    OfficialWeights(
        "yolov3-tiny",
        tuple(f"{site}/yolov3-tiny.weights" for site in (*_SITES, _RELEASE)),
        35_434_956,
        "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        ((3, 4, 5), (1, 2, 3)),
    ),
)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    import hashlib

    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recognise_weights(size: int, sha256: str) -> OfficialWeights | None:
    """The official weights of this size and hash, if they are."""
    return next((known for known in OFFICIAL_WEIGHTS if (known.size, known.sha256) == (size, sha256)), None)
