"""The loader: the same batches with any number of threads, any step at once, bad pictures named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.makers import coco, fingerprint, voc, voc_object, voc_xml, write_picture, yolo
from yolov3.data import Sample, load_dataset
from yolov3.errors import DataError, UsageError, Yolov3Error
from yolov3.geometry import letterbox_image, plan_letterbox
from yolov3.images import read_image
from yolov3.training import loader as loader_module
from yolov3.training.augment import PRESETS, AugmentSettings
from yolov3.training.loader import Batch, Loader
from yolov3.training.pictures import TrainingPictures

MODERN = PRESETS["modern"]


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Eleven pictures of several sizes, with none to three boxes."""
    rows = "0 0.3 0.4 0.4 0.5\n1 0.6 0.5 0.5 0.5\n2 0.5 0.5 0.9 0.8\n".splitlines(keepends=True)
    path = yolo(tmp_path / "set", {f"p{number:02}": "".join(rows[: number % 4]) for number in range(11)})
    for number in range(0, 11, 3):
        write_picture(tmp_path / f"set/images/train/p{number:02}.png", (60 + 9 * number, 50), seed=number)
    return load_dataset(path).samples["train"]


def load(samples: Sequence[Sample], epoch: int = 0, step: int = 0, **options: Any) -> list[Batch]:
    chosen = {"size_wh": (64, 64), "batch": 4, "settings": MODERN, "epochs": 20, "workers": 0, **options}
    with Loader(samples, **chosen) as loader:
        return list(loader.epoch(epoch, step))


def content(batches: Iterable[Batch]) -> list[tuple[Any, ...]]:
    return [
        (batch.images.shape, batch.images.numpy().tobytes(), batch.targets.tolist(), batch.ignore.tolist(), batch.files)
        for batch in batches
    ]


# ------------------------------------------------------------------------------------------------ what is in a batch


def test_a_batch_holds_what_it_says(samples: list[Sample]) -> None:
    batches = load(samples)
    assert [len(batch) for batch in batches] == [3, 4, 4]
    for batch in batches:
        assert batch.images.dtype == torch.uint8 and batch.images.shape[1:] == (3, 64, 64)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.targets.dtype == batch.ignore.dtype == torch.float32
        assert batch.targets.shape[1] == 6 and batch.ignore.shape == (0, 5)
        assert set(batch.targets[:, 0].tolist()) <= set(range(len(batch))) and len(batch.files) == len(batch)
        centres, sides = batch.targets[:, 2:4], batch.targets[:, 4:]
        assert (centres - sides / 2 > -1e-4).all() and (centres + sides / 2 < 64 + 1e-4).all()


def test_targets_are_pixels_of_the_input(samples: list[Sample]) -> None:
    for batch in load(samples, settings=PRESETS["none"], shuffle=False):
        for number, file in enumerate(batch.files):
            sample = next(sample for sample in samples if str(sample.image) == file)
            plan = plan_letterbox(sample.size_wh, (64, 64))
            expected = letterbox_image(read_image(sample.image), plan)
            np.testing.assert_array_equal(batch.images[number].permute(1, 2, 0).numpy(), expected)
            own = batch.targets[batch.targets[:, 0] == number].numpy()
            boxes = plan.to_canvas(sample.boxes)
            assert own[:, 1].tolist() == sample.labels.tolist()
            np.testing.assert_allclose(own[:, 2:4] - own[:, 4:] / 2, boxes[:, :2], atol=1e-4)
            np.testing.assert_allclose(own[:, 2:4] + own[:, 4:] / 2, boxes[:, 2:], atol=1e-4)


def test_crowds_are_ignored_not_learnt(tmp_path: Path) -> None:
    samples = load_dataset(coco(tmp_path)).split()
    (batch,) = load(samples, settings=PRESETS["none"], shuffle=False)
    assert batch.targets[:, :2].tolist() == [[0, 1], [1, 0]]
    np.testing.assert_allclose(batch.ignore.numpy(), [[0, 0, 16, 64, 48]])


def test_difficult_objects_are_ignored_not_learnt(tmp_path: Path) -> None:
    text = voc_xml(voc_object("dog", (1, 1, 100, 50), difficult=1), voc_object("cat", (11, 11, 20, 20)))
    samples = load_dataset(voc(tmp_path, {"a": text}, {"train": ["a"]})).split("train")
    (batch,) = load(samples, settings=PRESETS["none"])
    assert len(batch.targets) == 1
    np.testing.assert_allclose(batch.ignore.numpy(), [[0, 0, 16, 32, 32]])


