"""`yolov3 detect`: objects in pictures and videos."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .ending import stop_code

if TYPE_CHECKING:
    from ..runtime import Detector
    from ..runtime.arrangement import Arrangement
    from ..sinks import RunFolder, Sink
    from ..sources import SourceStream
    from .table import Table

# Options that the Detector takes under their own names.
DETECTOR_OPTIONS = (
    *("size", "resize", "rect", "precision", "conf", "iou", "max_det"),
    *("classes", "tile", "overlap", "exact"),
)


@click.command()
@click.argument("sources", nargs=-1)
@options.together(options.model, options.darknet, options.size, options.resize)
@click.option("--rect", is_flag=True, help="Pad only to a multiple of the stride: faster.")
@click.option("--conf", default=0.25, show_default=True, help="Least score, 0 to 1.")
@click.option("--iou", default=0.45, show_default=True, help="Boxes of a class that overlap a better one more go.")
@click.option("--max-det", default=300, show_default=True, help="Most boxes a picture.")
@click.option("--classes", metavar="LIST", help="Keep these only: person,dog (names or indices).")
@click.option("--tile", type=int, metavar="PIXELS", help="Also look at large pictures in squares of this side.")
@click.option("--overlap", default=0.2, show_default=True, help="The share of a tile that the next one repeats.")
@click.option("--exact", is_flag=True, help="Decode all pixels of large JPEGs, not only as many as are needed.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="ncnn, onnxruntime, openvino or mnn; auto: ncnn, for cameras and from 200 pictures on the fastest here.",
)
@click.option("--threads", type=int, help="Of all engines together; default all cores.")
@options.precision
@click.option("--workers", type=int, help="Pictures worked on side by side; default what is fast.")
@click.option("--batch", type=int, help="Pictures that go through the network together; default what is fast.")
@click.option("--every", default=1, show_default=True, help="Of videos and cameras, take each so-manieth frame.")
@click.option("--output", type=options.FilePath, help="New folder for what is saved; default runs/detect/exp.")
@click.option("--no-save", is_flag=True, help="Save no annotated pictures and videos.")
@click.option("--txt", is_flag=True, help="Save YOLO labels, labels/NAME.txt.")
@click.option("--save-conf", is_flag=True, help="With --txt, end each line with the score.")
@click.option("--crops", is_flag=True, help="Save each object, crops/CLASS/NAME-1.jpg.")
@click.option("--json", metavar="FILE|-", help="Write one JSON object a line to FILE, or - for standard output.")
@click.option("--csv", metavar="FILE|-", help="Write one line an object.")
@click.option("--coco", metavar="FILE|-", help="Write COCO results.")
@click.option("--show", is_flag=True, help="Show results in a window; q ends.")
@click.option("--verbose", is_flag=True, help="Say which engine works and why.")
def detect(sources: tuple[str, ...], every: int, verbose: bool, **given: Any) -> int:
    """Detect objects in pictures and videos.

    Prints a table and saves what was found.

    SOURCES are pictures, videos, folders, patterns such as 'photos/*.jpg', a .txt list of files, - for a picture on
    standard input, or a camera's number; without any, the sample photos.

    Example: yolov3 detect street.jpg holiday/ --classes person,car --json boxes.jsonl
    """
    from ..images import quiet_decoders
    from ..sources import open_sources
    from ..zoo import sample_photos
    from .table import Progress, Table

    check_options(given)
    to_stdout = "-" in (given["json"], given["csv"], given["coco"])
    with ExitStack() as stack:
        stack.enter_context(quiet_decoders())
        arguments = list(sources) or [str(path) for path in sample_photos()]
        stream = stack.enter_context(open_sources(arguments, every=every))
        detector, arrangement = make_detector(given, stream, verbose)
        table = Table(sys.stderr if to_stdout else sys.stdout, Progress(stream.total))
        return run(detector, arrangement, stream, given, table)


def check_options(given: dict[str, Any]) -> None:
    """Refuse options that can't go together, before anything is loaded."""
    from click.core import ParameterSource

    from ..errors import UsageError

    overlap_given = click.get_current_context().get_parameter_source("overlap") is ParameterSource.COMMANDLINE
    if overlap_given and given["tile"] is None:
        raise UsageError("--overlap goes with --tile")
    if given["save_conf"] and not given["txt"]:
        raise UsageError("--save-conf goes with --txt")
    files = [given[kind] for kind in ("json", "csv", "coco") if given[kind] is not None]
    if len({str(Path(file).absolute()) for file in files}) < len(files):
        raise UsageError(f"{files[0]}: named for two kinds of results; give each its own file")


