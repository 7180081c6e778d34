"""data.yaml: which classes there are and where the pictures of each split stand.

Read as plain values only. Nothing in it is run, downloaded or expanded: `download:`, `$HOME` and `${X}` are just text.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...images import display_name
from ...safeyaml import YamlDocument, parse_yaml
from ..dataset import SPLITS
from ..pictures import is_folder, read_text
from ..problems import Problem, ProblemError, problem_of, quote

MAX_YAML_BYTES = 1 << 19
MAX_NAMES = 100_000

KEYS = ("path", *SPLITS, "names", "nc", "classes", "download")
"""The keys of data.yaml that mean something here."""

_OTHER_TOOLS_KEYS = frozenset(
    {"author", "channels", "date", "description", "flip_idx", "kpt_shape", "license", "roboflow", "url", "version"}
)


@dataclass(slots=True)
class YoloConfig:
    """What a data.yaml says.

    Attributes:
        file: the data.yaml.
        names: the class names.
        root: the folder from which paths count.
        entries: for each split the folders and lists it names, with the line of each.
        classes: new names of classes; None drops one.
        problems: what was found wrong.
    """

    file: Path
    document: YamlDocument
    problems: list[Problem] = field(default_factory=list)
    names: tuple[str, ...] = ()
    root: Path = Path()
    entries: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    classes: dict[str, str | None] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        return self.document.value.get(key)

    def note(self, code: str, message: str, *place: str | int) -> None:
        """Report a problem at the line of a key or list item."""
        self.problems.append(Problem(code, self.file, message, self.document.line(*place)))


def read_config(path: Path) -> YoloConfig:
    """Read a data.yaml; what is wrong with its entries is noted in the result's `problems`.

    Raises:
        ProblemError: it isn't a mapping of plain values, so that there is nothing to go on.
    """
    text = read_text(path, MAX_YAML_BYTES)
    try:
        document = parse_yaml(text, display_name(path), DataError, max_bytes=MAX_YAML_BYTES)
    except DataError as error:
        raise ProblemError(problem_of("description", path, error)) from error
    if not isinstance(document.value, dict):
        words = f"{_kind(document.value)}, expected keys like train, val and names"
        raise ProblemError(Problem("description", path, words, 1))
    config = YoloConfig(path, document)
    _check_keys(config)
    config.names = _names(config)
    config.root = _root(config)
    config.entries = {split: _entries(config, split) for split in SPLITS if config.value(split) is not None}
    if not config.entries:
        config.note("split-missing", "no split, expected train, val or test with a folder or list of pictures")
    config.classes = _classes(config)
    return config


def _kind(value: object) -> str:
    """A YAML value's type in a user's words, with the value where it is short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a bare yes, no, on or off is a truth value in YAML: quote it)"
    if isinstance(value, (int, float, str)):
        return f"the {'word' if isinstance(value, str) else 'number'} {quote(value)}"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"a {type(value).__name__}"


def _check_keys(config: YoloConfig) -> None:
    for key in config.document.value:
        near = difflib.get_close_matches(str(key), KEYS, 1, 0.7)
        if key == "download":
            config.note("download-ignored", "`download` is never followed: fetch the data yourself", key)
        elif key in KEYS:
            continue
        elif near and key not in _OTHER_TOOLS_KEYS:
            config.note("unknown-key", f"unknown key {quote(key)}, expected {near[0]}: correct it", key)
        else:
            config.note("extra-key", f"the key {quote(key)} isn't used", key)


def _names(config: YoloConfig) -> tuple[str, ...]:
    """The class names, in order. What is wrong with them is noted, and they are made usable all the same."""
    value = config.value("names")
    if isinstance(value, dict):
        value = _in_order(config, value)
    if not isinstance(value, list) or not value:
        words = f"{_kind(value) if value else 'no class names'}, expected a list, or a mapping like 0: person"
        config.note("names", f"names: {words}", "names")
        return _names_by_count(config)
    if len(value) > MAX_NAMES:
        config.note("names", f"names: {len(value):,} names, expected at most {MAX_NAMES:,}", "names")
        return ()
    names = tuple(_name(config, index, name) for index, name in enumerate(value))
    _check_repeats(config, names)
    _check_count(config, len(names))
    return names


