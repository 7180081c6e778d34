"""An official weight file → a model, without its cfg: the networks ship with the package."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..darknet import import_cfg
from ..darknet.backbone import darknet_padding
from ..darknet.emitting import emit_cfg
from ..modelfile import Model
from ..spec import FAMILY, Anchors, Spec
from ..spec.reading import family_spec
from .coco import COCO_NAMES
from .registry import OfficialWeights


def official_spec(known: OfficialWeights) -> Spec:
    """The network that official weights belong to: the family's, padded as Darknet pads, with the trained masks."""
    spec = darknet_padding(family_spec(known.name))
    return replace(spec, anchors=Anchors(spec.anchors.pool, tuple(reversed(known.masks))))


def read_official(known: OfficialWeights, path: str | os.PathLike[str]) -> Model:
    """A model from an official weight file.

    Raises:
        ModelError: the file isn't that.
    """
    side = FAMILY[known.name]
    text, _ = emit_cfg(official_spec(known), (side, side), "letterbox")
    network = import_cfg(text, f"{known.name}.cfg")
    header, tensors, _ = network.read_weights(path)
    source = {
        "files": [{"name": f"{known.name}.weights", "sha256": known.sha256}],
        "darknet": {
            "major": header.major,
            "minor": header.minor,
            "revision": header.revision,
            "seen": header.seen,
            "cfg": text,
        },
    }
    return Model(network.spec, tensors, COCO_NAMES, network.size_wh, source=source, origin=Path(path).name)
