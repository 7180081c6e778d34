"""Reading and writing files so that nothing is left half done."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from .errors import Yolov3Error


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading; a folder, pipe or device, which could block for ever, is an OSError too.

    Raises:
        OSError: it is missing, unreadable or no regular file; `strerror` says it in words.
    """
    if (kind := _other_kind(Path(path))) is not None:
        raise OSError(errno.EINVAL, f"{kind}, a regular file expected")
    return Path(path).open("rb")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success rename it to `path`, on failure remove it.

    The file's bytes reach the disk before the rename, so `path` holds the old content or the new, never a part. A link
    stays a link: the file that it leads to is written.

    Raises:
        Yolov3Error: `path` is a folder, pipe or device, its folder is missing or can't be written, or the disk is full.
    """
    target = Path(path)
    if (kind := _other_kind(target)) is not None:  # the rename would put a file in the place of /dev/null
        raise Yolov3Error(f"{target}: could not be written ({kind}, a file's name expected)")
    real = Path(os.path.realpath(target))
    # Shorter than the name may be: with more behind it, the longest names would be too long.
    temporary = real.with_name(f".{real.name[:40]}.{os.urandom(4).hex()}.tmp{real.suffix[:20]}")
    try:
        temporary.touch(exist_ok=False)
        permissions = temporary.stat().st_mode
        yield temporary
        temporary.chmod(permissions)  # the user's own; some libraries write with stricter ones
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(real)
    except OSError as error:
        raise Yolov3Error(f"{target}: could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _other_kind(path: Path) -> str | None:
    """In words what `path` is, where that is neither a regular file nor nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` whole or not at all.

    Raises:
        Yolov3Error: the file can't be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data if isinstance(data, bytes) else data.encode())


@contextmanager
def staged(path: str | os.PathLike[str], companions: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a path of the same name in a new folder beside `path`; on success move what was written there into place.

    Files under the companions' names move too and `path` last, so that who finds it finds the whole set. On failure
    nothing stays.

    Raises:
        Yolov3Error: the folder is missing or can't be written, or the disk is full.
    """
    target = Path(path)
    folder = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    for each in (target, *companions):  # else those before it would be in place already
        if each.is_dir():
            raise Yolov3Error(f"{each}: could not be written (a folder is there)")
    try:
        folder.mkdir()
        yield folder / target.name
        written = [folder / each.name for each in (*companions, target)]
        for file in written:
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        for file in written:
            file.replace(target.with_name(file.name))
    except Yolov3Error as error:  # of what was staged, which goes by the name that it would have got
        error.args = (str(error).replace(f"{folder.name}{os.sep}", ""),)
        raise
    except OSError as error:
        raise Yolov3Error(f"{target}: could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
