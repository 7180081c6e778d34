"""`yolov3 pull` and `yolov3 models`, against a server of our own."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import CliResult
from yolov3.darknet import import_cfg, to_darknet
from yolov3.errors import ModelError, UsageError, Yolov3Error
from yolov3.modelfile import Model
from yolov3.runtime.loading import load_model
from yolov3.spec import FAMILY
from yolov3.zoo import BUNDLED, COCO_NAMES, OFFICIAL_WEIGHTS, OfficialWeights, cache_folder, find_model, known_models
from yolov3.zoo.official import official_spec, read_official
from yolov3.zoo.pull import pull, pull_target

from .server import Server, serve

Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("yolov3.cli.COMMANDS", ("pull", "models"))
    return tmp_path / "cache" / "yolov3"


@pytest.fixture(scope="module")
def weights() -> bytes:
    """A weight file for yolov3-tiny: small numbers, variances of 1."""
    known = OFFICIAL_WEIGHTS[2]
    values = np.random.default_rng(0).standard_normal((known.size - 20) // 4, np.float32) ** 2 * 0.01
    return np.array([0, 2, 0, 32, 0], "<i4").tobytes() + values.astype("<f4").tobytes()


@pytest.fixture
def server(weights: bytes) -> Iterator[Server]:
    with serve(weights) as running:
        yield running


@pytest.fixture
def known(weights: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> OfficialWeights:
    """The registry's yolov3-tiny is the server's file now."""
    entry = replace(
        OFFICIAL_WEIGHTS[2], urls=(server.url("404"), server.url()), sha256=hashlib.sha256(weights).hexdigest()
    )
    monkeypatch.setattr("yolov3.zoo.registry.OFFICIAL_WEIGHTS", (*OFFICIAL_WEIGHTS[:2], entry))
    return entry


# --- what the official files become ----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", OFFICIAL_WEIGHTS, ids=lambda known: known.name)
def test_official_networks_have_the_size_and_masks_of_their_files(known: OfficialWeights) -> None:
    spec = official_spec(known)
    assert 20 + 4 * sum(item.stored_values for item in spec.network.convolutions) == known.size
    assert tuple(reversed(spec.anchors.masks)) == known.masks
    assert spec.nc == len(COCO_NAMES)
    assert all(url.startswith("https://") and url.endswith(f"/{known.name}.weights") for url in known.urls)


def test_every_official_network_is_one_of_the_family() -> None:
    """So that it has an input size; -spp's is 608, in its cfg as in `yolov3 show`."""
    assert [known.name for known in OFFICIAL_WEIGHTS] == list(FAMILY)
    assert FAMILY == {"yolov3": 416, "yolov3-spp": 608, "yolov3-tiny": 416}


def test_the_official_file_becomes_the_bundled_model(shared: Path) -> None:
    """The same network, names, size and weights as the cfg with its masks put right gives; and its bytes come back."""
    known = OFFICIAL_WEIGHTS[2]
    model = read_official(known, shared / "darknet" / "yolov3-tiny.weights")
    bundled = Model.load(BUNDLED["yolov3-tiny"])
    half = model.half()
    assert (half.spec, half.names, half.size_wh) == (bundled.spec, bundled.names, bundled.size_wh)
    assert (half.preprocess, half.batch_norm) == (bundled.preprocess, bundled.batch_norm)
    assert all(np.array_equal(half.tensors[name], array) for name, array in bundled.tensors.items())
    data = b"".join(to_darknet(model).weight_chunks())
    assert hashlib.sha256(data).hexdigest() == known.sha256
    assert import_cfg(to_darknet(model).cfg, "x").spec == bundled.spec


# --- pull ------------------------------------------------------------------------------------------------------------


def test_pull_into_the_cache(known: OfficialWeights, server: Server, cache: Path, weights: bytes) -> None:
    progress: list[tuple[int, int]] = []
    path = pull("yolov3-tiny", progress=lambda done, total: progress.append((done, total)))
    assert path == cache / "yolov3-tiny.safetensors" == pull_target("yolov3-tiny")
    assert [entry.name for entry in cache.iterdir()] == [path.name], "nothing else is left"
    assert progress[-1] == (known.size, known.size)
    model = Model.load(path)
    assert model.names == COCO_NAMES and model.size_wh == (416, 416)
    assert model.source["files"] == [{"name": "yolov3-tiny.weights", "sha256": known.sha256}]
    assert b"".join(to_darknet(model).weight_chunks()) == weights
    asked = len(server.requests)
    assert pull("yolov3-tiny") == path
    assert len(server.requests) == asked, "it is there already"


