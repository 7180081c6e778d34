"""Everything that a training needs to go on as if it had never stopped, in one file of tensors and JSON."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError, Yolov3Error
from ..files import atomic_path

FORMAT = 1
METADATA_KEY = "yolov3-training"
MAX_HEADER = 64 << 20


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        tensors: by name: `network/…`, `average/…`, `optimiser/…`, `random/…`.
        state: the rest, JSON-ready.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `name/`, without that."""
        return {
            key.removeprefix(f"{name}/"): value for key, value in self.tensors.items() if key.startswith(f"{name}/")
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all; an older one stays until then.

        Raises:
            Yolov3Error: it can't be written; the message says how much room it takes.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        metadata = {METADATA_KEY: json.dumps({"format": FORMAT, **self.state}, sort_keys=True)}
        try:
            with atomic_path(path) as temporary:
                save_file(_owned(self.tensors), temporary, metadata=metadata)
        except (SafetensorError, Yolov3Error) as error:
            size = sum(value.nbytes for value in self.tensors.values()) / 1e6
            reason = " ".join(str(error).split())
            raise Yolov3Error(
                f"{path}: the checkpoint can't be written ({reason}); it needs {size:.0f} MB there; the one before "
                "it is whole"
            ) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Checkpoint:
        """Read the file.

        Raises:
            ModelError: it isn't there, isn't a checkpoint, is damaged or of a newer format.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(METADATA_KEY)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
            raise ModelError(f"{path}: can't be read as a checkpoint ({reason})") from None
        try:
            state = json.loads(text or "null")
        except (ValueError, RecursionError):
            state = None
        if not isinstance(state, dict) or not isinstance(state.get("format"), int):
            raise ModelError(f"{path}: not a checkpoint of a training")
        if state["format"] != FORMAT:
            raise ModelError(f"{path}: format {state['format']}, this package reads {FORMAT}; update yolov3")
        return cls(tensors, state)


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}


def seed_everything(seed: int) -> None:
    """Set the global random states of PyTorch, Python and NumPy, from which a training itself draws nothing.

    Its order, pictures and first weights come from generators of their own. But what somebody adds may draw from
    these, so they begin alike and go into every checkpoint.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def random_states() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The global random states of PyTorch (tensors), and of Python and NumPy (JSON-ready)."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{place}": state for place, state in enumerate(torch.cuda.get_rng_state_all())}
    numpy_state = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    version, numbers, gauss = random.getstate()
    return tensors, {"python": [version, list(numbers), gauss], "numpy": numpy_state}


def restore_random_states(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Set all of them back to `random_states`."""
    torch.set_rng_state(tensors["cpu"])
    cuda = [tensors[name] for name in sorted(tensors) if name.startswith("cuda")]
    if cuda and torch.cuda.device_count() == len(cuda):
        torch.cuda.set_rng_state_all(cuda)
    numpy_state = state["numpy"]
    key = np.array(numpy_state["state"]["key"], np.uint32)
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": key}})
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
