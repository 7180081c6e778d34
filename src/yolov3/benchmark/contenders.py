"""What is measured: this package with one engine, and other software through its own public interface.

A contender is made in a process of its own: making it is its load time, and imports all that it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Yolov3Error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONF, IOU = 0.25, 0.45
# Another software → the module that it is, and how it is installed.
PEERS = {
    "ultralytics": ("ultralytics", "pip install ultralytics"),
    "opencv": ("cv2", "pip install 'opencv-python-headless<5'"),
}
# The networks that ultralytics has under a name of its own.
ULTRALYTICS_NAMES = ("yolov3", "yolov3-spp", "yolov3-tiny")


class Contender(Protocol):
    """What every contender does."""

    def pictures(self, paths: Sequence[str]) -> int:
        """From JPEG files to final boxes, these together; how many boxes there are."""
        ...

    def network(self, count: int) -> float:
        """Seconds of the network alone, on `count` pictures together that lie ready at its size."""
        ...


class OwnEngine:
    """`Detector` with one engine."""

    def __init__(self, reference: str, weights: str | None, size: Sequence[int], engine: str, **_: Any) -> None:
        from ..runtime import Detector

        self._detector = Detector(reference, weights=weights, size=size, engine=engine, conf=CONF, iou=IOU)
        self._ready: list[NDArray[np.uint8]] = []

    def pictures(self, paths: Sequence[str]) -> int:
        return sum(len(found) for found in self._detector.batch(paths))

    def network(self, count: int) -> float:
        size_wh = self._detector.size_wh
        self._ready = self._ready if len(self._ready) == count else noise(count, size_wh)
        plans = [self._detector.plan(size_wh)] * count  # at its size already, so that nothing is resized
        start = perf_counter()
        self._detector.raw(self._ready, plans)
        return perf_counter() - start


class OpenCv:
    """OpenCV 4's reader of Darknet files through its `dnn.DetectionModel`, which stretches pictures, one at a time."""

    def __init__(self, cfg: str, darknet_weights: str, size: Sequence[int], threads: int, **_: Any) -> None:
        import cv2

        require_darknet_reader(cv2)
        cv2.setNumThreads(threads)
        self._cv2: Any = cv2
        self._size_wh = (size[0], size[1])
        self._net = self._cv2.dnn.readNetFromDarknet(cfg, darknet_weights)
        self._model = self._cv2.dnn.DetectionModel(self._net)
        self._model.setInputParams(size=self._size_wh, scale=1 / 255, swapRB=True)
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def pictures(self, paths: Sequence[str]) -> int:
        return sum(len(self._model.detect(self._cv2.imread(path), CONF, IOU)[0]) for path in paths)

    def network(self, count: int) -> float:
        seconds = 0.0
        for picture in noise(count, self._size_wh):
            self._net.setInput(self._cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True))
            start = perf_counter()
            self._net.forward(self._outputs)
            seconds += perf_counter() - start
        return seconds


class Ultralytics:
    """The ultralytics package through `YOLO(...).predict`, with its own network of the same name and its defaults.

    Its networks have other heads than YOLOv3's and cost more; its pictures are padded to rectangles, which costs less.
    The weights are random (nothing is downloaded), so that it finds nothing and its suppression is at its fastest.
    """

    def __init__(self, reference: str, size: Sequence[int], folder: str, **_: Any) -> None:
        # Settings in a folder of ours; no download, no installation, no report of use.
        os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
        self._model = import_module("ultralytics").YOLO(f"{reference}.yaml")
        self._size_wh = (size[0], size[1])

    def pictures(self, paths: Sequence[str]) -> int:
        return sum(len(found.boxes) for found in self._predict(list(paths)))

    def network(self, count: int) -> float:
        found = self._predict(noise(count, self._size_wh))
        return sum(float(each.speed["inference"]) for each in found) / 1000  # its own clock, milliseconds a picture

    def _predict(self, pictures: list[Any]) -> Any:
        side, batch = max(self._size_wh), len(pictures)
        return self._model.predict(pictures, imgsz=side, conf=CONF, iou=IOU, device="cpu", batch=batch, verbose=False)


KINDS: dict[str, Callable[..., Contender]] = {"own": OwnEngine, "opencv": OpenCv, "ultralytics": Ultralytics}


def require_darknet_reader(cv2: Any) -> None:
    """Raises: Yolov3Error: an OpenCV that has none."""
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise Yolov3Error(
            f"opencv {cv2.__version__} reads no Darknet files, the series before 5 did; {PEERS['opencv'][1]}"
        )


def noise(count: int, size_wh: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Pictures without objects."""
    import numpy as np

    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8) for _ in range(count)]
