"""Threads, random numbers and sums that all kernels share, and `load`."""

import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.kernels import load
from smalgos.kernels.cpu import shared


@pytest.mark.parametrize("n_jobs", [1, 2, 7])
def test_run_keeps_order(n_jobs):
    def slow_first(i):
        time.sleep(0.01 if i == 0 else 0)
        return i * i

    with shared.threads(n_jobs):
        assert shared.run(slow_first, range(20)) == [i * i for i in range(20)]
        assert shared.run(slow_first, []) == []


def test_run_uses_as_many_threads_as_it_was_given():
    meet = threading.Barrier(5, timeout=20)
    with shared.threads(5):
        names = shared.run(lambda _: (meet.wait(), threading.current_thread().name)[1], range(5))
    assert len(set(names)) == 5
    assert threading.current_thread().name in names


def test_one_thread_is_the_calling_one():
    with shared.threads(1):
        assert set(shared.run(lambda _: threading.get_ident(), range(9))) == {threading.get_ident()}


def test_nested_run_stays_on_its_thread():
    def inner(_):
        return set(shared.run(lambda _: threading.get_ident(), range(4))) == {threading.get_ident()}

    with shared.threads(3):
        assert shared.run(inner, range(6)) == [True] * 6
        assert shared.run(lambda i: i, range(3)) == [0, 1, 2]


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_run_raises_what_the_first_item_raised(n_jobs):
    def fail(i):
        if i >= 3:
            time.sleep(0.02 if i == 3 else 0)
            raise KeyError(i)
        return i

    with shared.threads(n_jobs):
        with pytest.raises(KeyError, match="3"):
            shared.run(fail, range(8))
        assert shared.run(lambda i: i, range(8)) == list(range(8))


def test_runs_from_several_threads_do_not_wait_for_each_other():
    results = []

    def caller(base):
        with shared.threads(3):
            results.append(
                shared.run(lambda i: base + i, range(50)) == list(range(base, base + 50))
            )

    callers = [threading.Thread(target=caller, args=(100 * i,), daemon=True) for i in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(20)
    assert results == [True] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_makes_its_own_threads():
    with shared.threads(3):
        shared.run(lambda i: i, range(6))
        child = os.fork()
        if child == 0:
            good = shared.run(lambda i: i, range(6)) == list(range(6))
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_counts():
    with shared.threads(None) as cores, shared.threads(-1) as again:
        assert cores == again >= 1
    with shared.threads(-1000) as least, shared.threads(64) as many:
        assert (least, many) == (1, 64)
    with pytest.raises(UserError, match="n_jobs=0"), shared.threads(0):
        pass


def test_blas_single_restores_when_the_last_one_leaves():
    from threadpoolctl import threadpool_info

    def counts():
        return [x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"]

    before = counts()
    with shared.blas_single():
        with shared.blas_single():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == before


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**63), st.integers(0, 50), st.integers(1, 30), st.integers(1, 11), st.data())
def test_uniforms_belong_to_rows(seed, epoch, n, m, data):
    whole = shared.uniforms(seed, "test", epoch, 0, n, m)
    assert whole.shape == (n, m)
    assert ((whole >= 0) & (whole < 1)).all()
    cut = data.draw(st.integers(0, n))
    parts = [
        shared.uniforms(seed, "test", epoch, 0, cut, m),
        shared.uniforms(seed, "test", epoch, cut, n - cut, m),
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    fewer = data.draw(st.integers(1, m))
    np.testing.assert_array_equal(
        shared.uniforms(seed, "test", epoch, 0, n, fewer), whole[:, :fewer]
    )


def test_uniforms_differ_by_every_key_and_look_uniform():
    base = shared.uniforms(1, "a", 0, 0, 50_000, 6)
    assert abs(base.mean() - 0.5) < 0.005
    assert abs(base.var() - 1 / 12) < 0.001
    assert np.abs(np.corrcoef(base.T) - np.eye(6)).max() < 0.03
    assert len(np.unique(base)) == base.size
    for other in ((2, "a", 0, 0), (1, "b", 0, 0), (1, 7, 0, 0), (1, "a", 1, 0), (1, "a", 0, 1)):
        assert (shared.uniforms(*other, 50_000, 6) != base).all()


def test_uniforms_are_those_of_philox():
    # The first four words of Philox4x64-10 with key (5, 9) and counter (1, 0, 3, 0).
    bits = np.random.Philox(key=[5, 9], counter=[0, 0, 3, 0]).random_raw(4)
    np.testing.assert_array_equal(shared.uniforms(5, 9, 3, 0, 1, 4)[0], (bits >> 11) * 2.0**-53)


def test_total_is_exact_enough_and_the_same_for_any_n_jobs():
    x = np.random.default_rng(0).standard_normal((3 * shared.CHUNK + 5, 7)).astype(np.float32)
    with shared.threads(1):
        alone = shared.total(x)
    with shared.threads(3):
        np.testing.assert_array_equal(shared.total(x), alone)
    np.testing.assert_allclose(alone, x.astype(np.float64).sum(0), rtol=1e-12)
    assert shared.total(x[:, 0]).shape == ()


def test_load():
    k = load("tile", "cpu")
    assert k is load("tile", "cpu")
    assert (k.device, k.xp) == ("cpu", np)
    assert load("tile", "auto").device == "cpu"
    assert callable(k.multiply_add)
    assert callable(k.uniforms)
    x = [[1, 2], [3, 4]]
    assert k.asarray(x, np.float32).flags.c_contiguous
    assert k.to_host(k.xp.zeros(3)).shape == (3,)
    with pytest.raises(UserError, match="no GPU kernels"):
        load("tile", "gpu")
    with pytest.raises(UserError, match="cpu, auto"):
        load("tile", "tpu")
