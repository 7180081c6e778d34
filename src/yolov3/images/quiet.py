"""Keeping the decoders' own messages off the user's terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_STANDARD_ERROR = 2


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """While inside, what C libraries write to standard error is dropped; Python's `sys.stderr` goes on as before.

    libjpeg, libpng, OpenCV and FFmpeg report damaged files on the process's standard error, in words of their own and
    without the file's name. That stream belongs to the whole process, so this is for a program's main function, not
    for a library call. It does nothing where standard error is closed.
    """
    stderr = sys.stderr
    try:
        kept = os.dup(_STANDARD_ERROR)
    except OSError:
        yield
        return
    if _is_standard_error(stderr):
        stderr.flush()
        sys.stderr = os.fdopen(os.dup(kept), "w", encoding=stderr.encoding, errors=stderr.errors, buffering=1)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, _STANDARD_ERROR)
    os.close(void)
    try:
        yield
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        if sys.stderr is not stderr:
            with suppress(OSError):
                sys.stderr.close()
            sys.stderr = stderr


def _is_standard_error(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == _STANDARD_ERROR
    except (OSError, ValueError):
        return False
