"""A web server for one file, with the faults that real ones have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

Fault = Callable[["Handler", bytes], bool]  # True when it has answered


class Handler(BaseHTTPRequestHandler):
    """Serves `server.data` at any path, with ranges; the first word of the path picks a fault."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range", "")))
        fault = FAULTS.get(self.path.split("/")[1])
        if fault is None or not fault(self, self.server.data):
            self.send_file(self.server.data)

    def send_file(self, data: bytes, *, length: int | None = None) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start if length is None else length))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    """Remembers what was asked for: (path, Range)."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = data
        self.requests: list[tuple[str, str]] = []
        self.release = threading.Event()

    def url(self, path: str = "ok") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}/file.weights"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that goes away is no fault here."""


@contextmanager
def serve(data: bytes) -> Iterator[Server]:
    server = Server(data)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def missing(handler: Handler, data: bytes) -> bool:
    handler.send_error(404)
    return True


def broken(handler: Handler, data: bytes) -> bool:
    handler.send_error(503)
    return True


def redirect(handler: Handler, data: bytes) -> bool:
    handler.send_response(302)
    handler.send_header("Location", handler.path.replace("/redirect/", "/ok/"))
    handler.end_headers()
    return True


def to_a_file(handler: Handler, data: bytes) -> bool:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.end_headers()
    return True


def in_circles(handler: Handler, data: bytes) -> bool:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()
    return True


def cut(handler: Handler, data: bytes) -> bool:
    """A third of what was asked for, then the connection ends."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    handler.send_file(data[: start + max((len(data) - start) // 3, 1)], length=len(data) - start)
    return True


def stalled(handler: Handler, data: bytes) -> bool:
    """Half of it, then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.wfile.flush()
    handler.server.release.wait(20)
    return True


def slow(handler: Handler, data: bytes) -> bool:
    """All of it, a tenth at a time with pauses shorter than any patience."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    step = len(data) // 10 + 1
    for place in range(start, len(data), step):
        time.sleep(0.05)
        handler.wfile.write(data[place : place + step])
        handler.wfile.flush()
    return True


def no_ranges(handler: Handler, data: bytes) -> bool:
    del handler.headers["Range"]
    return False


def other_range(handler: Handler, data: bytes) -> bool:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    return True


def wrong(handler: Handler, data: bytes) -> bool:
    """As long as the file, with other content."""
    handler.send_file((np.frombuffer(data, np.uint8) ^ 1).tobytes())
    return True


def page(handler: Handler, data: bytes) -> bool:
    """A web page with status 200."""
    handler.send_file(b"<!DOCTYPE html>")
    return True


def endless(handler: Handler, data: bytes) -> bool:
    """More than the file has, and no length."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10):
        handler.wfile.write(data)
    return True


def unsatisfied(handler: Handler, data: bytes) -> bool:
    if handler.headers.get("Range") is None:
        return False
    handler.send_error(416)
    return True


FAULTS: dict[str, Fault] = {
    "404": missing,
    "503": broken,
    "redirect": redirect,
    "to-a-file": to_a_file,
    "in-circles": in_circles,
    "cut": cut,
    "stalled": stalled,
    "slow": slow,
    "no-ranges": no_ranges,
    "other-range": other_range,
    "wrong": wrong,
    "page": page,
    "endless": endless,
    "416": unsatisfied,
}
