"""Whatever stands in a checkpoint of the right outward form, it becomes a model or one line that says why not."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darknet.family import family_text
from darknet.writer import weight_bytes
from yolov3.checkpoints import read_checkpoint
from yolov3.errors import Yolov3Error

from .networks import Builder, foreign_model
from .test_statedict import foreign_tensors
from .writer import Call, Checkpoint, Global, View, write_checkpoint, write_zip

modest = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
NETWORK = {"model": Builder(foreign_model()).network(), "epoch": 3, "opt": {"imgsz": 416}}
TINY = family_text("yolov3-tiny", divide=16, width=96, height=96)
STATE_DICT = {"model": foreign_tensors(TINY, weight_bytes(TINY), "PyTorch-YOLOv3")}

NESTED: tuple = ()
for _ in range(50):
    NESTED = (NESTED,)
VALUES = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 2**31, 2**62, -(2**62), 0.0, -1.5, float("nan"), float("inf"), 1e300),
        *("", "Conv", "nn.Upsample", "\x1b[31m", "a\nb", "\ud800", "x" * 5000, "1e400", "0x10"),
        *([], [[]], [0], [1, 2, 3, 4], {}, {"a": 1}, (), (1, 1), (1, [2]), NESTED),
        *(
            Global("a.b"),
            Call(Global("a.b"), ([],)),
            Call(Global("a.b"), (), True, {}),
            Call(Global("a.b"), (), True, 7),
        ),
        *(np.zeros(()), np.zeros(0), np.full((2, 2, 2), np.nan), np.zeros((1, 3, 3, 3), np.int64)),
        np.zeros(8, np.float16),
        View(np.zeros(3, np.float32), 2, (9,), (9,)),
        View(np.zeros(3, np.float32), 0, (8,), (0,)),
        View(np.zeros(8, np.float32), 0, (8,), (1,), "ComplexStorage"),
    ]
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place of a value where something else could stand."""
    found = [path]
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif isinstance(value, Call):
        parts = [("args", value.args), ("state", value.state)]
    else:
        parts = []
    for key, part in parts:
        found += places(part, (*path, key))
    return found


def replaced(value: object, path: tuple, junk: object) -> object:
    if not path:
        return junk
    key, *rest = path
    if isinstance(value, Call):
        part = replaced(getattr(value, key), tuple(rest), junk)
        return Call(value.function, **{"args": value.args, "new": value.new, "state": value.state, key: part})
    if isinstance(value, tuple):
        return tuple(replaced(part, tuple(rest), junk) if place == key else part for place, part in enumerate(value))
    changed = copy.copy(value)
    changed[key] = replaced(value[key], tuple(rest), junk)  # type: ignore[index]
    return changed


PLACES = {"network": places(NETWORK), "state dict": places(STATE_DICT)}


def assert_sound(path: Path, cfg: Path | None) -> None:
    try:
        model, notes = read_checkpoint(path, cfg=cfg)
    except Yolov3Error as error:
        message = str(error)
        assert message.startswith(str(path.parent)) and message.isprintable() and len(message) < 1000
        return
    assert {name: array.shape for name, array in model.tensors.items()} == model.spec.network.tensor_shapes()
    assert all(np.isfinite(array).all() for array in model.tensors.values())
    assert all(note.isprintable() for note in notes)
    model.save(path.with_suffix(".safetensors"))


@modest
@given(
    kind=st.sampled_from(["network", "state dict"]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=3),
)
def test_other_values_anywhere(kind: str, changes: list[tuple[int, object]], tmp_path: Path) -> None:
    value: object = NETWORK if kind == "network" else STATE_DICT
    found = PLACES[kind]
    for place, junk in changes:
        path = found[place % len(found)]
        value = replaced(value, path, junk)
        found = places(value)
    (tmp_path / "net.cfg").write_text(TINY)
    write_checkpoint(tmp_path / "x.pt", value)
    assert_sound(tmp_path / "x.pt", None if kind == "network" else tmp_path / "net.cfg")


@modest
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=3)
)
def test_other_bytes_in_the_pickle(edits: list[tuple[int, bytes, int]], tmp_path: Path) -> None:
    checkpoint = Checkpoint()
    data = checkpoint.pickle(NETWORK)
    for place, junk, cut in edits:
        place %= len(data) + 1
        data = data[:place] + junk + data[place + cut :]
    entries = {"data.pkl": data} | {f"data/{key}": values for key, values in enumerate(checkpoint.storages)}
    assert_sound(write_zip(tmp_path / "x.pt", entries), None)
