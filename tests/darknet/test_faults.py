"""What can be wrong with a cfg or a weight file, and the one line that the user sees."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import CliResult
from yolov3.darknet import Header, import_cfg, load_cfg
from yolov3.darknet.cfg import MAX_BYTES, MAX_SECTIONS
from yolov3.darknet.weights import read_header
from yolov3.errors import ModelError
from yolov3.modelfile import Model

from .engines import load, write
from .family import family_text
from .writer import (
    Section,
    cfg_text,
    conv,
    dropout,
    head,
    header,
    layout,
    maxpool,
    net,
    route,
    shortcut,
    upsample,
    weight_bytes,
)

Cli = Callable[..., CliResult]
HEAD = head((0, 1, 2), 2)
STEM: list[Section] = [net(64, 64), conv(8, 3, 2), conv(16, 3, 2)]
GOOD = cfg_text([*STEM, *HEAD])
TINY = cfg_text([net(32, 32), conv(2, 1), conv(1, batch_normalize=None), *head((0,), 1)])


def message_of(text: str, **options: object) -> str:
    """The error of a cfg: one line that names the file."""
    with pytest.raises(ModelError) as caught:
        import_cfg(text, "x.cfg", **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert message.startswith("x.cfg:")
    return message


def line_of(text: str, part: str, nth: int = 0) -> int:
    """Where a part of the text stands, from 1."""
    return [number for number, line in enumerate(text.split("\n"), 1) if part in line][nth]


def assert_exit_4(result: CliResult, *parts: str) -> None:
    """The command line says it in one line, without a traceback."""
    assert result.code == 4 and result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("yolov3: error: ")
    assert all(part in lines[0] for part in parts), lines


def show(cli: Cli, folder: Path, content: str | bytes) -> CliResult:
    """`yolov3 show` on a cfg with this content."""
    path = folder / "x.cfg"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return cli("show", path)


def convert(cli: Cli, folder: Path, data: bytes, *options: str, text: str = TINY) -> CliResult:
    """`yolov3 convert` on these weights; the output appears only on success."""
    cfg, weights = write(folder, text, data)
    result = cli("convert", cfg, weights, folder / "out.safetensors", *options)
    assert (folder / "out.safetensors").exists() == (result.code == 0)
    assert weights.read_bytes() == data and cfg.read_text() == text
    return result


def test_the_clean_nets_of_this_file_are_read() -> None:
    assert not import_cfg(GOOD, "x.cfg").notes and not import_cfg(TINY, "x.cfg").notes


# --- the cfg's text --------------------------------------------------------------------------------------------------


def test_fault_01_key_before_first_section(cli: Cli, tmp_path: Path) -> None:
    assert message_of("width=416\n" + GOOD).startswith("x.cfg:1: 'width=416' stands before the first section")
    assert message_of("# a comment\n\nbatch=1\n" + GOOD).startswith("x.cfg:3: ")
    assert_exit_4(show(cli, tmp_path, "width=416\n" + GOOD), "x.cfg:1: ", "expected [net]")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("stride=2", "stride 2", "'stride 2', expected key=value"),
        ("stride=2", "=2", "'=2', expected key=value"),
        ("[yolo]", "[region]", "layer 3 [region]: this layer is not supported, expected one of convolutional"),
        ("[yolo]", "[yolo", "'[yolo', expected a section"),
        ("[yolo]", "[]", "layer 3 []: this layer is not supported"),
        ("activation=leaky", "activation=elu", "layer 0 [convolutional]: activation=elu is not supported, expected"),
        ("activation=leaky", "activation=Leaky", "activation=Leaky is not supported"),
        ("activation=leaky", "activation=", "activation= is not supported"),
    ],
)
def test_fault_02_line_without_equals_unknown_layer_or_activation(
    old: str, new: str, expected: str, cli: Cli, tmp_path: Path
) -> None:
    text = GOOD.replace(old, new, 1)
    assert message_of(text).startswith(f"x.cfg:{line_of(text, new)}: ")
    assert expected in message_of(text)
    assert_exit_4(show(cli, tmp_path, text), f"x.cfg:{line_of(text, new)}: ", expected)


HARMLESS = {
    "byte order mark": "\ufeff" + GOOD,
    "CRLF": GOOD.replace("\n", "\r\n"),
    "comments": "# one\n; two\n" + GOOD.replace("[yolo]", "# three\n[yolo]\n;four"),
    "comments behind values": GOOD.replace("stride=2", "stride=2 # half").replace("size=3", "size=3;x"),
    "tabs and blanks": GOOD.replace("=", " =\t").replace("\n", " \t\n").replace("[", "  [ "),
    "blank lines": GOOD.replace("\n", "\n\n"),
    "no last line end": GOOD.rstrip("\n"),
    "[network]": GOOD.replace("[net]", "[network]"),
    "capitals": GOOD.replace("[convolutional]", "[Convolutional]"),
    "a key twice: the first counts": GOOD.replace("filters=8", "filters=8\nfilters=9"),
    "a comma at the end": GOOD.replace("mask=0,1,2", "mask=0,1,2,"),
    "training's keys": GOOD.replace("channels=3", "channels=3\npolicy=step\nscale=.1\nsteps=1,2\nscales=.1,.1"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_fault_03_harmless_text_is_accepted(case: str, tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(HARMLESS[case].encode())
    network = load_cfg(path)
    assert network.spec == import_cfg(GOOD, "x.cfg").spec and not network.notes
    assert network.text == HARMLESS[case].removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.cfg: no sections, expected [net] and layers"),
        ("\n \n# nothing\n", "x.cfg: no sections, expected [net] and layers"),
        ("[net]\nwidth=64\nheight=64\n", "x.cfg: no layers after [net]"),
        (GOOD.split("\n\n", 1)[1], "x.cfg:1: starts with [convolutional], expected [net]"),
        (cfg_text([*STEM, *HEAD, net()]), "layer 4 [net]: this layer is not supported"),
        (cfg_text(STEM), "x.cfg:1: [net]: no [yolo] layer, expected at least one"),
    ],
)
def test_fault_03_what_is_not_a_cfg_is_refused(text: str, expected: str, cli: Cli, tmp_path: Path) -> None:
    assert expected in message_of(text)
    assert_exit_4(show(cli, tmp_path, text), expected.split(":")[-1])


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (GOOD.encode().replace(b"[yolo]", b"[yo\0lo]"), line_of(GOOD, "[yolo]")),
        (GOOD.encode().replace(b"[yolo]", b"# \xff\xfe\n[yolo]"), line_of(GOOD, "[yolo]")),
        (GOOD.encode().replace(b"[yolo]", b"# \x1b[31m red\n[yolo]"), line_of(GOOD, "[yolo]")),
        (GOOD.encode("utf-16"), 1),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), 1),
        (bytes(range(127, 256)) * 20, 1),
        (weight_bytes(TINY), 1),
    ],
)
def test_fault_04_binary_cfg(data: bytes, line: int, cli: Cli, tmp_path: Path) -> None:
    assert_exit_4(show(cli, tmp_path, data), f"x.cfg:{line}: ", "expected a Darknet cfg")


def test_missing_cfg_and_folder(cli: Cli, tmp_path: Path) -> None:
    assert_exit_4(cli("show", tmp_path / "no.cfg"), "no.cfg: can't be read (No such file or directory)")
    (tmp_path / "folder.cfg").mkdir()
    assert_exit_4(cli("show", tmp_path / "folder.cfg"), "folder.cfg: can't be read (a folder, a regular file expected)")


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "-1", "2000000000", "1e3", "3.0", "", "three", "３", "1_0", "9" * 5000])
@pytest.mark.parametrize("key", ["filters", "size", "stride", "groups"])
def test_fault_05_numbers_of_a_convolution(key: str, value: str) -> None:
    text = cfg_text([*STEM, conv(16), *HEAD])
    line = line_of(text, "[convolutional]", 2) + 1
    lines = text.split("\n")
    message = message_of("\n".join([*lines[: line - 1], f"{key}={value}", *lines[line - 1 :]]))
    assert message.startswith(f"x.cfg:{line}: layer 2 [convolutional]: {key}=")
    assert "must be in 1..65536" in message or "must be in 1..64" in message


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (maxpool(0, 2), "size=0, must be in 1..64"),
        (maxpool(2, 65), "stride=65, must be in 1..64"),
        (maxpool(3, 1, padding=5), "padding=5, must be in 0..4"),
        (upsample(0), "stride=0, must be in 1..64"),
        (conv(8, pad=2), "pad=2, must be in 0..1"),
        (conv(8, pad=0, padding=-1), "padding=-1, must be in 0..64"),
        (conv(8, batch_normalize=7), "batch_normalize=7, must be in 0..2"),
        (route(-1, groups=0), "groups=0, must be in 1..65536"),
        (route(-1, groups=2, group_id=2), "group_id=2, must be in 0..1"),
        (conv(8, groups=3), "3 groups don't divide 16 input and 8 output channels (fed by layer 1 [convolutional])"),
        (route(-1, groups=3), "3 groups don't divide 16 channels"),
    ],
)
def test_fault_05_numbers_of_other_layers(section: Section, expected: str) -> None:
    text = cfg_text([*STEM, section, conv(8), *HEAD])
    assert f": layer 2 [{section[0]}]: {expected}" in message_of(text)


def peak_memory(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


HUGE = {
    "filters=2000000000": GOOD.replace("filters=8", "filters=2000000000"),
    "the network passes 1,000,000,000 parameters": cfg_text([*STEM, conv(65_536, 64), conv(65_536, 64), *HEAD]),
    "the network's values pass 1,000,000,000": cfg_text([net(16_384, 16_384), conv(16), conv(16), *HEAD]),
    "its stride passes 16,384": cfg_text([net(), *[conv(8, 3, 64)] * 2_000, *HEAD]),
    "71,680 output channels": cfg_text([*STEM, conv(35_840, 1), route(-1, -1), conv(8), *HEAD]),
    "131,072 output channels": cfg_text([*STEM, *[route(-1, -1)] * 40, conv(8), *HEAD]),
    "classes=2000000000": GOOD.replace("classes=2", "classes=2000000000"),
}


@pytest.mark.parametrize("expected", HUGE)
def test_fault_05_huge_networks_are_refused_before_memory_is_allocated(expected: str) -> None:
    assert expected in message_of(HUGE[expected])
    assert peak_memory(lambda: message_of(HUGE[expected])) < 16 << 20


def test_fault_05_enlarging_without_end_is_refused() -> None:
    assert "its stride passes 16,384" in message_of(cfg_text([*STEM, *[upsample(64)] * 2_000, *HEAD]))
    steps = [conv(8, 3, 63), upsample(64)] * 2_000
    assert "its stride passes 16,384" in message_of(cfg_text([*STEM, *steps, *HEAD]))
    assert "stride 1/4, expected a whole number (heads" in message_of(cfg_text([*STEM, upsample(16), *HEAD]))


@pytest.mark.parametrize("key", ["width", "height"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "must be in 1..16384"),
        ("-416", "must be in 1..16384"),
        ("1000000", "must be in 1..16384"),
        ("416.5", "must be in 1..16384"),
        ("66", "expected a multiple of 4, the network's largest stride"),
        ("1", "expected a multiple of 4, the network's largest stride"),
    ],
)
def test_fault_06_width_and_height(key: str, value: str, expected: str, cli: Cli, tmp_path: Path) -> None:
    text = GOOD.replace(f"{key}=64", f"{key}={value}")
    assert f"x.cfg:{line_of(text, key)}: [net]: {key}={value}, {expected}" in message_of(text)
    assert_exit_4(show(cli, tmp_path, text), f"{key}={value}, {expected}")


def test_fault_06_sides_must_suit_every_stride() -> None:
    branches = [conv(8, 3, 2), *HEAD, route(0), conv(8, 3, 3), *HEAD]
    expected = "width=64, expected a multiple of 6, the network's largest stride"
    assert expected in message_of(cfg_text([net(64, 96), conv(8), *branches]))
    network = import_cfg(cfg_text([net(48, 96), conv(8), *branches]), "x.cfg").spec.network
    assert [head.stride for head in network.heads] == [2, 3]


def test_fault_06_missing_size_and_grey_input() -> None:
    assert "[net]: height is missing, expected 1 to 16,384" in message_of(GOOD.replace("height=64\n", ""))
    assert "channels=1, expected 3 (RGB pictures)" in message_of(GOOD.replace("channels=3", "channels=1"))


# --- what layers refer to --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [3, 4, 99, -4, -99, 2_000_000, -2_000_000])
@pytest.mark.parametrize("name", ["route", "shortcut"])
def test_fault_07_index_that_is_not_an_earlier_layer(name: str, layer: int) -> None:
    section = route(layer) if name == "route" else shortcut(layer)
    text = cfg_text([*STEM, conv(16), section, *HEAD])
    key = "layers" if name == "route" else "from"
    absolute = layer + 3 if layer < 0 else layer
    expected = f"layer 3 [{name}]: {key} points at layer {absolute}, expected 0 to 2"
    assert message_of(text) == f"x.cfg:{line_of(text, f'{key}=')}: {expected}"


MISMATCHES = {
    "layer 3 [shortcut]: inputs have 8 and 16 channels, expected the same number "
    "(fed by layer 0 [convolutional] and layer 2 [convolutional])": [net(64, 64), conv(8, 3, 2), conv(8, 1), conv(16),
                                                                     shortcut(0), *HEAD],
    "layer 4 [shortcut]: inputs have 24 and 16 channels, expected the same number "
    "(fed by layer 1 [convolutional] and layer 3 [convolutional])": [net(64, 64), conv(8, 3, 2), conv(24), conv(8, 1),
                                                                     conv(16), shortcut(-3), *HEAD],
    "layer 3 [shortcut]: inputs have strides 2 and 4, expected the same stride "
    "(fed by layer 0 [convolutional] and layer 2 [convolutional])": [*STEM, conv(8), shortcut(0), *HEAD],
    "layer 2 [route]: inputs have strides 4 and 2, expected the same stride "
    "(fed by layer 1 [convolutional] and layer 0 [convolutional])": [*STEM, route(-1, 0), conv(8), *HEAD],
    "layer 3 [route]: its inputs have 18×18 and 16×16 cells, expected the same size "
    "(fed by layer 2 [convolutional] and layer 1 [convolutional])": [*STEM, conv(8, 1, pad=0, padding=1), route(-1, -2),
                                                                     conv(8), *HEAD],
    "layer 2 [convolutional]: gives 0×0 cells here; the input size doesn't suit this network "
    "(fed by layer 1 [convolutional])": [*STEM, conv(8, 17, pad=0), conv(8), *HEAD],
    "layer 4 [yolo]: input 0 has 14×14 cells, expected 16×16 (stride 4); a layer before it isn't padded so that only "
    "strides shrink the picture (heads, small strides first: layer 4 [yolo])": [*STEM, conv(8, 3, pad=0), *HEAD],
}  # fmt: skip


@pytest.mark.parametrize("expected", MISMATCHES)
def test_fault_07_shapes_that_do_not_fit_name_both_layers(expected: str, cli: Cli, tmp_path: Path) -> None:
    text = cfg_text(MISMATCHES[expected])
    section = expected.split("[")[1].split("]")[0]
    nth = int(expected.split()[1]) - 2 if section == "convolutional" else 0
    message = message_of(text)
    assert message.endswith(f": {expected}")
    if section != "convolutional":
        assert message.startswith(f"x.cfg:{line_of(text, f'[{section}]', nth)}: ")
    assert_exit_4(show(cli, tmp_path, text), expected)


def test_fault_07_a_family_network_with_one_wrong_shortcut_names_the_layers() -> None:
    text = family_text("yolov3", divide=8)
    place = text.index("filters=32", text.index("filters=16"))
    message = message_of(text[:place] + "filters=24" + text[place + len("filters=32") :])
    assert "[shortcut]: inputs have 32 and 24 channels" in message or "24 and 32 channels" in message
    assert message.count("layer ") == 3


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ([*STEM, *HEAD, route(-1), conv(8), *HEAD], "layers points at layer 3 [yolo], a detection head"),
        ([*STEM, *HEAD, route(-2), conv(8), *HEAD], "layers points at layer 2 [convolutional], a detection head"),
        ([*STEM, *HEAD, conv(8), *HEAD], "layer 4 [convolutional]: follows a detection head, expected a [route]"),
        ([*STEM, ("route", {}), *HEAD], "layer 2 [route]: layers is missing"),
        ([*STEM, ("route", {"layers": ""}), *HEAD], "layer 2 [route]: layers is missing"),
        ([*STEM, ("route", {"layers": "-1,x"}), *HEAD], "layers=-1,x, expected numbers separated by commas"),
        ([*STEM, ("route", {"layers": "-1.5"}), *HEAD], "layers=-1.5, expected whole numbers"),
        ([*STEM, ("route", {"layers": "nan"}), *HEAD], "layers=nan, expected numbers separated by commas"),
        ([*STEM, ("shortcut", {}), *HEAD], "layer 2 [shortcut]: from is missing"),
        ([net(), dropout(), *STEM[1:], *HEAD], "layer 0 [dropout]: drops out the picture"),
        ([net(), route(-1), *HEAD], "layer 0 [route]: layers points at layer -1, expected 0 to -1"),
    ],
)
def test_fault_07_other_wrong_references(sections: list[Section], expected: str) -> None:
    assert expected in message_of(cfg_text(sections))


# --- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("mask=0,1,2", "mask=0,1,9", "[yolo]: mask=0,1,9, expected indices from 0 to 8"),
        ("mask=0,1,2", "mask=-1,0,1", "[yolo]: mask=-1,0,1, expected indices from 0 to 8"),
        ("mask=0,1,2", "mask=0,1,1.5", "[yolo]: mask=0,1,1.5, expected whole numbers"),
        ("mask=0,1,2", "mask=0,1", "[convolutional]: filters=21, but the [yolo] behind it with 2 anchors and 2 classes "
                                   "needs filters=14"),
        ("373, 326", "373", "[yolo]: anchors has 17 numbers, expected pairs w,h"),
        ("373, 326", "373, 0", "[yolo]: anchors has 0, expected pixels above 0 and up to 65,536"),
        ("373, 326", "373, -326", "[yolo]: anchors has -326, expected pixels above 0"),
        ("373, 326", "373, 65537", "[yolo]: anchors has 65537, expected pixels above 0 and up to 65,536"),
        ("373, 326", "373, nan", "expected numbers separated by commas"),
        ("373, 326", "373, inf", "expected numbers separated by commas"),
        ("373, 326", "373 326", "expected numbers separated by commas"),
        ("num=9", "num=6", "[yolo]: num=6, but anchors has 9 pairs; expected the same"),
        ("classes=2", "classes=0", "[yolo]: classes=0, must be in 1..65536"),
        ("classes=2", "classes=80", "needs filters=255"),
        ("filters=21", "filters=255", "[convolutional]: filters=255, but the [yolo] behind it with 3 anchors and 2 "
                                      "classes needs filters=21"),
        ("activation=linear", "activation=leaky", "activation=leaky, expected linear before a [yolo] with "
                                                  "new_coords=0"),
        ("num=9", "num=9\nnew_coords=1", "activation=linear, expected logistic before a [yolo] with new_coords=1"),
        ("num=9", "num=9\nscale_x_y=0.5", "[yolo]: scale_x_y=0.5, must be in 1..4"),
        ("num=9", "num=9\nscale_x_y=1,2", "[yolo]: scale_x_y=1,2, expected one number"),
        ("filters=21\nsize=1", "filters=21\nsize=3", "before [yolo], expected size=1"),
        ("filters=21", "filters=21\ngroups=3", "before [yolo], expected size=1, stride=1, no groups"),
        ("filters=21", "filters=21\nbatch_normalize=1", "before [yolo], expected size=1"),
    ],
)  # fmt: skip
def test_fault_08_yolo_section(old: str, new: str, expected: str, cli: Cli, tmp_path: Path) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    message = message_of(text)
    assert expected in message
    assert_exit_4(show(cli, tmp_path, text), expected)


def test_fault_08_padding_before_yolo() -> None:
    head_text = "filters=21\nsize=1\nstride=1\npad=1"
    assert GOOD.count(head_text) == 1
    text = GOOD.replace(head_text, head_text.replace("pad=1", "padding=1"))
    assert "before [yolo], expected size=1, stride=1, no groups, padding" in message_of(text)


def test_fault_08_yolo_without_its_convolution() -> None:
    text = cfg_text([*STEM, maxpool(), HEAD[1]])
    assert "layer 3 [yolo]: expected a [convolutional] layer right before it" in message_of(text)
    assert "layer 0 [yolo]: expected a [convolutional]" in message_of(cfg_text([net(), HEAD[1]]))


def test_fault_08_heads_must_agree_on_classes() -> None:
    text = cfg_text([*STEM, *HEAD, route(-3), conv(8, 3, 2), *head((3, 4, 5), 3)])
    assert f"x.cfg:{line_of(text, 'classes=3')}: " in message_of(text)
    assert "classes=3, another head has 2" in message_of(text)


def test_fault_08_too_many_anchors() -> None:
    many = tuple(range(1, 2_003))
    assert "anchors has 1,001 pairs, expected at most 1,000" in message_of(cfg_text([*STEM, *head((0,), 1, many)]))
    first, second = (tuple(float(side + start) for side in range(1_200)) for start in (1, 5_000))
    sections = [*STEM, *head((0,), 1, first), route(-3), conv(8, 3, 2), *head((0,), 1, second)]
    assert "the heads have 1,200 anchors, expected at most 1,000" in message_of(cfg_text(sections))


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["[net]\n" + "[convolutional]\n" * 1_000_000, "[net]\nwidth=" + "4" * 10_000_000, GOOD + " " * MAX_BYTES],
    ids=["a million sections", "a line of 10 MB", "blanks"],
)
def test_fault_09_size_cap(text: str, cli: Cli, tmp_path: Path) -> None:
    assert f"characters, expected a Darknet cfg of at most {MAX_BYTES:,}" in message_of(text)
    assert_exit_4(show(cli, tmp_path, text), f"larger than {MAX_BYTES:,} bytes, expected a Darknet cfg")


def test_fault_09_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    with path.open("wb") as file:
        file.truncate(1 << 28)

    def run() -> None:
        with pytest.raises(ModelError, match="larger than"):
            load_cfg(path)

    assert peak_memory(run) < 8 << 20


def test_fault_09_sections_cap() -> None:
    assert message_of("[net]\n" + "[a]\n" * 100_000) == f"x.cfg:{MAX_SECTIONS + 2}: more than {MAX_SECTIONS:,} sections"


@pytest.mark.parametrize("key", ["layers", "mask", "anchors", "filters", "activation", "unknown"])
def test_fault_09_long_values_are_shortened_in_messages(key: str) -> None:
    text = GOOD.replace("[yolo]", f"[convolutional]\n{key}=" + "-1,x" * 50_000 + "\n[yolo]")
    message_of(text)
    message_of(f"[{key * 50_000}]\n" + GOOD)
    message_of(GOOD + f"[{key * 50_000}]\n")
    message_of(GOOD + key * 50_000)
    assert all(len(note) < 200 for note in import_cfg(GOOD + key * 10_000 + "=" + "x" * 10_000, "x.cfg").notes)


def test_fault_09_a_route_of_many_layers_is_refused_in_one_line() -> None:
    message_of(cfg_text([*STEM, route(*[-1, -2] * 50_000), conv(8), *HEAD]))
    message_of(cfg_text([*STEM, ("shortcut", {"from": ",".join(["-1", "-2"] * 50_000)}), conv(8), *HEAD]))


# --- weights ---------------------------------------------------------------------------------------------------------


def refusal(folder: Path, data: bytes, text: str = TINY, **options: object) -> str:
    """The error of a weight file: one line that names it."""
    with pytest.raises(ModelError) as caught:
        load(folder, text, data, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{folder / 'net.weights'}: ")
    return message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "0 bytes, expected Darknet weights"),
        (header()[:15], "15 bytes, expected Darknet weights"),
        (header()[:18], "18 bytes, expected a header of 20 and floats"),
        (header(), "has 0 floats, the cfg needs 45 (45 missing, first in layer 0 [convolutional] (row 0))"),
        (header((0, 1, 0), 5), "has 0 floats, the cfg needs 45"),
    ],
)
def test_fault_10_empty_or_header_only(data: bytes, expected: str, cli: Cli, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, data)
    assert_exit_4(convert(cli, tmp_path, data), "net.weights: ", expected)


def test_fault_10_missing_weights(cli: Cli, tmp_path: Path) -> None:
    cfg, weights = write(tmp_path, TINY)
    weights.unlink()
    assert_exit_4(cli("convert", cfg, weights, tmp_path / "out.safetensors"), "can't be read (No such file")
    weights.mkdir()
    assert_exit_4(
        cli("convert", cfg, weights, tmp_path / "out.safetensors"), "can't be read (a folder, a regular file expected)"
    )


def test_fault_11_truncated_at_every_byte(tmp_path: Path) -> None:
    stored = layout(TINY)
    needed = sum(item.count for item in stored)
    ends = np.cumsum([item.count for item in stored])
    data = weight_bytes(TINY)
    assert len(data) == 20 + 4 * needed
    for length in range(20, len(data)):
        floats = (length - 20) // 4
        missing = stored[int(np.searchsorted(ends, floats, side="right"))]
        given = "1 float" if floats == 1 else f"{floats} floats"
        expected = f"has {given}, the cfg needs {needed} ({needed - floats} missing, first in layer {missing.layer} "
        assert expected in refusal(tmp_path, data[:length])
    assert load(tmp_path, TINY, data).model


def test_fault_11_half_a_file(cli: Cli, tmp_path: Path, photo: Path) -> None:
    data = weight_bytes(TINY)
    assert_exit_4(convert(cli, tmp_path, data[: len(data) // 2]), "missing, first in layer ")
    result = cli("detect", "--model", tmp_path / "net.cfg", "--weights", tmp_path / "net.weights", photo)
    assert_exit_4(result, "missing, first in layer ")


def test_fault_11_the_weights_of_another_network(tmp_path: Path) -> None:
    assert "expected the weights that belong to this cfg" in refusal(tmp_path, weight_bytes(TINY), GOOD)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (bytes(4), "has 1 float more than the cfg needs (45), left over after layer 2"),
        (bytes(40), "has 10 floats more than the cfg needs (45)"),
        (bytes(3), "has 3 bytes more than the cfg needs (45)"),
        (bytes(9), "has 2 floats and 1 byte more than the cfg needs (45)"),
    ],
)
def test_fault_12_over_long(extra: bytes, expected: str, cli: Cli, tmp_path: Path) -> None:
    data = weight_bytes(TINY)
    message = refusal(tmp_path, data + extra)
    assert expected in message and "--allow-extra" in message
    assert_exit_4(convert(cli, tmp_path, data + extra), expected)
    allowed = convert(cli, tmp_path, data + extra, "--allow-extra")
    assert allowed.code == 0 and expected in allowed.err and "yolov3: note: " in allowed.err
    model = Model.load(tmp_path / "out.safetensors")
    expected_model = load(tmp_path, TINY, data).model
    assert all(np.array_equal(model.tensors[name], expected_model.tensors[name]) for name in model.tensors)


def test_fault_12_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.weights"
    with path.open("wb") as file:
        file.write(header())
        file.truncate(1 << 32)  # a hole, not bytes on the disk
    network = import_cfg(TINY, "x.cfg")

    def run() -> None:
        with pytest.raises(ModelError, match="floats more than the cfg needs"):
            network.read_weights(path)

    assert peak_memory(run) < 1 << 20


GOLDEN_HEADERS = {
    (0, 1, 0, 32_013_312): "00000000 01000000 00000000 007ce801",
    (0, 2, 0, 32_013_312): "00000000 02000000 00000000 007ce801 00000000",
    (0, 2, 5, 77): "00000000 02000000 05000000 4d000000 00000000",
    (1, 0, 0, 77): "01000000 00000000 00000000 4d000000 00000000",
    (0, 2, 0, 6_442_450_945): "00000000 02000000 00000000 01000080 01000000",
    (1000, 0, 0, 77): "e8030000 00000000 00000000 4d000000",
    (0, 1000, 0, 77): "00000000 e8030000 00000000 4d000000",
}


@pytest.mark.parametrize("fields", GOLDEN_HEADERS)
def test_fault_13_both_header_versions(fields: tuple[int, int, int, int], tmp_path: Path) -> None:
    golden = bytes.fromhex(GOLDEN_HEADERS[fields])
    parsed = read_header(golden + bytes(8), "x.weights")
    assert parsed == Header(*fields)
    assert parsed.size == len(golden) and parsed.to_bytes() == golden == header(fields[:3], fields[3])
    model = load(tmp_path, TINY, golden + weight_bytes(TINY)[20:]).model
    assert [model.source["darknet"][key] for key in ("major", "minor", "revision", "seen")] == list(fields)


@pytest.mark.parametrize("seen", [0, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
def test_fault_14_seen_beyond_32_bits_is_kept(seen: int, cli: Cli, tmp_path: Path) -> None:
    assert convert(cli, tmp_path, weight_bytes(TINY, seen=seen)).code == 0
    source = Model.load(tmp_path / "out.safetensors").source["darknet"]
    assert source["seen"] == seen
    restored = Header(*(source[key] for key in ("major", "minor", "revision", "seen")))
    assert restored.to_bytes() == header(seen=seen)


def with_value(text: str, layer: int, place: int, value: float) -> bytes:
    """Random weights with one value of one layer replaced; `place` counts in the file's order."""
    data = bytearray(weight_bytes(text))
    before = sum(stored.count for stored in layout(text) if stored.layer < layer)
    data[20 + 4 * (before + place) : 24 + 4 * (before + place)] = np.array(value, "<f4").tobytes()
    return bytes(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("layer", "place"), [(0, 0), (0, 7), (0, 13), (1, 0), (2, 11)])
