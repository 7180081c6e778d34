"""INT8 by post-training quantisation: ONNX Runtime's quantiser, ranges from calibration pictures."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Yolov3Error
from ..graph.lowering import INPUT

if TYPE_CHECKING:
    import onnx

# What has an 8-bit kernel; everything else reads and writes floats.
KINDS = ("Conv", "LeakyRelu", "Relu", "Clip", "Sigmoid", "Mul", "Add", "MaxPool", "Resize", "Concat")


def quantise(
    network: onnx.ModelProto,
    heads: Iterable[str],
    inputs: Iterable[NDArray[Any]],
    *,
    averaged: bool = True,
    narrow: bool = True,
) -> onnx.ModelProto:
    """An 8-bit network (QuantizeLinear and DequantizeLinear around 8-bit operations) from a float32 one.

    Weights have a scale for each output channel and 7 bits: with 8, sums of products overflow on processors without
    VNNI. Activations are unsigned 8-bit; each one's range is the mean of its smallest and largest values over the
    calibration pictures, which a single outlier can't stretch (docs/decisions/011-eight-bits.md has what was measured).

    Args:
        network: from `emit_onnx`, float32.
        heads: names of the convolutions that stay in float; so do decoding and whatever stands before the network.
        inputs: what the network takes, one array a picture, for calibration.
        averaged: else each range goes from the smallest to the largest value of all pictures.
        narrow: else weights have 8 bits.

    Raises:
        Yolov3Error: ONNX Runtime isn't installed.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError:
        raise Yolov3Error("INT8 needs onnx and onnxruntime; pip install 'yolov3[convert]'") from None

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(inputs)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            array = next(self.rest, None)
            return None if array is None else {INPUT: array}

    around = {node.name for node in network.graph.node if node.name.startswith(("input.", "decode.", "nms."))}
    ends = {name for name in ("boxes", "scores", "labels") if any(name in node.output for node in network.graph.node)}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder, "int8.onnx")
        quantization.quantize_static(
            network,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(KINDS),
            nodes_to_exclude=sorted(around | ends | set(heads)),
            per_channel=True,
            reduce_range=narrow,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": averaged},
        )
        made = onnx.load(target)
    del made.metadata_props[:]
    made.producer_name = network.producer_name
    made.producer_version = ""
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the quantiser prints and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            yield
    finally:
        logging.disable(before)
