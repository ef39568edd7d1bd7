"""One table of hyperparameters serves constructors, strings, ranges and documentation."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalgos.algorithms import MODULES, algorithm
from smalgos.errors import UserError
from smalgos.learning.parameters import AUTO, REQUIRED, Parameters, param


class Example(Parameters):
    k: int = param(low=1, doc="how many")
    rate: float = param(default=AUTO, auto=0.5, above=0, below=1, doc="step")
    weight: float | str = param(default=1.0, above=0, words=("balanced",), doc="weight")
    metrics: list = param(default=["msd"], choices=("msd", "ssd"), doc="what is reported")
    centre: bool = param(default=True, library=False, doc="centre")
    reg_lambda: float = param(default=1.0, spelled=("lambda",), doc="strength")
    width: int = param(default=1, wire=lambda spec: spec.width, doc="width")
    twice: int = param(default=AUTO, auto=lambda p, spec: 2 * p.k + spec.width, doc="rule")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("k", "10", 10),
        ("k", " 10.0 ", 10),
        ("k", '"7"', 7),
        ("rate", "1e-05", 1e-5),
        ("rate", "Auto", AUTO),
        ("weight", "balanced", "balanced"),
        ("weight", "2", 2.0),
        ("metrics", '["msd","ssd"]', ["msd", "ssd"]),
        ("metrics", "['msd']", ["msd"]),
        ("metrics", "msd, ssd", ["msd", "ssd"]),
        ("centre", "False", False),
        ("centre", "1", True),
        ("lambda", "3", 3.0),
        ("random_state", "7", 7),
    ],
)
def test_strings_of_the_wire(name, text, value):
    got = Example.parse({"k": "1", name: text})
    assert getattr(got, {"lambda": "reg_lambda"}.get(name, name)) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("k", "0", "k=0: must be an integer >= 1"),
        ("k", "1.5", "k='1.5': must be an integer >= 1"),
        ("k", "inf", "k='inf'"),
        ("rate", "1", "rate=1.0: must be a number > 0 and < 1, or auto"),
        ("rate", "nan", "rate=nan"),
        ("weight", "heavy", "balanced"),
        ("metrics", '["mse"]', "must be a list of msd, ssd"),
        ("centre", "maybe", "must be true or false"),
        ("ratee", "1", "did you mean rate?"),
    ],
)
def test_bad_strings_are_named(name, text, said):
    with pytest.raises(UserError) as caught:
        Example.parse({"k": "1", name: text})
    assert said in str(caught.value)


def test_required_unknown_and_double():
    with pytest.raises(UserError, match="k is required"):
        Example.parse({})
    with pytest.raises(UserError, match="given twice"):
        Example.parse({"k": "1", "lambda": "1", "reg_lambda": "2"})
    with pytest.raises(UserError, match="must be an integer"):
        Example(k=True)


def test_the_platform_keeps_its_own_names():
    assert Example.parse({"k": "1", "_kvstore": "auto", "sagemaker_region": "x"}).k == 1


def test_auto_is_resolved_by_rules_in_order():
    p = Example(k=3).resolved(SimpleNamespace(width=4))
    assert (p.rate, p.twice) == (0.5, 10)
    assert Example(k=3).rate == AUTO  # what was given stays


def test_how_to_run_is_not_what_to_learn():
    kept = Example(k=1, n_jobs=3, verbose=1).as_dict()
    assert "random_state" in kept
    assert not {"n_jobs", "verbose", "device"} & set(kept)


@given(st.floats(allow_nan=False), st.integers())
def test_what_is_checked_is_in_range(rate, k):
    try:
        Example(k=k, rate=rate)
    except UserError:
        assert not 1 <= k < 2**63 or not 0 < rate < 1
    else:
        assert k >= 1
        assert 0 < rate < 1


@given(st.text(max_size=12))
def test_any_string_is_a_value_or_a_user_error(text):
    for name in ("k", "rate", "weight", "metrics", "centre"):
        try:
            value = getattr(Example.parse({"k": "1", name: text}), name)
        except UserError:
            continue
        assert not (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_table_is_documented_and_parses_its_own_defaults(name):
    table = algorithm(name).parameters.table
    for row in table.values():
        assert row.doc, row.name
        if row.kind is not list and row.default is not REQUIRED:
            text = str(row.default)
            assert row.check(row.parse(text)) == row.default, row.name
    assert "Parameters" not in algorithm(name).parameters.document()
