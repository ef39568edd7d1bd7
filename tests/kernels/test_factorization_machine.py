"""Factorization machines against slow NumPy, numerical derivatives, and any cut of the work."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.formats.block import Csr, Taken
from smalgos.kernels import load
from smalgos.kernels.cpu import optimizers
from smalgos.kernels.cpu.factorization_steps import MOST
from smalgos.kernels.cpu.shared import threads
from tests.reference import factorization_machine as reference

k = load("factorization_machine")
NAMES = ["sgd", "momentum", "adam", "adagrad", "rmsprop", "adadelta", "ftrl"]
INTERACTIONS = ["pairwise", "field_aware", "field_weighted"]


def code(name):
    return getattr(optimizers, name.upper())


def sparse(rng, n, width, most=5):
    """Rows of up to `most` features; some are empty."""
    rows = [rng.permutation(width)[: rng.integers(0, most + 1)] for _ in range(n)]
    offsets = np.cumsum([0] + [len(r) for r in rows])
    values = rng.standard_normal(offsets[-1]).astype(np.float32)
    return Csr(values, np.concatenate(rows).astype(np.int32), offsets.astype(np.int64), width)


def start(rng, width, factors, interaction="pairwise", n_fields=1):
    shape = (width, n_fields, factors) if interaction == "field_aware" else (width, factors)
    p = {
        "bias": rng.standard_normal(1),
        "linear": rng.standard_normal(width),
        "factors": rng.standard_normal(shape) / np.sqrt(factors),
    }
    if interaction == "field_weighted":
        pairs = rng.standard_normal((n_fields, n_fields))
        p["field_weights"] = (pairs + pairs.T) / 2
    return {n: x.astype(np.float32) for n, x in p.items()}


def labels_for(rng, n, loss):
    y = rng.integers(0, 2, n) if loss == "logistic" else rng.standard_normal(n)
    return y.astype(np.float32)


def machine(p, width, factors, name, interaction="pairwise", fields=None, n_fields=None, **more):
    opt = k.optimizer(code(name), **more.pop("constants", {}))
    rates = more.pop("rates", (0.1, 0.2, 0.15))
    m = k.Machine(
        width, factors, opt=opt, rates=rates, interaction=interaction, fields=fields,
        number_of_fields=n_fields, **more,
    )  # fmt: skip
    m.put(p)
    return m


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 999),
    st.sampled_from(NAMES),
    st.sampled_from(INTERACTIONS),
    st.sampled_from(["logistic", "squared"]),
    st.sampled_from([1, 3, 16, 21, 70]),
    st.booleans(),
)
def test_learns_as_the_papers_say(seed, name, interaction, loss, factors, dense):
    rng = np.random.default_rng(seed)
    n, width, n_fields, batch = 12, 7, 3, 5
    X = sparse(rng, n, width)
    X = X.toarray() if dense else X
    fields = None if interaction == "pairwise" else rng.integers(0, n_fields, width, np.int32)
    many = None if fields is None else n_fields
    p = start(rng, width, factors, interaction, n_fields)
    y, w = labels_for(rng, n, loss), rng.uniform(0, 2, n).astype(np.float32)
    given_weights = w if seed % 2 else None
    decays, l1 = (0.01, 0.0, 0.02), (0.0, 0.05, 0.02)
    rates = (0.1, 0.2, 0.15) if name != "adadelta" else (1.0, 1.0, 1.0)
    clip = 0.3 if seed % 3 == 0 else np.inf
    constants = {"clip": clip, "epsilon": 1e-3} if name != "ftrl" else {"clip": clip}
    rescale = 0.25 if seed % 5 == 0 else None
    frozen = [g for g, use in (("bias", seed % 7), ("linear", seed % 4)) if not use]
    m = machine(
        p, width, factors, name, interaction, fields, many, loss=loss, rates=rates,
        decays=decays, l1=l1, rescale=rescale, constants=constants,
        use_bias="bias" not in frozen, use_linear="linear" not in frozen,
    )  # fmt: skip
    sums = m.learn(X, y, given_weights, batch, 3)
    c = k.optimizer(code(name), **constants)._asdict()
    empty = {g: [np.zeros(x.shape)] * k.slots(code(name)) for g, x in p.items()}
    rows = reference.rows_of(X)
    w = w if seed % 2 else np.ones(n)
    common = interaction, fields
    want, state = reference.learn(
        p, empty, rows, y, w, batch, 3, loss, name, c, rates, decays, l1, rescale, *common, frozen
    )
    got = m.plain()
    for group, x in want.items():
        np.testing.assert_allclose(got[group], x, rtol=2e-3, atol=3e-4, err_msg=group)
        for i, s in enumerate(state[group]):
            found = got[f"{group}.{i}"]
            np.testing.assert_allclose(found, s, rtol=2e-3, atol=3e-4, err_msg=f"{group}.{i}")
    first = {g: x.astype(float) for g, x in p.items()}
    margins = np.array([reference.margin(first, row, *common) for row in rows[:batch]])
    assert len(sums) == 3
    np.testing.assert_allclose(sums[:, 1], [w[a : a + batch].sum() for a in (0, 5, 10)], rtol=1e-6)
    each = [reference.loss(loss, f, label) for f, label in zip(margins, y, strict=False)]
    np.testing.assert_allclose(sums[0, 0], w[:batch] @ each, rtol=1e-4)
    np.testing.assert_allclose(
        sums[0, 2:6], counted(loss, margins, y[:batch], w[:batch]), rtol=1e-3
    )


def counted(loss, margins, y, w):
    if loss == "squared":
        return w @ (margins - y) ** 2, w @ abs(margins - y), 0, 0
    guess, yes = margins >= 0, y == 1
    return w @ (guess == yes), w @ (guess & yes), w @ (guess & ~yes), w @ (yes & ~guess)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_steps_follow_the_numerical_derivative(interaction, loss):
    rng = np.random.default_rng(3)
    width, factors, n_fields, n = 6, 5, 2, 4
    X, fields = sparse(rng, n, width), np.array([0, 0, 1, 1, 0, 1], np.int32)
    fields, many = (None, None) if interaction == "pairwise" else (fields, n_fields)
    p = start(rng, width, factors, interaction, n_fields)
    y, w = labels_for(rng, n, loss), rng.uniform(0.5, 2, n).astype(np.float32)
    m = machine(
        p, width, factors, "sgd", interaction, fields, many, rates=(1.0,) * 3, rescale=1e-3,
        loss=loss,
    )  # fmt: skip
    m.learn(X, y, w, n, 1)
    got, rows = m.plain(), reference.rows_of(X)
    wide = {g: x.astype(float) for g, x in p.items()}
    for group, x in wide.items():
        for at in np.ndindex(x.shape):
            places = {at, at[::-1]} if group == "field_weights" else {at}
            values = []
            for h in (1e-5, -1e-5):
                moved = {g: v.copy() for g, v in wide.items()}
                for place in places:
                    moved[group][place] += h
                values.append(reference.total(moved, rows, y, w, loss, interaction, fields))
            slope = (values[0] - values[1]) / 2e-5
            step = (float(p[group][at]) - float(got[group][at])) / 1e-3
            assert step == pytest.approx(slope, rel=2e-2, abs=2e-3), (group, at)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 999), st.sampled_from(INTERACTIONS), st.sampled_from([1, 4, 16, 64, 100]),
    st.booleans(),
)  # fmt: skip
def test_margins_are_the_definition_and_of_a_row_alone(seed, interaction, factors, dense):
    rng = np.random.default_rng(seed)
    width, n_fields = 8, 3
    X = sparse(rng, 6, width, most=8)
    X = X.toarray() if dense else X
    fields = None if interaction == "pairwise" else rng.integers(0, n_fields, width, np.int32)
    p = start(rng, width, factors, interaction, n_fields)
    got = k.margins(X, p, interaction=interaction, fields=fields)
    wide = {g: x.astype(float) for g, x in p.items()}
    want = [reference.margin(wide, row, interaction, fields) for row in reference.rows_of(X)]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    m = machine(p, width, factors, "adam", interaction, fields, None if fields is None else 3)
    assert m.margins(X).tobytes() == got.tobytes()
    alone = [k.margins(X[i : i + 1], p, interaction=interaction, fields=fields) for i in range(6)]
    assert np.concatenate(alone).tobytes() == got.tobytes()
    order = rng.permutation(6)
    taken = k.margins(Taken(X, order), p, interaction=interaction, fields=fields)
    assert taken.tobytes() == got[order].tobytes()


def state_of(m):
    return b"".join(x.tobytes() for x in m.plain().values())


@pytest.mark.compiled
@pytest.mark.parametrize("interaction", INTERACTIONS)
@pytest.mark.parametrize("dense", [False, True])
def test_same_bytes_for_any_number_of_threads_and_any_cut(interaction, dense, monkeypatch):
    rng = np.random.default_rng(5)
    n, width, factors, batch = 1500, 40, 20, 100
    X = sparse(rng, n, width, most=9)
    X = X.toarray() if dense else X
    fields = None if interaction == "pairwise" else (np.arange(width, dtype=np.int32) % 4)
    p = start(rng, width, factors, interaction, 4)
    y = labels_for(rng, n, "logistic")
    results = set()
    for jobs, cut, span in ((1, n, 1 << 16), (2, n, 250), (3, 500, 1 << 16), (2, 100, 10)):
        monkeypatch.setattr("smalgos.kernels.cpu.factorization_machine.SPAN", span)
        with threads(jobs):
            m = machine(p, width, factors, "adam", interaction, fields)
            sums = [
                m.learn(X[a : a + cut], y[a : a + cut], None, batch, 1 + a // batch)
                for a in range(0, n, cut)
            ]
        results.add((state_of(m), np.concatenate(sums).tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("dense", [False, True])
def test_rows_by_number_are_those_rows(dense):
    rng = np.random.default_rng(8)
    n, width = 200, 30
    X = sparse(rng, n, width)
    X = X.toarray() if dense else X[20:]
    p, y = start(rng, width, 4), labels_for(rng, n, "logistic")
    order = rng.permutation(len(X))[:90]
    a, b = (machine(p, width, 4, "adagrad") for _ in range(2))
    a.learn(Taken(X, order), y[:90], None, 20, 1)
    b.learn(X[order], y[:90], None, 20, 1)
    assert state_of(a) == state_of(b)


@pytest.mark.parametrize("length", [0, 1, 6])
def test_rows_of_one_length_are_those_rows(length):
    """Where they begin is not looked up, but where they share arrays with a longer one, it is."""
    rng = np.random.default_rng(9)
    n, width = 90, 40
    keys = [rng.permutation(width)[:length] for _ in range(n)] + [np.arange(9)]
    offsets = np.append(np.arange(n + 1) * length, n * length + 9)
    values = rng.standard_normal(offsets[-1]).astype(np.float32)
    longer = Csr(values, np.concatenate(keys).astype(np.int32), offsets, width)
    even, p, y = longer[20:n], start(rng, width, 4), labels_for(rng, n, "logistic")
    order = rng.permutation(n - 20)
    a, b = (machine(p, width, 4, "adagrad") for _ in range(2))
    for rows, numbers in ((even, order), (longer, np.append(order, 90)), (longer[3:], order)):
        a.learn(Taken(rows, numbers), y[: len(numbers)], None, 20, 1)
        b.learn(rows[numbers], y[: len(numbers)], None, 20, 1)
        assert state_of(a) == state_of(b)


def test_batches_of_very_unequal_size():
    """The first guess of the room that batches need is too low, more than once."""
    rng = np.random.default_rng(0)
    width = 300
    lengths = [1] * 40 + [250] * 10 + [1] * 20 + [300] * 10
    offsets = np.cumsum([0, *lengths])
    keys = np.concatenate([rng.permutation(width)[:length] for length in lengths])
    X = Csr(np.ones(offsets[-1], np.float32), keys.astype(np.int32), offsets, width)
    y, p = labels_for(rng, len(X), "logistic"), start(rng, width, 3)
    a, b = (machine(p, width, 3, "adam", rates=(0.1, 0.01, 0.01)) for _ in range(2))
    a.learn(X, y, None, 10, 1)
    for first in range(0, len(X), 10):
        part = slice(first, first + 10)
        b.learn(X[part], y[part], None, 10, 1 + first // 10)
    assert state_of(a) == state_of(b)


@pytest.mark.parametrize("left", [0, 3, 1000])
def test_lists_begin_anew_where_counts_end(left):
    """What was counted before fits no int32 any more, or just so."""
    rng = np.random.default_rng(6)
    X, y, p = sparse(rng, 90, 20), labels_for(rng, 90, "logistic"), start(rng, 20, 4)
    a, b = (machine(p, 20, 4, "adagrad") for _ in range(2))
    with threads(2):
        for m in (a, b):
            m.learn(X, y, None, 30, 1)
        a._work.counted[:] = MOST - left
        for m in (a, b):
            m.learn(X, y, None, 30, 4)
    assert state_of(a) == state_of(b)


def test_goes_on_from_plain_arrays():
    rng = np.random.default_rng(2)
    X, y = sparse(rng, 60, 9), labels_for(rng, 60, "logistic")
    fields = np.arange(9, dtype=np.int32) % 3
    for interaction in INTERACTIONS:
        f = None if interaction == "pairwise" else fields
        whole = machine(start(rng, 9, 4, interaction, 3), 9, 4, "adadelta", interaction, f)
        other = machine(whole.plain(), 9, 4, "adadelta", interaction, f)
        whole.learn(X, y, None, 20, 1)
        other.learn(X[:40], y[:40], None, 20, 1)
        other = machine(other.plain(), 9, 4, "adadelta", interaction, f)
        other.learn(X[40:], y[40:], None, 20, 3)
        assert state_of(whole) == state_of(other)


def test_ftrl_gives_exact_zeros():
    rng = np.random.default_rng(4)
    X, p = sparse(rng, 400, 50), start(rng, 50, 6)
    y = labels_for(rng, 400, "logistic")
    m = machine(p, 50, 6, "ftrl", l1=(0.0, 0.05, 0.05), rates=(0.1, 0.1, 0.1))
    m.learn(X, y, None, 50, 1)
    got = m.plain()
    assert 0 < np.mean(got["linear"] == 0) < 1
    assert np.mean(got["factors"] == 0) > 0.5


def test_what_does_not_fit_is_named():
    rng = np.random.default_rng(0)
    X, p = sparse(rng, 100, 9), start(rng, 9, 4)
    y = labels_for(rng, 100, "logistic")
    m = machine(p, 9, 4, "adam")
    first, second = (
        next(i for i in range(r, 100) if len(X[i : i + 1].tight().values)) for r in (70, 75)
    )
    X.indices[X.offsets[first]], X.indices[X.offsets[second]] = 9, -1
    with pytest.raises(IndexError, match=f"row {first} has feature 9, but there are 9"):
        m.learn(X, y, None, 10, 1)
    with pytest.raises(IndexError, match=f"row {first} has feature 9"):
        m.learn(Taken(X, np.arange(5)), y[:5], None, 10, 1)
    rest = X[first + 1 :]
    with pytest.raises(IndexError, match=f"row {second - first - 1} has feature -1"):
        m.margins(rest)
    X = sparse(rng, 100, 9)
    with pytest.raises(ValueError, match="rows"):
        m.margins(np.zeros((2, 8), np.float32))
    with pytest.raises(ValueError, match="labels"):
        m.learn(X, y[:5], None, 10, 1)
    with pytest.raises(ValueError, match="factors is missing"):
        m.put({"bias": p["bias"], "linear": p["linear"]})
    with pytest.raises(ValueError, match=r"linear is \(8,\)"):
        m.put({**p, "linear": p["linear"][:8]})
    with pytest.raises(ValueError, match="there is no extra"):
        m.put({**p, "extra": p["bias"]})
    with pytest.raises(ValueError, match="epsilon"):
        machine(p, 9, 4, "adam", constants={"epsilon": 0.0})
    with pytest.raises(ValueError, match="ftrl"):
        machine(p, 9, 4, "ftrl", rates=(0.1, 0.0, 0.1))
    with pytest.raises(ValueError, match="needs the field"):
        machine(p, 9, 4, "adam", "field_aware")
    with pytest.raises(ValueError, match="fields"):
        machine(p, 9, 4, "adam", "field_aware", np.array([0] * 8 + [3], np.int32), 3)


def test_no_rows():
    m = machine(start(np.random.default_rng(0), 3, 2), 3, 2, "adam")
    empty = np.zeros((0, 3), np.float32)
    assert m.learn(empty, np.zeros(0, np.float32), None, 10, 1).shape == (0, 8)
    assert m.margins(empty).shape == (0,)
