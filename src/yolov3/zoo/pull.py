"""`yolov3 pull`: official weights from where they were published, as a model file."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from ..darknet import to_darknet
from ..errors import ModelError, UsageError, Yolov3Error
from ..files import staged
from ..modelfile import Model
from . import registry
from .download import TIMEOUT, Progress, SourceError, download
from .official import read_official
from .registry import OfficialWeights, file_sha256
from .shelf import SUFFIX, pulled_path


def find_official(name: str) -> OfficialWeights:
    """The official weights of a name.

    Raises:
        UsageError: there are none.
    """
    for known in registry.OFFICIAL_WEIGHTS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in registry.OFFICIAL_WEIGHTS)
    raise UsageError(f"{name}: no weights of that name are known, expected one of {names}")


def pull_target(name: str, to: str | os.PathLike[str] | None = None) -> Path:
    """The model file that `pull` makes: in the user's cache folder, or in the folder `to`, or `to` itself.

    Raises:
        UsageError: no weights of that name.
    """
    find_official(name)
    if to is None:
        return pulled_path(name)
    path = Path(to)
    return path if path.suffix.lower() == SUFFIX else path / f"{name}{SUFFIX}"


def pull(
    name: str,
    to: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """Get official weights and make a model file of them.

    The weight file is taken from beside the target (`NAME.weights`) if it is there, else downloaded (into
    `NAME.weights.part`, which a later call continues), checked by its sha256, converted and removed. The model file is
    put into place when the weight file written from it again has the same sha256.

    Args:
        name: `yolov3`, `yolov3-spp` or `yolov3-tiny`.
        to: a folder, or a file that ends in `.safetensors`; by default the user's cache folder.
        progress: called with the bytes that are there and the file's size.
        timeout: seconds without a byte before a place is given up.

    Returns:
        The model file; one that is there already is left as it is.

    Raises:
        UsageError: no weights of that name, or a folder where the model file should go.
        ModelError: `NAME.weights` is there, but isn't the official file.
        Yolov3Error: it can't be fetched (with what to do by hand) or written.
    """
    known = find_official(name)
    target = pull_target(name, to)
    if target.is_file():
        return target
    if target.exists():
        raise UsageError(f"{target}: a folder is there, where the model file should go; choose another place")
    _make_folder(target.parent)
    given = target.with_name(f"{name}.weights")
    if given.is_file():
        _check_given(known, given)
        _convert(known, given, target)
        return target
    part = target.with_name(f"{name}.weights.part")
    _check_space(target.parent, known, part)
    try:
        download(known.urls, part, known.size, known.sha256, progress=progress, timeout=timeout)
    except SourceError as error:
        raise Yolov3Error(
            f"{name}: could not be fetched ({error}); by hand: put {name}.weights ({known.size:,} bytes, sha256 "
            f"{known.sha256}) at {given} and run this again"
        ) from None
    _convert(known, part, target)
    part.unlink()
    return target


def _convert(known: OfficialWeights, weights: Path, target: Path) -> None:
    """Make the model file, and prove that the weight file could be written from it byte for byte."""
    with staged(target) as made:
        read_official(known, weights).save(made)
        digest = hashlib.sha256()
        for chunk in to_darknet(Model.load(made, origin=str(target))).weight_chunks():
            digest.update(chunk)
        if digest.hexdigest() != known.sha256:
            raise ModelError(
                f"{target}: failed its proof: the weights written from it aren't {known.name}'s official ones (sha256 "
                f"{digest.hexdigest()}, {known.sha256} expected); no file was written, please report this"
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Yolov3Error(f"{folder}: can't be made ({error.strerror})") from None


def _check_given(known: OfficialWeights, given: Path) -> None:
    if given.stat().st_size != known.size or file_sha256(given) != known.sha256:
        raise ModelError(
            f"{given}: not the official {known.name} weights, expected {known.size:,} bytes with sha256 "
            f"{known.sha256}; put the right file there or remove this one"
        )


def _check_space(folder: Path, known: OfficialWeights, part: Path) -> None:
    """The download and the model file of about the same size must fit."""
    needed = 2 * known.size + (1 << 20) - (part.stat().st_size if part.is_file() else 0)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Yolov3Error(f"{folder}: {needed / 1e6:.0f} MB are needed there, {free / 1e6:.0f} MB are free")
