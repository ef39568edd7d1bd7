"""Fields persist, merge by their roles, and nothing else does."""

import copy
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalgos.errors import UserError
from smalgos.learning.state import Mean, Part, Sum


class Inner(Part):
    best: float
    bad: int


class Outer(Part):
    held: ClassVar[tuple[str, ...]] = ("rows",)
    shape: ClassVar[int] = 3

    total: Sum[np.ndarray | None]
    weights: Mean[dict]
    name: str
    rows: np.ndarray
    inner: Inner
    seen: Sum[int]

    def __init__(self):
        self.total, self.weights, self.name, self.rows = None, {}, "", np.arange(3)
        self.inner, self.seen = Inner(), 0
        self.inner.best, self.inner.bad = np.inf, 0


def test_snapshot_and_restore():
    a = Outer()
    a.total, a.weights = np.arange(4.0), {"w": np.ones((2, 2)), "b": np.zeros(2)}
    a.inner.best, a.name, a.seen = 0.5, "x", 7
    flat = a.snapshot()
    assert set(flat) == {
        "total", "weights.w", "weights.b", "name", "inner.best", "inner.bad", "seen",
    }  # fmt: skip
    b = Outer().restore(flat)
    assert b.inner.best == 0.5
    assert set(b.weights) == {"w", "b"}
    assert b.snapshot().keys() == flat.keys()
    b = Outer().restore({"name": "y"})
    assert b.total is None
    assert b.weights == {}


class Doubles(Part):
    numbers: np.ndarray

    def __init__(self):
        self.numbers = np.zeros(3)


@pytest.mark.parametrize("wrong", [None, 1.0, "x", np.zeros(3, np.float32), np.zeros(2), [0, 0, 0]])
def test_what_is_no_array_of_that_kind_is_refused(wrong):
    assert Doubles().admit({"numbers": np.ones(3)}).numbers.tolist() == [1, 1, 1]
    with pytest.raises(UserError, match="numbers"):
        Doubles().admit({"numbers": wrong})


@given(st.lists(st.integers(-50, 50), min_size=1), st.integers(0, 10))
def test_merging_adds_what_each_side_learnt(values, cut):
    def learn(part, numbers):
        for v in numbers:
            part.total = (0 if part.total is None else part.total) + np.float64([v, 1])
            part.seen += 1

    base, whole = Outer(), Outer()
    learn(base, [3, 4])
    learn(whole, [3, 4, *values])
    base.weights = {"w": np.zeros(2)}
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    learn(a, values[:cut])
    learn(b, values[cut:])
    a.weights["w"], b.weights["w"] = np.float64([1, 0]), np.float64([0, 1])
    a.merge(b, base)
    assert np.array_equal(a.total, whole.total)
    assert a.seen == whole.seen
    share = len(values[cut:]) / len(values)
    assert a.weights["w"] == pytest.approx([1 - share, share])
