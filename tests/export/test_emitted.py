"""What the emitted graphs compute: decoding, suppression, pictures as input, float16, fixed sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import SMALL, random_model
from yolov3.errors import ModelError
from yolov3.geometry import box_iou
from yolov3.graph import lower
from yolov3.graph.signature import Signature
from yolov3.modelfile import Model
from yolov3.runtime.engines import network_input
from yolov3.spec import read_spec

from .conftest import raw_heads, slow_boxes, slow_suppression

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from yolov3.graph.onnx import emit_onnx  # noqa: E402

SCALED = SMALL.replace("Detect, [nc, anchors]", "Detect, [nc, anchors, {xy_scale: [1.05, 1.2], wh: square}]")


def run(model: Model, signature: Signature, images: np.ndarray) -> dict[str, np.ndarray]:
    """Check the emitted model, run it, and compare what it gives with what its signature says."""
    proto = emit_onnx(lower(model), None, signature)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = images if signature.uint8 else network_input(images, model.preprocess.scale)
    names = [tensor.name for tensor in signature.tensors(model.spec.network)]
    outputs = dict(zip(names, session.run(names, {"images": given}), strict=True))
    for tensor in signature.tensors(model.spec.network):
        array = outputs[tensor.name]
        assert array.dtype == np.dtype(tensor.dtype) and array.ndim == len(tensor.shape)
        sides = zip(array.shape, tensor.shape, strict=True)
        assert all(side == wanted for side, wanted in sides if isinstance(wanted, int))
    return outputs


@pytest.mark.parametrize("text", [SMALL, SCALED], ids=["exp", "square"])
@pytest.mark.parametrize("fixed", [False, True], ids=["free", "fixed"])
@pytest.mark.parametrize("uint8", [False, True], ids=["float", "uint8"])
def test_boxes_against_a_slow_decoding(text: str, fixed: bool, uint8: bool, pictures: np.ndarray) -> None:
    model = random_model(read_spec(text, "s.yaml"), size_wh=(96, 64))
    signature = Signature("boxes", uint8, batch=3 if fixed else None, size_wh=(96, 64) if fixed else None)
    outputs = run(model, signature, pictures)
    raw = raw_heads(model, pictures)
    for place in range(3):
        boxes, scores = slow_boxes(model, [head[place] for head in raw])
        np.testing.assert_allclose(outputs["boxes"][place], boxes, atol=0.01, rtol=1e-5)
        np.testing.assert_allclose(outputs["scores"][place], scores, atol=1e-5)


def test_huge_logits_stay_finite(small: Model, pictures: np.ndarray) -> None:
    bias = small.tensors["9.heads.0.bias"].copy()
    bias[2] = 1000.0
    bias[0] = -1000.0
    model = replace(small, tensors={**small.tensors, "9.heads.0.bias": bias})
    outputs = run(model, Signature("boxes"), pictures)
    assert all(np.isfinite(array).all() for array in outputs.values())


@pytest.mark.parametrize("conf", [0.2, 0.4])
@pytest.mark.parametrize("iou", [0.2, 0.45, 1.0])
def test_detections_against_a_slow_suppression(conf: float, iou: float, small: Model, pictures: np.ndarray) -> None:
    signature = Signature("detections", conf=conf, iou=iou, max_det=20)
    outputs = run(small, signature, pictures)
    raw = raw_heads(small, pictures)
    for place in range(3):
        boxes, scores = slow_boxes(small, [head[place] for head in raw])
        kept = slow_suppression(boxes, scores, conf, iou, 20)
        count = len(kept)
        assert count or conf > 0.3
        assert (outputs["scores"][place] > 0).sum() == count
        np.testing.assert_allclose(outputs["scores"][place][:count], [score for _, _, score in kept], atol=1e-5)
        assert outputs["labels"][place][:count].tolist() == [label for _, label, _ in kept]
        np.testing.assert_allclose(outputs["boxes"][place][:count], boxes[[index for index, _, _ in kept]], atol=0.01)
        assert (outputs["labels"][place][count:] == -1).all() and not outputs["boxes"][place][count:].any()


def test_detections_where_there_are_none(small: Model, pictures: np.ndarray) -> None:
    outputs = run(small, Signature("detections", conf=1.0), pictures)
    assert not outputs["scores"].any() and (outputs["labels"] == -1).all()


def test_detections_of_one_picture_do_not_suppress_those_of_another(small: Model, pictures: np.ndarray) -> None:
    signature = Signature("detections", conf=0.2)
    twice = run(small, signature, pictures[[0, 0]])
    for array in twice.values():
        np.testing.assert_array_equal(array[0], array[1])
    assert (twice["scores"][0] > 0).any()
    found = twice["boxes"][0][twice["scores"][0] > 0]
    same = twice["labels"][0][:, None] == twice["labels"][0][None]
    iou = box_iou(found, found) * same[: len(found), : len(found)]
    assert (iou[~np.eye(len(found), dtype=bool)] <= 0.4501).all()


@pytest.mark.parametrize("outputs", ["raw", "boxes", "detections"])
@pytest.mark.parametrize("uint8", [False, True], ids=["float", "uint8"])
def test_half_precision_has_float32_at_both_ends(outputs: str, uint8: bool, small: Model, pictures: np.ndarray) -> None:
    signature = Signature(outputs, uint8, "fp16", conf=0.2)
    half, full = run(small, signature, pictures), run(small, replace(signature, precision="fp32"), pictures)
    proto = emit_onnx(lower(small), None, signature)
    weights = {each.name: each.data_type for each in proto.graph.initializer if each.name.endswith(".weight")}
    assert weights and set(weights.values()) == {onnx.TensorProto.FLOAT16}
    if outputs != "detections":
        for name, array in half.items():
            np.testing.assert_allclose(array, full[name], atol=0.3 if name == "boxes" else 0.01)


def test_half_precision_refuses_weights_beyond_it(small: Model) -> None:
    weight = small.tensors["2.conv.weight"].copy()
    weight.flat[0] = 1e6
    model = replace(small, tensors={**small.tensors, "2.conv.weight": weight})
    with pytest.raises(ModelError, match=r"2 has weights beyond float16's range, export it as fp32"):
        emit_onnx(lower(model), None, Signature(precision="fp16"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("row", ["nn.ZeroPad2d, [[0, 1, 0, 1]]", "nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]"])
def test_pads_before_a_pool(row: str, precision: str, pictures: np.ndarray) -> None:
    """ONNX Runtime would take a zero for −∞ there; and float16 has another lowest number than float32."""
    rows = f"  - [-1, 1, Conv, [4, 3]]\n  - [-1, 1, {row}]\n  - [-1, 1, nn.MaxPool2d, [2, 1, 0]]\n"
    text = f"nc: 1\nanchors:\n  - [10,10]\nbackbone:\n{rows}head:\n  - [[2], 1, Detect, [nc, anchors]]\n"
    model = random_model(read_spec(text, "p.yaml"), size_wh=(96, 64))
    tensors = dict(model.tensors)
    tensors["0.bn.bias"] = np.full(4, -3, np.float32)
    model = replace(model, tensors=tensors)
    outputs = run(model, Signature(precision=precision), pictures)
    (expected,) = raw_heads(model, pictures)
    (found,) = outputs.values()
    np.testing.assert_allclose(found, expected, atol=1e-4 if precision == "fp32" else 0.02)


def test_two_constants_that_look_alike_stay_two() -> None:
    rows = "  - [-1, 1, Conv, [4, 3, 1]]\n"
    rows += "".join(f"  - [-1, 1, nn.ConstantPad2d, [[1, 1, 1, 1], {value}]]\n" for value in (0.1234567, 0.1234561))
    text = f"nc: 1\nanchors:\n  - [10,10]\nbackbone:\n{rows}head:\n  - [[2], 1, Detect, [nc, anchors]]\n"
    proto = emit_onnx(lower(random_model(read_spec(text, "p.yaml"))))
    values = [float(onnx.numpy_helper.to_array(each)) for each in proto.graph.initializer if "constant_0" in each.name]
    assert sorted(values) == pytest.approx([0.1234561, 0.1234567], abs=1e-8)


def test_a_model_too_large_for_a_file(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolov3.graph.onnx.MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="an ONNX file holds at most 2 GB"):
        emit_onnx(lower(small))
