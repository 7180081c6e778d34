"""The options that say how training pictures are changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .options import together

if TYPE_CHECKING:
    from ..training.augment import AugmentSettings

options = together(
    click.option("--augment", metavar="NAME", help="modern, darknet or none; default the recipe's."),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change augmentation: --set mosaic=0.5"),
)


def settings(name: str, changes: Sequence[str]) -> AugmentSettings:
    """The preset of that name with `--set`'s changes.

    Raises:
        UsageError: an unknown name or key, or a value that can't be meant.
    """
    from dataclasses import fields

    from ..errors import UsageError
    from ..safeyaml import parse_yaml
    from ..training.augment import PRESETS, AugmentSettings

    if name not in PRESETS:
        raise UsageError(f"--augment {name}: expected one of {', '.join(PRESETS)}")
    values = PRESETS[name].to_dict()
    known = [field.name for field in fields(AugmentSettings)]
    for change in changes:
        key, _, text = change.partition("=")
        if key not in known or not text:
            raise UsageError(f"--set {change}: expected KEY=VALUE with a key of {', '.join(known)}")
        values[key] = parse_yaml(text, f"--set {key}", UsageError).value
    return AugmentSettings(**values)
