"""The model file: weights and everything needed to use them, in one safetensors file that can't run code.

Tensors are named by row (`15.conv.weight`, `4.1.cv2.bn.running_mean`, `28.heads.0.bias`). The metadata is one key
holding sorted JSON, so the same model always gives the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, printable, said, shown
from .files import atomic_path, open_regular
from .spec import Spec, check_size, read_spec, write_spec

FORMAT = 1
METADATA_KEY = "yolov3"
SUFFIX = ".safetensors"
MAX_HEADER = 16 << 20

FloatTensor = NDArray[np.float16] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes the network's input.

    Attributes:
        resize: "letterbox" or "stretch".
        pad: the grey around a letterboxed picture, 0 to 255.
        colour: order of the channels, "rgb".
        scale: what pixel values are multiplied by.
    """

    resize: str = "letterbox"
    pad: int = 127
    colour: str = "rgb"
    scale: float = 1 / 255


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """The epsilon of batch normalisation and where it stands.

    pjreddie's Darknet divides by `sqrt(variance) + 1e-6` on the CPU (`blas.c: normalize_cpu`); AlexeyAB's by
    `sqrt(variance + 1e-5)`.

    Attributes:
        epsilon: above 0.
        inside: whether it is added inside the square root.
    """

    epsilon: float = 1e-6
    inside: bool = False


