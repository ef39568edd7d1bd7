"""Vectors of sixteen against NumPy, compiled and not."""

import numpy as np
import pytest

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu import vector as v

RNG = np.random.default_rng(0)
A = RNG.standard_normal(16).astype(np.float32)
B = RNG.standard_normal(16).astype(np.float32)
C = RNG.standard_normal(16).astype(np.float32)


@v.vectors(v.FLOATS, v.FLOATS, v.FLOATS)
def formulas(o, x, y, z):
    root = o.sqrt(o.magnitude(x))
    return root, o.select(x == x, o.number(0.1), z), -x / y


@kernel(fastmath=False)
def arithmetic(a, b, c, out):
    x, y, z = v.load(a, 0), v.load(b, 0), v.load(c, 0)
    v.store(out, 0, x + y)
    v.store(out, 16, x - y)
    v.store(out, 32, x * y)
    v.store(out, 48, x / y)
    v.store(out, 64, v.fma(x, y, z))
    v.store(out, 80, v.select(x < y, x, z))
    v.store(out, 96, v.select(x > y, x, z))
    root, constant, ratio = formulas(x, y, z)
    v.store(out, 112, root)
    v.store(out, 128, constant)
    v.store(out, 144, ratio)
    v.store(out, 160, -x)
    v.store(out, 176, v.splat(0.7))


def test_arithmetic_is_that_of_float32():
    out = np.empty((12, 16), np.float32)
    arithmetic(A, B, C, out)
    fused = (A.astype(float) * B + C).astype(np.float32)
    want = [A + B, A - B, A * B, A / B, fused, np.where(A < B, A, C), np.where(A > B, A, C)]
    want += [np.sqrt(abs(A)), np.full(16, np.float32(0.1)), -A / B, -A]
    np.testing.assert_array_equal(out, [*want, np.full(16, np.float32(0.7))])


@kernel(fastmath=False)
def part(a, out, at, count):
    v.store_part(out, at, count, v.load_part(a, at, count))


@pytest.mark.parametrize("count", [-1, 0, 1, 7, 15, 16, 17, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_touch_nothing_else(count, dtype):
    a, out = np.arange(40, dtype=dtype), np.full(40, -1, dtype)
    part(a, out, 3, count)
    want = np.full(40, -1, dtype)
    want[3 : 3 + max(0, min(count, 16))] = a[3 : 3 + max(0, min(count, 16))]
    np.testing.assert_array_equal(out, want)


@v.vectors(v.FLOATS, v.FLOATS, v.FLOATS)
def split(o, x):
    scaled = o.add_exponent(o.number(1.5), x + o.number(12582912.0))
    return o.mantissa(x), o.exponent(x), scaled


@kernel(fastmath=False)
def bits(a, out, wide):
    x = v.load(a, 0)
    m, n, scaled = split(x)
    v.store(out, 0, m)
    v.store(out, 16, n)
    v.store(out, 32, scaled)
    v.store(wide, 0, v.widen(x) * v.widen(x))
    v.store(out, 64, v.narrow(v.load(wide, 0)))
    v.store(out, 48, v.select(v.lanes_below(5), x, v.splat(0.0)))
    return v.sum_lanes(1.0, v.widen(x))


def test_bits_and_lanes():
    a = np.arange(1, 17, dtype=np.float32)
    out, wide = np.empty((5, 16), np.float32), np.empty(16)
    assert bits(a, out, wide) == 1 + a.sum()
    np.testing.assert_array_equal(out[0] * 2 ** out[1], a)
    assert ((out[0] >= 1) & (out[0] < 2)).all()
    np.testing.assert_array_equal(out[2], 1.5 * 2**a)
    np.testing.assert_array_equal(wide, a.astype(float) ** 2)
    np.testing.assert_array_equal(out[4], a**2)
    np.testing.assert_array_equal(out[3], np.where(a <= 5, a, 0))


@kernel(fastmath=False)
def turn(a, out):
    v.transpose(a, 5, out, 32)


def test_transpose():
    a, out = np.arange(261, dtype=np.float32), np.zeros(300, np.float32)
    turn(a, out)
    np.testing.assert_array_equal(out[32:288].reshape(16, 16), a[5:].reshape(16, 16).T)
    assert not out[:32].any()
    assert not out[288:].any()


@kernel
def agree(a, at, b, b_at, count):
    return v.agreeing(a, at, b, b_at, count)


def test_agreeing_lanes():
    a, b = np.arange(40, dtype=np.int32), np.zeros(40, np.int32)
    b[[3, 5, 10, 17]] = [5, 7, 12, 19]  # two before those of `a`
    assert agree(a, 2, b, 0, 16) == 1 << 3 | 1 << 5 | 1 << 10
    assert agree(a, 2, b, 0, 10) == 1 << 3 | 1 << 5
    assert agree(a, 6, b, 4, 99) == 1 << 1 | 1 << 6 | 1 << 13
    assert agree(a, 2, b, 0, 0) == 0


@pytest.mark.skipif(not COMPILED, reason="the compiler looks at types")
def test_only_flat_and_writable_memory_is_taken():
    a = np.zeros(300, np.float32)
    frozen = a.copy()
    frozen.flags.writeable = False
    for bad in (np.zeros(600, np.float32)[::2], frozen):
        with pytest.raises(Exception, match="C-ordered"):
            turn(a, bad)
    turn(frozen, a)


@kernel
def doubled(a):
    flat = v.borrowed(a)
    for i in range(len(flat)):
        flat[i] += flat[i]


def test_borrowed_arrays_are_flat():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    doubled(a)
    np.testing.assert_array_equal(a, 2 * np.arange(6).reshape(2, 3))


@kernel(fastmath=False)
def integers(a, out, at, count, x):
    v.prefetch(a, at)
    v.prefetch(a, 1 << 40)  # nowhere
    v.claim(a, at)
    v.claim(a, 1 << 40)
    v.store_part(out, at, count, v.load_part(a, at, count))
    v.store(out, 32, v.words(np.int32(x)))


@pytest.mark.parametrize("count", [0, 5, 16, 20])
def test_integers_are_moved_and_spread(count):
    a, out = np.arange(48, dtype=np.int32), np.full(48, -1, np.int32)
    integers(a, out, 3, count, -7)
    want = np.full(48, -1, np.int32)
    want[3 : 3 + min(count, 16)] = a[3 : 3 + min(count, 16)]
    want[32:] = -7
    np.testing.assert_array_equal(out, want)
