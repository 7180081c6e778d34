"""The command line: one short file a command, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import Yolov3Error, printable
from .ending import forget_output, prepare_streams, stop_code, termination_as_interrupt

# Each command is the click command of that name in the module of that name, imported when it is used.
COMMANDS = ("detect", "train", "evaluate", "data", "anchors", "show", "convert", "pull", "models", "benchmark")


class _EndedError(Exception):
    """Ctrl-C, SIGTERM or a broken pipe, as its cause: click would end the process by itself, with a code of its own."""


class LazyGroup(click.Group):
    """Imports only the command that runs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, KeyboardInterrupt) as error:
            raise _EndedError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __name__), cmd_name)
        return command


@click.command(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 failed at run time, 2 usage, 3 data (pictures, labels), 4 model.",
)
@click.version_option(__version__, prog_name="yolov3", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="On an error, show where in the code it arose; anywhere in the line.")
def app(debug: bool) -> None:
    """YOLOv3 object detection: fast on plain CPUs, no PyTorch needed to detect.

    Example: yolov3 detect street.jpg
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: one line on stderr for an error, a traceback with `--debug`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    prepare_streams()
    with termination_as_interrupt():
        code = _run([word for word in given if word != "--debug"], debug)
    raise SystemExit(code)


def _run(arguments: list[str], debug: bool) -> int:
    try:
        code = app.main(arguments, prog_name="yolov3", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except Yolov3Error as error:
        return _report(error, str(error), error.exit_code, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        return _report(error, error.format_message(), error.exit_code, debug)
    except (_EndedError, BrokenPipeError, KeyboardInterrupt) as error:
        cause = error.__cause__ or error
        if isinstance(cause, BrokenPipeError):  # the reader has gone (`| head`): end quietly, as SIGPIPE would
            forget_output()
            return 141
        print("stopped", file=sys.stderr)
        return stop_code(cause)
    except MemoryError as error:
        return _report(error, "out of memory; try a smaller --size or --batch", 1, debug)
    except OSError as error:
        return _report(error, f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)


def _report(error: BaseException, message: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    print(f"yolov3: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