def test_pulled_names_are_found(known: OfficialWeights) -> None:
    assert find_model("yolov3-tiny") == BUNDLED["yolov3-tiny"]
    path = pull("yolov3-tiny")
    assert find_model("yolov3-tiny") == path
    assert load_model("yolov3-tiny").model.tensors["0.conv.weight"].dtype == np.float32
    assert find_model("nothing") is None
    assert find_model("../yolov3/yolov3-tiny") is None


def test_a_name_that_was_not_pulled() -> None:
    with pytest.raises(ModelError, match=r"yolov3-spp: not here yet; get it with: yolov3 pull yolov3-spp"):
        load_model("yolov3-spp")


@pytest.mark.parametrize("to", ["folder", "folder/own.safetensors", "new/deep"])
def test_pull_to_a_folder_or_a_file(to: str, known: OfficialWeights, tmp_path: Path, cache: Path) -> None:
    path = pull("yolov3-tiny", tmp_path / to)
    assert path == (tmp_path / to if to.endswith(".safetensors") else tmp_path / to / "yolov3-tiny.safetensors")
    assert Model.load(path).spec == official_spec(known)
    assert not cache.exists()


def test_fault_152_an_interrupted_pull_goes_on(
    known: OfficialWeights, server: Server, cache: Path, weights: bytes
) -> None:
    cache.mkdir(parents=True)
    (cache / "yolov3-tiny.weights.part").write_bytes(weights[:10_000_000])
    pull("yolov3-tiny")
    assert server.requests[-1][1] == "bytes=10000000-"
    assert [entry.name for entry in cache.iterdir()] == ["yolov3-tiny.safetensors"]


def test_fault_152_no_place_gives_it(
    known: OfficialWeights, monkeypatch: pytest.MonkeyPatch, server: Server, cache: Path
) -> None:
    monkeypatch.setattr(
        "yolov3.zoo.registry.OFFICIAL_WEIGHTS", (replace(known, urls=(server.url("404"), server.url("wrong"))),)
    )
    with pytest.raises(Yolov3Error) as caught:
        pull("yolov3-tiny")
    message = str(caught.value)
    for part in (
        "404 Not Found",
        "other content",
        "35,434,956 bytes",
        known.sha256,
        str(cache / "yolov3-tiny.weights"),
    ):
        assert part in message
    assert not list(cache.iterdir())


def test_fault_152_by_hand(known: OfficialWeights, server: Server, cache: Path, weights: bytes) -> None:
    """A file put where the message says is used, and not removed: it is the user's."""
    cache.mkdir(parents=True)
    given = cache / "yolov3-tiny.weights"
    given.write_bytes(b"something else")
    with pytest.raises(
        ModelError, match=r"yolov3-tiny.weights: not the official yolov3-tiny weights, expected 35,434,956"
    ):
        pull("yolov3-tiny")
    given.write_bytes(weights)
    pull("yolov3-tiny")
    assert not server.requests
    assert given.read_bytes() == weights


