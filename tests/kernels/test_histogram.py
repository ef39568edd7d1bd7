"""Counts of scores by label and bin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import histogram as h
from smalgos.kernels.cpu.shared import threads

EDGES = h.bin_edges()


def count(raw, y):
    counts = np.zeros((raw.shape[1], 2, h.BINS), np.int64)
    h.histogram(raw, y, counts)
    return counts


def test_edges_ascend_and_are_fine():
    numbers = EDGES[np.isfinite(EDGES)]
    assert (np.diff(numbers) > 0).all()
    usual = numbers[(numbers > 1e-3) & (numbers < 1e3)]
    assert (np.diff(usual) / usual[:-1] < 0.01).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_a_score_lies_between_the_edges_of_its_bin(scores):
    raw = np.array(scores, np.float32)[:, None]
    for i in range(len(raw)):
        (place,) = np.nonzero(count(raw[i : i + 1], np.ones(1))[0, 1])
        assert EDGES[place[0]] <= raw[i, 0]
        assert place[0] + 1 == h.BINS or raw[i, 0] <= EDGES[place[0] + 1]


def test_counts_every_score_once_for_any_n_jobs():
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((1000, 19)).astype(np.float32)
    y = rng.integers(0, 2, 1000).astype(np.float32)
    with threads(1):
        counts = count(raw, y)
    with threads(3):
        np.testing.assert_array_equal(count(raw, y), counts)
    assert (counts.sum(axis=2) == [(y == 0).sum(), (y == 1).sum()]).all()
    cut = np.searchsorted(EDGES, 0.5, side="left")
    for m in (0, 7, 18):
        assert counts[m, 1, cut:].sum() == ((raw[:, m] >= 0.5) & (y == 1)).sum()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        h.histogram(np.zeros((3, 2), np.float32), np.zeros(3), np.zeros((1, 2, h.BINS), np.int64))
