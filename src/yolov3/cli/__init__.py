"""The command line: one short file a command, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from .. import __version__
from ..errors import Yolov3Error
from .convert import convert
from .detect import detect
from .show import show

app = typer.Typer(
    name="yolov3",
    help="YOLOv3 object detection: fast on plain CPUs, no PyTorch needed to detect.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"yolov3 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show where in the code it arose.")] = False,
) -> None:
    """Detect objects, look at networks, convert models.

    Exit codes: 0 ok, 1 failed at run time, 2 usage, 3 data (pictures, labels), 4 model.
    """


for _command in (detect, show, convert):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: one line on stderr for an error, a traceback with `--debug`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    raise SystemExit(_run([word for word in given if word != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        return app(arguments, standalone_mode=False) or 0
    except Yolov3Error as error:
        return _report(error, str(error), error.exit_code, debug)
    except TyperException as error:
        return _report(error, error.format_message(), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`): end quietly, as SIGPIPE would.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError as error:
        return _report(error, "out of memory; try a smaller --size or --batch", 1, debug)
    except OSError as error:
        return _report(error, f"{error.filename or 'system'}: {error.strerror or error}", 1, debug)


def _report(error: BaseException, message: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    line = " ".join(message.split())
    if line:
        print(f"yolov3: error: {line}", file=sys.stderr)
    return code