def test_fault_152_no_room(
    known: OfficialWeights, monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(Yolov3Error, match=r"72 MB are needed there, 1 MB are free"):
        pull("yolov3-tiny")
    assert not server.requests


def test_a_folder_that_cannot_be_made(known: OfficialWeights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Yolov3Error, match=r"file/sub: can't be made"):
        pull("yolov3-tiny", tmp_path / "file" / "sub")


def test_a_folder_where_the_model_file_should_go(known: OfficialWeights, server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(UsageError, match=r"x.safetensors: a folder is there"):
        pull("yolov3-tiny", tmp_path / "x.safetensors")
    assert not server.requests, "said before anything is fetched"


def test_an_unknown_name() -> None:
    with pytest.raises(
        UsageError, match="yolov4: no weights of that name are known, expected one of yolov3, yolov3-spp"
    ):
        pull("yolov4")


# --- where the cache is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/me/.cache/yolov3"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/yolov3"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/yolov3"),
        ("darwin", {}, "/home/me/Library/Caches/yolov3"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/yolov3/Cache"),
        ("win32", {}, "/home/me/AppData/Local/yolov3/Cache"),
    ],
)
def test_the_cache_folder(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected)


# --- the command line ------------------------------------------------------------------------------------------------


def test_models(known: OfficialWeights, cli: Cli, cache: Path) -> None:
    assert [(model.name, model.state) for model in known_models()] == [
        ("yolov3", "known"),
        ("yolov3-spp", "known"),
        ("yolov3-tiny", "bundled"),
    ]
    result = cli("models")
    assert result.code == 0
    lines = result.out.splitlines()
    assert "yolov3 pull yolov3-spp" in lines[2] and "bundled" in lines[3]
    pull("yolov3-tiny")
    assert "pulled" in cli("models").out.splitlines()[3]
    listed = json.loads(cli("models", "--json").out)
    assert [model["state"] for model in listed] == ["known", "known", "pulled"]
    assert listed[2]["path"] == str(cache / "yolov3-tiny.safetensors")


def test_pull_on_the_command_line(known: OfficialWeights, cli: Cli, tmp_path: Path) -> None:
    result = cli("pull", "yolov3-tiny", "--to", tmp_path / "models")
    path = tmp_path / "models" / "yolov3-tiny.safetensors"
    assert (result.code, result.out) == (0, f"{path}: 21 rows, 80 classes, 416×416, 35.4 MB\n")
    result = cli("pull", "yolov3-tiny", "--to", tmp_path / "models")
    assert result.out == f"{path}: there already\n"


def test_pull_on_the_command_line_fails_in_one_line(
    known: OfficialWeights, cli: Cli, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr("yolov3.zoo.registry.OFFICIAL_WEIGHTS", (replace(known, urls=(server.url("404"),)),))
    result = cli("pull", "yolov3-tiny")
    assert result.code == 1 and len(result.err.splitlines()) == 1
    assert "by hand: put yolov3-tiny.weights" in result.err
    assert cli("pull", "yolov4").code == 2


@pytest.mark.parametrize("fault", ["slow", "cut", "wrong", "404", "redirect"])
def test_fault_152_places_with_faults_on_the_command_line(
    fault: str, known: OfficialWeights, cli: Cli, monkeypatch: pytest.MonkeyPatch, server: Server, cache: Path,
    weights: bytes,
) -> None:  # fmt: skip
    """With a good place behind the bad one all ends well; alone, in one line and nothing wrong is kept."""

    def places(*paths: str) -> None:
        entry = replace(known, urls=tuple(map(server.url, paths)))
        monkeypatch.setattr("yolov3.zoo.registry.OFFICIAL_WEIGHTS", (*OFFICIAL_WEIGHTS[:2], entry))

    places(fault)
    result = cli("pull", "yolov3-tiny")
    assert result.code == (0 if fault in ("slow", "redirect") else 1)
    if result.code:
        assert len(result.err.splitlines()) == 1 and "by hand: put yolov3-tiny.weights" in result.err
        kept = sorted(path.name for path in cache.iterdir())
        assert kept == (["yolov3-tiny.weights.part"] if fault == "cut" else [])
        places(fault, "ok")
        assert cli("pull", "yolov3-tiny").code == 0
    assert [path.name for path in cache.iterdir()] == ["yolov3-tiny.safetensors"]
    assert b"".join(to_darknet(Model.load(cache / "yolov3-tiny.safetensors")).weight_chunks()) == weights


def test_a_model_file_that_would_not_give_the_weights_again(
    known: OfficialWeights, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The proof of what `pull` converts: nothing is put into place, and the download stays."""
    monkeypatch.setattr("yolov3.zoo.pull.read_official", lambda known, path: read_official(known, path).half())
    with pytest.raises(ModelError, match=r"yolov3-tiny.safetensors: failed its proof: the weights written from it"):
        pull("yolov3-tiny")
    assert [path.name for path in cache.iterdir()] == ["yolov3-tiny.weights.part"]
