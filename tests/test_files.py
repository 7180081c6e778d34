"""Files that appear whole or not at all, whatever stands under their name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolov3 import Yolov3Error
from yolov3.files import atomic_path, open_regular, write_atomic


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    write_atomic(target, "after")
    assert target.read_text() == "after" and [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old").write_text("before")
    for name in ("old", "new"):
        write_atomic(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / name).read_text() == "after"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_folders_pipes_and_devices_are_never_replaced(tmp_path: Path) -> None:
    """To root a rename would put a file in the place of /dev/null."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    before = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    for name, words in (("folder", "a folder"), ("pipe", "a pipe"), ("link", "device")):
        with pytest.raises(Yolov3Error, match=f"{name}: could not be written .*{words}"):
            write_atomic(tmp_path / name, "data")
        with pytest.raises(OSError, match="a regular file expected"):
            open_regular(tmp_path / name)
    assert {path.name: path.lstat().st_mode for path in tmp_path.iterdir()} == before


def test_the_longest_names_and_longer_ones(tmp_path: Path) -> None:
    for name in ("a" * 255, "a" * 251 + ".txt", "ä" * 127, "a." + "b" * 253):
        write_atomic(tmp_path / name, "data")
        assert (tmp_path / name).read_text() == "data"
    with pytest.raises(Yolov3Error, match="too long"):
        write_atomic(tmp_path / ("a" * 256), "data")
    assert len(list(tmp_path.iterdir())) == 4
