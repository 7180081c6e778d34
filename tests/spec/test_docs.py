"""docs/networks.md says what the code does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from conftest import ROOT
from yolov3.spec import FAMILY, load_spec, read_spec, summarise, write_spec
from yolov3.spec.modules import ACTIVATIONS, MODULES, activation_name
from yolov3.spec.picture import draw_network
from yolov3.spec.reading import _KEYS

PAGE = (ROOT / "docs/networks.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the first table whose first column is headed so, by what stands in quotes in their first cell."""
    lines = PAGE.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        rows |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1:])
    return rows


@pytest.mark.parametrize("name", FAMILY)
def test_pictures_are_those_of_the_code(name: str) -> None:
    drawn = draw_network(load_spec(name), (FAMILY[name], FAMILY[name]), name)
    assert (ROOT / f"docs/images/{name}.svg").read_text(encoding="utf-8") == drawn, (
        f"run: yolov3 show {name} --picture docs/images/{name}.svg"
    )


def test_the_commands_on_the_page_write_those_pictures(
    cli: Callable[..., Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = re.findall(r"^yolov3 (.*--picture (docs/.*))$", PAGE, re.MULTILINE)
    assert [target for _, target in commands] == [f"docs/images/{name}.svg" for name in FAMILY]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs/images").mkdir(parents=True)
    for command, target in commands:
        assert cli(*command.split()).code == 0
        assert (tmp_path / target).read_bytes() == (ROOT / target).read_bytes()


def test_every_module_stands_in_the_table() -> None:
    assert set(table("module")) == {*MODULES, "Detect"}


def test_every_activation_stands_in_the_table() -> None:
    rows = table("name")
    assert set(rows) == set(ACTIVATIONS.values())
    for name, (others, _) in rows.items():
        spellings = re.findall(r"`([^`]+)`", others)
        assert all(activation_name(spelling) == name for spelling in spellings)
        assert {key for key, value in ACTIVATIONS.items() if value == name} <= {name, *spellings}


def test_every_key_stands_in_the_table() -> None:
    assert set(table("key")) == set(_KEYS)


def test_every_option_is_explained_and_taken_by_its_module() -> None:
    explained = set(table("option"))
    rows = {"Conv": "[-1, 1, Conv, [8, 3, 1, {OPTION}]]", "Bottleneck": "[-1, 1, Bottleneck, [8, False, {OPTION}]]"}
    rows |= {"SPP": "[-1, 1, SPP, [8, [5], {OPTION}]]", "Add": "[[0, 0], 1, Add, [{OPTION}]]"}
    values = {"groups": "1", "activation": "mish", "bn": "false", "padding": "1", "xy_scale": "1.1", "wh": "square"}
    assert explained == set(values)
    for module, cells in table("module").items():
        taken = set(re.findall(r"`([^`]+)`", cells[-1] if len(cells) > 2 else ""))
        assert taken <= explained
        for option in explained:
            mapping = f"{{{option}: {values[option]}}}"
            row = rows.get(module, "[-1, 1, Conv, [8]]").replace("{OPTION}", mapping)
            detect = f"[nc, anchors, {mapping}]" if module == "Detect" else "[nc, anchors]"
            text = (
                "anchors: [[1, 1]]\nbackbone:\n  - [-1, 1, Conv, [8]]\n"
                f"  - {row}\nhead:\n  - [-1, 1, Detect, {detect}]\n"
            )
            if option in taken:
                read_spec(text, module)
            elif module in rows or module == "Detect":
                with pytest.raises(Exception, match=f"unknown option '{option}'"):
                    read_spec(text, module)


def test_the_example_is_a_network() -> None:
    example, anchors = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    spec = read_spec(example, "example")
    assert [head.stride for head in spec.network.heads] == [4, 8]
    comments = re.findall(r"# (\d+)\b", example)
    assert comments == [str(row.index) for row in spec.rows]
    shared = re.sub(r"anchors:\n(  - .*\n)+", anchors, example)
    assert not read_spec(shared, "shared").anchors.is_per_head
    assert "pool" in write_spec(read_spec(shared, "shared"))


@pytest.mark.parametrize("name", FAMILY)
def test_the_numbers_of_the_family(name: str) -> None:
    spec = load_spec(name)
    summary = summarise(spec, (FAMILY[name], FAMILY[name]))
    strides = ", ".join(str(head.stride) for head in spec.network.heads)
    assert (
        f"| `{name}` | {len(spec.rows)} | {summary.parameters:,} | {2 * summary.multiply_adds / 1e9:.3f} billion | "
        f"{FAMILY[name]}×{FAMILY[name]} | strides {strides} |"
    ) in PAGE
    if name == "yolov3":
        boxes = sum(shape[1] * shape[2] * shape[3] for shape in summary.layers[-1].outputs)
        assert f"{boxes:,}\n  boxes a picture" in PAGE
