"""Where models with a name are: in the package, or in the user's cache folder once they were pulled."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .registry import OFFICIAL_WEIGHTS

BUNDLED = {"yolov3-tiny": Path(__file__).parent / "yolov3-tiny.safetensors"}
SUFFIX = ".safetensors"


def cache_folder() -> Path:
    """The user's folder for pulled models: `$XDG_CACHE_HOME/yolov3`, else the platform's usual place."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / "yolov3"
    platform: str = sys.platform
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "yolov3" / "Cache"
    return Path.home() / ("Library/Caches" if platform == "darwin" else ".cache") / "yolov3"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model with a name.

    Attributes:
        name: what `--model` takes.
        state: "bundled", "pulled", or "known" (not here; `yolov3 pull` gets it).
        path: the model file, where it is or would be.
        size: bytes of the model file; of the download when it isn't here.
    """

    name: str
    state: str
    path: Path
    size: int


def pulled_path(name: str) -> Path:
    """Where a pulled model is kept."""
    return cache_folder() / f"{name}{SUFFIX}"


def find_model(name: str) -> Path | None:
    """The model file of a name: the pulled one, which has float32 weights, before the bundled one; None if not here."""
    known = name in BUNDLED or any(name == weights.name for weights in OFFICIAL_WEIGHTS)
    if known and pulled_path(name).is_file():
        return pulled_path(name)
    return BUNDLED.get(name)


def known_models() -> list[KnownModel]:
    """Every model with a name, and whether it is here."""
    models = []
    for weights in OFFICIAL_WEIGHTS:
        path = find_model(weights.name)
        if path is None:
            models.append(KnownModel(weights.name, "known", pulled_path(weights.name), weights.size))
        else:
            state = "bundled" if path == BUNDLED.get(weights.name) else "pulled"
            models.append(KnownModel(weights.name, state, path, path.stat().st_size))
    return models