def test_fault_15_values_that_are_not_finite(value: float, layer: int, place: int, cli: Cli, tmp_path: Path) -> None:
    data = with_value(TINY, layer, place, value)
    expected = f"layer {layer} [convolutional] (row {layer}): value {place} is {value}, expected finite numbers"
    assert expected in refusal(tmp_path, data)
    assert_exit_4(convert(cli, tmp_path, data), expected)


def test_fault_15_negative_variance(cli: Cli, tmp_path: Path) -> None:
    data = with_value(TINY, 0, 7, -0.5)  # 2 biases, 2 scales, 2 means, then variances
    expected = "layer 0 [convolutional] (row 0): the variance of filter 1 is -0.5, expected 0 or more"
    assert expected in refusal(tmp_path, data)
    assert_exit_4(convert(cli, tmp_path, data), expected)


def test_fault_15_zero_variance_is_only_noted(cli: Cli, tmp_path: Path) -> None:
    result = convert(cli, tmp_path, with_value(TINY, 0, 6, 0))
    assert result.code == 0
    assert "layer 0 [convolutional] (row 0): 1 filter with variance 0 (dead)" in result.err


@pytest.mark.parametrize(
    "data",
    [
        np.array([0, 2, 0, 0, 0], ">i4").tobytes() + bytes(200),
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"PK\x03\x04" + bytes(200),
        b"version https://git-lfs.example/spec/v1\noid sha256:" + b"0" * 64,
        b"<!DOCTYPE html><html><body>Not found</body></html>",
        np.array([-1, 2, 0, 0, 0], "<i4").tobytes() + bytes(200),
        np.array([0, 2, 10_000, 0, 0], "<i4").tobytes() + bytes(200),
        bytes([255]) * 200,
    ],
    ids=["big-endian", "png", "zip", "git-lfs pointer", "html", "negative", "revision", "ones"],
)
def test_fault_16_not_darknet_weights(data: bytes, cli: Cli, tmp_path: Path) -> None:
    assert "not Darknet weights: version " in refusal(tmp_path, data)
    assert_exit_4(convert(cli, tmp_path, data), "net.weights: not Darknet weights")


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("convolutional", "dilation=2"),
        ("convolutional", "antialiasing=1"),
        ("convolutional", "dontload=1"),
        ("convolutional", "dontloadscales=1"),
        ("convolutional", "flipped=1"),
        ("convolutional", "share_index=-2"),
        ("convolutional", "stride_x=3"),
        ("convolutional", "binary=1"),
        ("maxpool", "maxpool_depth=1"),
        ("maxpool", "stride_y=1"),
        ("upsample", "scale=2"),
        ("shortcut", "weights_type=per_feature"),
        ("shortcut", "alpha=0.5"),
        ("yolo", "embedding_layer=3"),
    ],
)
def test_keys_that_would_change_the_result_are_refused(section: str, setting: str) -> None:
    text = cfg_text([*STEM, conv(16), shortcut(-2), maxpool(), upsample(), *HEAD])
    text = text.replace(f"[{section}]", f"[{section}]\n{setting}", 1)
    message = message_of(text)
    assert message.startswith(f"x.cfg:{line_of(text, setting)}: ")
    assert f"[{section}]: {setting} is not supported" in message