@dataclass(frozen=True)
class Model:
    """A network with its weights and all that using it takes.

    Attributes:
        spec: the network.
        tensors: name → float16 or float32 array; exactly those of `spec.network.tensor_shapes()`.
        names: class names.
        size_wh: the input size that it was made for, (width, height).
        preprocess, batch_norm: see there.
        source: where it comes from, JSON-ready.
        origin: the file or name, for messages.
    """

    spec: Spec
    tensors: Mapping[str, FloatTensor]
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    preprocess: Preprocess = Preprocess()
    batch_norm: BatchNorm = BatchNorm()
    source: dict[str, Any] = field(default_factory=dict)
    origin: str = field(default="model", compare=False)

    def __post_init__(self) -> None:
        check_size(self.spec, self.size_wh)
        if len(self.names) != self.spec.nc:
            raise ModelError(f"{self.origin}: {len(self.names)} class names for {self.spec.nc} classes")
        wrong = next((name for name in self.names if not is_class_name(name)), None)
        if wrong is not None:
            raise ModelError(f"{self.origin}: class name {shown(wrong, 40)}, expected printable text on one line")
        _check_tensors(self.origin, self.spec, {name: array.shape for name, array in self.tensors.items()})

    @cached_property
    def digest(self) -> str:
        """A sha256 of all that decides what the network computes: spec, numbers, batch normalisation's form."""
        import hashlib

        digest = hashlib.sha256(write_spec(self.spec).encode())
        digest.update(repr((self.batch_norm, self.preprocess.scale)).encode())
        for name in sorted(self.tensors):
            array = np.ascontiguousarray(self.tensors[name])
            digest.update(f"{name} {array.dtype}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def half(self) -> Model:
        """The same model with convolution weights as float16; batch normalisation and biases stay float32.

        Raises:
            ModelError: a weight is beyond float16's range.
        """
        tensors: dict[str, FloatTensor] = {}
        for name, array in self.tensors.items():
            if array.ndim == 4 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
                raise ModelError(f"{self.origin}: {name} has values beyond float16's range, expected at most 65504")
            tensors[name] = array.astype(np.float16) if array.ndim == 4 else array
        return replace(self, tensors=tensors)

    def metadata(self) -> dict[str, Any]:
        """What the file says beside the tensors, JSON-ready."""
        return {
            "format": FORMAT,
            "spec": write_spec(self.spec),
            "names": list(self.names),
            "size": list(self.size_wh),
            "preprocess": asdict(self.preprocess),
            "bn": asdict(self.batch_norm),
            "source": self.source,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, whole or not at all.

        Raises:
            Yolov3Error: it can't be written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        text = json.dumps(self.metadata(), sort_keys=True, ensure_ascii=False)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.tensors.items()}
        with atomic_path(path) as temporary:
            try:
                save_file(arrays, temporary, metadata={METADATA_KEY: text})
            except SafetensorError as error:  # a full disk, in its own words
                raise OSError(said(error)) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, origin: str | None = None) -> Model:
        """Read a model file.

        Args:
            path: the file.
            origin: what messages call it; the path by default.

        Raises:
            ModelError: it isn't a model file, is damaged, is of a newer format, or its tensors don't fit its spec.
        """
        from safetensors import SafetensorError, safe_open

        origin = origin or str(path)
        _check_header(path, origin)
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = read_metadata((file.metadata() or {}).get(METADATA_KEY), origin)
                spec = read_spec(metadata.spec, f"{origin} (spec)")
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
                _check_tensors(origin, spec, shapes)
                tensors = {name: file.get_tensor(name) for name in shapes}
        except (SafetensorError, OSError, UnicodeDecodeError, TypeError) as error:
            raise ModelError(f"{origin}: not a whole safetensors file ({' '.join(str(error).split())})") from None
        for name, array in tensors.items():
            if array.dtype not in (np.float16, np.float32):
                raise ModelError(f"{origin}: tensor {name} is {array.dtype}, expected float16 or float32")
        return cls(
            spec,
            tensors,
            metadata.names,
            metadata.size_wh,
            metadata.preprocess,
            metadata.batch_norm,
            metadata.source,
            origin,
        )


def is_class_name(value: object) -> bool:
    """Whether it can name a class: text on one line, with something to see and nothing that a terminal obeys."""
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def _check_header(path: str | os.PathLike[str], origin: str) -> None:
    """Refuse what can't be a safetensors file before the library reads it."""
    try:
        with open_regular(path) as file:
            start = file.read(9)
            size = file.seek(0, os.SEEK_END)
            length = int.from_bytes(start[:8], "little")
            sound = len(start) == 9 and start[8:] == b"{" and length <= min(size - 8, MAX_HEADER)
            file.seek(8)
            header = file.read(length) if sound else b""
    except OSError as error:
        raise ModelError(f"{origin}: can't be read ({error.strerror})") from None
    if not sound:
        raise ModelError(f"{origin}: not a model file (safetensors), or cut short")
    twice: list[str] = []
    try:
        json.loads(header, object_pairs_hook=lambda pairs: twice.extend(_repeated(pairs)))
    except (ValueError, RecursionError):
        raise ModelError(f"{origin}: not a whole safetensors file (its header is not valid JSON)") from None
    if twice:  # readers differ in which of two they take
        raise ModelError(f"{origin}: its header names {shown(twice[0])} twice, expected once")


def _repeated(pairs: list[tuple[str, Any]]) -> list[str]:
    names = [name for name, _ in pairs]
    return [] if len(set(names)) == len(names) else [name for name in names if names.count(name) > 1]


def _check_tensors(origin: str, spec: Spec, given: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes with the network's, naming the first five that differ."""
    expected = spec.network.tensor_shapes()
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{printable(name)[:80]} is not of this network" for name in given if name not in expected]
    problems += [
        f"{name} has shape {list(given[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in given and tuple(given[name]) != shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(f"{origin}: the tensors don't fit the spec: {'; '.join(problems[:5])}{more}")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model file's or an exported network's metadata says; see `Model`.

    Attributes:
        values: the whole JSON object.
    """

    spec: str
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    preprocess: Preprocess
    batch_norm: BatchNorm
    source: dict[str, Any]
    values: dict[str, Any]


def read_metadata(text: str | None, origin: str) -> Metadata:
    """Understand the JSON that `Model.metadata` gave.

    Raises:
        ModelError: it is missing, not that, or of a newer format.
    """
    if text is None:
        raise ModelError(f"{origin}: has no {METADATA_KEY!r} metadata, so it isn't a model file of this package")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{origin}: its metadata is not valid JSON") from None
    if not isinstance(values, dict):
        raise ModelError(f"{origin}: its metadata is not a JSON object")
    version = values.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ModelError(f"{origin}: format {version} is newer than this package reads ({FORMAT}); update yolov3")
    if version != FORMAT:
        raise ModelError(f"{origin}: format {shown(version, 60)} in its metadata, expected {FORMAT}")
    return _typed_metadata(values, origin)


def _typed_metadata(values: dict[str, Any], origin: str) -> Metadata:
    def expect(condition: object, key: str, expected: str) -> None:
        if not condition:
            raise ModelError(f"{origin}: {key} in its metadata is {shown(values.get(key), 60)}, expected {expected}")

    spec, names, size = values.get("spec"), values.get("names"), values.get("size")
    expect(isinstance(spec, str), "spec", "YAML text")
    expect(isinstance(names, list) and all(map(is_class_name, names)), "names", "a list of printable names")
    expect(isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size), "size", "[w, h]")
    pre, bn, source = values.get("preprocess"), values.get("bn"), values.get("source", {})
    expect(isinstance(source, dict), "source", "an object")
    number = (int, float)
    expect(
        isinstance(pre, dict)
        and set(pre) == {"resize", "pad", "colour", "scale"}
        and pre["resize"] in ("letterbox", "stretch")
        and type(pre["pad"]) is int
        and 0 <= pre["pad"] <= 255
        and pre["colour"] == "rgb"
        and type(pre["scale"]) in number
        and 0 < pre["scale"] <= 1,
        "preprocess",
        "resize letterbox|stretch, pad 0-255, colour rgb, scale above 0 up to 1",
    )
    expect(
        isinstance(bn, dict)
        and set(bn) == {"epsilon", "inside"}
        and type(bn["epsilon"]) in number
        and 0 <= bn["epsilon"] < 1
        and type(bn["inside"]) is bool,
        "bn",
        "epsilon from 0 to 1 and inside true|false",
    )
    assert isinstance(spec, str) and isinstance(names, list) and isinstance(size, list)
    assert isinstance(pre, dict) and isinstance(bn, dict)
    return Metadata(spec, tuple(names), (size[0], size[1]), Preprocess(**pre), BatchNorm(**bn), source, values)
