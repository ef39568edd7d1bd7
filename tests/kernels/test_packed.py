"""Packed gradient pairs, parting of rows, samples, and crews of threads."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu import crew, packed
from smalgos.kernels.cpu.boosting import sampled
from smalgos.kernels.cpu.shared import threads
from tests.reference import trees as twin

KEYS = st.integers(-(2**31), 2**31 - 1)
HALVES = st.integers(-packed.MOST, packed.MOST), st.integers(0, 65000)


@kernel(fastmath=False)
def unpacked(pairs, out):
    for i in range(len(pairs)):
        out[i] = packed.unpack(pairs[i])


@kernel(fastmath=False)
def counted(cuts, values, out):
    for i in range(len(values)):
        out[i] = packed.count_up_to(cuts, 1, values[i])


@kernel(fastmath=False)
def copied(target, to, source, at, count):
    packed.copy(target, to, source, at, count)


@kernel(fastmath=False)
def parted(rows, at, column, low, span, left, to_left, right, to_right):
    return packed.part(rows, at, column, low, span, left, to_left, right, to_right)


def pack(g, h, key, first=0):
    pairs = np.empty(len(g), np.int32)
    one = np.float32(1)
    packed.pack_rows(g, h, one, one, np.int32(first), np.int32(key), pairs)
    return pairs


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(*HALVES, st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=40),
    KEYS,
    st.integers(0, 2**30),
)
def test_pairs_are_those_of_the_twin(values, key, first):
    g, h, a, b = np.array(values, np.float64).T
    g, h = (g + a / 256).astype(np.float32), (h + b / 256).astype(np.float32)
    want = twin.packed(g, h, first + np.arange(len(g)), key)
    np.testing.assert_array_equal(pack(g, h, key, first), want)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*HALVES), min_size=1, max_size=40), KEYS)
def test_whole_numbers_are_kept(values, key):
    """So are rows that do not count, which are zeros."""
    g, h = (np.array(v, np.float32) for v in zip(*values, strict=True))
    g, h = np.tile(g, 100), np.tile(h, 100)
    pairs = pack(g, h, key)
    np.testing.assert_array_equal(pairs >> 16, g)
    np.testing.assert_array_equal(pairs & 0xFFFF, h)


@pytest.mark.compiled
@pytest.mark.parametrize("g", [0.001, 0.3, -0.3, -0.999, 1234.25, -1234.75, 31999.5, -31999.5])
def test_rounding_has_no_bias(g):
    n = 1 << 20
    for h in (0.001, 0.5, 64999.5):
        pairs = pack(np.full(n, g, np.float32), np.full(n, h, np.float32), 12345)
        for found, x in ((pairs >> 16, np.float32(g)), (pairs & 0xFFFF, np.float32(h))):
            assert set(np.unique(found)) <= {np.floor(x), np.floor(x) + 1}
            share = float(x) % 1
            error = 5 * np.sqrt(share * (1 - share) / n) + 2**-15
            assert abs(found.mean() - float(x)) < error


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*HALVES), min_size=1, max_size=60))
def test_sums_of_pairs_are_sums_of_both(values):
    g, h = np.array(values, np.int64).T
    pairs = ((g << 16) + h).astype(np.int32)
    out = np.empty(len(pairs), np.int64)
    unpacked(pairs, out)
    assert out.sum() >> 32 == g.sum()
    assert out.sum() & 0xFFFFFFFF == h.sum()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=17, max_size=17),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8),
)
def test_cuts_are_counted(cuts, values):
    cuts, values = np.sort(np.array(cuts, np.float32)), np.array(values, np.float32)
    values = np.concatenate([values, cuts])
    out = np.empty(len(values), np.int64)
    counted(cuts.reshape(1, -1), values, out)
    np.testing.assert_array_equal(out, (cuts[1:] <= values[:, None]).sum(axis=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("seed", range(25))
def test_sixteen_rows_are_parted(dtype, seed):
    """Bins are counted from low on, around the end: missing ones may stand before the first."""
    rng = np.random.default_rng(seed)
    most = np.iinfo(dtype).max
    bins = [3, most][seed % 2]
    column = rng.integers(0, bins, 100).astype(dtype)
    column[rng.random(100) < 0.2] = most
    rows = rng.permutation(100)[:40].astype(np.int32)
    at = int(rng.integers(0, 24))
    for low, span in ((0, int(rng.integers(0, bins))), (most, int(rng.integers(0, bins)))):
        left, right = np.full(60, -1, np.int32), np.full(60, -1, np.int32)
        went = int(parted(rows, at, column, low, span, left, 5, right, 7))
        own = rows[at : at + 16]
        goes = (column[own].astype(np.int64) - low) % (most + 1) <= span
        assert went == goes.sum()
        np.testing.assert_array_equal(left[5 : 5 + went], own[goes])
        np.testing.assert_array_equal(right[7 : 7 + 16 - went], own[~goes])
        for side, first in ((left, 5), (right, 7)):  # sixteen are overwritten, no more
            assert (side[:first] == -1).all()
            assert (side[first + 16 :] == -1).all()


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_copies(dtype):
    source = np.arange(50).astype(dtype)
    for to, at, count in ((0, 0, 50), (3, 7, 11), (5, 5, 0)):
        target = np.zeros(60, dtype)
        copied(target, to, source, at, count)
        want = np.zeros(60, dtype)
        want[to : to + count] = source[at : at + count]
        np.testing.assert_array_equal(target, want)


def test_extent():
    g, h = np.array([1, -3, 2], np.float32), np.array([0, 0.5, 4], np.float32)
    assert packed.extent_of(g, h) == (3, 4, 0, 6, 4.5)
    assert packed.extent_of(g, -h) == (3, 0, -4, 6, -4.5)
    assert not np.isfinite(packed.extent_of(g, np.array([1, np.nan, 2], np.float32))[1])
    assert not np.isfinite(packed.extent_of(np.array([1, -np.nan, 2], np.float32), h)[0])
    assert packed.extent_of(g, np.array([1, -np.inf, 2], np.float32))[2] == -np.inf
    assert packed.extent_of(g[:0], h[:0]) == (0, 0, 0, 0, 0)


# -- samples


@pytest.mark.compiled
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_share_of_the_rows(share):
    n = 200_000
    g, h = np.ones(n, np.float32), np.full(n, 2, np.float32)
    some_g, some_h = sampled(g, h, share, 7, None)
    taken = some_g != 0
    assert abs(taken.mean() - share) < 5 * np.sqrt(share * (1 - share) / n)
    assert (some_g[taken] == 1).all()
    np.testing.assert_array_equal(some_h, 2 * some_g)
    other, _ = sampled(g, h, share, 8, None)  # another key, other rows
    both = (taken & (other != 0)).mean()
    assert abs(both - share**2) < 5 * share / np.sqrt(n) + 1e-4


@pytest.mark.compiled
def test_rows_of_large_gradients_come_sooner():
    """What rows stand for sums up to all of them, and the sample has its share."""
    n = (1 << 16) + 1  # the last task has one row
    rng = np.random.default_rng(0)
    g = rng.standard_normal(n).astype(np.float32) ** 3
    h = rng.random(n, np.float32)
    g[-1] = g[0] = 0.05
    total, chance, repeats = np.zeros(2), np.zeros(n), 60
    kept = np.zeros(n)
    for key in range(repeats):
        some_g, some_h = sampled(g, h, 0.2, key * 7919, 1.0)
        total += some_g.sum(dtype=np.float64), some_h.sum(dtype=np.float64)
        taken = some_h != 0
        chance += taken
        kept[taken] = some_h[taken] / h[taken]
    chance /= repeats
    assert abs(chance.mean() - 0.2) < 0.002
    spread = np.sqrt((g.astype(np.float64) ** 2 + h.astype(np.float64) ** 2).sum() / 0.2 / repeats)
    assert abs(total[0] / repeats - g.sum(dtype=np.float64)) < 4 * spread
    assert abs(total[1] / repeats - h.sum(dtype=np.float64)) < 4 * spread
    # A row counts for one over its chance, which is in proportion to sqrt(g^2 + h^2).
    size = np.sqrt(g.astype(np.float64) ** 2 + h.astype(np.float64) ** 2)
    drawn = kept > 1.01
    ratio = kept[drawn] * size[drawn]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
    certain = size > 1.001 * np.median(ratio)
    assert 0 < certain.mean() < 0.2
    assert (chance[certain] == 1).all()
    assert (kept[certain] == 1).all()
    assert (kept[[0, -1]] > 1.01).all()


@pytest.mark.parametrize("n", [1, 2, 17])
def test_samples_of_few_rows_are_unbiased(n):
    g, h = np.arange(1, n + 1, dtype=np.float32), np.ones(n, np.float32)
    for reg_lambda in (None, 1.0):
        sums = [sampled(g, h, 0.5, 31 * key, reg_lambda)[1].sum() for key in range(1000)]
        scale = 1 if reg_lambda is not None else 0.5
        assert abs(np.mean(sums) - scale * n) < 0.1 * n + 0.05


def test_samples_without_gradients_are_empty():
    zeros = np.zeros(5, np.float32)
    for reg_lambda in (None, 1.0):
        some_g, some_h = sampled(zeros, zeros, 0.5, 3, reg_lambda)
        assert not some_g.any()
        assert not some_h.any()


def test_samples_do_not_depend_on_n_jobs(monkeypatch):
    monkeypatch.setattr("smalgos.kernels.cpu.boosting.CHUNK", 7)
    rng = np.random.default_rng(1)
    g, h = rng.standard_normal((2, 50)).astype(np.float32)
    h = np.abs(h)
    found = []
    for n_jobs in (1, 3):
        with threads(n_jobs):
            found.append(np.concatenate(sampled(g, h, 0.5, 99, 1.0)))
    monkeypatch.setattr("smalgos.kernels.cpu.boosting.CHUNK", 1 << 16)
    found.append(np.concatenate(sampled(g, h, 0.5, 99, 1.0)))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


# -- crews


@kernel(fastmath=False)
def relay(member, members, ctl, done, order, phases, tasks):
    """Each phase adds to every task's count what the phase before left there."""
    for phase in range(phases):
        while True:
            t = crew.take(ctl, tasks)
            if t < 0:
                break
            done[phase + 1, t] = done[phase, tasks - 1 - t] + 1
            crew.atomic_add(order, phase, 1)
        if not crew.wait(ctl, members):
            return


