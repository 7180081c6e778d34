"""The docs say what is true."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
from pathlib import Path

import pytest

from conftest import ROOT
from yolov3.zoo import BUNDLED

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_command_lines_page_is_the_commands_own_help() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs/make_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.TARGET.read_text(encoding="utf-8")
    assert written.split() == module.page().split(), "run: python docs/make_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: object) -> None:
    text = page.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"  # type: ignore[attr-defined]


def test_the_readme_names_every_command() -> None:
    from yolov3.cli import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"yolov3 {command}" in text


def test_every_option_of_a_readme_command_exists() -> None:
    import click

    from yolov3.cli import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"^(?:.*&& )?yolov3 (\w.*)$", text, re.MULTILINE):
        name, *words = line.split()
        command = app.get_command(click.Context(app), name)
        assert command is not None, line
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
            assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert not {word for word in words if word.startswith("--")} - known, line


def test_the_python_page_names_every_option_of_a_detector_and_every_public_name() -> None:
    import yolov3

    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    options = set(inspect.signature(yolov3.Detector).parameters) - {"model"}
    cells = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    assert {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} == options
    for name in yolov3.__all__:
        assert name in page, name


def test_the_code_on_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path) -> None:
    import yolov3

    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    shutil.copy(photo, tmp_path / "street.jpg")
    yolov3.Model.load(BUNDLED["yolov3-tiny"]).save(tmp_path / "my.safetensors")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(block, scope)
