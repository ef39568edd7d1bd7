"""A sample of a stream."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.learning.reservoir import WAITING, Reservoir, Sample


def rows(n, first=0):
    numbers = np.arange(first, first + n)
    keys = np.random.default_rng(0).random(100_000)[numbers]
    return Sample(keys, numbers, np.stack([numbers, -numbers], axis=1).astype(np.float32),
                  numbers.astype(np.float32))  # fmt: skip


def filled(capacity, *blocks):
    kept = Reservoir(capacity, 2)
    for block in blocks:
        kept.add(block.take(kept.wanted(block.keys)))
    return kept


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.columns(), b.columns(), strict=True))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.lists(st.integers(0, 30), max_size=6), st.integers(0, 5))
def test_the_smallest_keys_however_rows_come(capacity, lengths, cut):
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(int)
    blocks = [rows(n, a) for a, n in zip(starts, lengths, strict=False)]
    everything = rows(int(starts[-1]))
    smallest = np.sort(np.argsort(everything.keys)[:capacity])
    want = everything.take(smallest)
    assert same(filled(capacity, *blocks).sample(), want)
    base = filled(capacity, *blocks[:cut])
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    for block in blocks[cut : cut + 1]:
        a.add(block)
    for block in blocks[cut + 1 :]:
        b.add(block)
    b.merge(a, base)
    assert same(b.sample(), want)
    again = Reservoir(capacity, 2).admit(b.snapshot())
    assert same(again.sample(), want)


def test_memory_is_bounded():
    kept = Reservoir(100, 2)
    for first in range(0, 100_000, 1000):
        block = rows(1000, first)
        kept.add(block.take(kept.wanted(block.keys)))
        assert kept._waiting <= WAITING
    assert len(kept) == 100
    assert len(kept.wanted(rows(100_000).keys)) < 100


def test_all_rows():
    assert same(filled(None, rows(10), rows(5, 10)).sample(), rows(15))
    assert len(filled(None)) == 0


@pytest.mark.parametrize("spoil", [
    lambda f: f | {"rows": f["rows"][:-1]},
    lambda f: f | {"features": f["features"][:, :1]},
    lambda f: f | {"labels": f["labels"] * np.nan},
    lambda f: {n: np.concatenate([v, v]) for n, v in f.items()},
])  # fmt: skip
def test_damaged_samples_are_refused(spoil):
    with pytest.raises(UserError):
        Reservoir(10, 2).admit(spoil(filled(10, rows(10)).snapshot()))
