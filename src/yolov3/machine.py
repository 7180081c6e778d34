"""The machine that this runs on."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """The processor, as the system calls it."""
    return _cpuinfo("model name", "Model") or platform.processor() or platform.machine() or "unknown processor"


def processor_identity() -> list[str]:
    """What compiled code depends on: in clouds different processors go by one name, but not with the same features."""
    return [platform.machine(), processor_name(), _cpuinfo("flags", "Features")]


def has_bfloat16_units() -> bool | None:
    """Whether the processor multiplies bfloat16 itself; in software it is many times slower. None: nobody says."""
    features = _cpuinfo("flags", "Features").split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(features) if features else None


def _cpuinfo(*fields: str) -> str:
    """The first of these fields in Linux's list of processors; "" where there is none."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            field, _, value = line.partition(":")
            if field.strip() in fields:
                return value.strip()
    return ""
