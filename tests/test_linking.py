"""Kernels that call kernels, which are optimised together."""

import os
import subprocess
import sys

import numpy as np
import pytest

from smalgos import _jit
from smalgos._jit import COMPILED, kernel

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(not COMPILED or _jit._linking() is None, reason="nothing is linked"),
]


@kernel(cache=False)
def below(n):
    if n < 0:
        raise ValueError("negative")
    return n if n == 0 else 1 + below(n - 1)


@kernel(cache=False)
def made(n):
    return np.full(n, 2.0), n + 1


@kernel(cache=False)
def total(n):
    values, more = made(n)
    return values.sum() + more + below(n)


def test_a_kernel_is_called_from_kernels_and_from_python():
    assert total(3) == 6 + 4 + 3
    assert made.overloads == {}  # machine code only of what Python called
    values, more = made(3)
    assert (values.tolist(), more) == ([2.0] * 3, 4)
    assert below(5) == 5
    assert total(4) == 8 + 5 + 4


@kernel(cache=False)
def twice_below(n):
    return 2 * below(n)


def test_what_a_called_kernel_raises_arrives():
    with pytest.raises(ValueError, match="negative"):
        twice_below(-1)


def test_references_are_counted():
    from numba.core.runtime import _nrt_python, rtsys

    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(10):
            total(3)
            made(2)
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0


def test_an_unknown_numba_does_without(monkeypatch):
    monkeypatch.setattr(_jit, "KNOWN", (0, 1))
    _jit._linking.cache_clear()
    try:
        plain = kernel(cache=False)(below.py_func)
        assert type(plain) is not type(below)
    finally:
        monkeypatch.undo()
        _jit._linking.cache_clear()


PROGRAM = """
import sys
import numba
from smalgos.kernels.cpu.tile import scratch
if sys.argv[1] == "nested":
    scratch._pieces.compile((numba.int64,))
assert scratch(64).shape == (64,)
print(sum(scratch.stats.cache_hits.values()))
"""


def test_what_the_cache_holds_stands_beside_pieces(tmp_path):
    given = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for how, hits in (("alone", "0"), ("nested", "1")):
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, env=given, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == hits
