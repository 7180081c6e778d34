"""Pickles are read, never run."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3.checkpoints import unpickle
from yolov3.checkpoints.unpickle import read_pickle
from yolov3.checkpoints.values import Inert, Name, Tensor
from yolov3.errors import ModelError

from .canaries import canaries
from .writer import Call, Checkpoint, Global

modest = settings(deadline=None, max_examples=200)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**60), 2**60), inner, max_size=4)
        | st.sets(st.text() | st.integers(0, 99), max_size=4)
        | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=20,
)


@modest
@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_what_pickle_gives(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    if protocol < 3 and (b"_codecs" in data or b"\nbytes\n" in data):
        return  # bytes as a call, which stays a call
    assert read_pickle(data, "x") == pickle.loads(data)


def test_shared_and_recursive_values() -> None:
    inner: list[object] = [1]
    value: list[object] = [inner, inner]
    value.append(value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = read_pickle(pickle.dumps(value, protocol), "x")
        assert isinstance(found, list)
        assert found[0] is found[1] and found[2] is found


def test_other_containers() -> None:
    assert read_pickle(pickle.dumps(defaultdict(list, {"a": [1]})), "x") == {"a": [1]}
    assert read_pickle(pickle.dumps(frozenset({1, 2})), "x") == {1, 2}
    pairs = b"ccollections\nOrderedDict\n" + Checkpoint().emit(([["a", 1], ("b", 2)],)) + b"R."
    assert read_pickle(pairs, "x") == {"a": 1, "b": 2}


def test_everything_else_is_inert() -> None:
    """Classes, functions and their results keep their names, arguments and state."""
    made = Call(Global("models.yolo.Model"), (1, "two"), True, {"nc": 80})
    value = read_pickle(Checkpoint().pickle({"model": made, "class": Global("torch.float16")}), "x")
    assert isinstance(value, dict)
    model = value["model"]
    assert isinstance(model, Inert)
    assert (model.name, model.args, model.state) == (Name("models.yolo", "Model"), (1, "two"), {"nc": 80})
    assert value["class"] == Name("torch", "float16")


def test_items_of_an_inert_object_are_dropped() -> None:
    made = Checkpoint().emit(Call(Global("torch.nn.ParameterList"), (), True))
    value = read_pickle(b"\x80\x02" + made + b"(K\x01K\x02e(K\x01K\x02u(K\x01\x90.", "x")
    assert isinstance(value, Inert)


def test_python_2_objects() -> None:
    reconstructed = Call(Global("copy_reg._reconstructor"), (Global("a.B"), Global("__builtin__.object"), None))
    value = read_pickle(Checkpoint().pickle(reconstructed), "x")
    assert isinstance(value, Inert)
    assert str(value.name) == "a.B"


def test_harmless_names_of_the_standard_library_are_accepted(tmp_path: Path) -> None:
    import argparse
    import datetime
    import pathlib

    options = argparse.Namespace(imgsz=640, project=pathlib.PurePosixPath("runs"), at=datetime.datetime(2021, 1, 2))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        value = read_pickle(pickle.dumps(options, protocol), "x")
        assert isinstance(value, Inert)
        assert isinstance(value.state, dict)
        assert value.state["imgsz"] == 640


@pytest.mark.parametrize("name", sorted(canaries(Path("/tmp/none"))))
def test_fault_19_canaries_are_refused_by_name(name: str, tmp_path: Path) -> None:
    target = tmp_path / "canary"
    with pytest.raises(ModelError, match=r"x: its pickle names [\w.]+, which has no place in a model"):
        read_pickle(canaries(target)[name], "x")
    assert not target.exists()


def test_the_canaries_sing(tmp_path: Path) -> None:
    """They do what they say when pickle loads them, so that their silence means something."""
    target = tmp_path / "canary"
    pickles = canaries(target)
    for name in ("os.system, protocol 2", "eval, protocol 4", "inst", "obj", "in a checkpoint", "dropped"):
        pickle.loads(pickles[name])
        assert target.exists(), name
        target.unlink()


def test_other_peoples_functions_are_inert(tmp_path: Path) -> None:
    """What no name in the standard library gives away does nothing either."""
    target = tmp_path / "canary"
    call = Call(Global("numpy.testing._private.utils.runstring"), (f"open({str(target)!r}, 'w')", {}))
    assert isinstance(read_pickle(Checkpoint().pickle(call), "x"), Inert)
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", r"damaged \(pickle exhausted before seeing STOP\)"),
        (b".", "damaged"),
        (b"\xff.", "damaged"),
        (b"N", "damaged"),
        (b"0.", "a mark is missing"),
        (b"e.", "a mark is missing"),
        (b"h\x05.", "nothing is stored under 5"),
        (b"q\x00.", "damaged"),
        (b"N(K\x01e.", "appends to a NoneType"),
        (b"N(K\x01K\x02u.", "sets items of a NoneType"),
        (b"N(K\x01\x90.", "adds to a NoneType"),
        (b"}(K\x01u.", "a key without its value"),
        (b"}]K\x01s.", "a list as a key"),
        (b"K\x01)R.", "calls a int, expected a class by name"),
        (b"ctorch\nx\n)R)R.", "calls a Inert, expected"),
        (b"(o.", "damaged"),
        (b"K\x01K\x02\x93.", "a name that is not text"),
        (b"\x82\x01.", "uses EXT1, which no checkpoint needs"),
        (b"\x97.", "uses NEXT_BUFFER"),
        (b"P1\n.", "uses PERSID"),
        (b"K\x01Q.", "a reference that is not to a storage"),
        (b"K\x01\x85\x94R.", "damaged"),
        (b"X\xff\xff\xff\xff.", "damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
        (b"X\x02\x00\x00\x00\xff\xfe.", "damaged"),
        (Checkpoint().pickle(Call(Global("collections.OrderedDict"), ([1],))), "not made of pairs"),
        (Checkpoint().pickle(Call(Global("builtins.set"), (1,))), "not made of a list"),
    ],
)
def test_damaged_pickles(data: bytes, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        read_pickle(data, "x")


def test_messages_show_no_control_characters() -> None:
    data = b"\x80\x04\x8c\x0aos\x1b[31m\nhi\x8c\x01x\x93."
    value = read_pickle(data, "x")
    assert str(value).isprintable()
    with pytest.raises(ModelError) as caught:
        read_pickle(b"\x80\x04\x8c\x02os\x8c\x06\x1b[31m\n\x93.", "x")
    assert str(caught.value).isprintable()


# --- what could take forever or the whole memory ---------------------------------------------------------------------


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"has 16,777,217 bytes, expected at most 16,777,216"):
        read_pickle(bytes(unpickle.MAX_BYTES + 1), "x")
    monkeypatch.setattr(unpickle, "MAX_OPERATIONS", 1000)
    with pytest.raises(ModelError, match="more than 1,000 operations"):
        read_pickle(b"N0" * 1000 + b"N.", "x")


def test_copying_again_and_again_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "MAX_OPERATIONS", 1000)
    items = b"](" + b"K\x01" * 300 + b"eq\x00"
    copies = b"cbuiltins\nset\nh\x00\x85R0" * 10
    with pytest.raises(ModelError, match="more than 1,000 operations"):
        read_pickle(items + copies + b".", "x")


@pytest.mark.parametrize(
    "key",
    [b")" + b"\x85" * 200_000, b"(" + b"K\x01" * 50 + b"t", b"\x8b\x00\x00\x01\x00" + bytes(65_535) + b"\x01"],
    ids=["nested tuple", "long tuple", "huge number"],
)
def test_keys_that_are_dear_to_hash(key: bytes) -> None:
    with pytest.raises(ModelError, match="as a key"):
        read_pickle(b"}" + key + b"K\x01s.", "x")


def test_deep_nesting_does_no_harm() -> None:
    for opener, closer in ((b"]", b"a"), (b")", b"\x85")):
        data = (opener * 100_000 + closer * 99_999 if opener == b"]" else opener + closer * 200_000) + b"."
        del opener, closer
        value = read_pickle(data, "x")
        assert value is not None
        del value


def test_laughter_stays_small() -> None:
    """Lists of lists of the same list: references, not copies."""
    data = b"]q\x00" + b"".join(b"](" + b"h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
                                for level in range(100)) + b"."  # fmt: skip
    assert isinstance(read_pickle(data, "x"), list)


# --- tensors ---------------------------------------------------------------------------------------------------------


def rebuild(*args: object, function: str = "torch._utils._rebuild_tensor_v2") -> bytes:
    storage = Checkpoint().emit(("storage", Global("torch.FloatStorage"), "0", "cpu", 12)) + b"Q"
    rest = b"".join(map(Checkpoint().emit, args))
    return b"\x80\x02" + Checkpoint().emit(Global(function)) + b"(" + storage + rest + b"tR."


def test_a_tensor_is_described() -> None:
    tensor = read_pickle(rebuild(2, (2, 5), (5, 1), False, None), "x")
    assert isinstance(tensor, Tensor)
    assert (tensor.offset, tensor.shape, tensor.strides) == (2, (2, 5), (5, 1))
    assert (tensor.storage.key, tensor.storage.kind, tensor.storage.count) == ("0", "FloatStorage", 12)


@pytest.mark.parametrize(
    "args",
    [
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, 2, 1),
        (0, ("a",), (1,)),
        (0, (True,), (1,)),
        (0, (1,) * 17, (1,) * 17),
        (0.0, (2,), (1,)),
        (None, (2,), (1,)),
    ],
)
def test_a_tensor_without_a_sensible_shape(args: tuple[object, ...]) -> None:
    with pytest.raises(ModelError, match="a tensor without a sensible shape"):
        read_pickle(rebuild(*args), "x")


def test_a_tensor_of_something_else_is_inert() -> None:
    assert isinstance(read_pickle(rebuild(function="torch._utils._rebuild_qtensor"), "x"), Inert)
    call = Call(Global("torch._utils._rebuild_tensor_v2"), (1, 0, (1,), (1,)))
    assert isinstance(read_pickle(Checkpoint().pickle(call), "x"), Inert)


# --- fuzzing ---------------------------------------------------------------------------------------------------------

SEEDS = [
    Checkpoint().pickle({"model": Call(Global("models.yolo.Model"), (), True, {"a": [1, 2.5, "x", (None, True)]})}),
    rebuild(0, (3, 4), (4, 1), False, None),
    *(pickle.dumps({"a": [1, {2, 3}], "b": (OrderedDict(c=1), b"x", 2**70)}, protocol) for protocol in range(6)),
]


@settings(modest, max_examples=600)
@given(
    data=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
)
def test_fuzzed_pickles_are_read_or_refused(data: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    for place, junk, cut in edits:
        place %= len(data) + 1
        data = data[:place] + junk + data[place + cut :]
    try:
        read_pickle(data, "x")
    except ModelError as error:
        assert str(error).startswith("x: ") and str(error).isprintable()


@settings(modest, max_examples=600)
@given(data=st.binary(max_size=120))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_pickle(data + b".", "x")
    except ModelError as error:
        assert str(error).isprintable()
