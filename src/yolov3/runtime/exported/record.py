"""`Exported`: a network in another software's format, and the checks that all kinds share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...files import open_regular
from ...graph.signature import RAW, Signature, Tensor
from ...modelfile import METADATA_KEY, Preprocess, read_metadata
from ...spec import Spec, read_spec

KINDS = {".onnx": "onnx", ".xml": "openvino", ".param": "ncnn", ".mnn": "mnn"}
MAX_BYTES = 4 << 30
MAX_TEXT = 16 << 20
EXPECTED = f"expected a file that yolov3 convert made, which takes {RAW.input} and says in its metadata what it gives"


@dataclass(frozen=True)
class Exported:
    """A network in another software's format, with what running it takes.

    Attributes:
        kind: "onnx", "openvino", "ncnn" or "mnn".
        data: the file's bytes, and those of its companion.
        signature: what it takes and gives.
        spec, names, size_wh, preprocess, source: as in `Model`.
        about: what else its metadata says: the layers kept in float, the figures of its proof.
        origin: the file, for messages.
    """

    kind: str
    data: tuple[bytes, ...] = field(repr=False)
    signature: Signature
    spec: Spec
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    preprocess: Preprocess
    source: dict[str, Any]
    about: dict[str, Any]
    origin: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return tuple(tensor.name for tensor in self.signature.tensors(self.spec.network))


def exported_kind(reference: object) -> str | None:
    """The kind of exported network that a name ends like; None: it is something else."""
    return KINDS.get(Path(reference).suffix.lower()) if isinstance(reference, (str, os.PathLike)) else None


def companions(path: Path) -> list[Path]:
    """The files that belong to an exported network beside the one that names it."""
    kind = exported_kind(path)
    beside = [path.with_suffix(".bin")] if kind in ("openvino", "ncnn") else []
    return beside + ([sidecar(path)] if kind in ("ncnn", "mnn") else [])


def sidecar(path: Path) -> Path:
    """The JSON file with the metadata of a kind that has no place for it."""
    return path.with_name(f"{path.name}.json")


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from None
    if len(data) > most:
        raise ModelError(f"{path}: has more than {most / 1e9:.1f} GB, expected an exported network")
    return data


def understand(kind: str, data: tuple[bytes, ...], text: str, origin: str, said_in: str | None = None) -> Exported:
    """An exported network from its bytes and the text of its metadata, which may stand in a file of its own."""
    metadata = read_metadata(text, said_in or origin)
    spec = read_spec(metadata.spec, f"{origin} (spec)")
    about = metadata.values.get("export")
    signature = Signature.from_dict(about, spec.network, metadata.preprocess.scale, origin)
    if len(metadata.names) != spec.nc:
        raise ModelError(f"{origin}: {len(metadata.names)} class names for {spec.nc} classes")
    if signature.size_wh not in (None, metadata.size_wh):
        raise ModelError(f"{origin}: its size and its input's differ")
    assert isinstance(about, dict)
    return Exported(
        kind,
        data,
        signature,
        spec,
        metadata.names,
        metadata.size_wh,
        metadata.preprocess,
        metadata.source,
        about,
        origin,
    )


def check_digests(exported: Exported, paths: Sequence[Path]) -> None:
    """Compare files that stand for themselves with what the metadata says of them."""
    import hashlib

    for path, data in zip(paths, exported.data[-len(paths) :], strict=True):
        if exported.about.get("sha256", {}).get(path.suffix) != hashlib.sha256(data).hexdigest():
            raise ModelError(f"{path}: is not the file that was exported with {exported.origin}; export it anew")


def or_foreign(text: str | None, path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    if text is None:
        raise ModelError(
            f"{path}: has no {METADATA_KEY!r} metadata, it takes {listing(inputs)} and gives {listing(outputs)}; "
            f"{EXPECTED}"
        )
    return text


def listing(tensors: Sequence[Tensor]) -> str:
    more = f" and {len(tensors) - 4} more" if len(tensors) > 4 else ""
    return (", ".join(str(tensor)[:80] for tensor in tensors[:4]) or "nothing") + more


def check_tensors(exported: Exported, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Refuse a file whose inputs or outputs aren't those that its metadata declares."""
    signature = exported.signature
    declared = (
        (inputs, [signature.input], "takes"),
        (outputs, list(signature.tensors(exported.spec.network)), "gives"),
    )
    for found, expected, verb in declared:
        by_name = {tensor.name: tensor for tensor in found}
        if len(found) != len(expected) or not all(
            tensor.name in by_name and _fits(by_name[tensor.name], tensor) for tensor in expected
        ):
            raise ModelError(
                f"{exported.origin}: {verb} {listing(found)}, but its metadata says {listing(expected)}; export it anew"
            )


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Same type and rank, and the same side wherever both say one."""
    return (
        found.dtype == expected.dtype
        and len(found.shape) == len(expected.shape)
        and all(
            one == other
            for one, other in zip(found.shape, expected.shape, strict=True)
            if isinstance(one, int) and isinstance(other, int)
        )
    )
