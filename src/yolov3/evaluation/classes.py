"""Which of the dataset's classes each of the model's classes is: by name, then by the published alias table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..zoo.coco import COCO_ALIASES


@dataclass(frozen=True, slots=True, eq=False)
class ClassMap:
    """The model's classes in the dataset's terms.

    Attributes:
        to_dataset: int64 (model's classes,): the dataset's label, or −1 for a class that the dataset doesn't have.
        notes: what the user should know, a line each.
    """

    to_dataset: NDArray[np.int64]
    notes: tuple[str, ...]


def match_classes(
    model_names: Sequence[str],
    dataset_names: Sequence[str],
    objects: Sequence[int] | NDArray[np.int64],
    aliases: Mapping[str, str] = COCO_ALIASES,
) -> ClassMap:
    """Match names exactly, then by alias (either side may use the alias).

    Args:
        model_names: the model's class names.
        dataset_names: the dataset's.
        objects: how many objects the dataset has of each of its classes.
        aliases: another spelling → COCO's own.

    Raises:
        DataError: the dataset has objects of a class that the model doesn't know.
    """
    labels = {name: label for label, name in enumerate(dataset_names)}
    own = set(model_names)
    by_meaning = {aliases.get(name, name): label for name, label in labels.items() if name not in own}
    found = [labels.get(name, by_meaning.get(aliases.get(name, name), -1)) for name in model_names]
    missing = sorted(set(labels.values()) - set(found))
    lost = [label for label in missing if objects[label]]
    if lost:
        raise DataError(_unmatched([dataset_names[label] for label in lost], model_names))
    notes = []
    if missing:
        words = _listed([dataset_names[label] for label in missing])
        notes.append(f"the model doesn't know {words}, of which the dataset has no object: not scored")
    left_out = [name for name, label in zip(model_names, found, strict=True) if label < 0]
    if left_out:
        words = _listed(left_out)
        notes.append(f"the dataset doesn't have {words}: what the model finds of that is left out")
    return ClassMap(np.array(found, np.int64), tuple(notes))


def _unmatched(names: Sequence[str], model_names: Sequence[str]) -> str:
    near = difflib.get_close_matches(names[0], model_names, 1)
    hint = f"did the model's {near[0]!r} mean that? " if near else ""
    return (
        f"the dataset has objects of {_listed(names)}, which the model doesn't know: {hint}"
        f"give names that match (--names, or classes: in data.yaml)"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more classes" if len(names) > 5 else shown
