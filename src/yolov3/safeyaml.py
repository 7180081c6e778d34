"""YAML from strangers: plain values and the line each came from; nothing in the file can run or blow up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from .errors import Yolov3Error, shown

MAX_BYTES = 4 << 20
MAX_DEPTH = 20

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A parsed file: its plain `value` and, for every key and list item, the line (from 1) where it stands."""

    value: Any
    lines: dict[Path, int]

    def line(self, *path: str | int) -> int:
        """The line of the entry at `path`, or of the nearest one around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse_yaml(text: str, name: str, error: type[Yolov3Error], *, max_bytes: int = MAX_BYTES) -> YamlDocument:
    """Read one YAML document of plain values: mappings, lists, strings, numbers, booleans, null.

    Aliases and anchors (`&`, `*`), tags (`!!python/…`), duplicate keys and deep nesting are refused.

    Args:
        text: the file's text.
        name: what the error calls the file.
        error: the class to raise, `ModelError` or `DataError`.
        max_bytes: the most characters that are parsed.
    """
    if len(text) > max_bytes:
        raise error(f"{name}: {len(text):,} characters, expected at most {max_bytes:,}")
    try:
        node = _Composer(_plain_events(text, name, error)).get_single_node()
        reader = _Reader(name, error)
        value = None if node is None else reader.read(node, ())
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line = mark.line + 1 if mark else 1
        raise error(f"{name}:{line}: not valid YAML: {problem.problem or problem.context}") from None
    except yaml.YAMLError as problem:
        raise error(f"{name}: not valid YAML: {' '.join(str(problem).split())}") from None
    except RecursionError:
        raise error(f"{name}: nested too deeply, expected at most {MAX_DEPTH} levels") from None
    return YamlDocument(value, reader.lines)


def _plain_events(text: str, name: str, error: type[Yolov3Error]) -> Iterator[yaml.Event]:
    """What the parser finds, as long as it is plain."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise error(f"{name}:{line}: YAML anchors and aliases (& and *) are not accepted; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and tag.startswith("tag:yaml.org,2002:python"):
            raise error(f"{name}:{line}: Python objects are not accepted, expected plain values")
        if tag is not None:  # YAML's own too: PyYAML stumbles over `!!bool maybe`
            tag = shown(tag.replace("tag:yaml.org,2002:", "!!")).strip("'")
            raise error(f"{name}:{line}: the tag {tag} is not accepted, expected plain values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise error(f"{name}:{line}: nested too deeply, expected at most {MAX_DEPTH} levels")
        yield event


class _Composer(Composer, Resolver):
    """PyYAML's nodes from events that are parsed once, and checked before."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        Composer.__init__(self)
        Resolver.__init__(self)
        self._events = events
        self._next: yaml.Event | None = None

    def peek_event(self) -> yaml.Event | None:
        """The next event; None behind the last."""
        if self._next is None:
            self._next = next(self._events, None)
        return self._next

    def get_event(self) -> yaml.Event | None:
        """The next event, taken."""
        event, self._next = self.peek_event(), None
        return event

    def check_event(self, *kinds: type[yaml.Event]) -> bool:
        """Whether the next event is of one of these kinds."""
        return isinstance(self.peek_event(), kinds)


class _Reader:
    """Turns the node tree into plain values and notes where each came from."""

    def __init__(self, name: str, error: type[Yolov3Error]) -> None:
        self.name = name
        self.error = error
        self.lines: dict[Path, int] = {}
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node)
        except ValueError as problem:  # a 99th month, a number of thousands of digits
            line = node.start_mark.line + 1
            raise self.error(f"{self.name}:{line}: {shown(node.value)} can't be read: {problem}") from None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(f"{self.name}:{line}: a key must be a plain word or number")
            key = self._scalar(key_node)
            if key in result:
                raise self.error(f"{self.name}:{line}: the key {shown(key)} stands here for the second time")
            self.lines[(*path, key)] = line
            result[key] = self.read(value_node, (*path, key))
        return result
