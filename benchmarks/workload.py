"""What the benchmarks work on: folders of JPEGs made from the sample photos, and networks as files for bare scripts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from bare import Network

from yolov3.darknet import save_darknet
from yolov3.graph import lower
from yolov3.graph.mnn import emit_mnn
from yolov3.graph.ncnn import emit_ncnn
from yolov3.graph.onnx import emit_onnx
from yolov3.modelfile import Model
from yolov3.spec import Spec, load_spec, summarise
from yolov3.zoo import default_names, find_model, sample_photos


@dataclass(frozen=True)
class Workload:
    """A network: for this package as `reference`, for bare scripts as `network`; what there is to say about it."""

    reference: str
    network: Network
    note: str
    multiply_adds: int


def make_workload(name: str, side: int, folder: Path) -> Workload:
    """A model by name, its files for every engine in `folder`; weights that aren't here are random."""
    found = find_model(name)
    reference, note = name, f"{name} at {side}"
    if found is None:
        model = random_model(load_spec(name), side)
        reference, note = str(folder / "network.safetensors"), f"{note} (random weights)"
        model.save(reference)
    else:
        model = Model.load(found, origin=name)
    model = replace(model, size_wh=(side, side))
    graph = lower(model)
    (folder / "network.onnx").write_bytes(emit_onnx(graph).SerializeToString())
    parameters, weights = emit_ncnn(graph)
    (folder / "network.param").write_text(parameters.replace(" 31=64", ""))  # as ncnn's own converters write it
    with (folder / "network.bin").open("wb") as file:
        file.writelines(np.ascontiguousarray(array).tobytes() for array in weights)
    (folder / "network.mnn").write_bytes(emit_mnn(graph))
    save_darknet(model, folder / "network.cfg", dialect="opencv")
    heads = tuple((head.stride, head.anchors) for head in model.spec.network.heads)
    network = Network(folder, side, heads, tuple(graph.outputs), model.spec.nc)
    return Workload(reference, network, note, summarise(model.spec, (side, side)).multiply_adds)


def random_model(spec: Spec, side: int) -> Model:
    """Weights that keep activations of the order of 1 and find next to nothing: for times, not for objects."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in spec.network.tensor_shapes().items():
        if len(shape) == 4:
            array = rng.standard_normal(shape, np.float32) * np.float32((1 / np.prod(shape[1:])) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            array = np.ones(shape, np.float32)
        else:
            array = np.zeros(shape, np.float32)
        if ".heads." in name:
            array *= np.float32(0.1)
            if name.endswith("bias"):
                array.reshape(-1, 5 + spec.nc)[:, 4] = -6
        tensors[name] = array
    return Model(spec, tensors, default_names(spec.nc), (side, side))


def make_pictures(folder: Path, count: int, size_wh: tuple[int, int]) -> list[Path]:
    """JPEGs of one size, quality 90: cut-outs of the sample photos with a camera's noise; no two alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    photos = [cv2.imread(str(path)) for path in sample_photos()]
    width, height = size_wh
    noise = rng.normal(0, 5, (height + 64, width + 64, 3)).astype(np.float32)
    paths = []
    for number in range(count):
        photo = photos[number % len(photos)]
        part = rng.uniform(0.7, 1.0)
        rows, columns = int(photo.shape[0] * part), int(photo.shape[1] * part)
        top, left = rng.integers(0, photo.shape[0] - rows + 1), rng.integers(0, photo.shape[1] - columns + 1)
        image = cv2.resize(photo[top : top + rows, left : left + columns], size_wh, interpolation=cv2.INTER_CUBIC)
        down, along = rng.integers(0, 64, 2)
        grained = image + noise[down : down + height, along : along + width]
        paths.append(folder / f"{number:05}.jpg")
        cv2.imwrite(str(paths[-1]), np.clip(grained, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths
