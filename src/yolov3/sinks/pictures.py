"""Sinks that write files for each picture into the run's folder."""

from __future__ import annotations

from pathlib import Path

from ..files import write_atomic
from ..geometry import xyxy_to_cxcywh
from ..images import write_image
from ..runtime.pipeline import Result
from .folder import RunFolder, file_name
from .sink import Sink


class _FolderSink(Sink):
    """Writes into the run's folder, each file whole.

    Attributes:
        count: files written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.count = 0


class AnnotatedPictures(_FolderSink):
    """Each picture with its boxes, as .png for a .png, else as .jpg. Frames of videos are `AnnotatedVideos`'."""

    pixels = True

    def write(self, result: Result) -> None:
        """Save one picture; what couldn't be read is left out."""
        frame = result.frame
        if result.detections is None or frame.image is None or frame.index is not None:
            return
        suffix = ".png" if Path(frame.name).suffix.lower() == ".png" else ".jpg"
        path = self.folder.folder() / f"{self.folder.stem(frame)}{suffix}"
        write_image(path, result.detections.annotate(frame.image))
        self.count += 1


class YoloLabels(_FolderSink):
    """`labels/NAME.txt` for each picture or frame: `class cx cy width height [score]`, normalised to 0–1.

    A picture without objects gets an empty file.

    Attributes:
        scores: whether each line ends with the score.
    """

    def __init__(self, folder: RunFolder, *, scores: bool = False) -> None:
        super().__init__(folder)
        self.scores = scores

    def write(self, result: Result) -> None:
        """Save one picture's labels."""
        found = result.detections
        if found is None:
            return
        width, height = found.image_wh
        boxes = xyxy_to_cxcywh(found.boxes.astype(float)) / [width, height, width, height]
        lines = []
        for label, box, score in zip(found.labels, boxes, found.scores, strict=True):
            values = [*box, score] if self.scores else box
            lines.append(" ".join([str(label), *(f"{value:.6f}" for value in values)]))
        path = self.folder.folder("labels") / f"{self.folder.frame_stem(result.frame)}.txt"
        write_atomic(path, "".join(f"{line}\n" for line in lines))
        self.count += 1


class Crops(_FolderSink):
    """`crops/CLASS/NAME-1.jpg`: each object cut out of the picture."""

    pixels = True

    def write(self, result: Result) -> None:
        """Save one picture's objects; boxes of less than a pixel are left out."""
        frame = result.frame
        if result.detections is None or frame.image is None:
            return
        for number, (box, _, name) in enumerate(result.detections, 1):
            left, top = (int(value) for value in box[:2])
            right, bottom = (int(value + 0.999) for value in box[2:])
            crop = frame.image[top:bottom, left:right]
            if not crop.size:
                continue
            part = self.folder.folder(f"crops/{file_name(name, '_')}")
            write_image(part / f"{self.folder.frame_stem(frame)}-{number}.jpg", crop)
            self.count += 1