def _in_order(config: YoloConfig, names: dict[Any, Any]) -> list[Any]:
    """The names of a mapping from index to name."""
    keys = [key for key in names if type(key) is int]
    if sorted(keys) != list(range(len(names))):
        found = ", ".join(str(key) for key in list(names)[:5]) + (", …" if len(names) > 5 else "")
        words = f"names: the keys {quote(found, 80)}, expected the numbers 0 to {len(names) - 1} without gaps"
        config.note("names", words, "names")
        return list(names.values())
    return [names[key] for key in sorted(keys)]


def _name(config: YoloConfig, index: int, name: object) -> str:
    if isinstance(name, str) and name.strip() and name.isprintable():
        return name
    found = "an empty or unprintable name" if isinstance(name, str) else _kind(name)
    words = f"names: class {index} is {found}, expected a word: write it in quotes"
    config.note("names", words, "names", index)
    return f"class_{index}"


def _check_repeats(config: YoloConfig, names: tuple[str, ...]) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if (first := seen.setdefault(name, index)) != index:
            words = f"names: {quote(name)} is class {first} and {index}, expected different names: rename one"
            config.note("names", words, "names", index)


def _names_by_count(config: YoloConfig) -> tuple[str, ...]:
    """Names to check the labels with, where only `nc` says how many there are."""
    count = config.value("nc")
    usable = type(count) is int and 0 < count <= MAX_NAMES
    return tuple(f"class_{index}" for index in range(count)) if usable else ()


def _check_count(config: YoloConfig, count: int) -> None:
    stated = config.value("nc")
    if stated is None:
        return
    if type(stated) is not int:
        config.note("wrong-type", f"nc: {_kind(stated)}, expected {count}: correct it or take it out", "nc")
    elif stated != count:
        words = f"nc: {stated}, but names has {count}: correct one (`nc` may be left out)"
        config.note("names", words, "nc")


def _root(config: YoloConfig) -> Path:
    """The folder from which the splits' paths count."""
    here = config.file.parent
    value = config.value("path")
    if value is None or value == "":
        return here
    if not isinstance(value, str) or "\0" in value:
        config.note("wrong-type", f"path: {_kind(value)}, expected a folder", "path")
        return here
    root = here / value
    if is_folder(root):
        return root
    words = f"path: {quote(value, 200)} isn't a folder seen from here: the file's own folder is taken"
    config.note("root-missing", words, "path")
    return here


def _entries(config: YoloConfig, split: str) -> list[tuple[str, int]]:
    """The folders and lists that a split names, each with its line."""
    value = config.value(split)
    items = value if isinstance(value, list) else [value]
    entries = []
    for index, item in enumerate(items):
        place = (split, index) if isinstance(value, list) else (split,)
        if isinstance(item, str) and item and "\0" not in item:
            entries.append((item, config.document.line(*place)))
        else:
            config.note("wrong-type", f"{split}: {_kind(item)}, expected a folder or a list of pictures", *place)
    return entries


def _classes(config: YoloConfig) -> dict[str, str | None]:
    """`classes:`, from a class's name or index to its new name, or to nothing to drop it."""
    value = config.value("classes")
    if value is None:
        return {}
    if not isinstance(value, dict):
        config.note("remap", f"classes: {_kind(value)}, expected a mapping like car: vehicle", "classes")
        return {}
    classes: dict[str, str | None] = {}
    for key, target in value.items():
        if type(key) is int and 0 <= key < len(config.names):
            old: object = config.names[key]
        else:
            old = key
        if not isinstance(old, str) or old not in config.names:
            near = difflib.get_close_matches(str(old), config.names, 1)
            hint = f": did you mean {quote(near[0])}?" if near else ""
            config.note("remap", f"classes: no class {quote(old)} in names{hint}", "classes", key)
        elif target is not None and not (isinstance(target, str) and target.strip() and target.isprintable()):
            words = f"classes: {quote(old)} becomes {_kind(target)}, expected a name, or nothing (~) to drop it"
            config.note("remap", words, "classes", key)
        else:
            classes[old] = target
    return classes
