"""Orders of rows: each is one of all, likely as any, and always the same."""

import numpy as np
import pytest

from smalgos.formats.shuffling import MANY, permutation


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, MANY - 1, MANY, MANY + 1, 100_000, 2 * MANY])
def test_an_order_has_each_row_once(n):
    order = permutation(n, (3, 1))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, permutation(n, (3, 1)))
    if n > 100:
        assert (order != permutation(n, (3, 2))).mean() > 0.9
        assert (order != permutation(n, (4, 1))).mean() > 0.9
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 5 / np.sqrt(n)


def test_orders_of_three_are_equally_likely():
    seen = [tuple(permutation(3, (seed, 0))) for seed in range(600)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 6
    assert min(counts) > 60


@pytest.mark.parametrize("n", [100, MANY + 5])
def test_windows_are_shuffled_unlike(n):
    orders = [permutation(n, (3, 5), window) for window in (0, 1, 2, 2**63)]
    for i, order in enumerate(orders):
        assert all((order != other).mean() > 0.9 for other in orders[:i])


@pytest.mark.compiled
@pytest.mark.parametrize("n", [MANY, 90_001, 3 * MANY])
def test_a_network_leaves_no_trace(n):
    """Where a row goes, its neighbours' distances, and its parity are as of random orders."""
    cells = 32
    for epoch in range(4):
        order = permutation(n, (7, epoch))
        # (place, row) falls into each cell of a grid alike: chi-square of (cells - 1)**2 degrees
        place = np.arange(n) * cells // n
        found = np.bincount(place * cells + order * cells // n, minlength=cells**2)
        expected = n / cells**2
        freedom = (cells - 1) ** 2
        chi = ((found - expected) ** 2 / expected).sum()
        assert abs(chi - freedom) < 6 * np.sqrt(2 * freedom)
        # the mean distance of two rows is a third of all; the deviation of one is 0.236
        distances = np.abs(np.diff(order)) / n
        assert abs(distances.mean() - 1 / 3) < 6 * 0.236 / np.sqrt(n)
        # rows that were neighbours are as far apart as any
        apart = np.abs(np.diff(np.argsort(order))) / n
        assert abs(apart.mean() - 1 / 3) < 6 * 0.236 / np.sqrt(n)
        # low bits of neighbours agree half of the time
        for bit in range(4):
            same = (order[1:] >> bit & 1) == (order[:-1] >> bit & 1)
            assert abs(same.mean() - 0.5) < 6 * 0.5 / np.sqrt(n)


@pytest.mark.compiled
def test_rows_of_one_place_are_spread_over_seeds():
    first = np.array([permutation(MANY, (seed, 0))[[0, 1, 1000]] for seed in range(300)])
    assert len(np.unique(first[:, 0])) > 290
    assert np.all(np.abs(first.mean(axis=0) / MANY - 0.5) < 6 * 0.289 / np.sqrt(300))
