"""A model → Darknet's cfg and weight files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, UsageError, Yolov3Error
from ..files import atomic_path
from ..modelfile import BatchNorm, Model, Preprocess
from ..spec.primitives import Add
from .dialects import DEFAULT_DIALECT, DIALECTS, Dialect, find_dialect, lacking
from .emitting import emit_cfg
from .importing import DarknetNetwork, import_cfg
from .weights import MAX_VERSION, Header, Stored

DARKNET = BatchNorm()  # pjreddie's CPU code: what our reader takes weight files for


@dataclass(frozen=True)
class DarknetFiles:
    """A model as Darknet has it.

    Attributes:
        model: the model.
        cfg: the cfg's text.
        header: the weight file's.
        order: the weight file's convolutions.
        notes: what the user should be told, a line each.
    """

    model: Model
    cfg: str
    header: Header
    order: list[Stored]
    notes: list[str]

    def weight_chunks(self) -> Iterator[bytes]:
        """The weight file: its header, then each convolution's values.

        Raises:
            ModelError: a value is not finite, a variance is negative or can't be stored.
        """
        yield self.header.to_bytes()
        for stored in self.order:
            for values in stored_values(self.model, stored):
                if not np.isfinite(values).all():
                    raise ModelError(f"{self.model.origin}: {stored.convolution.name} has values that are not finite")
                yield np.ascontiguousarray(values, "<f4").tobytes()

    def names(self) -> str:
        """The class names' file: one a line."""
        return "".join(f"{name}\n" for name in self.model.names)


def to_darknet(model: Model, *, dialect: str = DEFAULT_DIALECT) -> DarknetFiles:
    """Write a model as Darknet has it.

    A model whose network, size and resizing are those of the cfg that it came with gets that cfg's own text; weights
    that came from a weight file are its bytes again. Batch normalisation that adds another epsilon is written so that
    pjreddie's CPU code divides by the same: the variance becomes `(deviation - 1e-6)²`. Programs that add 1e-5 inside
    the square root (AlexeyAB's, and all on GPUs) divide by more: 0.05 % at a variance of 0.01, 5 % at 1e-4.

    Args:
        model: the model.
        dialect: who shall read it, one of `DIALECTS`.

    Raises:
        ModelError: naming the row that Darknet, or the dialect, can't say.
        UsageError: no such dialect.
    """
    chosen = find_dialect(dialect)
    problem = lacking(model.spec, chosen)
    if problem is not None:
        raise problem
    if not np.isclose(model.preprocess.scale, Preprocess().scale):
        raise ModelError(
            f"{model.origin}: multiplies pixels by {model.preprocess.scale:g}, but Darknet always by 1/255"
        )
    if dialect == "pjreddie" and model.preprocess.resize == "stretch":
        raise ModelError(f"{model.origin}: stretches pictures, but {chosen.title} letterboxes them")
    kept = _kept_network(model, chosen)
    if kept is None:
        text, order = emit_cfg(model.spec, model.size_wh, model.preprocess.resize)
    else:
        text, order = kept.text, kept.order
    return DarknetFiles(model, text, _kept_header(model), order, _notes(model, dialect))


def save_darknet(model: Model, path: str | os.PathLike[str], *, dialect: str = DEFAULT_DIALECT) -> DarknetFiles:
    """Write a model's Darknet files, each whole or not at all; see `to_darknet`.

    Args:
        model: the model.
        path: ends in `.cfg` (the `.weights` and the class `.names` are written beside it) or `.weights` (that alone).
        dialect: see `to_darknet`.

    Raises:
        ModelError: see `to_darknet`.
        UsageError: another suffix, no such dialect.
        Yolov3Error: a file can't be written.
    """
    outputs = darknet_paths(path)
    files = to_darknet(model, dialect=dialect)
    with ExitStack() as stack:
        temporary = {output.suffix.lower(): stack.enter_context(atomic_path(output)) for output in reversed(outputs)}
        if ".cfg" in temporary:
            temporary[".cfg"].write_bytes(files.cfg.encode())
            temporary[".names"].write_bytes(files.names().encode())
        with temporary[".weights"].open("wb") as file:
            for chunk in files.weight_chunks():
                file.write(chunk)
    return files


