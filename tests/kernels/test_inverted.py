"""Inverted lists and codes against their definitions.

Numbers are small and whole, so that float32 is exact and equally near points are really so.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import candidates
from smalgos.kernels.cpu.inverted import Lists, measure, regrouped, search_lists
from smalgos.kernels.cpu.nearest import Points
from smalgos.kernels.cpu.product_quantizer import Codes, decode, encode, search_codes
from smalgos.kernels.cpu.shared import threads
from tests.reference import neighbours as reference


def whole(rng, *shape, most=3):
    return rng.integers(-most, most + 1, shape).astype(np.float32)


def problem(seed, n, d, lists, q):
    """Points in lists, in any order, some empty; queries."""
    rng = np.random.default_rng(seed)
    order, offsets = regrouped(rng.integers(0, lists, n), lists)
    return whole(rng, n, d)[order], offsets, order, whole(rng, lists, d), whole(rng, q, d)


sizes = st.integers(0, 99), st.integers(1, 60), st.integers(1, 20), st.integers(1, 6)


@settings(deadline=None, max_examples=20)
@given(*sizes, st.integers(1, 30), st.sampled_from(["l2", "ip"]), st.data())
def test_lists_give_the_best_of_what_is_read(seed, n, d, lists, q, metric, data):
    points, offsets, ids, centroids, X = problem(seed, n, d, lists, q)
    k, nprobe = data.draw(st.integers(1, n)), data.draw(st.integers(1, 12))
    packed = Lists(points, offsets, ids, metric)
    found = search_lists(X, packed, Points(centroids), k, nprobe)
    for x, got in zip(X, found, strict=True):
        _, want = reference.search_lists(x, points, offsets, ids, centroids, k, nprobe, metric)
        assert np.array_equal(got, want)


@settings(deadline=None, max_examples=20)
@given(*sizes[:2], st.integers(1, 4), st.integers(1, 5), sizes[3], st.integers(1, 20), st.data())
def test_codes_are_searched_as_what_they_stand_for(seed, n, m, w, lists, q, data):
    _, offsets, ids, centroids, X = problem(seed, n, m * w, lists, q)
    rng = np.random.default_rng(seed)
    books = whole(rng, m, data.draw(st.sampled_from([1, 9, 256])), w)
    codes = rng.integers(0, books.shape[1], (n, m)).astype(np.uint8)
    k, nprobe = data.draw(st.integers(1, n)), data.draw(st.integers(1, 12))
    coded = Codes(codes, books, centroids, offsets, ids)
    found, squares = search_codes(X, coded, Points(centroids), k, nprobe)
    of = np.repeat(np.arange(lists), np.diff(offsets))
    stood = centroids[of] + reference.decode(codes, books)
    assert np.array_equal(stood, centroids[of] + decode(codes, books))
    for x, got, near in zip(X, found, squares, strict=True):
        values, want = reference.search_lists(x, stood, offsets, ids, centroids, k, nprobe, "l2")
        assert np.array_equal(got, want)
        np.testing.assert_array_equal(near, values)


def test_the_nearest_codes_are_taken():
    rng = np.random.default_rng(0)
    books, rows = whole(rng, 3, 40, 4), whole(rng, 9, 12)
    want = [
        [reference.far(part, book, "l2").min() for part, book in zip(row, books, strict=True)]
        for row in rows.reshape(9, 3, 4)
    ]
    left = (rows - decode(encode(rows, books), books)).reshape(9, 3, 4)
    np.testing.assert_array_equal((left**2).sum(axis=2), want)


@pytest.mark.compiled
def test_no_bit_depends_on_threads_or_other_queries():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((5000, 19)).astype(np.float32)
    centroids, X = points[:30], rng.standard_normal((1300, 19)).astype(np.float32)
    order, offsets = regrouped(rng.integers(0, 30, 5000), 30)
    packed, lists = Lists(points[order], offsets, order), Points(centroids)
    books = rng.standard_normal((19, 256, 1)).astype(np.float32)
    coded = Codes(encode(points[order], books), books, centroids, offsets, order)

    def answers(some):
        found = search_lists(some, packed, lists, 7, 3)
        return found, measure(some, points, found), *search_codes(some, coded, lists, 7, 3)

    for jobs in (1, 5):
        with threads(jobs):
            whole_answer = answers(X)
            for a, b in ((0, 1), (5, 300), (1299, 1300)):
                for got, want in zip(answers(X[a:b]), whole_answer, strict=True):
                    assert np.array_equal(got, want[a:b])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_heaps_keep_the_best(k, given_values):
    values, ids = candidates.empty_heaps(2, k)
    for number, value in enumerate(given_values):
        if candidates.better(np.float32(value), number, values[1, 0], ids[1, 0]):
            candidates.replace_worst(values, ids, 1, np.float32(value), np.int64(number))
    values, ids = candidates.ordered(values, ids)
    want = reference.best(np.array(given_values), np.arange(len(given_values)), k)
    here = min(k, len(given_values))
    assert np.array_equal(values[1, :here], want[0][:here])
    assert np.array_equal(ids[1, :here], want[1][:here])
    assert (ids[1, here:] == candidates.NOBODY).all()


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_measure(metric):
    rng = np.random.default_rng(2)
    X, points = (rng.standard_normal((n, 33)).astype(np.float32) for n in (5, 40))
    at = rng.integers(0, 40, (5, 6))
    sign = 1 if metric == "l2" else -1
    want = [sign * reference.far(x, points[row], metric) for x, row in zip(X, at, strict=True)]
    np.testing.assert_allclose(measure(X, points, at, metric), want, rtol=1e-6)
