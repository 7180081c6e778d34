"""The boxes of one picture on their way in: judged, counted, gathered. Every format's reader ends here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .problems import DROP, BoxTuple, Problem, Repair


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The usable boxes of one picture, in the order of its file.

    Attributes:
        boxes: float64 (N, 4), xyxy; in pixels, or in parts of the picture's width and height (0 to 1).
        labels: int64 (N,), indices into the dataset's names.
        crowd: bool (N,), COCO's iscrowd: a region of many objects.
        difficult: bool (N,), Pascal VOC's flag.
        rows: object (N,), where each stands: line of a .txt, number of the object in an XML, COCO annotation id.
        areas: float64 (N,) in pixels, COCO's area of the object itself; None where boxes are all there is.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    rows: NDArray[np.object_]
    areas: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.boxes)


LEAST_SIDE = 1e-6
"""What a repaired box must keep of the picture's width: less is a rounding error, not a box."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture's frame in a file's own unit.

    Attributes:
        width, height: 1 and 1 where coordinates are parts of the picture; None where the size isn't known.
        tolerance: how far a box may reach out; it is clipped silently, further out is an error.
        unit: what a message adds to a number.
    """

    width: float | None
    height: float | None
    tolerance: float
    unit: str = ""


PARTS = Frame(1.0, 1.0, 1e-3)
"""The frame of YOLO's and Darknet's labels."""


def pixel_frame(size_wh: tuple[int, int] | None, tolerance: float) -> Frame:
    """The frame of labels in pixels; without a size nothing is outside."""
    width, height = size_wh or (None, None)
    return Frame(width, height, tolerance, " pixels")


class RowCollector:
    """Gathers the rows of one picture and notes what is wrong with the others.

    Args:
        file: the file that holds the rows.
        image: the picture.
        split: its split.
        frame: the picture's frame in the file's unit.
        problems: where findings go.
        word: what a row is called: "line", "object" or "annotation".
        keep_duplicates: keep a repeated box (it is reported all the same).
        clip: cut boxes that reach out of the picture by less than the tolerance.
    """

    def __init__(
        self,
        file: Path,
        image: Path,
        split: str,
        frame: Frame,
        problems: list[Problem],
        *,
        word: str = "line",
        keep_duplicates: bool = False,
        clip: bool = True,
    ) -> None:
        self.file, self.image, self.split = file, image, split
        self.frame, self.problems = frame, problems
        self.word, self.keep_duplicates, self.clip = word, keep_duplicates, clip
        self._seen: dict[tuple[int, BoxTuple, bool], int | str] = {}
        self._mended: set[tuple[int, BoxTuple]] = set()
        self._kept: list[tuple[BoxTuple, int, bool, bool, int | str, float]] = []

    def refuse(
        self,
        code: str,
        message: str,
        *,
        row: int | str,
        line: int | None,
        before: BoxTuple | None = None,
        repair: Repair = DROP,
    ) -> None:
        """Note a row that isn't used as it stands."""
        text = message if line is not None else f"{self.word} {row}: {message}"
        self.problems.append(Problem(code, self.file, text, line, self.split, self.image, row, before, repair))

    def add(
        self,
        label: int,
        box: BoxTuple,
        *,
        row: int | str,
        line: int | None,
        size: tuple[float, float] | None = None,
        crowd: bool = False,
        difficult: bool = False,
        area: float = 0.0,
    ) -> None:
        """Judge one box and keep it if it is sound.

        Args:
            label: a class index that exists.
            box: xyxy in the file's unit.
            row, line: where it stands.
            size: width and height as written, where the file's convention makes them differ from the box's.
            crowd, difficult, area: see `Objects`.
        """
        size = size or (box[2] - box[0], box[3] - box[1])
        fault = self.judge(box, size)
        if fault is not None:
            code, words = fault
            self.refuse(code, words, row=row, line=line, before=box, repair=self._repair(code, label, box, size))
            return
        key = (label, box, crowd)
        first = self._seen.setdefault(key, row)
        if first != row:
            words = f"the same box as {self.word} {first}, expected once: take it out"
            self.refuse("duplicate", words, row=row, line=line, before=box, repair=Repair("dedupe"))
            if not self.keep_duplicates:
                return
        self._kept.append((box, label, crowd, difficult, row, area))

    def judge(self, box: BoxTuple, size: tuple[float, float]) -> tuple[str, str] | None:
        """What is wrong with a box and its (width, height): a code and words, or None."""
        frame = self.frame
        width, height = size
        if width > 0 and height > 0 and self._inside(box):
            return None
        written = f"{width:g}×{height:g}{frame.unit}"
        if not all(np.isfinite(box)):
            return "not-finite", f"the box is {written}, expected finite numbers: draw it again or take it out"
        if width < 0 or height < 0:
            return "negative-size", f"the box is {written}, expected sides above 0: swap its corners"
        if width <= 0 or height <= 0:
            return (
                "zero-area",
                f"the box is {written}, expected sides above 0: draw it again or take it out",
            )
        corners = ", ".join(f"{value:g}" for value in box)
        limits = f"0 to {frame.width:g} and 0 to {frame.height:g}{frame.unit}"
        pixels = frame is PARTS and max(box) > 2
        hint = "are these pixels? divide by the picture's size" if pixels else "clip it"
        return "outside", f"the box ({corners}) reaches out of the picture, expected {limits}: {hint}"

    def _inside(self, box: BoxTuple) -> bool:
        frame = self.frame
        if frame.width is None or frame.height is None:
            return all(np.isfinite(box))
        least = -frame.tolerance
        return (
            box[0] >= least
            and box[1] >= least
            and box[2] <= frame.width + frame.tolerance
            and box[3] <= frame.height + frame.tolerance
            and (box[2] > 0 and box[3] > 0 and box[0] < frame.width and box[1] < frame.height)
        )

    def _repair(self, code: str, label: int, box: BoxTuple, size: tuple[float, float]) -> Repair:
        """Swap corners or cut to the picture, where a box with area remains; else drop.

        `spare` is what the convention adds to a written size (1 pixel in VOC, whose corners belong to the box).
        """
        spare = [box[2] - box[0] - size[0], box[3] - box[1] - size[1]]
        x1, y1, x2, y2 = box
        if code == "negative-size":
            action = "swap corners"
            if size[0] < 0:
                x1, x2 = x2 - spare[0], x1 + spare[0]
            if size[1] < 0:
                y1, y2 = y2 - spare[1], y1 + spare[1]
        elif code == "outside" and self.frame.width is not None and self.frame.height is not None:
            action = "clip"
            x1, x2 = max(x1, 0.0), min(x2, self.frame.width)
            y1, y2 = max(y1, 0.0), min(y2, self.frame.height)
        else:
            return DROP
        fixed = (x1, y1, x2, y2)
        size = (x2 - x1 - spare[0], y2 - y1 - spare[1])
        if min(size) < LEAST_SIDE * (self.frame.width or 1) or self.judge(fixed, size) is not None:
            return DROP
        repeated = (label, fixed) in self._mended
        self._mended.add((label, fixed))
        return Repair("dedupe") if repeated else Repair(action, label, fixed)

    def objects(self, *, areas: bool = False) -> Objects:
        """The boxes that were kept."""
        count = len(self._kept)
        if not count:
            return NO_OBJECTS
        boxes, labels, crowd, difficult, rows, area = zip(*self._kept, strict=True)
        array = np.array(boxes, np.float64)
        if self.clip and self.frame.width is not None and self.frame.height is not None:
            limit = np.array([self.frame.width, self.frame.height] * 2)
            array = np.minimum(np.maximum(array, 0.0), limit)
        row_array = np.empty(count, object)
        row_array[:] = rows
        return Objects(
            array,
            np.array(labels, np.int64),
            np.array(crowd, np.bool_),
            np.array(difficult, np.bool_),
            row_array,
            np.array(area, np.float64) if areas else None,
        )


NO_OBJECTS = Objects(
    np.zeros((0, 4)),
    np.zeros(0, np.int64),
    np.zeros(0, np.bool_),
    np.zeros(0, np.bool_),
    np.zeros(0, object),
)
"""The objects of a background picture."""
