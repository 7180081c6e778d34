"""What `--model` takes → `Model`: a name, a model file, a PyTorch checkpoint, or a Darknet cfg with its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, UsageError
from ..files import open_regular
from ..modelfile import SUFFIX, BatchNorm, Model, Preprocess
from ..zoo import OFFICIAL_WEIGHTS, default_names, file_sha256, find_model, known_models, recognise_weights

if TYPE_CHECKING:
    from ..darknet import DarknetNetwork

Reference = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class DarknetOptions:
    """What goes with a Darknet cfg, or with another description of a network.

    Attributes:
        weights: the weight file, or a PyTorch state dict.
        names: the class names' file, one a line.
        masks: anchor masks instead of the cfg's, as `1,2,3`.
        allow_extra: accept weights with floats left over.
    """

    weights: Reference | None = None
    names: Reference | None = None
    masks: str | None = None
    allow_extra: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, and what the user should be told about how it was read."""

    model: Model
    notes: list[str] = field(default_factory=list)


def load_model(reference: Reference, options: DarknetOptions = DarknetOptions()) -> Loaded:
    """Open a model by name or file; kinds are told by suffix, model files and checkpoints by content too.

    Args:
        reference: a name (`yolov3-tiny`; `yolov3` once it was pulled), a model file (`.safetensors`), a PyTorch
            checkpoint (`.pt`, `.pth`), a Darknet `.cfg` with `options.weights`, or whatever describes the network of
            a state dict (`.cfg`, `.yaml`, a family name) with that as `options.weights`.
        options: see `DarknetOptions`; `names` may also rename a model file's classes.

    Raises:
        ModelError: no such model, or it can't be used.
        UsageError: options that don't belong to it.
    """
    text = str(reference)
    suffix = Path(text).suffix.lower()
    if options.weights is not None and _is_checkpoint(options.weights):
        return load_checkpoint(options.weights, options, cfg=text)
    if suffix == ".cfg":
        return load_darknet(text, options)
    for option, value in (("--weights", options.weights), ("--masks", options.masks)):
        if value is not None:
            raise UsageError(f"{option} goes with a Darknet .cfg as the model, not with {text}")
    if suffix == SUFFIX or (find_model(text) is None and _is_model_file(text)):
        return Loaded(_renamed(Model.load(text), options.names))
    found = find_model(text)
    if found is not None:
        return Loaded(_renamed(Model.load(found, origin=text), options.names))
    if _is_checkpoint(text):
        return load_checkpoint(text, options)
    raise _no_such_model(text, suffix)


def _is_model_file(path: Reference) -> bool:
    """Whether a file starts as safetensors do, whatever it is called: the header's length, then JSON."""
    try:
        with open_regular(path) as file:
            start = file.read(10)
    except OSError:
        return False
    return start[8:] == b'{"' and int.from_bytes(start[:8], "little") < 1 << 32


def _is_checkpoint(path: Reference) -> bool:
    from ..checkpoints import SUFFIXES, is_checkpoint

    suffix = Path(path).suffix.lower()
    return suffix in SUFFIXES or (suffix != ".weights" and is_checkpoint(path))


def _no_such_model(text: str, suffix: str) -> ModelError | UsageError:
    from .exported import KINDS

    if suffix in KINDS:
        return UsageError(f"{text}: an exported network can be run and scored; give the model that it was made from")
    models = known_models()
    if any(text == model.name for model in models):
        return ModelError(f"{text}: not here yet; get it with: yolov3 pull {text}")
    if suffix == ".weights":
        return UsageError(f"{text}: weights alone don't say the network; give --model FILE.cfg --weights {text}")
    if suffix in (".yaml", ".yml"):
        return UsageError(
            f"{text}: describes a network without weights; give a trained model, or its state dict as --weights"
        )
    names = ", ".join(model.name for model in models)
    return ModelError(
        f"{text}: no such model; expected a name ({names}), a model file (*{SUFFIX}), a checkpoint (*.pt) or a "
        "Darknet .cfg"
    )