def test_the_same_keys_at_their_usual_values_are_accepted() -> None:
    text = cfg_text([*STEM, conv(16), shortcut(-2), maxpool(), upsample(), *HEAD])
    text = text.replace(
        "[convolutional]", "[convolutional]\ndilation=1\nantialiasing=0\nflipped=0\ndontload=0\nbinary=0"
    )
    text = text.replace("stride=2", "stride=2\nstride_x=2\nstride_y=2", 1).replace(
        "[upsample]", "[upsample]\nscale=1.0"
    )
    text = text.replace("[shortcut]", "[shortcut]\nweights_type=none\nalpha=1\nbeta=1")
    assert not import_cfg(text, "x.cfg").notes


def test_unknown_keys_are_kept_and_reported(cli: Cli, tmp_path: Path) -> None:
    text = GOOD.replace("[yolo]", "[yolo]\nwhatever=12").replace("[net]", "[net]\nmy_note=hello")
    network = import_cfg(text, "x.cfg")
    assert network.notes == [
        "x.cfg:2: [net] my_note=hello is not known: kept, not used",
        f"x.cfg:{line_of(text, 'whatever')}: [yolo] whatever=12 is not known: kept, not used",
    ]
    assert "whatever=12" in network.text
    result = convert(cli, tmp_path, weight_bytes(text), text=text)
    assert result.code == 0 and result.err.count("is not known: kept, not used") == 2
    assert Model.load(tmp_path / "out.safetensors").source["darknet"]["cfg"] == text


