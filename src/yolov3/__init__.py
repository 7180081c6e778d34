"""YOLOv3 object detection.

    >>> import yolov3
    >>> detector = yolov3.Detector("yolov3-tiny")
    >>> print(detector("street.jpg"))

Names are imported when they are first used, so `import yolov3` loads neither NumPy nor an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .detections import Detections as Detections
    from .errors import DataError as DataError
    from .errors import ModelError as ModelError
    from .errors import UsageError as UsageError
    from .errors import Yolov3Error as Yolov3Error
    from .images import read_image as read_image
    from .modelfile import Model as Model
    from .runtime.detector import Detector as Detector
    from .spec import Spec as Spec

_HOMES = {
    "Detections": ".detections",
    "Detector": ".runtime.detector",
    "Model": ".modelfile",
    "Spec": ".spec",
    "read_image": ".images",
    "DataError": ".errors",
    "ModelError": ".errors",
    "UsageError": ".errors",
    "Yolov3Error": ".errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'yolov3' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
