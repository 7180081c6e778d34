"""What an exported network takes and gives: declared in its file, so that nobody has to guess."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelError, shown
from ..spec.primitives import Convolution, Network
from .lowering import INPUT

OUTPUTS = ("raw", "boxes", "detections")
PRECISIONS = ("fp32", "fp16", "int8")
MAX_BATCH = 1024
MAX_DETECTIONS = 100_000

Shape = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        name: in the file.
        dtype: "float32", "uint8" or "int64".
        shape: sides; a word is a side that the user of the network chooses.
    """

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True, slots=True)
class Signature:
    """What an exported network takes and gives.

    Attributes:
        outputs: "raw": each head's logits (batch, anchors · (5 + classes), height / stride, width / stride).
            "boxes": `boxes` (batch, candidates, 4), xyxy in pixels of the input, and `scores` (batch, candidates,
            classes), objectness times class; candidates count heads, then anchors, rows and columns.
            "detections": the best `max_det` boxes after class-wise suppression, each of its best class, best score
            first: `boxes` (batch, n, 4), `scores` (batch, n) and `labels` (batch, n); where a picture has fewer,
            score 0 and label -1 fill up.
        uint8: takes RGB pictures as they are, uint8 (batch, height, width, 3); else float32 (batch, 3, height, width),
            pixel values times the model's scale.
        precision: of the weights, "fp32", "fp16" or "int8"; inputs and outputs don't change with it.
        batch: the one batch size it takes; None: any.
        size_wh: the one input size it takes; None: any multiple of the largest stride.
        conf, iou, max_det: of "detections", as in `postprocess.Thresholds`.
    """

    outputs: str = "raw"
    uint8: bool = False
    precision: str = "fp32"
    batch: int | None = None
    size_wh: tuple[int, int] | None = None
    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 300

    @property
    def input(self) -> Tensor:
        """The network's input."""
        width, height = self.size_wh or ("width", "height")
        batch = self.batch or "batch"
        if self.uint8:
            return Tensor(INPUT, "uint8", (batch, height, width, 3))
        return Tensor(INPUT, "float32", (batch, 3, height, width))

    def tensors(self, network: Network) -> tuple[Tensor, ...]:
        """The network's outputs, in their order."""
        batch = self.batch or "batch"
        if self.outputs == "raw":
            return tuple(
                Tensor(name, "float32", (batch, channels, *self._cells(place, stride)))
                for place, (name, channels, stride) in enumerate(_heads(network))
            )
        candidates = self.candidates(network)
        count: int | str = "candidates" if candidates is None else candidates
        if self.outputs == "boxes":
            return (
                Tensor("boxes", "float32", (batch, count, 4)),
                Tensor("scores", "float32", (batch, count, network.nc)),
            )
        most: int | str = "detections" if candidates is None else min(candidates, self.max_det)
        return (
            Tensor("boxes", "float32", (batch, most, 4)),
            Tensor("scores", "float32", (batch, most)),
            Tensor("labels", "int64", (batch, most)),
        )

    def candidates(self, network: Network) -> int | None:
        """Anchors times cells over all heads; None where the size is free."""
        if self.size_wh is None:
            return None
        width, height = self.size_wh
        return sum(len(head.anchors) * (width // head.stride) * (height // head.stride) for head in network.heads)

    def _cells(self, place: int, stride: int) -> Shape:
        if self.size_wh is None:
            return f"height{place}", f"width{place}"
        return self.size_wh[1] // stride, self.size_wh[0] // stride

    def to_dict(self, network: Network, scale: float) -> dict[str, Any]:
        """JSON-ready, for the file's metadata: read back by `from_dict`, and enough for other software."""
        values: dict[str, Any] = {
            "precision": self.precision,
            "input": _describe(self.input) | {"colour": "rgb", "scale": 1 if self.uint8 else scale},
            "outputs": {"kind": self.outputs, "tensors": [_describe(tensor) for tensor in self.tensors(network)]},
            "heads": [
                {
                    "name": name,
                    "anchors": [list(anchor) for anchor in head.anchors],
                    "stride": head.stride,
                    "xy_scale": head.xy_scale,
                    "wh": head.wh,
                }
                for (name, _, _), head in zip(_heads(network), network.heads, strict=True)
            ],
        }
        if self.outputs == "detections":
            values["outputs"] |= {"conf": self.conf, "iou": self.iou, "max_det": self.max_det}
        return values

    @classmethod
    def from_dict(cls, values: object, network: Network, scale: float, origin: str) -> Signature:
        """What `to_dict` wrote, for the same network.

        Raises:
            ModelError: it isn't that.
        """
        try:
            signature = _parse(values)
            sound = signature.to_dict(network, scale) == {key: values[key] for key in _KEYS}  # type: ignore[index]
        except (KeyError, TypeError, ValueError, IndexError):
            sound = False
        if not sound:
            raise ModelError(
                f"{origin}: what it says of its input and outputs is not in order ({shown(values)}); export it anew"
            )
        return signature


RAW = Signature()

_KEYS = ("precision", "input", "outputs", "heads")


def _describe(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype, "shape": list(tensor.shape)}


def _heads(network: Network) -> list[tuple[str, int, int]]:
    """Name, channels and stride of each head, in Detect's order."""
    convolutions = [network.operations[index] for index in network.head_operations]
    return [
        (convolution.name, convolution.channels, head.stride)
        for convolution, head in zip(convolutions, network.heads, strict=True)
        if isinstance(convolution, Convolution)
    ]


def _parse(values: Any) -> Signature:
    """The fields that decide; whatever else is said must follow from them, which `from_dict` checks."""
    outputs, shape = values["outputs"], values["input"]["shape"]
    uint8 = values["input"]["type"] == "uint8"
    height, width = shape[1:3] if uint8 else shape[2:4]
    fixed = (_whole(width, 1 << 20), _whole(height, 1 << 20)) if isinstance(width, int) else None
    batch = _whole(shape[0], MAX_BATCH) if isinstance(shape[0], int) else None
    if outputs["kind"] not in OUTPUTS or values["precision"] not in PRECISIONS:
        raise ValueError
    signature = Signature(outputs["kind"], uint8, values["precision"], batch, fixed)
    if signature.outputs == "detections":
        conf, iou = (float(outputs[key]) for key in ("conf", "iou"))
        if not (0 <= conf <= 1 and 0 <= iou <= 1):
            raise ValueError
        signature = replace(signature, conf=conf, iou=iou, max_det=_whole(outputs["max_det"], MAX_DETECTIONS))
    return signature


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError
    return value
