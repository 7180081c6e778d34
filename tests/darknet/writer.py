"""Darknet cfg text and weight bytes, made without the package: what its reader is tested against.

Sections are `(name, {key: value})`, the first is `net`. Layers are built by the functions below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Section = tuple[str, dict[str, object]]

ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)


def net(width: int = 96, height: int = 96, **more: object) -> Section:
    return "net", {"batch": 1, "width": width, "height": height, "channels": 3, **more}


def conv(filters: int, size: int = 3, stride: int = 1, activation: str = "leaky", **more: object) -> Section:
    values = {"batch_normalize": 1, "filters": filters, "size": size, "stride": stride, "pad": 1}
    return "convolutional", {**values, "activation": activation, **more}


def maxpool(size: int = 2, stride: int = 2, **more: object) -> Section:
    return "maxpool", {"size": size, "stride": stride, **more}


def upsample(stride: int = 2) -> Section:
    return "upsample", {"stride": stride}


def route(*layers: int, **more: object) -> Section:
    return "route", {"layers": ",".join(map(str, layers)), **more}


def shortcut(source: int, activation: str = "linear", **more: object) -> Section:
    return "shortcut", {"from": source, "activation": activation, **more}


def dropout(probability: float = 0.5) -> Section:
    return "dropout", {"probability": probability}


def head(
    mask: Sequence[int], classes: int, anchors: Sequence[float] = ANCHORS, activation: str = "linear", **more: object
) -> list[Section]:
    """The convolution of a head and its `[yolo]`; `more` goes to the latter."""
    convolution = conv(len(mask) * (5 + classes), 1, activation=activation)
    del convolution[1]["batch_normalize"]
    values = {"mask": ",".join(map(str, mask)), "anchors": ", ".join(map(str, anchors)), "classes": classes}
    return [convolution, ("yolo", {**values, "num": len(anchors) // 2, **more})]


def cfg_text(sections: Sequence[Section]) -> str:
    blocks = []
    for name, values in sections:
        lines = [f"[{name}]", *(f"{key}={value}" for key, value in values.items() if value is not None)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def parse(text: str) -> list[tuple[str, dict[str, str]]]:
    """The least that reads a clean cfg."""
    sections: list[tuple[str, dict[str, str]]] = []
    for raw in text.splitlines():
        line = raw.split("#")[0].strip()
        if line.startswith("["):
            sections.append((line.strip("[]"), {}))
        elif line:
            key, _, value = line.partition("=")
            sections[-1][1][key.strip()] = value.strip()
    return sections


def absolute(text: str, index: int) -> list[int]:
    """Layer numbers as a route or shortcut at layer `index` writes them, from the first layer on."""
    return [int(part) + index if int(part) < 0 else int(part) for part in text.split(",")]


@dataclass(frozen=True)
class Stored:
    """What the weight file holds for one convolution."""

    layer: int
    filters: int
    weight_shape: tuple[int, int, int, int]
    batch_norm: bool

    @property
    def count(self) -> int:
        return self.filters * (4 if self.batch_norm else 1) + int(np.prod(self.weight_shape))


def layout(text: str) -> list[Stored]:
    """The convolutions of a weight file in its order, from the cfg's numbers alone."""
    stored, channels = [], [3]  # channels[i + 1] are those of layer i
    for index, (name, values) in enumerate(parse(text)[1:]):
        given = channels[index]
        if name == "convolutional":
            filters, groups, size = (int(values.get(key, 1)) for key in ("filters", "groups", "size"))
            shape = (filters, given // groups, size, size)
            stored.append(Stored(index, filters, shape, values.get("batch_normalize", "0") != "0"))
            given = filters
        elif name == "route":
            joined = sum(channels[layer + 1] for layer in absolute(values["layers"], index))
            given = joined // int(values.get("groups", 1))
        channels.append(given)
    return stored


def random_values(stored: Stored, rng: np.random.Generator, spread: float) -> np.ndarray:
    """One convolution's values in the file's order: bias, scale, mean, variance, weights; or bias, weights."""
    parts = [rng.normal(0, 0.3, stored.filters)]
    if stored.batch_norm:
        parts += [
            rng.uniform(0.5, 1.5, stored.filters) * rng.choice([-1, 1], stored.filters),
            rng.normal(0, 0.2, stored.filters),
            rng.uniform(0.5, 1.5, stored.filters),
        ]
    deviation = spread / np.sqrt(np.prod(stored.weight_shape[1:]))
    weights = rng.standard_normal(int(np.prod(stored.weight_shape)), np.float32) * np.float32(deviation)
    return np.concatenate([*(part.astype(np.float32) for part in parts), weights])


def header(version: tuple[int, int, int] = (0, 2, 0), seen: int = 32_013_312) -> bytes:
    """The start of a weight file, as Darknet's `save_weights` of that version writes it."""
    major, minor, _ = version
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    return struct.pack("<3i", *version) + struct.pack("<Q" if wide else "<I", seen)


def weight_bytes(
    text: str, seed: int = 0, *, version: tuple[int, int, int] = (0, 2, 0), seen: int = 32_013_312, spread: float = 1.2
) -> bytes:
    """A whole weight file of random values under which activations stay of the order of 1."""
    rng = np.random.default_rng(seed)
    values = [random_values(stored, rng, spread).astype("<f4").tobytes() for stored in layout(text)]
    return b"".join([header(version, seen), *values])


def read_arrays(text: str, data: bytes) -> Iterator[tuple[Stored, dict[str, np.ndarray]]]:
    """Each convolution of a weight file with its arrays by Darknet's names."""
    major, minor, _ = struct.unpack_from("<3i", data)
    start = 20 if major * 10 + minor >= 2 and major < 1000 and minor < 1000 else 16
    values = np.frombuffer(data, "<f4", offset=start)
    place = 0
    for stored in layout(text):
        arrays = {}
        for name in ("biases", "scales", "mean", "variance") if stored.batch_norm else ("biases",):
            arrays[name] = values[place : place + stored.filters]
            place += stored.filters
        count = int(np.prod(stored.weight_shape))
        arrays["weights"] = values[place : place + count].reshape(stored.weight_shape)
        place += count
        yield stored, arrays
