"""Where pictures come from: files, folders, patterns, lists, standard input, videos, cameras. Never the network."""

from __future__ import annotations

from .frame import Frame, Unread
from .stream import SourceStream, open_sources

__all__ = ["Frame", "SourceStream", "Unread", "open_sources"]
