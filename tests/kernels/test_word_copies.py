"""Copies of rows that threads without locks work on."""

import numpy as np
import pytest

from smalgos.kernels.cpu import word_copies
from smalgos.kernels.cpu.word_rows import padded


def test_what_copies_gain_is_given_to_the_rows():
    rng = np.random.default_rng(0)
    rows, gains, others = rng.standard_normal((3, 5, 20)).astype(np.float32)
    table = padded(rows, behind=8)
    before, share = np.empty((4, 32), np.float32), np.array([1, 0.5, 0.25, 0], np.float32)
    word_copies.take(table, 4, 7, before)
    for copy in (table[7:11], before):
        np.testing.assert_array_equal(copy[:, :20], rows[:4])
    table[7:11, :20] += gains[:4]
    table[:5, :20] += others  # of another thread, meanwhile
    copies = table[7:].copy()
    word_copies.give(table, 4, 7, before, share)
    want = rows + others
    want[:4] += share[:, None] * gains[:4]
    np.testing.assert_allclose(table[:5, :20], want, atol=1e-6)
    np.testing.assert_array_equal(table[7:], copies)
    assert not table[:5, 20:].any()


def test_shares():
    steps = np.array([0, 1, 10, 1e9])
    np.testing.assert_array_equal(word_copies.shares(steps, 0.1, 1), 1)
    np.testing.assert_array_equal(word_copies.shares(steps, 0.0, 9), 1)
    found = word_copies.shares(steps, 0.1, 8)
    assert found[0] == 1
    assert found[-1] == pytest.approx(1 / 8)
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_get_as_far_as_in_turn(threads):
    # Each step shrinks the way to go by the same factor.
    steps, rate = 30, 0.02
    p = 1 - np.exp(-steps * rate * word_copies.CURVATURE)
    [share] = word_copies.shares(np.array([steps]), rate, threads)
    assert threads * p * share == pytest.approx(1 - (1 - p) ** threads)
