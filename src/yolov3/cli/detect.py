"""`yolov3 detect`: objects in pictures."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from . import options

if TYPE_CHECKING:
    from ..runtime.pipeline import Result
    from ..sinks import Sink


@click.command()
@click.argument("sources", nargs=-1)
@click.option(
    "--model",
    default="yolov3-tiny",
    show_default=True,
    metavar="NAME|FILE",
    help="A bundled name, a .safetensors, or a Darknet .cfg.",
)
@options.together(options.darknet, options.size, options.resize)
@click.option("--rect", is_flag=True, help="Pad only to a multiple of the stride: faster.")
@click.option("--conf", default=0.25, show_default=True, help="Least score, 0 to 1.")
@click.option("--iou", default=0.45, show_default=True, help="Boxes of a class that overlap a better one more go.")
@click.option("--max-det", default=300, show_default=True, help="Most boxes a picture.")
@click.option("--classes", metavar="LIST", help="Keep these only: person,dog (names or indices).")
@click.option("--engine", default="ncnn", show_default=True, help="ncnn, or onnxruntime (needs yolov3[onnx]).")
@click.option("--threads", type=int, help="For the engine; default all cores.")
@click.option("--batch", default=1, show_default=True, help="Pictures that go through the network together.")
@click.option("--output", type=options.FilePath, help="New folder for annotated pictures; default runs/detect/exp.")
@click.option("--no-save", is_flag=True, help="Save no annotated pictures.")
@click.option("--json", metavar="FILE|-", help="Write one JSON object a line to FILE, or - for standard output.")
def detect(
    sources: tuple[str, ...],
    model: str,
    weights: Path | None,
    names: Path | None,
    masks: str | None,
    allow_extra: bool,
    size: str | None,
    resize: str | None,
    rect: bool,
    conf: float,
    iou: float,
    max_det: int,
    classes: str | None,
    engine: str,
    threads: int | None,
    batch: int,
    output: Path | None,
    no_save: bool,
    json: str | None,
) -> int:
    """Detect objects in pictures; print a table and save annotated pictures.

    SOURCES are pictures, folders, or patterns such as 'photos/*.jpg'; without any, the sample photos.

    Example: yolov3 detect street.jpg holiday/ --classes person,car --json boxes.jsonl
    """
    from ..errors import UsageError
    from ..images import quiet_decoders
    from ..runtime.detector import Detector
    from ..runtime.pipeline import detect_frames
    from ..sinks import AnnotatedPictures, JsonLines
    from ..sources import open_sources
    from ..zoo import sample_photos

    if batch < 1:
        raise UsageError(f"--batch {batch}: expected 1 or more")
    stream = open_sources(list(sources) or [str(path) for path in sample_photos()])
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
    options.print_notes(detector.notes)
    table = Table(sys.stderr if json == "-" else sys.stdout)
    with ExitStack() as stack:
        stack.enter_context(quiet_decoders())
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
    return 3 if table.errors else 0


class Table:
    """The short table: picture, size, objects, milliseconds; errors go to standard error."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.pictures = self.objects = self.errors = 0
        self.milliseconds = 0.0

    def row(self, *cells: str) -> None:
        name, size, objects, milliseconds = cells
        print(f"{name:<32} {size:>11}  {objects:<44} {milliseconds:>7}".rstrip(), file=self.file)

    def add(self, result: Result) -> None:
        """One line for a picture, or for what is wrong with it."""
        if result.frame.note:
            options.print_notes([f"{result.frame.name}: {result.frame.note}"])
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
        print(f"{read}: {self.objects} objects{mean}", file=self.file)
        if saved:
            print(f"annotated pictures are in {folder}", file=self.file)
