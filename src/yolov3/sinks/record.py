"""A result as one JSON-ready object."""

from __future__ import annotations

from typing import Any

from ..runtime.pipeline import Result


def record_of(result: Result) -> dict[str, Any]:
    """`image, width, height, detections`, or `image, error`; of a video also `frame` and `time` (seconds).

    `truncated` is there only when boxes were cut off.
    """
    frame = result.frame
    record: dict[str, Any] = {"image": frame.name}
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
