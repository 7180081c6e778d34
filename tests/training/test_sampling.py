"""Order, batches, shares and input sizes: each picture once, nothing left over, any step without those before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.makers import yolo
from yolov3.data import load_dataset
from yolov3.errors import DataError, UsageError
from yolov3.training.sampling import (
    SIZE_STEPS,
    batch_bounds,
    class_weights,
    epoch_order,
    input_sizes,
    random_stream,
    share,
    step_size,
)


@given(count=st.integers(1, 300), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_each_picture_comes_once_an_epoch(count: int, seed: int, epoch: int) -> None:
    order = epoch_order(count, seed, epoch)
    assert sorted(order.tolist()) == list(range(count))


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_all_orders_are_equally_likely() -> None:
    first = np.bincount([epoch_order(4, 0, epoch)[0] for epoch in range(2000)], minlength=4)
    assert (np.abs(first - 500) < 90).all()  # five standard deviations


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=40), epoch=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_weighted_pictures_come_as_often_as_their_weight_says(weights: list[float], epoch: int) -> None:
    array = np.array(weights)
    counts = np.bincount(epoch_order(len(weights), 0, epoch, array), minlength=len(weights))
    expected = array / array.sum() * len(weights)
    assert counts.sum() == len(weights)
    assert (np.abs(counts - expected) < 1 + 1e-9).all()


def test_rare_classes_weigh_more(tmp_path: Path) -> None:
    rows = {**dict.fromkeys("abcdefgh", "0 0.5 0.5 0.5 0.5\n"), "i": "0 0.3 0.3 0.1 0.1\n1 0.5 0.5 0.5 0.5\n", "j": ""}
    samples = load_dataset(yolo(tmp_path, rows)).samples["train"]
    np.testing.assert_allclose(class_weights(samples, 3), [1] * 8 + [3, 1])  # class 0 in nine pictures, class 1 in one
    np.testing.assert_allclose(class_weights(samples[-1:], 3), [1])


@given(count=st.integers(1, 2000), batch=st.integers(1, 70))
@settings(max_examples=200, deadline=None)
def test_fault_91_batches_take_every_picture_and_none_is_small(count: int, batch: int) -> None:
    bounds = batch_bounds(count, batch)
    sizes = np.diff(bounds)
    assert bounds[0] == 0 and bounds[-1] == count and len(sizes) == -(-count // batch)
    assert sizes.max() - sizes.min() <= 1 and sizes.max() <= batch
    if batch > 2 and count > 1:
        assert sizes.min() > 1


@given(start=st.integers(0, 100), length=st.integers(0, 70), ranks=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_fault_91_shares_are_even_and_take_the_whole_batch(start: int, length: int, ranks: int) -> None:
    places = range(start, start + length)
    shares = [share(places, rank, ranks) for rank in range(ranks)]
    assert [place for part in shares for place in part] == list(places)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fault_91_no_process_is_left_without_a_picture() -> None:
    with pytest.raises(DataError, match="3 pictures in batches of 8 leave 3 for 4 processes"):
        batch_bounds(3, 8, 4)
    with pytest.raises(UsageError, match="batch 2: expected at least 4"):
        batch_bounds(100, 2, 4)
    with pytest.raises(UsageError, match="batch 0: expected at least 1"):
        batch_bounds(100, 0)
    with pytest.raises(DataError, match="no pictures"):
        batch_bounds(0, 16)


def test_input_sizes_are_multiples_of_the_stride_around_the_own() -> None:
    assert input_sizes((416, 416), 0, 32) == [(416, 416)]
    assert input_sizes((416, 416), 0.25, 32) == [(side, side) for side in range(320, 513, 32)]
    assert input_sizes((32, 32), 0.5, 32) == [(32, 32), (64, 64)] or input_sizes((32, 32), 0.5, 32) == [(32, 32)]
    for size_wh in input_sizes((640, 384), 0.4, 32):
        assert size_wh[0] % 32 == 0 and size_wh[1] % 32 == 0
        assert abs(size_wh[0] / size_wh[1] - 640 / 384) < 0.25


@pytest.mark.parametrize("size_wh", [(400, 416), (416, 0), (16, 16)])
def test_fault_93_sizes_that_are_no_multiple_of_the_stride_are_refused(size_wh: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="expected multiples of 32"):
        input_sizes(size_wh, 0, 32)


def test_the_input_size_stays_for_some_steps_and_takes_every_value() -> None:
    sizes = input_sizes((416, 416), 0.25, 32)
    taken = [step_size(sizes, 0, epoch, step) for epoch in range(10) for step in range(100)]
    assert set(taken) == set(sizes)
    for start in range(0, len(taken), SIZE_STEPS):
        assert len(set(taken[start : start + SIZE_STEPS])) == 1


def test_streams_do_not_overlap() -> None:
    """Philox counts its blocks in the lowest word; ours are told apart by the others."""
    a, b = random_stream(0, 0, 0), random_stream(0, 0, 1)
    assert not set(a.random(2000)) & set(b.random(2000))
