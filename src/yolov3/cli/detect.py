"""`yolov3 detect`: objects in pictures."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AllowExtra, Masks, Names, Resize, Size, Weights, print_notes

if TYPE_CHECKING:
    from ..runtime.pipeline import Result
    from ..sinks import Sink


def detect(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, patterns such as 'photos/*.jpg'. Without any: the sample photos."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="yolov3-tiny (bundled), a .safetensors, or a Darknet .cfg.")
    ] = "yolov3-tiny",
    weights: Weights = None,
    names: Names = None,
    masks: Masks = None,
    allow_extra: AllowExtra = False,
    size: Size = None,
    resize: Resize = None,
    rect: Annotated[bool, typer.Option("--rect", help="Pad only to a multiple of the stride: faster.")] = False,
    conf: Annotated[float, typer.Option(help="Least score, 0 to 1.")] = 0.25,
    iou: Annotated[float, typer.Option(help="Boxes of a class that overlap a better one more are dropped.")] = 0.45,
    max_det: Annotated[int, typer.Option(help="Most boxes a picture.")] = 300,
    classes: Annotated[str | None, typer.Option(help="Keep these only: person,dog (names or indices).")] = None,
    engine: Annotated[str, typer.Option(help="ncnn or onnxruntime (needs yolov3[onnx]).")] = "ncnn",
    threads: Annotated[int | None, typer.Option(help="For the engine; by default all cores.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures that go through the network together.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Folder for annotated pictures; default runs/detect/exp.")] = None,
    no_save: Annotated[bool, typer.Option("--no-save", help="Save no annotated pictures.")] = False,
    json: Annotated[str | None, typer.Option(help="Write one JSON object a line to FILE, or - for stdout.")] = None,
) -> None:
    """Detect objects in pictures; print a table and save annotated pictures.

    Example: yolov3 detect street.jpg holiday/ --classes person,car --json boxes.jsonl
    """
    from ..errors import UsageError
    from ..runtime.detector import Detector
    from ..runtime.pipeline import detect_frames
    from ..sinks import AnnotatedPictures, JsonLines
    from ..sources import open_sources
    from ..zoo import sample_photos

    if batch < 1:
        raise UsageError(f"--batch {batch}: expected 1 or more")
    stream = open_sources(sources or [str(path) for path in sample_photos()])
    detector = Detector(
        model,
        weights=weights,
        names=names,
        masks=masks,
        allow_extra=allow_extra,
        size=size,
        resize=resize,
        rect=rect,
        engine=engine,
        threads=threads,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=None if classes is None else [name.strip() for name in classes.split(",")],
    )
    print_notes(detector.notes)
    table = Table(sys.stderr if json == "-" else sys.stdout)
    with ExitStack() as stack:
        stack.enter_context(stream)
        sinks: list[Sink] = []
        if json is not None:
            sinks.append(stack.enter_context(JsonLines(json)))
        pictures = None if no_save else stack.enter_context(AnnotatedPictures(output))
        if pictures is not None:
            sinks.append(pictures)
        for result in detect_frames(detector, stream, batch):
            for sink in sinks:
                sink.write(result)
            table.add(result)
    table.finish(pictures.folder if pictures else None, pictures.count if pictures else 0)
    if table.errors:
        raise typer.Exit(3)


class Table:
    """The short table: picture, size, objects, milliseconds; errors go to standard error."""

    def __init__(self, file: object) -> None:
        self.file = file
        self.pictures = self.objects = self.errors = 0
        self.milliseconds = 0.0

    def row(self, *cells: str) -> None:
        name, size, objects, milliseconds = cells
        print(f"{name:<32} {size:>11}  {objects:<44} {milliseconds:>7}".rstrip(), file=self.file)  # type: ignore[call-overload]

    def add(self, result: Result) -> None:
        """One line for a picture, or for what is wrong with it."""
        if result.frame.note:
            print_notes([f"{result.frame.name}: {result.frame.note}"])
        if result.detections is None:
            self.errors += 1
            print(f"yolov3: {result.frame.error}; skipped", file=sys.stderr)
            return
        if not self.pictures:
            self.row("picture", "size", "objects", "ms")
        self.pictures += 1
        self.objects += len(result.detections)
        self.milliseconds += result.milliseconds
        width, height = result.detections.image_wh
        name = Path(result.frame.name).name
        self.row(name, f"{width}×{height}", result.detections.summary(), f"{result.milliseconds:.0f}")

    def finish(self, folder: Path | None, saved: int) -> None:
        """The totals, and where things are."""
        read = f"{self.pictures} picture{'' if self.pictures == 1 else 's'}"
        if self.errors:
            read += f" ({self.errors} could not be read)"
        mean = f", {self.milliseconds / self.pictures:.0f} ms each" if self.pictures else ""
        print(f"{read}: {self.objects} objects{mean}", file=self.file)  # type: ignore[call-overload]
        if saved:
            print(f"annotated pictures are in {folder}", file=self.file)  # type: ignore[call-overload]