def test_pictures_without_objects_give_empty_targets(tmp_path: Path) -> None:
    samples = load_dataset(yolo(tmp_path, {"a": "", "b": "0 0.5 0.5 0.5 0.5\n"})).samples["train"][:1]
    (batch,) = load(samples, settings=PRESETS["darknet"])
    assert batch.targets.shape == (0, 6) and batch.ignore.shape == (0, 5) and len(batch) == 1


def test_multi_scale_changes_whole_batches(samples: list[Sample]) -> None:
    setting = AugmentSettings(multi_scale=0.5, mosaic=0.5)
    shapes = {tuple(batch.images.shape[2:]) for epoch in range(8) for batch in load(samples, epoch, settings=setting)}
    assert len(shapes) > 1 and shapes <= {(32, 32), (64, 64), (96, 96)}


def test_an_input_that_is_not_square(samples: list[Sample]) -> None:
    (batch, *_) = load(samples, size_wh=(96, 32))
    assert batch.images.shape[1:] == (3, 32, 96)


# ---------------------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_fault_92_the_same_batches_with_any_number_of_workers(samples: list[Sample], workers: int) -> None:
    setting = AugmentSettings(**{**MODERN.to_dict(), "multi_scale": 0.5, "mixup": 0.3})
    assert content(load(samples, settings=setting, workers=workers)) == content(load(samples, settings=setting))


def test_fault_92_the_cache_makes_no_difference(samples: list[Sample]) -> None:
    expected = content(load(samples, cache_bytes=0))
    with Loader(samples, (64, 64), batch=4, settings=MODERN, epochs=20, cache_bytes=30_000) as loader:
        assert content(loader.epoch(0)) == expected == content(loader.epoch(0))
        assert 0 < loader.pictures.cached_bytes <= 30_000


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_84_any_epoch_and_step_can_be_resumed(samples: list[Sample], workers: int) -> None:
    whole = content(load(samples, 5, workers=workers))
    for step in range(4):
        assert content(load(samples, 5, step, workers=workers)) == whole[step:]


