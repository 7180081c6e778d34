"""Darknet sections → flat layers: one for each operation, heads set apart, nothing lifted yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..spec.modules import ACTIVATIONS, MAX_XY_SCALE
from ..spec.primitives import MAX_CHANNELS, MAX_KERNEL
from ..spec.reading import MAX_ANCHOR, MAX_ANCHORS, MAX_CLASSES
from .cfg import Section, shortened

# Darknet's spelling → ours; the yolov3 and yolov4 families use these.
_ACTIVATION_NAMES = {
    name: ACTIVATIONS[name] for name in ("leaky", "linear", "relu", "relu6", "swish", "mish", "logistic", "tanh")
}
SUPPORTED_LAYERS = ("convolutional", "maxpool", "upsample", "route", "shortcut", "dropout", "yolo")

# Keys that decide the network's output, by section; what they may be is checked where they are read.
_USED = {
    "net": "width height channels letter_box",
    "convolutional": "batch_normalize filters size stride pad padding activation groups",
    "maxpool": "size stride padding",
    "upsample": "stride",
    "route": "layers groups group_id",
    "shortcut": "from activation",
    "dropout": "",
    "yolo": "mask anchors classes num scale_x_y new_coords",
}
# Keys that only training reads, or that change nothing in the result.
_HARMLESS = {
    "net": "batch subdivisions momentum decay angle saturation exposure hue learning_rate burn_in max_batches policy "
    "steps scales step scale gamma power b1 b2 eps adam max_crop min_crop max_ratio min_ratio center crop aspect "
    "mosaic mosaic_bound mixup cutmix blur gaussian_noise flip time_steps track augment_speed sequential_subdivisions "
    "try_fix_nan loss_scale optimized_memory workspace_size_limit_MB label_smooth_eps ema_alpha max_chart_loss "
    "init_sequential_subdivisions show_receptive_field dynamic_minibatch use_cuda_graph contrastive "
    "contrastive_jit_flip contrastive_color unsupervised letter_box seq_scales num_sigmas_reject_badlabels "
    "equidistant_point badlabels_rejection_percentage adversarial_lr attention all_scale resize_step burnin_power",
    "convolutional": "stopbackward learning_rate onlyforward train_only_bn dontload dontloadscales grad_centr "
    "binary xnor dilation stride_x stride_y antialiasing flipped share_index bin_output use_bin_output sway rotate "
    "stretch stretch_sway deform assisted_excitation coordconv wait_stream stream",
    "maxpool": "stride_x stride_y maxpool_depth out_channels antialiasing spatial",
    "upsample": "scale",
    "route": "stopbackward stream",
    "shortcut": "weights_type weights_normalization alpha beta",
    "dropout": "probability dropblock dropblock_size_rel dropblock_size_abs",
    "yolo": "jitter ignore_thresh truth_thresh random iou_thresh iou_normalizer obj_normalizer cls_normalizer iou_loss "
    "iou_thresh_kind nms_kind beta_nms max_delta objectness_smooth label_smooth_eps max resize focal_loss map "
    "counters_per_class delta_normalizer show_details yolo_point track_history_size sim_thresh dets_for_track "
    "dets_for_show track_ciou_norm embedding_layer only_objects_when_training_negatives",
}
# Keys of layers in the harmless list that are refused unless they have this value: they would change the result.
_ONLY = {
    "dontload": 0, "dontloadscales": 0, "binary": 0, "xnor": 0, "dilation": 1, "antialiasing": 0, "flipped": 0,
    "share_index": None, "bin_output": 0, "use_bin_output": None, "sway": 0, "rotate": 0, "stretch": 0,
    "stretch_sway": 0, "deform": 0, "assisted_excitation": 0, "coordconv": 0, "stride_x": "stride",
    "stride_y": "stride", "maxpool_depth": 0, "out_channels": None, "scale": 1, "weights_type": "none",
    "weights_normalization": "none", "alpha": 1, "beta": 1, "embedding_layer": None,
}  # fmt: skip


@dataclass(slots=True)
class FlatLayer:
    """One operation of the trunk.

    Attributes:
        module: the row module's name.
        sources: flat indices of its inputs, -1 for the picture.
        section: where it comes from.
        args: positional arguments of its row.
        options: the row's mapping of options.
        permutation: for a convolution behind a reordered Concat: our input channel → Darknet's.
    """

    module: str
    sources: tuple[int, ...]
    section: Section
    args: list[object] = field(default_factory=list)
    options: dict[str, object] = field(default_factory=dict)
    permutation: list[int] | None = None


@dataclass(slots=True)
class FlatHead:
    """One `[yolo]` with the convolution before it.

    Attributes:
        source: the flat layer that feeds the convolution.
        convolution, yolo: the two sections.
        mask: indices of its anchors.
        anchors: its list of (width, height).
    """

    source: int
    convolution: Section
    yolo: Section
    mask: tuple[int, ...]
    anchors: tuple[tuple[float, float], ...]
    classes: int
    xy_scale: float
    wh: str


@dataclass(slots=True)
class FlatNetwork:
    """All of a cfg: trunk, heads, the weight file's order, and what the reader should be told."""

    layers: list[FlatLayer] = field(default_factory=list)
    heads: list[FlatHead] = field(default_factory=list)
    weight_order: list[FlatLayer | FlatHead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def flatten_sections(sections: list[Section]) -> FlatNetwork:
    """Resolve every section's inputs and arguments.

    Raises:
        ModelError: naming file, line and layer: a layer or activation that isn't supported, a value out of range,
            an index that isn't an earlier layer, a `[yolo]` that doesn't fit its convolution.
    """
    return _Flattener(sections).run()


class _Flattener:
    def __init__(self, sections: list[Section]) -> None:
        self.net, self.sections = sections[0], sections[1:]
        self.network = FlatNetwork()
        # Darknet's layer number → the flat layer that gives its output; None for a head.
        self.outputs: list[int | None] = []
        # Whether every layer so far keeps sides at exactly the picture's by its stride.
        self.aligned = True

    def run(self) -> FlatNetwork:
        self.check_keys(self.net)
        for place, section in enumerate(self.sections):
            if section.name not in SUPPORTED_LAYERS:
                raise section.error(f"this layer is not supported, expected one of {', '.join(SUPPORTED_LAYERS)}")
            self.check_keys(section)
            following = self.sections[place + 1].name if place + 1 < len(self.sections) else ""
            if section.name == "yolo":
                self.outputs.append(None)
                self.head(section, place)
            elif section.name == "convolutional" and following == "yolo":
                self.outputs.append(None)  # read together with the [yolo] behind it
            else:
                self.outputs.append(getattr(self, f"_{section.name}")(section))
        if not self.network.heads:
            raise self.net.error("no [yolo] layer, expected at least one")
        return self.network

    def check_keys(self, section: Section) -> None:
        name = "net" if section.index < 0 else section.name
        used, harmless = _USED[name].split(), _HARMLESS[name].split()
        for key, text in section.values.items():
            if name != "net" and key in _ONLY and key in harmless and not self.has_only(section, text, _ONLY[key]):
                raise section.error(f"{key}={shortened(text)} is not supported", key)
            if key not in used and key not in harmless:
                place = f"{section.origin}:{section.lines[key]}"
                setting = f"{shortened(key)}={shortened(text)}"
                self.network.notes.append(f"{place}: [{section.name}] {setting} is not known: kept, not used")

    @staticmethod
    def has_only(section: Section, text: str, allowed: object) -> bool:
        if allowed == "stride":
            return text == section.values.get("stride", "1")
        try:
            return float(text) == allowed
        except ValueError:
            return text == allowed

    def source(self, section: Section, index: int, key: str) -> int:
        """The flat layer that gives the output of Darknet's layer `index` (negative: counted back from `section`)."""
        absolute = section.index + index if index < 0 else index
        if not 0 <= absolute < section.index:
            raise section.error(f"{key} points at layer {absolute}, expected 0 to {section.index - 1}", key)
        found = self.outputs[absolute]
        if found is None:
            name = self.sections[absolute].name
            message = f"{key} points at layer {absolute} [{name}], a detection head, which can't feed a layer"
            raise section.error(message, key)
        return found

    def previous(self, section: Section) -> int:
        if section.index == 0:
            return -1
        if self.outputs[section.index - 1] is None:
            raise section.error("follows a detection head, expected a [route] first")
        return self.source(section, -1, "input")

    def append(self, layer: FlatLayer) -> int:
        self.network.layers.append(layer)
        return len(self.network.layers) - 1

    def activation(self, section: Section, default: str) -> str:
        text = section.values.get("activation", default)
        if text not in _ACTIVATION_NAMES:
            known = ", ".join(_ACTIVATION_NAMES)
            raise section.error(f"activation={shortened(text)} is not supported, expected one of {known}", "activation")
        return _ACTIVATION_NAMES[text]

    def convolution_arguments(self, section: Section) -> tuple[int, int, int, int]:
        """Channels, kernel, stride, padding; `pad=1` means half the kernel (`parser.c: parse_convolutional`)."""
        size = section.integer("size", 1, 1, MAX_KERNEL)
        padding = section.integer("padding", 0, 0, MAX_KERNEL)
        if section.integer("pad", 0, 0, 1):
            padding = size // 2
        filters = section.integer("filters", 1, 1, MAX_CHANNELS)
        return filters, size, section.integer("stride", 1, 1, MAX_KERNEL), padding

    def _convolutional(self, section: Section) -> int:
        filters, size, stride, padding = self.convolution_arguments(section)
        options: dict[str, object] = {"activation": self.activation(section, "logistic")}
        groups = section.integer("groups", 1, 1, MAX_CHANNELS)
        if groups > 1:
            options["groups"] = groups
        if not section.integer("batch_normalize", 0, 0, 2):
            options["bn"] = False
        if padding != size // 2:
            options["padding"] = padding
        self.note_window(size, stride, 2 * padding)
        layer = FlatLayer("Conv", (self.previous(section),), section, [filters, size, stride], options)
        self.network.weight_order.append(layer)
        return self.append(layer)

    def note_window(self, size: int, stride: int, padding: int) -> None:
        """Sides that are multiples of the stride shrink by just the stride when this holds."""
        self.aligned &= size - stride <= padding < size

    def _maxpool(self, section: Section) -> int:
        """Darknet pads `size - 1` in all, half of it (rounded down) before, by −∞ (`maxpool_layer.c`)."""
        source = self.previous(section)
        stride = section.integer("stride", 1, 1, MAX_KERNEL)
        size = section.integer("size", stride, 1, MAX_KERNEL)
        padding = section.integer("padding", size - 1, 0, 2 * (size - 1))  # more: windows with nothing in them
        before = padding // 2
        after = padding - before
        if size == stride == 2 and padding == 1 and self.aligned:
            before = after = 0  # the input's sides are even: the padded column is never reached
        self.note_window(size, stride, padding)
        if before == after <= size // 2:
            return self.append(FlatLayer("nn.MaxPool2d", (source,), section, [size, stride, before]))
        pad = [[before, after, before, after], float("-inf")]
        source = self.append(FlatLayer("nn.ConstantPad2d", (source,), section, pad))
        return self.append(FlatLayer("nn.MaxPool2d", (source,), section, [size, stride, 0]))

    def _upsample(self, section: Section) -> int:
        stride = section.integer("stride", 2, 1, MAX_KERNEL)
        layer = FlatLayer("nn.Upsample", (self.previous(section),), section, [None, stride, "nearest"])
        return self.append(layer)

    def _route(self, section: Section) -> int:
        layers = section.integers("layers")
        if not layers:
            raise section.error("layers is missing, expected layer numbers", "layers")
        sources = tuple(self.source(section, layer, "layers") for layer in layers)
        groups = section.integer("groups", 1, 1, MAX_CHANNELS)
        group = section.integer("group_id", 0, 0, groups - 1)
        if groups > 1:  # of each input the same part
            parts = [FlatLayer("Slice", (source,), section, [groups, group]) for source in sources]
            sources = tuple(self.append(part) for part in parts)
        return sources[0] if len(sources) == 1 else self.append(FlatLayer("Concat", sources, section, [1]))

    def _shortcut(self, section: Section) -> int:
        others = section.integers("from")
        if not others:
            raise section.error("from is missing, expected a layer number", "from")
        sources = (*(self.source(section, other, "from") for other in others), self.previous(section))
        layer = FlatLayer("Add", sources, section)
        activation = self.activation(section, "linear")
        if activation != "linear":
            layer.options["activation"] = activation
        return self.append(layer)

    def _dropout(self, section: Section) -> int:
        if section.index == 0:
            raise section.error("drops out the picture, expected a layer before it")
        return self.previous(section)

    def head(self, yolo: Section, place: int) -> None:
        convolution = self.sections[place - 1] if place else None
        if convolution is None or convolution.name != "convolutional":
            raise yolo.error("expected a [convolutional] layer right before it")
        classes = yolo.integer("classes", 20, 1, MAX_CLASSES)
        anchors = self.anchors(yolo)
        mask = yolo.integers("mask") or list(range(len(anchors)))
        if not all(0 <= index < len(anchors) for index in mask):
            given = shortened(yolo.values["mask"])
            raise yolo.error(f"mask={given}, expected indices from 0 to {len(anchors) - 1}", "mask")
        filters, size, stride, padding = self.convolution_arguments(convolution)
        if filters != len(mask) * (5 + classes):
            raise convolution.error(
                f"filters={filters}, but the [yolo] behind it with {len(mask)} anchors and {classes} classes "
                f"needs filters={len(mask) * (5 + classes)}",
                "filters",
            )
        plain = size == stride == convolution.integer("groups", 1, 1, MAX_CHANNELS) == 1 and padding == 0
        if not plain or convolution.integer("batch_normalize", 0, 0, 2):
            raise convolution.error("before [yolo], expected size=1, stride=1, no groups, padding or batch_normalize")
        xy_scale = yolo.number("scale_x_y", 1.0)
        if not 1 <= xy_scale <= MAX_XY_SCALE:
            raise yolo.error(f"scale_x_y={xy_scale:g}, must be in 1..{MAX_XY_SCALE}", "scale_x_y")
        wh = self.decoding(convolution, yolo)
        self.network.heads.append(
            FlatHead(
                source=self.previous(convolution),
                convolution=convolution,
                yolo=yolo,
                mask=tuple(mask),
                anchors=anchors,
                classes=classes,
                xy_scale=xy_scale,
                wh=wh,
            )
        )
        self.network.weight_order.append(self.network.heads[-1])

    def anchors(self, yolo: Section) -> tuple[tuple[float, float], ...]:
        values = yolo.numbers("anchors")
        if not values or len(values) % 2:
            raise yolo.error(f"anchors has {len(values)} numbers, expected pairs w,h", "anchors")
        wrong = next((value for value in values if not 0 < value <= MAX_ANCHOR), None)
        if wrong is not None:
            raise yolo.error(f"anchors has {wrong:g}, expected pixels above 0 and up to {MAX_ANCHOR:,}", "anchors")
        if len(values) > 2 * MAX_ANCHORS:
            raise yolo.error(f"anchors has {len(values) // 2:,} pairs, expected at most {MAX_ANCHORS:,}", "anchors")
        count = yolo.integer("num", len(values) // 2, 1, MAX_CHANNELS)
        if count != len(values) // 2:
            raise yolo.error(f"num={count}, but anchors has {len(values) // 2} pairs; expected the same", "num")
        return tuple(zip(values[::2], values[1::2], strict=True))

    def decoding(self, convolution: Section, yolo: Section) -> str:
        """`new_coords=1` reads values that went through `activation=logistic` in the convolution before."""
        activation = self.activation(convolution, "logistic")
        new = bool(yolo.integer("new_coords", 0, 0, 1))
        expected = "sigmoid" if new else "linear"
        if activation != expected:
            word = "logistic" if new else "linear"
            raise convolution.error(
                f"activation={convolution.values.get('activation', 'logistic')}, expected {word} "
                f"before a [yolo] with new_coords={int(new)}",
                "activation",
            )
        return "square" if new else "exp"
