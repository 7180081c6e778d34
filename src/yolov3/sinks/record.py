"""A result as one JSON-ready object."""

from __future__ import annotations

import os
from typing import Any

from ..runtime.pipeline import Result
from ..sources.frame import Frame


def record_of(result: Result) -> dict[str, Any]:
    """`image, width, height, detections`, or `image, error`; of a video also `frame` and `time` (seconds).

    `truncated` is there only when boxes were cut off.
    """
    frame = result.frame
    record: dict[str, Any] = {"image": _exact_name(frame)}
    if frame.index is not None:
        record["frame"] = frame.index
        record["time"] = None if frame.time is None else round(frame.time, 6)
    if result.detections is None:
        return record | {"error": frame.error}
    record["width"], record["height"] = result.detections.image_wh
    record["detections"] = result.detections.to_dicts()
    if result.detections.truncated:
        record["truncated"] = True
    return record


def _exact_name(frame: Frame) -> str:
    """The picture's path to the letter, so that programs find it; as shown where it has none or isn't UTF-8."""
    path = frame.name if frame.path is None else os.fspath(frame.path)
    try:
        path.encode()
    except UnicodeEncodeError:
        return frame.name
    return path
