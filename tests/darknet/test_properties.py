"""Whatever a cfg or a weight file holds, the reader gives a network or one line that says why not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3.darknet import DarknetNetwork, import_cfg, load_cfg, read_names
from yolov3.errors import Yolov3Error
from yolov3.spec import read_spec, write_spec

from .engines import ENGINES, engine_heads, load, numpy_heads, random_image
from .family import family_text
from .test_custom import CASES, NOT_IN_OPENCV
from .writer import Section, cfg_text, conv, head, layout, maxpool, net, route, shortcut, upsample, weight_bytes

TEXTS = [cfg_text(sections) for sections in (CASES | NOT_IN_OPENCV).values()]
TEXTS += [family_text(name, divide=16, width=96, height=96) for name in ("yolov3", "yolov3-spp", "yolov3-tiny")]
SMALL = cfg_text([net(32, 32), conv(2, 1), maxpool(), conv(3, batch_normalize=None), *head((0,), 1)])
modest = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBERS = st.sampled_from(
    ["0", "-1", "1", "2", "3", "7", "64", "65", "1000", "65536", "65537", "2000000000", "-2000000000", "9" * 30, "1e9",
     "0.5", "1e-7", "nan", "inf", "", "x", "1,2", "-1,-2", "0,0,0", "leaky", "mish", "1e400", "٣"]
)  # fmt: skip
JUNK = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["[net]", "[yolo]", "[route]", "[dropout]", "[shortcut]", "[", "]", "=", "[]", "groups=2", "a=b"]),
)


def delete(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    del lines[place]


def delete_block(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    first, last = sorted((place, other))
    del lines[first : min(last, first + 12)]


def repeat(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    lines[other:other] = lines[place : place + 8]


def swap(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    lines[place], lines[other] = lines[other], lines[place]


def insert(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    lines.insert(place, junk)


def edit_number(lines: list[str], place: int, other: int, value: str, junk: str) -> None:
    """Another number in the next line that has one."""
    for index in range(place, len(lines)):
        if re.search(r"=.*\d", lines[index]):
            lines[index] = re.sub(r"(?<=[=,])-?[\d.]+", lambda _: value, lines[index], count=1 + other % 3)
            return


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from([delete, delete_block, repeat, swap, insert, edit_number, edit_number]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        NUMBERS,
        JUNK,
    ),
    min_size=1,
    max_size=4,
)


def assert_sound(network: DarknetNetwork) -> None:
    """What was accepted can be written, read again, and given weights."""
    spec = network.spec
    assert read_spec(write_spec(spec), "again") == spec
    assert len(network.order) == len(list(spec.network.convolutions))
    assert {stored.convolution.name for stored in network.order} == {item.name for item in spec.network.convolutions}
    assert all("\n" not in note for note in network.notes)


@modest
@given(text=st.sampled_from(TEXTS), mutations=MUTATIONS)
def test_mutated_cfg_is_read_or_refused(text: str, mutations: list[tuple]) -> None:
    lines = text.split("\n")
    for mutate, place, other, value, junk in mutations:
        if lines:
            mutate(lines, place % len(lines), other % len(lines), value, junk)
    try:
        network = import_cfg("\n".join(lines), "x.cfg")
    except Yolov3Error as error:
        message = str(error)
        assert message.startswith("x.cfg:") and "\n" not in message and len(message) < 500
        return
    assert_sound(network)


@modest
@given(text=st.sampled_from(TEXTS), place=st.integers(0, 10**6), junk=st.binary(max_size=12), cut=st.integers(0, 40))
def test_cfg_with_random_bytes_is_read_or_refused(text: str, place: int, junk: bytes, cut: int, tmp_path: Path) -> None:
    data = text.encode()
    place %= len(data)
    path = tmp_path / "x.cfg"
    path.write_bytes(data[:place] + junk + data[place + cut :])
    try:
        network = load_cfg(path)
    except Yolov3Error as error:
        assert str(error).startswith(f"{path}:")
        return
    assert_sound(network)


@modest
@given(data=st.binary(max_size=200))
def test_random_bytes_as_names_are_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.names"
    path.write_bytes(data)
    try:
        names = read_names(path)
    except Yolov3Error as error:
        assert str(error).startswith(f"{path}:") and str(error).isprintable()
        return
    assert names and all(name and name == name.strip() and name.isprintable() for name in names)
    assert len(set(names)) == len(names)


@modest
@given(
    place=st.integers(0, 10**6),
    junk=st.binary(max_size=24),
    cut=st.integers(0, 24),
    allow_extra=st.booleans(),
    version=st.sampled_from([(0, 1, 0), (0, 2, 0), (1000, 0, 0)]),
)
def test_mutated_weights_are_read_or_refused(
    place: int, junk: bytes, cut: int, allow_extra: bool, version: tuple[int, int, int], tmp_path: Path
) -> None:
    network = import_cfg(SMALL, "x.cfg")
    data = weight_bytes(SMALL, version=version)
    place %= len(data) + 1
    path = tmp_path / "x.weights"
    path.write_bytes(data[:place] + junk + data[place + cut :])
    try:
        _, tensors, _ = network.read_weights(path, allow_extra=allow_extra)
    except Yolov3Error as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return
    assert {name: array.shape for name, array in tensors.items()} == network.spec.network.tensor_shapes()
    assert all(np.isfinite(array).all() for array in tensors.values())


# --- random networks -------------------------------------------------------------------------------------------------

ACTIVATIONS = ("leaky", "linear", "relu", "relu6", "swish", "mish", "logistic", "tanh")


@st.composite
def networks(draw: st.DrawFn) -> str:
    """A cfg of up to a dozen random layers that fit each other, with one or two heads."""
    layers: list[tuple[int, int] | None] = []  # (channels, stride), None for a head
    sections: list[Section] = [net(64, 32)]

    def add(section: Section, channels: int, stride: int) -> None:
        sections.append(section)
        layers.append((channels, stride))

    def add_head() -> None:
        mask = draw(st.sampled_from([(0,), (1, 2), (0, 4, 8)]))
        sections.extend(head(mask, 2))
        layers.extend([None, None])

    add(conv(6, 3, 2), 6, 2)
    for _ in range(draw(st.integers(2, 10))):
        here = layers[-1]
        assert here is not None
        channels, stride = here
        alike = [place for place, layer in enumerate(layers) if layer is not None and layer[1] == stride]
        kind = draw(st.sampled_from(["conv", "conv", "group", "pool", "up", "join", "slice", "add", "jump", "head"]))
        if kind == "conv":
            step = draw(st.sampled_from([1, 2] if stride < 8 else [1]))
            filters, size = draw(st.sampled_from([2, 4, 6, 8])), draw(st.sampled_from([1, 3, 5]))
            normalised = draw(st.sampled_from([1, None]))
            section = conv(filters, size, step, draw(st.sampled_from(ACTIVATIONS)), batch_normalize=normalised)
            add(section, filters, stride * step)
        elif kind == "group" and channels % 2 == 0:
            add(conv(channels, 3, groups=draw(st.sampled_from([2, channels]))), channels, stride)
        elif kind == "pool":
            step = draw(st.sampled_from([1, 2] if stride < 8 else [1]))
            add(maxpool(draw(st.sampled_from([2, 3, 5])), step), channels, stride * step)
        elif kind == "up" and stride > 1:
            add(upsample(), channels, stride // 2)
        elif kind == "join":
            others = draw(st.lists(st.sampled_from(alike), min_size=1, max_size=3))
            joined = sum(layer[0] for layer in (layers[other] for other in others) if layer is not None)
            add(route(*others), joined, stride)
        elif kind == "slice" and channels % 2 == 0:
            add(route(-1, groups=2, group_id=draw(st.integers(0, 1))), channels // 2, stride)
        elif kind == "add":
            others = [place for place in alike if layers[place] == here]
            add(shortcut(draw(st.sampled_from(others)), draw(st.sampled_from(["linear", "leaky"]))), channels, stride)
        elif kind == "jump":
            place = draw(st.sampled_from([place for place, layer in enumerate(layers) if layer is not None]))
            target = layers[place]
            assert target is not None
            add(route(place), *target)
        elif kind == "head" and None not in layers:
            add_head()
            add(route(-3), channels, stride)
    add_head()
    return cfg_text(sections)


@settings(modest, max_examples=40)
@given(text=networks(), seed=st.integers(0, 3))
def test_random_networks_run_like_the_slow_reference(text: str, seed: int, tmp_path: Path) -> None:
    data = weight_bytes(text, seed)
    network = import_cfg(text, "x.cfg")
    assert_sound(network)
    assert sum(stored.count for stored in layout(text)) == sum(item.convolution.stored_values for item in network.order)
    model = load(tmp_path, text, data).model
    image = random_image(64, 32)
    expected = numpy_heads(text, data, image)
    for engine in ENGINES:
        heads = engine_heads(model, image, engine)
        assert [head.shape for head in heads] == [head.shape for head in expected]
        for head_, reference in zip(heads, expected, strict=True):
            assert np.abs(head_ - reference).max() <= 1e-4 * max(1, np.abs(reference).max())