def make_detector(given: dict[str, Any], stream: SourceStream, verbose: bool) -> tuple[Detector, Arrangement]:
    """The detector that the options ask for, and how the stream's pictures go through it."""
    from ..runtime import Detector
    from ..runtime.arrangement import FEW, Wanted, arrange
    from ..runtime.detector import AUTO, open_model
    from ..runtime.engines import BFLOAT16_ENGINE
    from ..runtime.loading import DarknetOptions
    from ..spec import parse_size

    engine = BFLOAT16_ENGINE if (given["engine"], given["precision"]) == (AUTO, "bfloat16") else given["engine"]
    wanted = Wanted(engine, given["workers"], given["threads"], given["batch"])
    model, notes = open_model(
        given["model"], DarknetOptions(given["weights"], given["names"], given["masks"], given["allow_extra"])
    )
    size_wh = model.size_wh if given["size"] is None else parse_size(given["size"], model.spec)
    chosen = arrange(model, size_wh, stream.total, wanted, live=stream.live)
    arrangement = chosen.arrangement
    detector = Detector(
        model,
        engine=arrangement.engine,
        threads=arrangement.threads,
        callers=arrangement.workers,
        few=given["tile"] is None and stream.total in range(1, FEW),
        **{name: given[name] for name in DETECTOR_OPTIONS},
    )
    options.print_notes([*notes, *detector.notes, *chosen.warnings, *(chosen.reasons if verbose else [])])
    return detector, arrangement


def run(detector: Detector, arrangement: Arrangement, stream: SourceStream, given: dict[str, Any], table: Table) -> int:
    """Detect in all frames and hand them to the sinks; Ctrl-C or SIGTERM ends the run with what is done so far."""
    from ..runtime.pipeline import detect_frames
    from ..sinks import RunFolder, WindowClosedError

    folder = RunFolder(given["output"])
    stop: KeyboardInterrupt | None = None
    closed = False
    with ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in make_sinks(given, folder)]
        results = detect_frames(
            detector,
            stream.unread(),
            arrangement.batch,
            workers=arrangement.workers,
            all_pixels=any(sink.pixels for sink in sinks),
        )
        try:
            for result in results:
                for sink in sinks:
                    sink.write(result)
                table.add(result)
        except KeyboardInterrupt as interrupt:
            stop = interrupt
        except WindowClosedError:
            closed = True
    places = [f"results are in {folder.path}"] if folder.path else []
    table.finish(places, stopped=stop is not None or closed)
    return stop_code(stop) if stop is not None else 3 if table.errors else 0


def make_sinks(given: dict[str, Any], folder: RunFolder) -> list[Sink]:
    """The sinks that the options ask for."""
    from .. import sinks

    made: list[Sink] = []
    for kind, sink in (("json", sinks.JsonLines), ("csv", sinks.CsvTable), ("coco", sinks.CocoResults)):
        if given[kind] is not None:
            made.append(sink(given[kind]))
    if not given["no_save"]:
        made += [sinks.AnnotatedPictures(folder), sinks.AnnotatedVideos(folder)]
    if given["txt"]:
        made.append(sinks.YoloLabels(folder, scores=given["save_conf"]))
    if given["crops"]:
        made.append(sinks.Crops(folder))
    if given["show"]:
        made.append(sinks.Window())
    return made
