"""The graph compiler: folding, emitting, and the two engines against each other and a slow reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import random_model, small_spec
from yolov3.errors import ModelError, UsageError, Yolov3Error
from yolov3.graph import lower, lowering
from yolov3.graph.ncnn import emit_ncnn
from yolov3.modelfile import BatchNorm, Model
from yolov3.runtime.engines import make_engine
from yolov3.spec import load_spec, read_spec
from yolov3.spec.primitives import Convolution

onnx = pytest.importorskip("onnx")

HEAD = "  - [[{last}], 1, Detect, [nc, anchors]]\n"


def spec_of(*rows: str) -> str:
    """A Spec text of these rows with one head on the last."""
    backbone = "".join(f"  - {row}\n" for row in rows)
    return f"nc: 1\nanchors:\n  - [10,10]\nbackbone:\n{backbone}head:\n" + HEAD.format(last=len(rows) - 1)


def run(model: Model, images: np.ndarray, engine: str) -> list[np.ndarray]:
    return make_engine(engine, lower(model), threads=1)(images)


def both(model: Model, images: np.ndarray, tolerance: float = 2e-4) -> list[np.ndarray]:
    """Heads by ONNX Runtime, after comparing them with ncnn's."""
    first, second = run(model, images, "ncnn"), run(model, images, "onnxruntime")
    for ours, theirs in zip(first, second, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    return second


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (2, 64, 96, 3), np.uint8)


def test_every_module_of_the_family(images: np.ndarray) -> None:
    heads = both(random_model(small_spec(), size_wh=(96, 64)), images)
    assert [head.shape for head in heads] == [(2, 14, 16, 24), (2, 21, 8, 12)]
    assert all(np.ptp(head) > 0.1 for head in heads)


@pytest.mark.parametrize("activation", ["leaky", "linear", "relu", "relu6", "silu", "mish", "sigmoid", "tanh"])
def test_every_activation(activation: str, images: np.ndarray) -> None:
    options = f"{{activation: {activation}}}"
    text = spec_of(f"[-1, 1, Conv, [8, 3, 2, {options}]]", "[-1, 1, Conv, [8, 1]]", f"[[-1, 0], 1, Add, [{options}]]")
    both(random_model(read_spec(text, "a.yaml"), size_wh=(96, 64)), images)


