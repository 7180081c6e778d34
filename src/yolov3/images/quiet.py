"""Keeping the decoders' own messages off the user's terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """While inside, what C libraries write to standard error is dropped; Python's `sys.stderr` goes on as before.

    libjpeg, libpng, OpenCV and FFmpeg report damaged files on the process's standard error, in words of their own and
    without the file's name. That stream belongs to the whole process, so this is for a program's main function, not
    for a library call. It does nothing where standard error is closed or replaced.
    """
    stderr = sys.stderr
    try:
        native = stderr.fileno()
    except (AttributeError, OSError, io.UnsupportedOperation):
        yield
        return
    stderr.flush()
    kept = os.dup(native)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, native)
    os.close(void)
    sys.stderr = os.fdopen(kept, "w", encoding=stderr.encoding, errors=stderr.errors, buffering=1)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os.dup2(kept, native)
        sys.stderr.close()
        sys.stderr = stderr
