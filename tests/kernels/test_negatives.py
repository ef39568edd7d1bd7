"""Counted random numbers and draws against Python's integers, and against chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu import negatives
from tests.reference import negatives as reference

SIZE = 20_000 if COMPILED else 2_000


@kernel
def numbers(key, first, out):
    for r in range(out.shape[0]):
        start = negatives.stream(key, first + r)
        for n in range(out.shape[1]):
            out[r, n] = negatives.bits(start, n)


@kernel
def units(words, out):
    for i in range(len(words)):
        out[i] = negatives.unit(words[i])


def bits(rows, columns, seed=0, first=0):
    out = np.empty((rows, columns), np.uint64)
    numbers(np.uint64(negatives.key(seed, "test", 3)), first, out)
    return out


def test_numbers_are_those_of_splitmix64():
    out = bits(5, 4, 7, 2**40)
    for r, row in enumerate(out):
        want = reference.Numbers(reference.key(7, "test", 3), 2**40 + r)
        assert [int(x) for x in row] == [next(want) for _ in row]


def test_keys_differ_by_seed_purpose_and_epoch():
    keys = {negatives.key(s, p, e) for s in (0, 1, -1) for p in ("a", "b") for e in (0, 1)}
    assert len(keys) == 12


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(lambda w: sum(w) > 1e-300))
def test_lists_hold_the_distribution(weights):
    found = negatives.noise_list(np.array(weights), 3, 7)
    size = len(found) - 7
    assert size.bit_count() == 1
    np.testing.assert_array_equal(found[size:], found[:7])
    counts = np.bincount(found[:size], minlength=len(weights))
    share = np.array(weights) / np.sum(weights)
    assert np.abs(counts - size * share).max() <= 1.01


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [np.nan], [np.inf]])
def test_what_is_no_distribution(weights):
    with pytest.raises(ValueError, match="noise"):
        negatives.noise_list(np.array(weights), 0)


def test_lists_are_in_random_order():
    chance = np.arange(1, 21) ** 0.75
    found = negatives.noise_list(chance, 5)
    assert (found != negatives.noise_list(chance, 6)).any()
    pairs = np.zeros((20, 20))
    np.add.at(pairs, (found[:-1:2], found[1::2]), 1)
    expected = np.outer(chance, chance) / chance.sum() ** 2 * pairs.sum()
    assert chi2.sf(((pairs - expected) ** 2 / expected).sum(), 399) > 1e-3
    parts = found.reshape(8, -1)
    counts = np.stack([np.bincount(part, minlength=20) for part in parts])
    expected = np.tile(counts.sum(axis=0) / 8, (8, 1))
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 19 * 7) > 1e-3


def test_lists_grow_with_the_vocabulary():
    most = max(negatives.SHORTEST, 1 << 16)
    assert len(negatives.noise_list(np.ones(2), 0)) == negatives.SHORTEST
    assert len(negatives.noise_list(np.ones(most // 32), 0)) == most
    assert len(negatives.noise_list(np.ones(most // 32 + 1), 0)) == 2 * most


def test_units_are_uniform():
    words = bits(SIZE // 10, 10).reshape(-1)
    out = np.empty(len(words), np.float32)
    units(words, out)
    assert out[:100].tolist() == [reference.unit(int(w)) for w in words[:100]]
    assert 0 <= out.min() <= out.max() < 1
    cells = np.histogram(out, 20, (0, 1))[0]
    assert chi2.sf(((cells - SIZE / 20) ** 2 / (SIZE / 20)).sum(), 19) > 1e-3


def test_rows_have_nothing_to_do_with_each_other():
    out = (bits(SIZE // 20, 20) >> np.uint64(11)).astype(float) * 2.0**-53
    n = len(out)
    for a, b in ((out[:-1, 0], out[1:, 0]), (out[:, 0], out[:, 1]), (out[:, 3], out[:, 2])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(n)
