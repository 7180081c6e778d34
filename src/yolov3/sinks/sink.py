"""What every sink does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from ..runtime.pipeline import Result


class Sink(ABC):
    """Takes results one after the other, as a context manager.

    What it writes is whole when it is left without an error, and gone otherwise.

    Attributes:
        pixels: it looks at pictures, of which all pixels must be there.
    """

    pixels = False

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027 - most sinks keep nothing open
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""

    @abstractmethod
    def write(self, result: Result) -> None:
        """Take one result."""