def test_fault_84_steps_that_are_skipped_read_nothing(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = TrainingPictures.__getitem__
    monkeypatch.setattr(TrainingPictures, "__getitem__", lambda self, i: (read.append(i), original(self, i))[1])
    load(samples, 0, 2, settings=PRESETS["none"])
    assert len(read) == 4


def test_epochs_differ_and_the_last_are_without_mosaic(samples: list[Sample]) -> None:
    assert content(load(samples, 0)) != content(load(samples, 1))
    setting = AugmentSettings(mosaic=1, close_mosaic=2)
    composed = [
        any(" + " in file for batch in load(samples, epoch, settings=setting, epochs=4) for file in batch.files)
        for epoch in range(4)
    ]
    assert composed == [True, True, False, False]


@pytest.mark.parametrize("ranks", [2, 3])
def test_fault_91_processes_share_each_batch_and_see_what_one_would(samples: list[Sample], ranks: int) -> None:
    alone = load(samples, 3)
    parts = [load(samples, 3, rank=rank, ranks=ranks) for rank in range(ranks)]
    for step, batch in enumerate(alone):
        together = torch.cat([part[step].images for part in parts])
        assert torch.equal(together, batch.images)
        assert [file for part in parts for file in part[step].files] == batch.files
        assert sum(len(part[step].targets) for part in parts) == len(batch.targets)


def test_fault_91_a_batch_larger_than_the_dataset(samples: list[Sample]) -> None:
    (batch,) = load(samples, batch=64)
    assert len(batch) == 11 and len({file.split(" + ")[0] for file in batch.files}) == 11


def test_balanced_classes_show_rare_ones_more(samples: list[Sample]) -> None:
    names = [
        file.split(" + ")[0]
        for epoch in range(6)
        for batch in load(samples, epoch, balanced_classes=3, settings=PRESETS["darknet"])
        for file in batch.files
    ]
    rare = [name for name in names if name.endswith(("p03.png", "p07.png"))]  # the two with the third class
    assert len(names) == 66 and len(rare) / 6 > 2.5


# -------------------------------------------------------------------------------------------------------- faults


def test_bad_pictures_are_named_and_replaced(samples: list[Sample]) -> None:
    samples[2].image.write_bytes(b"no picture")
    samples[3].image.unlink()
    with Loader(samples, (64, 64), batch=4, shuffle=False) as loader:
        files = [file for batch in loader.epoch(0) for file in batch.files]
        assert sorted(loader.pictures.bad) == [2, 3]
        assert "p02.png: not a picture that can be read" in loader.pictures.bad[2]
        assert "p03.png: can't be read" in loader.pictures.bad[3]
    assert files[2] == files[3] == files[4] == str(samples[4].image)


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_89_a_bad_picture_that_shall_not_be_skipped_is_named(samples: list[Sample], workers: int) -> None:
    data = samples[5].image.read_bytes()
    samples[5].image.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"p05\.png: the PNG is truncated"):
        load(samples, bad_pictures="error", workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_89_any_error_in_a_worker_names_the_picture(
    samples: list[Sample], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pictures: TrainingPictures, index: int, *rest: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(loader_module, "augment", fail)
    with pytest.raises(Yolov3Error, match=r"p\d\d\.png: can't be prepared for training \(ZeroDivisionError: boom\)"):
        load(samples, workers=workers)


def test_fault_87_running_out_of_memory_stays_that(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loader_module, "augment", fail)
    with pytest.raises(MemoryError):
        load(samples, workers=2)


def test_no_picture_can_be_used(samples: list[Sample]) -> None:
    for sample in samples:
        sample.image.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 11 pictures can be used; the first: .*p00\.png"):
        load(samples)


def test_a_picture_of_another_size_than_annotated_is_named(tmp_path: Path) -> None:
    samples = load_dataset(coco(tmp_path)).split()
    write_picture(tmp_path / "images/a.png", (100, 200))
    with pytest.raises(DataError, match=r"a\.png: the picture is 100×200 pixels as displayed"):
        load(samples, bad_pictures="error")


def test_fault_88_there_is_no_worker_process_and_no_shared_memory(samples: list[Sample]) -> None:
    """What can't be killed, or run out, needs no rescue."""

    def seen() -> tuple[str, list[str]]:
        maps = Path("/proc/self/maps").read_text().splitlines()
        children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text()
        return children, [line for line in maps if "/dev/shm" in line]

    if not Path("/proc/self/maps").is_file():
        pytest.skip("children and mapped files are looked up in Linux's /proc")
    before = seen()
    with Loader(samples, (64, 64), batch=2, workers=4, settings=MODERN) as loader:
        batches = loader.epoch(0)
        next(batches)
        assert seen() == before


def test_an_epoch_can_be_left_and_threads_end(samples: list[Sample]) -> None:
    def loaders() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]

    with Loader(samples, (64, 64), batch=2, workers=3, settings=MODERN) as loader:
        for _ in loader.epoch(0):
            break
        assert loaders()
        assert len(list(loader.epoch(1))) == len(loader) == 6
    assert not loaders()


def test_nothing_of_the_users_is_changed(samples: list[Sample]) -> None:
    root = samples[0].image.parents[2]
    before = fingerprint(root)
    load(samples, workers=2)
    assert fingerprint(root) == before


@pytest.mark.parametrize(
    "options",
    [
        {"workers": -1},
        {"rank": 2, "ranks": 2},
        {"seed": -1},
        {"seed": 2**63},
        {"size_wh": (60, 64)},
        {"batch": 0},
        {"bad_pictures": "ignore"},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(samples: list[Sample], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        load(samples, **options)


def test_no_pictures_at_all() -> None:
    with pytest.raises(DataError, match="no pictures to train on"):
        load([])


# ------------------------------------------------------------------------------------------------------ pictures


def test_large_pictures_are_kept_small(tmp_path: Path) -> None:
    samples = load_dataset(yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"})).samples["train"]
    write_picture(samples[0].image, (800, 400))
    pictures = TrainingPictures(samples, (64, 64))
    assert pictures[0].image.shape == (32, 64, 3) and pictures.cached_bytes == 32 * 64 * 3
    np.testing.assert_allclose(pictures[0].boxes, [[16, 8, 48, 24]])
    assert pictures[0] is pictures[0]
    with pytest.raises(ValueError, match="read-only"):
        pictures[0].image[:] = 0


def test_real_data(shared: Path) -> None:
    samples = load_dataset(shared / "coco128/instances.json", images=shared / "coco128/images").split()
    (crowded,) = [sample for sample in samples if sample.crowd.any()][:1]
    batches = load([crowded, *samples[:15]], size_wh=(128, 128), batch=8, settings=MODERN, workers=2)
    assert sum(len(batch.targets) for batch in batches) > 50
    json.dumps([batch.files for batch in batches])