def load_checkpoint(path: Reference, options: DarknetOptions, *, cfg: str | None = None) -> Loaded:
    """A PyTorch checkpoint as a model; see `read_checkpoint`.

    Raises:
        ModelError: it can't be read or isn't supported.
        UsageError: masks, or a `cfg` where it has no say or is missing.
    """
    from ..checkpoints import read_checkpoint
    from ..darknet import read_names

    if options.masks is not None:
        raise UsageError(f"--masks goes with Darknet weights, not with {path}; change the masks in the cfg")
    names = None if options.names is None else read_names(options.names)
    model, notes = read_checkpoint(path, cfg=cfg, names=names)
    return Loaded(model, notes)


def _renamed(model: Model, names: Reference | None) -> Model:
    return model if names is None else replace(model, names=read_class_names(names, model.spec.nc, model.origin))


def read_class_names(path: Reference, count: int, origin: str) -> tuple[str, ...]:
    """Class names from a file, one for each class.

    Raises:
        ModelError: it can't be read, or holds another number of names.
    """
    from ..darknet import read_names

    names = read_names(path)
    if len(names) != count:
        raise ModelError(f"{path}: {len(names)} names, expected {count}, the classes of {origin}")
    return names


def load_darknet(cfg: Reference, options: DarknetOptions) -> Loaded:
    """A Darknet cfg and weights as a model, its batch normalisation as pjreddie's CPU code has it.

    Raises:
        ModelError: the files can't be read or don't fit each other.
        UsageError: no weights given.
    """
    from ..darknet import load_cfg

    if options.weights is None:
        raise UsageError(f"{cfg}: a Darknet cfg needs its weights; give --weights FILE")
    network = load_cfg(cfg, masks=options.masks)
    notes = list(network.notes)
    try:
        header, tensors, weight_notes = network.read_weights(options.weights, allow_extra=options.allow_extra)
    except ModelError as error:
        raise _naming_official(error, options.weights, network) from None
    digest, mask_notes = _identify(network, options)
    if options.names is None:
        names = default_names(network.spec.nc)
        if network.spec.nc != 80:
            notes.append(f"{cfg}: no --names given, classes are called {names[0]} to {names[-1]}")
    else:
        names = read_class_names(options.names, network.spec.nc, str(cfg))
    source = {
        "files": [
            {"name": Path(cfg).name, "sha256": file_sha256(cfg)},
            {"name": Path(options.weights).name, "sha256": digest},
        ],
        "darknet": {
            "major": header.major,
            "minor": header.minor,
            "revision": header.revision,
            "seen": header.seen,
            "cfg": network.text,
        },
    }
    model = Model(
        network.spec,
        tensors,
        names,
        network.size_wh,
        Preprocess(resize=network.resize),
        BatchNorm(),
        source,
        str(options.weights),
    )
    return Loaded(model, notes + weight_notes + mask_notes)


def _naming_official(error: ModelError, weights: Reference, network: DarknetNetwork) -> ModelError:
    """The same error; it says so where official weights were given for another network."""
    size = Path(weights).stat().st_size if Path(weights).is_file() else 0
    known = next((known for known in OFFICIAL_WEIGHTS if known.size == size), None)
    if known is None or size == 20 + 4 * sum(stored.convolution.stored_values for stored in network.order):
        return error
    return ModelError(f"{error}; by its size this is the official {known.name}.weights, give the cfg of {known.name}")


def _identify(network: DarknetNetwork, options: DarknetOptions) -> tuple[str, list[str]]:
    """The weights' hash; and a note when official weights stand under other masks than they were trained with."""
    assert options.weights is not None
    digest = file_sha256(options.weights)
    known = recognise_weights(Path(options.weights).stat().st_size, digest)
    if known is None:
        return digest, []
    masks = tuple(reversed(network.spec.anchors.masks))  # the cfg's order: large strides first
    if masks == known.masks:
        return digest, []
    only_small = masks[:-1] == known.masks[:-1]  # then `--masks` may leave the other heads out
    given, trained = (
        "/".join(",".join(map(str, mask)) for mask in (each[-1:] if only_small else each))
        for each in (masks, known.masks)
    )
    return digest, [
        f"{options.weights}: the official {known.name} weights, trained with masks {trained}, but the cfg says "
        f"{given}, which costs half their AP; give --masks {trained}"
    ]