@pytest.mark.parametrize(
    "rows",
    [
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Slice, [2, 1]]", "[0, 1, Slice, [4, 0]]", "[[1, 2, 0], 1, Concat, [1]]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [16, 3, 1, {groups: 4}]]", "[-1, 1, Conv, [8, [1, 1]]]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [8, 3, 1, {groups: 8}]]"),
        ("[-1, 1, Conv, [8, 3, 2, {bn: false}]]", "[-1, 3, Conv, [8, 3]]"),
        ("[-1, 1, Conv, [8, 5, 2, {padding: 2}]]", "[-1, 2, nn.MaxPool2d, [3, 1, 1]]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, nn.ConstantPad2d, [[0, 1, 0, 1], -.inf]]", "[-1, 1, nn.MaxPool2d, [2]]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, nn.ConstantPad2d, [[1, 1, 1, 1], 0.5]]", "[-1, 1, nn.MaxPool2d, [3, 1]]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, nn.Upsample, [None, 2, 'nearest']]"),
        ("[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Conv, [8, 1]]", "[[0, 1, 0], 1, Add, []]"),
        ("[-1, 1, Slice, [3, 2]]", "[[-1, 0], 1, Concat, []]", "[-1, 1, Conv, [8, 3, 2]]"),
    ],
    ids=["slice", "groups", "depthwise", "no-bn", "odd-pool", "inf-pad", "pad", "upsample", "add", "picture"],
)  # fmt: skip
def test_modules_beyond_the_family(rows: tuple[str, ...], images: np.ndarray) -> None:
    both(random_model(read_spec(spec_of(*rows), "m.yaml"), size_wh=(96, 64)), images)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_the_family_at_an_eighth_of_its_width(name: str, images: np.ndarray) -> None:
    spec = replace(load_spec(name), width_multiple=0.125)
    heads = both(random_model(spec, size_wh=(96, 64)), images, 1e-3)
    assert len(heads) == (2 if name == "yolov3-tiny" else 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_the_family_whole(name: str, images: np.ndarray) -> None:
    both(random_model(load_spec(name), size_wh=(96, 64)), images, 1e-3)


def raw_convolution(model: Model, image: np.ndarray, row: int) -> np.ndarray:
    """A slow 3×3 convolution with batch normalisation (epsilon as the model has it) and LeakyReLU."""
    prefix = str(row)
    weight = model.tensors[f"{prefix}.conv.weight"].astype(np.float64)
    out, _, size, _ = weight.shape
    padded = np.pad(image, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    result = np.zeros((out, *image.shape[1:]))
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            result[:, y, x] = (weight * padded[:, y : y + size, x : x + size]).sum((1, 2, 3))
    part = {key: model.tensors[f"{prefix}.bn.{key}"][:, None, None].astype(np.float64)
            for key in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
    epsilon = model.batch_norm.epsilon
    variance = part["running_var"]
    deviation = np.sqrt(variance + epsilon) if model.batch_norm.inside else np.sqrt(variance) + epsilon
    result = (result - part["running_mean"]) / deviation * part["weight"] + part["bias"]
    return np.where(result > 0, result, 0.1 * result)


@pytest.mark.parametrize("batch_norm", [BatchNorm(1e-6, False), BatchNorm(1e-3, True), BatchNorm(0.1, False)])
@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_folding_and_a_zero_pad_against_a_slow_reference(
    engine: str, batch_norm: BatchNorm, rng: np.random.Generator
) -> None:
    """A ZeroPad2d stays what it says: ONNX Runtime would fuse it into the pool as −∞ if it could."""
    text = spec_of("[-1, 1, Conv, [4, 3]]", "[-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]", "[-1, 1, nn.MaxPool2d, [2, 1, 0]]")
    model = random_model(read_spec(text, "m.yaml"), size_wh=(8, 6), batch_norm=batch_norm)
    tensors = dict(model.tensors)
    tensors["0.bn.bias"] = np.full(4, -3, np.float32)  # most of it is below zero, so that padding by zero shows
    model = replace(model, tensors=tensors)
    image = rng.integers(0, 256, (1, 6, 8, 3), np.uint8)
    features = raw_convolution(model, image[0].transpose(2, 0, 1) / 255, 0)
    padded = np.pad(features, ((0, 0), (0, 1), (0, 1)))
    windows = [padded[:, y : y + 6, x : x + 8] for y in (0, 1) for x in (0, 1)]
    pooled = np.max(windows, axis=0)
    assert (pooled[:, -1] == 0).any(), "the padding must matter"
    weight, bias = model.tensors["3.heads.0.weight"], model.tensors["3.heads.0.bias"]
    expected = np.einsum("oc,chw->ohw", weight[:, :, 0, 0], pooled) + bias[:, None, None]
    np.testing.assert_allclose(run(model, image, engine)[0][0], expected, atol=1e-4)


@pytest.mark.parametrize("piece", [1, 100, 1000])
def test_weights_folded_in_pieces_are_the_same_bits(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = lower(random_model(small_spec()).half())
    nodes = [node for node in graph.nodes if isinstance(node.operation, Convolution)]
    whole = [node.weights for node in nodes]
    monkeypatch.setattr(lowering, "PIECE", piece)
    for node, (weight, bias) in zip(nodes, whole, strict=True):
        *pieces, last = node.weight_pieces
        assert len(pieces) == -(-len(weight) // max(piece // weight[0].size, 1))
        assert np.array_equal(np.concatenate(pieces), weight) and np.array_equal(last, bias)
        assert np.array_equal(node.weights[0], weight)


def test_ncnn_has_no_winograd_for_few_channels() -> None:
    """For which it costs more than it saves: docs/decisions/012-one-at-a-time.md."""
    parameters, _ = emit_ncnn(lower(random_model(load_spec("yolov3-tiny"), size_wh=(416, 416))))
    convolutions = [line for line in parameters.splitlines() if line.startswith("Convolution ")]
    assert [" 31=64" in line for line in convolutions] == [True] + [False] * (len(convolutions) - 1)


def test_a_batch_is_its_pictures_one_by_one(images: np.ndarray) -> None:
    model = random_model(small_spec(), size_wh=(96, 64))
    for engine in ("ncnn", "onnxruntime"):
        whole = run(model, images, engine)
        single = [run(model, images[index : index + 1], engine) for index in range(2)]
        for place, head in enumerate(whole):
            np.testing.assert_allclose(head, np.concatenate([heads[place] for heads in single]), atol=1e-5)


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_a_view_is_read_as_it_looks_not_as_it_lies(engine: str, images: np.ndarray) -> None:
    model = random_model(small_spec(), size_wh=(96, 64))
    flipped = images[:, :, ::-1]
    for one, other in zip(run(model, flipped, engine), run(model, flipped.copy(), engine), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_onnx_file_is_valid_and_free_in_batch_and_size() -> None:
    from yolov3.graph.onnx import emit_onnx

    proto = emit_onnx(lower(random_model(small_spec())), {"names": "a b"})
    onnx.checker.check_model(proto, full_check=True)
    assert {entry.key: entry.value for entry in proto.metadata_props} == {"names": "a b"}
    shape = [dim.dim_param or dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]
    names = {node.name for node in proto.graph.node}
    assert {"1.0.cv1", "4.cv2", "9.heads.0"} <= names


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_weights_that_are_not_finite_are_refused(bad: float, engine: str, images: np.ndarray) -> None:
    model = random_model(small_spec(), size_wh=(96, 64))
    weight = model.tensors["2.conv.weight"].copy()
    weight.flat[5] = bad
    with pytest.raises(ModelError, match=r"2 has weights that are not finite"):
        run(replace(model, tensors={**model.tensors, "2.conv.weight": weight}), images, engine)


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_a_negative_variance_is_refused(engine: str, images: np.ndarray) -> None:
    model = random_model(small_spec(), size_wh=(96, 64))
    negative = -model.tensors["2.bn.running_var"]
    with pytest.raises(ModelError, match=r"2\.bn\.running_var has negative"):
        run(replace(model, tensors={**model.tensors, "2.bn.running_var": negative}), images, engine)


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_few_pictures_get_the_same_results(engine: str, images: np.ndarray) -> None:
    graph = lower(random_model(small_spec(), size_wh=(96, 64)))
    many, few = (make_engine(engine, graph, 1, few=few)(images) for few in (False, True))
    for one, other in zip(many, few, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_zero_variance_works_with_an_epsilon(images: np.ndarray) -> None:
    model = random_model(small_spec(), size_wh=(96, 64), batch_norm=BatchNorm(1e-3, False))
    both(replace(model, tensors={**model.tensors, "2.bn.running_var": np.zeros(16, np.float32)}), images, 0.5)


def test_an_unknown_engine_and_one_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = lower(random_model(small_spec()))
    with pytest.raises(UsageError, match="'tpu' is not known, expected one of ncnn"):
        make_engine("tpu", graph, 1)
    monkeypatch.setitem(__import__("sys").modules, "yolov3.runtime.engines.onnxruntime", None)
    with pytest.raises(Yolov3Error, match=r"pip install 'yolov3\[onnx\]'"):
        make_engine("onnxruntime", graph, 1)
