"""Interlaced video, which OpenCV from 4.13 on says it gives but doesn't.

Its FFmpeg refuses to convert a frame marked as interlaced; OpenCV ignores that and gives whatever its buffer held: the
frame before, or nothing meaningful. The refusal is only ever written to its log.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import cv2

from ..geometry import UInt8Array

AFFECTED = tuple(int(part) for part in cv2.__version__.split(".")[:2]) >= (4, 13)

_PROBE = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
for _ in range(int(sys.argv[2])):
    capture.grab()
capture.retrieve()
"""
_REFUSAL = b"Cannot convert interlaced"
_PATIENCE = 300.0


def suspicious(image: UInt8Array, before: UInt8Array | None) -> bool:
    """Whether a frame may be an old buffer: it is the frame before to the byte, or there is none to compare with."""
    if before is None:
        return True
    return image.shape == before.shape and image[::17].tobytes() == before[::17].tobytes() and (image == before).all()


def refused_as_interlaced(address: str, attempts: int, environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether FFmpeg refuses to convert the frame behind so many attempts to decode one, asked in a new process.

    Args:
        address: the video, as OpenCV takes it.
        attempts: frames to decode, from 1.
        environment: what holds FFmpeg to this file, for the new process.
        descriptor: the open file, which `address` may go by.
    """
    command = [sys.executable, "-P", "-c", _PROBE, address, str(attempts)]
    try:
        probe = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=[descriptor] if os.name == "posix" else (),
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return _REFUSAL in probe.stdout
