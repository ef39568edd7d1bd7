"""Tables of embeddings: row-sparse steps against slow NumPy, and any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels import load
from smalgos.kernels.cpu import embedding, optimizers
from smalgos.kernels.cpu.shared import threads
from tests.reference import embedding as reference

k = load("embedding")
NAMES = ["sgd", "momentum", "adam", "adagrad", "rmsprop", "adadelta", "ftrl"]


def code(name):
    return getattr(optimizers, name.upper())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 5000), max_size=60), st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 2, 2048, 5001, 1 << 24]),
)  # fmt: skip
def test_lists_are_positions_by_key(keys, parts, bound):
    keys = np.array([7, *keys], np.int32) % bound
    m = len(keys)
    touched, positions = reference.lists(keys[1:])
    found = {}
    for part in range(parts):
        out = np.empty((3, m), np.int32)
        sort = embedding.sorter(bound, m)
        n = embedding.lists(keys, 1, m - 1, part, parts, sort, out[0], out[1], out[2])
        own = out[0, :n].tolist()
        assert own == sorted(own)
        for i, key in enumerate(own):
            found[key] = out[2, out[1, i] : out[1, i + 1]].tolist()
    assert found == dict(zip(touched, positions, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 999), st.sampled_from(NAMES), st.sampled_from([1, 16, 21, 40]),
    st.integers(0, 30), st.sampled_from([np.inf, 0.5]),
)  # fmt: skip
def test_steps_are_those_of_the_papers(seed, name, width, m, clip):
    rng = np.random.default_rng(seed)
    rows = 6
    opt = k.optimizer(code(name), clip=clip)
    values = rng.standard_normal((rows, width)).astype(np.float32)
    table = k.Table(rows, width, opt)
    table.put(values)
    want, slots = values, [np.zeros((rows, width))] * table.slots
    rate, decay, l1 = 0.1, 0.02, 0.01
    for t in (4, 5):
        ids = rng.integers(0, rows, m).astype(np.int32)
        g = rng.standard_normal((m, width)).astype(np.float32)
        table.step(ids, g, t, 0.5, rate, decay, l1)
        want, slots = reference.step(
            name, opt._asdict(), t, want, slots, ids, g, 0.5, rate, decay, l1
        )
    for got, expected in zip(table.plain(), [want, *slots], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    assert np.all(table.records.reshape(rows, -1, table.room)[:, :, width:] == 0)


def test_put_and_plain_are_exact_and_rows_come_by_number():
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, 50, 19)).astype(np.float32)
    table = k.Table(50, 19, k.optimizer(code("adam")))
    table.put(arrays[0], arrays[1:])
    np.testing.assert_array_equal(table.plain(), arrays)
    ids = rng.integers(0, 50, 77).astype(np.int32)
    np.testing.assert_array_equal(table.gather(ids), arrays[0][ids])
    table.put(arrays[1])
    np.testing.assert_array_equal(table.plain(), [arrays[1], 0 * arrays[1], 0 * arrays[1]])


def test_rows_that_are_not_mentioned_stay():
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, 8, 5)).astype(np.float32)
    table = k.Table(8, 5, k.optimizer(code("adam")))
    table.put(arrays[0], abs(arrays[1:]))
    table.step(np.int32([2, 5, 2]), np.ones((3, 5), np.float32), 1, 1.0, 0.1, 0.1)
    moved = [i for i in range(8) if np.any(table.plain()[0][i] != arrays[0][i])]
    assert moved == [2, 5]


@pytest.mark.compiled
def test_same_bytes_for_any_number_of_threads():
    rng = np.random.default_rng(1)
    rows, width, m = 3000, 24, 9000
    values = rng.standard_normal((rows, width)).astype(np.float32)
    ids = (rng.integers(0, rows, m) ** 2 // rows).astype(np.int32)
    g = rng.standard_normal((m, width)).astype(np.float32)
    results = set()
    for jobs in (1, 2, 5):
        with threads(jobs):
            table = k.Table(rows, width, k.optimizer(code("adam")))
            table.put(values)
            for t in (1, 2):
                table.step(ids, g, t, 0.01, 0.1)
            results.add(table.records.tobytes() + table.gather(ids).tobytes())
    assert len(results) == 1


def test_what_does_not_fit_is_named():
    table = k.Table(4, 3)
    with pytest.raises(IndexError, match="rows -1 to 2 of 4"):
        table.gather(np.int32([2, -1]))
    with pytest.raises(IndexError, match="rows 4 to 4 of 4"):
        table.step(np.int32([4]), np.zeros((1, 3), np.float32), 1, 1.0, 0.1)
    with pytest.raises(ValueError, match="gradients"):
        table.step(np.int32([1]), np.zeros((1, 4), np.float32), 1, 1.0, 0.1)
    with pytest.raises(ValueError, match="slots"):
        table.put(np.zeros((4, 3)), [np.zeros((4, 3))])
    with pytest.raises(ValueError, match="rows"):
        k.Table(0, 3)
    with pytest.raises(ValueError, match="epsilon"):
        k.Table(4, 3, k.optimizer(code("adagrad"), epsilon=0.0))


def test_large_tables_are_aligned_zeros():
    for size in (10, 1 << 20):
        x = embedding.zeros(size)
        assert (x.shape, x.dtype, x.ctypes.data % 64) == ((size,), np.float32, 0)
        assert not x.any()
        x[:] = 1
