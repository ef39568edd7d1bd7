"""Decimal text to float32, against Python's float."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import kernel
from smalgos.formats import floats
from smalgos.formats.floats import MARGIN, NUMBER, UNKNOWN, word


# Inner kernels have no way in from Python of their own.
@kernel(fastmath=False)
def number(begin, end):
    return floats.number(begin, end)


@kernel(fastmath=False)
def nearest(w, q):
    return floats.nearest(w, q)


@kernel(fastmath=False)
def digits_of(eight):
    return floats.no_digits(eight), floats.eight_digits(eight)


def parse(text, behind=b","):
    """What the kernel makes of a text, and whether it knew it."""
    buffer = np.frombuffer(bytearray(MARGIN) + text.encode() + behind + bytes(MARGIN), np.uint8)
    begin = buffer.ctypes.data + MARGIN
    value, status = number(begin, begin + len(text.encode()))
    return np.float32(value), status


def float32(text):
    with np.errstate(over="ignore"):
        return np.float32(float(text))


def same(a, b):
    return (np.isnan(a) and np.isnan(b)) or a.view(np.uint32) == b.view(np.uint32)


def check(text):
    value, status = parse(text)
    if status == UNKNOWN:  # only allowed where 19 digits leave it open
        assert sum(c.isdigit() for c in text) > 19
    else:
        assert status == NUMBER
        assert same(value, float32(text)), (text, value, float32(text))


digits = st.text("0123456789", max_size=30)
exponents = st.one_of(
    st.just(""),
    st.builds(
        "{}{}{}".format,
        st.sampled_from("eE"),
        st.sampled_from(["", "+", "-"]),
        st.one_of(st.integers(0, 70).map(str), st.text("0123456789", min_size=1, max_size=20)),
    ),
)


@st.composite
def decimals(draw):
    """Decimals in every spelling."""
    whole, fraction = draw(digits), draw(st.one_of(st.none(), digits))
    mantissa = whole if fraction is None else f"{whole}.{fraction}"
    if not any(c.isdigit() for c in mantissa):
        mantissa = f"7{mantissa}"
    return draw(st.sampled_from(["", "-", "+"])) + mantissa + draw(exponents)


@settings(deadline=None, max_examples=400)
@given(decimals())
def test_any_spelling(text):
    check(text)


@settings(deadline=None, max_examples=400)
@given(st.floats(), st.sampled_from(["{!r}", "{:.6g}", "{:.18e}", "{:.25f}", "{:.3f}"]))
def test_printed_floats(x, form):
    check(form.format(x))


@settings(deadline=None, max_examples=300)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-2, 2))
def test_around_the_middle_of_two_float32(x, ulps):
    """The float64 next to the middle, exactly and cut to 17 digits, and its neighbours."""
    x = np.float32(x)
    with np.errstate(over="ignore"):
        middle = (np.float64(x) + np.float64(np.nextafter(x, np.float32(np.inf)))) / 2
    if not np.isfinite(middle):
        return
    for _ in range(abs(ulps)):
        middle = np.nextafter(middle, np.sign(ulps) * np.inf)
    check(repr(float(middle)))
    exact = Fraction(float(middle))
    shift = 10**60
    scaled = exact.numerator * shift // exact.denominator
    check(f"{scaled}e-60")


# Tied float64 and their decimal neighbours, the limits of float32, and the cases where rounding to
# float64 first makes a tie of what is none.
HARD = [
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "9007199254740993.00000000000000000001",
    "9007199254740995",
    "9007199254740994.5",
    "18014398509481986",
    "18446744073709551615",
    "18446744073709551616",
    "9999999999999999999",
    "9999999999999999999e-19",
    "1e23",
    "8.5e22",
    "9e22",
    "1e22",
    "1e-22",
    "1e-23",
    "100000000000000000000000",
    "16777216",
    "16777217",
    "16777218",
    "16777219",
    "16777217.000000000000001",
    "16777217.0000000000000000000000000001",
    "1.000000059604644775390625",
    "1.00000005960464477539062499999999999999",
    "1.00000005960464477539062500000000000001",
    "1.0000000596046448",
    "1.0000000596046447",
    "1.00000017881393432617187499",
    "1.00000017881393432617187500",
    "1.00000017881393432617187501",
    "0.000000000000000000000000000000000000000000001401298464324817",
    "1.401298464324817e-45",
    "7.006492321624085e-46",
    "7.0064923216240853e-46",
    "7.0064923216240854e-46",
    "7.0064923216240862e-46",
    "2.1019476964872256e-45",
    "1.1754943508222875e-38",
    "1.1754942807573643e-38",
    "1.1754942106924411e-38",
    "1.17549435e-38",
    "3.4028234663852886e38",
    "3.4028235677973362e38",
    "3.4028235677973366e38",
    "3.4028235677973367e38",
    "3.5e38",
    "1e38",
    "1e39",
    "9999999999999999999e38",
    "1e-65",
    "1e-66",
    "9999999999999999999e-64",
    "9999999999999999999e-65",
    "1e400",
    "1e-400",
    "0e400",
    "0e999999999999999999999999",
    "1e999999999999999999999999",
    "1e-999999999999999999999999",
    "1" + "0" * 400 + "e-400",
    "0." + "0" * 400 + "1e400",
    "0" * 100 + "1",
    "0" * 100 + "1." + "0" * 100,
    "0.1",
    "0.30000000000000004",
    "2.2250738585072014e-308",
    "5e-324",
    "-0",
    "-0.0",
    "+0",
    ".5",
    "5.",
    "-.5e1",
    "00000000",
    "12345678",
    "123456789",
    "1234567890123456789",
    "12345678901234567890",
    "12345678.12345678",
    "0.12345678901234567",
]


@pytest.mark.parametrize("text", HARD)
def test_hard_cases(text):
    check(text)
    check(f"-{text.removeprefix('-').removeprefix('+')}")


@pytest.mark.parametrize("text", ["nan", "NaN", "NAN", "-nan", "+nan", "inf", "-INF", "+Inf"])
def test_words(text):
    value, status = parse(text)
    assert status == NUMBER
    assert same(value, float32(text))


@pytest.mark.parametrize("text", ["infinity", "-Infinity", "INFINITY"])
def test_infinity(text):
    assert parse(text) == (float32(text), NUMBER)


@pytest.mark.parametrize(
    "text",
    ["", "-", "+", ".", "-.", "e5", ".e5", "1e", "1e+", "1e-", "--1", "+-1", "1.2.3", "1e5.",
     "1e5e5", "1_000", "0x10", "na", "nanx", "infi", "infinit", "infinityy", "1a", "a1", "1 2",
     "\uff11", "½", "1,5", "\x00", "1\x00", "nan(1)", ".nan", "-.inf", "nan.", "1e5 "],
)  # fmt: skip
def test_what_is_left_to_python(text):
    assert parse(text, b"\n")[1] == UNKNOWN


def test_undecided_by_nineteen_digits():
    """Between two float64 that round to different float32: refused, not guessed."""
    middle = "1.00000005960464488641292746251565404236316680908203125"
    assert Fraction(middle) == 1 + Fraction(1, 2**24) + Fraction(1, 2**53)
    assert parse(middle)[1] == UNKNOWN
    assert parse(middle + "1")[1] == UNKNOWN


@settings(deadline=None, max_examples=400)
@given(
    st.one_of(st.integers(1, 10**19), st.integers(0, 63).map(lambda k: 2**k)),
    st.integers(floats.LEAST_POWER, floats.GREATEST_POWER),
)
def test_nearest_float64(w, q):
    exact = Fraction(w) * Fraction(10) ** q
    assert nearest(word(w), q) == float(exact)


@pytest.mark.parametrize("q", range(-4, 24))
def test_ties_of_float64(q):
    """w * 10**q just halfway between two float64: even wins."""
    rng = np.random.default_rng(q + 10)
    for odd in (int(v) for v in rng.integers(2**52, 2**53, 20) * 2 + 1):
        # odd * 2**k is a tie; it is w * 10**q if 5**q divides odd, or multiplies w.
        if q >= 0:
            odd = odd // 5**q * 5**q
            odd -= 0 if odd % 2 else 5**q
            w = odd // 5**q << 63 - (odd // 5**q).bit_length()
        else:
            w = odd * 5**-q
        if 0 < w < 10**19:
            exact = Fraction(w) * Fraction(10) ** q
            assert nearest(word(w), q) == float(exact)


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8))
def test_digits_of_a_word(eight):
    marks, value = digits_of(word(int.from_bytes(eight, "little")))
    others = [chr(b) not in "0123456789" for b in eight]
    assert marks == sum(128 << 8 * i for i, other in enumerate(others) if other)
    if not any(others):
        assert value == int(eight)


@settings(deadline=None)
@given(st.integers(0, 10**8 - 1))
def test_eight_digits(v):
    assert digits_of(word(int.from_bytes(b"%08d" % v, "little"))) == (0, v)