@pytest.mark.parametrize(
    ("setting", "resize", "noted"),
    [("", "letterbox", False), ("letter_box=1", "letterbox", False), ("letter_box=0", "stretch", False)],
)
def test_letter_box_decides_how_pictures_are_resized(setting: str, resize: str, noted: bool) -> None:
    network = import_cfg(GOOD.replace("[net]", f"[net]\n{setting}"), "x.cfg")
    assert network.resize == resize and bool(network.notes) == noted


def test_alexeyabs_keys_without_letter_box_are_noted() -> None:
    network = import_cfg(GOOD.replace("[yolo]", "[yolo]\nscale_x_y=1.05\niou_loss=ciou"), "x.cfg")
    assert network.resize == "letterbox"
    assert len(network.notes) == 1 and "stretches pictures unless letter_box=1" in network.notes[0]
    assert network.spec.network.heads[0].xy_scale == 1.05


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("which", ["x.cfg", "x.weights", "x.yaml", "x.safetensors"])
def test_fault_50_a_pipe_for_a_model_file_is_refused_not_waited_for(which: str, cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / which)
    if which == "x.weights":
        (tmp_path / "x.cfg").write_text(family_text("yolov3-tiny"))
        result = cli("detect", "--model", tmp_path / "x.cfg", "--weights", tmp_path / which)
    else:
        result = cli("show", tmp_path / which)
    assert result.code == 4 and "regular file expected" in result.err
