"""One file of known size and sha256 from one of several places, resumed where it was cut."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import Yolov3Error
from .registry import file_sha256

Progress = Callable[[int, int], None]
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5
_CHUNK = 1 << 18


class SourceError(Exception):
    """Why one place doesn't give the file."""


class _CutError(Exception):
    """The connection ended early; worth another attempt if that changed what is there."""


def download(
    urls: Sequence[str],
    part: Path,
    size: int,
    sha256: str,
    *,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> None:
    """Fetch a file into `part`, trying the places in turn.

    A part that is there already is continued. On return `part` has the right size and hash; a part with other content
    is removed, one that is only short stays for the next time.

    Args:
        urls: http and https addresses.
        part: where it goes.
        size: bytes; never more are read.
        sha256: of the file.
        progress: called with the bytes that are there and `size`.
        timeout: seconds without a byte before a place is given up.

    Raises:
        SourceError: none of the places gives it, with the reason for each.
        Yolov3Error: `part` can't be written.
    """
    problems = []
    for url in urls:
        try:
            _from_one_place(url, part, size, sha256, progress or (lambda done, total: None), timeout)
            return
        except SourceError as error:
            problems.append(f"{url}: {error}")
    raise SourceError("; ".join(problems))


def _from_one_place(url: str, part: Path, size: int, sha256: str, progress: Progress, timeout: float) -> None:
    reason = "no attempt"
    for _ in range(ATTEMPTS):
        start = _kept(part, size)
        try:
            if start < size:
                start = _fetch(url, part, start, size, progress, timeout)
        except _CutError as error:
            reason = str(error)
            if _kept(part, size) == start:
                raise SourceError(reason) from None
            continue
        if file_sha256(part) == sha256:
            return
        part.unlink()
        reason = "other content than expected (sha256)"
        if start == 0:
            break  # all of it came from here
    raise SourceError(reason)


def _kept(part: Path, size: int) -> int:
    """Bytes of an earlier attempt; more than the file has can't be a part of it."""
    kept = part.stat().st_size if part.is_file() else 0
    if kept > size:
        part.unlink()
    return kept if kept <= size else 0


def _fetch(url: str, part: Path, start: int, size: int, progress: Progress, timeout: float) -> int:
    """Append what is missing; gives where the bytes from this place start."""
    request = urllib.request.Request(url, headers={"User-Agent": "yolov3"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    done = start
    try:
        with _opener().open(request, timeout=timeout) as response:
            start = done = _first_byte(response, start)
            _check_length(response, size - start)
            with _open_part(part, start) as file:
                while chunk := response.read(min(_CHUNK, size - done + 1)):
                    done += len(chunk)
                    if done > size:
                        raise SourceError(f"sends more than the {size:,} bytes that the file has")
                    _write(file, chunk, part)
                    progress(done, size)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # what is kept isn't a part of this file: anew
            part.unlink()
            raise _CutError("refuses to continue the part") from None
        raise SourceError(f"answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _CutError(_reason(error)) from None
    if done < size:
        raise _CutError(f"ended after {done:,} of {size:,} bytes")
    return start


def _opener() -> urllib.request.OpenerDirector:
    """http and https with redirects between them; no file:, ftp: or data:, which the standard opener has too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _first_byte(response: http.client.HTTPResponse, start: int) -> int:
    """Where the answer starts: at `start` if the range was granted, else at the file's first byte."""
    granted = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    if response.status == 206 and not granted:
        raise SourceError("answers with another range than asked for")
    return start if granted else 0


def _check_length(response: http.client.HTTPResponse, expected: int) -> None:
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length) != expected:
        raise SourceError(f"offers {int(length):,} bytes, expected {expected:,}")


def _open_part(part: Path, start: int) -> BinaryIO:
    with _disk_errors(part):
        return part.open("ab" if start else "wb")


def _write(file: BinaryIO, chunk: bytes, part: Path) -> None:
    with _disk_errors(part):
        file.write(chunk)
        file.flush()


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """What goes wrong with the part is not the network's fault."""
    try:
        yield
    except OSError as error:
        raise Yolov3Error(f"{part}: could not be written ({error.strerror or error})") from None


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner) or type(inner).__name__
    return " ".join(str(words).split())