@pytest.mark.parametrize("members", [1, 2, 3, 8])
def test_every_task_is_done_once_and_phases_follow(members):
    phases, tasks = 40, 13
    with crew.Crew(members) as several:
        for _ in range(3):
            done, order = np.zeros((phases + 1, tasks), np.int64), np.zeros(phases, np.int64)
            several.run(relay, done, order, phases, tasks)
            np.testing.assert_array_equal(order, tasks)
            np.testing.assert_array_equal(done[-1], phases)


@pytest.mark.compiled
@pytest.mark.parametrize("faulty", [0, 1, 2])
def test_a_member_that_fails_lets_the_others_go(faulty):
    done, order = np.zeros((3, 4), np.int64), np.zeros(2, np.int64)

    def work(member, members, ctl, *args):
        if member == faulty:
            time.sleep(0.01)
            raise RuntimeError("out of order")
        relay(member, members, ctl, *args)

    several = crew.Crew(3)
    ended = threading.Event()
    caught = []

    def call():
        try:
            several.run(work, done, order, 2, 4)
        except RuntimeError as error:
            caught.append(str(error))
        ended.set()

    threading.Thread(target=call, daemon=True).start()
    assert ended.wait(30), "members wait for one that failed"
    assert caught == ["out of order"]
    done, order = np.zeros((3, 4), np.int64), np.zeros(2, np.int64)
    several.run(relay, done, order, 2, 4)  # and are ready again
    np.testing.assert_array_equal(done[-1], 2)
    several.close()


@pytest.mark.skipif(COMPILED, reason="about Python's own threads")
def test_without_the_jit_a_crew_is_one():
    assert crew.Crew(4).members == 1
