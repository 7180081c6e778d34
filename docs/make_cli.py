"""Writes docs/cli.md from the commands' own help: python docs/make_cli.py"""

from __future__ import annotations

from pathlib import Path

import click

from yolov3.cli import COMMANDS, app

TARGET = Path(__file__).parent / "cli.md"


def page() -> str:
    """The page's text."""
    context = click.Context(app, info_name="yolov3", **(app.context_settings | {"terminal_width": 100}))
    parts = [
        "# The command line\n\nMade from the commands' own help by `python docs/make_cli.py`.\n",
        f"```text\n{app.get_help(context)}\n```\n",
    ]
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += _sections(command, f"yolov3 {name}", context)
    return "\n".join(parts)


def _sections(command: click.Command, title: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=title.rsplit(" ", 1)[1], parent=parent, terminal_width=100)
    parts = [f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            parts += _sections(below, f"{title} {name}", context)
    return parts


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