def darknet_paths(path: str | os.PathLike[str]) -> list[Path]:
    """The files that `save_darknet` writes for `path`.

    Raises:
        UsageError: it ends in neither `.cfg` nor `.weights`.
    """
    path = Path(path)
    if path.suffix.lower() == ".weights":
        return [path]
    if path.suffix.lower() == ".cfg":
        return [path, path.with_suffix(".weights"), path.with_suffix(".names")]
    raise UsageError(f"{path}: expected a name that ends in .cfg or .weights")


def _kept_network(model: Model, dialect: Dialect) -> DarknetNetwork | None:
    """The cfg that the model came with, if it still says what the model is."""
    text = _kept(model).get("cfg")
    if not isinstance(text, str):
        return None
    try:
        network = import_cfg(text, model.origin)
        same = (network.spec, network.size_wh, network.resize) == (model.spec, model.size_wh, model.preprocess.resize)
    except Yolov3Error:
        return None  # not from our reader: the network itself is written
    operations = model.spec.network.operations
    several = any(isinstance(operation, Add) and len(operation.inputs) > 2 for operation in operations)
    return network if same and (dialect.several_sources or not several) else None


def _kept(model: Model) -> dict[str, object]:
    kept = model.source.get("darknet")
    return kept if isinstance(kept, dict) else {}


def _kept_header(model: Model) -> Header:
    """The header of the weight file that the model came from; version 0.2.0 and nothing seen for others."""
    kept = _kept(model)
    values = [kept.get(part, default) for part, default in (("major", 0), ("minor", 2), ("revision", 0), ("seen", 0))]
    whole = [value for value in values if isinstance(value, int) and value >= 0]
    if len(whole) == 4 and max(whole[:3]) < MAX_VERSION:
        header = Header(*whole)
        if header.seen < (1 << 64 if header.size == 20 else 1 << 32):
            return header
    raise ModelError(f"{model.origin}: source.darknet in its metadata is no Darknet header: {str(values)[:60]}")


def _notes(model: Model, dialect: str) -> list[str]:
    notes = []
    for name, other in DIALECTS.items():
        problem = None if name == dialect else lacking(model.spec, other)
        if problem is not None:
            notes.append(f"{other.title} can't load it: {problem}")
    if model.preprocess.pad not in (127, 128) and model.preprocess.resize == "letterbox":
        notes.append(f"the model letterboxes with grey {model.preprocess.pad}, Darknet does with 127")
    if any(array.dtype == np.float16 for array in model.tensors.values()):
        notes.append("the model's weights are float16; they are written as float32 of the same values")
    return notes


def stored_values(model: Model, stored: Stored) -> Iterator[NDArray[np.float32]]:
    """One convolution as a weight file holds it: bias, scale, mean, variance, weights; or bias, weights.

    Raises:
        ModelError: a variance is negative or can't be stored.
    """
    convolution = stored.convolution
    if convolution.batch_norm:
        prefix = f"{convolution.name}.bn"
        for part in ("bias", "weight", "running_mean"):
            yield model.tensors[f"{prefix}.{part}"].astype(np.float32)
        yield _darknet_variance(model, f"{prefix}.running_var")
    else:
        yield model.tensors[convolution.bias_name].astype(np.float32)
    weight = model.tensors[convolution.weight_name].astype(np.float32)
    yield weight if stored.permutation is None else weight[:, np.argsort(stored.permutation)]


def _darknet_variance(model: Model, name: str) -> NDArray[np.float32]:
    """The variance under which `sqrt(variance) + 1e-6` is what the model divides by."""
    variance = model.tensors[name].astype(np.float32)
    if not (variance >= 0).all():
        raise ModelError(f"{model.origin}: {name} has negative or missing values, expected 0 or more")
    if model.batch_norm == DARKNET:
        return variance
    epsilon = model.batch_norm.epsilon
    exact = variance.astype(np.float64)
    deviation = np.sqrt(exact + epsilon) if model.batch_norm.inside else np.sqrt(exact) + epsilon
    root = deviation - DARKNET.epsilon
    if (root < 0).any():
        raise ModelError(f"{model.origin}: {name} is too small: Darknet adds {DARKNET.epsilon:g} to its square root")
    return (root**2).astype(np.float32)
