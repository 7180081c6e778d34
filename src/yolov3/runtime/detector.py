"""`Detector`: pictures in, `Detections` out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..errors import DataError, UsageError
from ..geometry import Letterbox, letterbox_image, plan_letterbox
from ..graph import lower
from ..graph.signature import RAW
from ..images import Decoded, Enough, decode_enough, display_name, read_picture_bytes
from ..machine import has_bfloat16_units, usable_cores
from ..modelfile import Model
from ..postprocess import Candidates, Thresholds, drop_cut_boxes, suppress
from ..spec import parse_size, summarise
from .engines import BFLOAT16_ENGINE, DEFAULT_ENGINE, FILE_ENGINES, Engine, make_engine, open_engine
from .exported import Exported, exported_kind, load_exported
from .loading import DarknetOptions, Reference, load_model
from .outputs import find_candidates, graph_limits
from .tiling import Tiling

AUTO = "auto"

# A side of a JPEG is decoded to at least so many times its pixels in the network's input: with fewer, scores move more
# than they do by the choice of how pictures are resized (docs/decisions/009-reduced-decoding.md).
PIXELS_PER_INPUT = 2

Picture = NDArray[np.uint8] | str | os.PathLike[str]


class Detector:
    """A model ready to detect; calling it is safe from several threads at once, and nothing is kept between calls.

        >>> detector = Detector("yolov3-tiny", conf=0.3, classes=["person"])
        >>> for box, score, name in detector("street.jpg"):
        ...     print(name, score, box)

    Attributes:
        model: the network, names and preprocessing; an `Exported` where it came from such a file.
        names: class names.
        size_wh: the network's input size, (width, height).
        engine: the name of the engine that runs it.
        thresholds: what is kept.
        notes: what there is to say about how the model was read, a line each.
    """

    def __init__(
        self,
        model: Reference | Model | Exported = "yolov3-tiny",
        *,
        weights: Reference | None = None,
        names: Reference | None = None,
        masks: str | None = None,
        allow_extra: bool = False,
        size: int | str | Sequence[int] | None = None,
        resize: str | None = None,
        rect: bool = False,
        engine: str | None = None,
        threads: int | None = None,
        precision: str = "float32",
        conf: float = 0.25,
        iou: float = 0.45,
        max_det: int = 300,
        classes: str | Sequence[str | int] | None = None,
        multi_label: bool = False,
        tile: int | None = None,
        overlap: float = 0.2,
        exact: bool = False,
        few: bool = False,
        callers: int = 1,
    ) -> None:
        """Load the model and build the engine.

        Args:
            model: a name, a model file, a checkpoint, a Darknet cfg, an exported network, or a `Model`.
            weights, names, masks, allow_extra: for a Darknet cfg, see `DarknetOptions`.
            size: the network's input size, a multiple of its largest stride; by default the model's own.
            resize: "letterbox" or "stretch"; by default the model's own.
            rect: pad only to the next multiple of the stride instead of a square: faster, slightly other results.
            engine: one of `ENGINES`; by default ncnn, and for an exported network the one of its kind. "auto": the one
                that is fastest here, tried for some seconds and kept in the user's cache folder; ncnn with `few`.
            threads: for each call; by default as many as the process may use, shared by the callers.
            precision: "float32", or "bfloat16": with OpenVINO several times as fast on processors that have units for
                it (AMX, AVX512-BF16), and boxes move by a pixel.
            conf: least score.
            iou: boxes of one class that overlap a better one by more are dropped.
            max_det: most boxes a picture; `Detections.truncated` tells where it cuts.
            classes: names or indices to keep, as a list or as "person,dog".
            multi_label: let one box count for several classes, as Darknet and scoring do.
            tile: also look at squares of this many pixels of pictures larger than that, for small objects.
            overlap: the share of a tile's side that the next one repeats, 0 to 0.9.
            exact: decode all pixels of JPEG files that are much larger than the network's input; by default only as
                many as it needs, which is faster and moves scores in the third digit.
            few: only a few pictures are coming: the engine starts sooner, with less memory, and runs slower.
            callers: how many threads will call at once; more are right too, but may wait for each other.

        Raises:
            ModelError: the model can't be read.
            UsageError: an option that can't be meant.
        """
        loaded_notes: list[str] = []
        darknet = DarknetOptions(weights, names, masks, allow_extra)
        if not isinstance(model, (Model, Exported)):
            model, loaded_notes = open_model(model, darknet)
        elif darknet != DarknetOptions():
            raise UsageError("weights, names, masks and allow_extra go with a model's name or file, not with a model")
        if resize is not None:
            if resize not in ("letterbox", "stretch"):
                raise UsageError(f"resize {resize!r}: expected letterbox or stretch")
            model = replace(model, preprocess=replace(model.preprocess, resize=resize))
        if rect and model.preprocess.resize == "stretch":
            raise UsageError("rect pads pictures, so it can't go with resize stretch")
        self.model = model
        self.names = model.names
        self.notes = loaded_notes
        self.size_wh = model.size_wh if size is None else parse_size(size, model.spec)
        self._signature = model.signature if isinstance(model, Exported) else RAW
        if self._signature.size_wh is not None and (rect or self._signature.size_wh != self.size_wh):
            width, height = self._signature.size_wh
            raise UsageError(f"{model.origin}: takes pictures of {width}×{height} only; leave out size and rect")
        summarise(model.spec, self.size_wh)  # refuses sizes that the network can't take or that are too large
        chosen = None if classes is None else class_indices(classes, model.names)
        self.thresholds = Thresholds(conf, iou, max_det, chosen, multi_label)
        self.notes += [f"{model.origin}: {note}" for note in graph_limits(self._signature, self.thresholds)]
        self._options = {
            "size": self.size_wh,
            "rect": rect,
            "engine": engine,
            "threads": threads,
            "precision": precision,
            "conf": conf,
            "iou": iou,
            "max_det": max_det,
            "classes": None if chosen is None else sorted(chosen),
            "multi_label": multi_label,
            "tile": tile,
            "overlap": overlap,
            "exact": exact,
            "few": few,
            "callers": callers,
        }
        self._tiling = None if tile is None else Tiling(tile, overlap)
        self._rect_stride = model.spec.network.max_stride if rect else None
        each = max(usable_cores() // _positive("callers", callers), 1)
        each = each if threads is None else _positive("threads", threads)
        if precision != "float32" and engine in (None, AUTO):
            engine = BFLOAT16_ENGINE
        if engine == AUTO:
            engine = self._options["engine"] = self._fastest_engine(each * callers, callers, few)
        self._exact = exact or tile is not None
        self._engine: Engine
        if isinstance(model, Exported):
            self.engine = engine or FILE_ENGINES[model.kind][0]
            self._engine = open_engine(self.engine, model, each, few=few, callers=callers, precision=precision)
        else:
            self.engine = engine or DEFAULT_ENGINE
            self._engine = make_engine(self.engine, lower(model), each, few=few, callers=callers, precision=precision)
        if precision != "float32" and has_bfloat16_units() is False:
            self.notes.append(f"this processor has no units for {precision}, so nothing is gained by it")

    def _fastest_engine(self, threads: int, callers: int, few: bool) -> str | None:
        from .arrangement import Wanted, arrange  # which tries detectors

        if few:
            return None
        chosen = arrange(self.model, self.size_wh, None, Wanted(AUTO, callers, threads, 1))
        self.notes += chosen.warnings
        return chosen.arrangement.engine

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes get a detector of their own, with an engine of its own."""
        return _rebuild, (self.model, self._options)

    def __call__(self, image: Picture) -> Detections:
        """Detect objects in one picture.

        Args:
            image: a path, or RGB uint8 (H, W, 3), or grey (H, W); never changed.

        Raises:
            DataError: the picture can't be read or isn't such an array.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[Picture]) -> list[Detections]:
        """Detect objects in several pictures; pictures of one input shape go through the network together.

        Results are those of one call a picture (to the engine's rounding).
        """
        return self.detect([load_picture(image, self.enough) for image in images])

    def detect(self, pictures: Sequence[Decoded]) -> list[Detections]:
        """As `batch`, for decoded pictures, of which `enough` pixels will do; boxes are in their own pixels."""
        if self._tiling is not None:
            return [self._detect_tiled(picture.pixels, self._tiling) for picture in pictures]
        found = self._candidates(pictures)
        return [
            suppress(each, self.names, picture.size_wh, self.thresholds)
            for each, picture in zip(found, pictures, strict=True)
        ]

    @property
    def enough(self) -> Enough | None:
        """How many pixels of a picture this detector needs, for who decodes it; None for all."""
        if self._exact:
            return None

        def enough(image_wh: tuple[int, int]) -> tuple[int, int]:
            width, height = self.plan(image_wh).resized_wh
            return width * PIXELS_PER_INPUT, height * PIXELS_PER_INPUT

        return enough

    def _candidates(self, pictures: Sequence[Decoded]) -> list[Candidates]:
        """What reaches `conf` in each picture, in its own pixels; inputs of one shape go together."""
        plans = [self.plan(picture.covered_wh) for picture in pictures]
        by_canvas: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            by_canvas.setdefault(plan.canvas_wh, []).append(index)
        heads = self.model.spec.network.heads
        found: dict[int, Candidates] = {}
        for indices in by_canvas.values():
            raw_heads = self.raw([pictures[index].pixels for index in indices], [plans[index] for index in indices])
            for place, index in enumerate(indices):
                outputs = [output[place] for output in raw_heads]
                found[index] = find_candidates(
                    outputs, self._signature, heads, len(self.names), plans[index], self.thresholds
                )
        return [found[index] for index in range(len(pictures))]

    def _detect_tiled(self, picture: NDArray[np.uint8], tiling: Tiling) -> Detections:
        """The whole picture and its tiles, their boxes merged by class-wise suppression."""
        size_wh = _size_wh(picture)
        found: list[Candidates] = []
        cut: list[NDArray[np.bool_]] = []
        for corners in tiling.batches(size_wh):
            tiles = [_whole(picture[top:bottom, left:right]) for left, top, right, bottom in corners]
            for corner, (boxes, scores, labels) in zip(corners, self._candidates(tiles), strict=True):
                moved = boxes + np.array([*corner[:2], *corner[:2]], np.float32)
                found.append((moved, scores, labels))
                cut.append(tiling.cuts(moved, corner, size_wh))
        boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        whole = drop_cut_boxes((boxes, scores, labels), np.concatenate(cut))
        return suppress(whole, self.names, size_wh, self.thresholds)

    def plan(self, image_wh: tuple[int, int]) -> Letterbox:
        """Where a picture of this size goes in the network's input."""
        return plan_letterbox(
            image_wh, self.size_wh, resize=self.model.preprocess.resize, rect_stride=self._rect_stride
        )

    def raw(self, pictures: Sequence[NDArray[np.uint8]], plans: Sequence[Letterbox]) -> list[NDArray[np.float32]]:
        """The network's raw heads for pictures laid out by plans of one canvas size.

        Returns:
            For each head (N, anchors · (5 + nc), H / stride, W / stride) float32 logits; of an exported network that
            gives something else, its outputs.
        """
        pad = self.model.preprocess.pad
        canvases = [letterbox_image(picture, plan, pad) for picture, plan in zip(pictures, plans, strict=True)]
        return self._engine(canvases[0][None] if len(canvases) == 1 else np.stack(canvases))


def open_model(reference: Reference, options: DarknetOptions) -> tuple[Model | Exported, list[str]]:
    """Whatever a `Detector` takes as its model, and what there is to say about how it was read."""
    if exported_kind(reference) is not None:
        return load_exported(reference, options), []
    loaded = load_model(reference, options)
    return loaded.model, loaded.notes


def _rebuild(model: Model | Exported, options: dict[str, Any]) -> Detector:
    return Detector(model, **options)


def _size_wh(picture: NDArray[np.uint8]) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{name} is {value}, expected 1 or more")
    return value


def class_indices(classes: str | Sequence[str | int], names: tuple[str, ...]) -> frozenset[int]:
    """Class indices of names or indices, in a list or in a text with commas between them.

    Raises:
        UsageError: a class that the model doesn't have, with the nearest one it has.
    """
    found = set()
    for wanted in [name.strip() for name in classes.split(",")] if isinstance(classes, str) else classes:
        if isinstance(wanted, int) or (wanted not in names and wanted.isascii() and wanted.isdigit()):
            index = int(wanted)
        elif wanted in names:
            index = names.index(wanted)
        else:
            index = -1
        if not 0 <= index < len(names):
            import difflib

            near = difflib.get_close_matches(str(wanted), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected names such as {names[0]!r} or an index"
            raise UsageError(f"class {wanted!r} is not one of the model's {len(names)}; {hint}")
        found.add(index)
    return frozenset(found)


def load_picture(image: Picture, enough: Enough | None = None) -> Decoded:
    """A picture as contiguous RGB uint8 (H, W, 3); of a file, `enough` pixels will do.

    Raises:
        DataError: it can't be read, or the array has another type or shape.
    """
    if isinstance(image, (str, os.PathLike)):
        name = display_name(image)
        return decode_enough(read_picture_bytes(image, name), name, enough)
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise DataError(
            f"picture of shape {np.shape(image)} and type {array.dtype}: expected RGB uint8 (height, width, 3)"
        )
    return _whole(np.ascontiguousarray(array))


def _whole(picture: NDArray[np.uint8]) -> Decoded:
    return Decoded(picture, _size_wh(picture))
