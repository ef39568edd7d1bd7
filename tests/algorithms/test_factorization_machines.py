"""Factorization Machines' own rules: starts, gradients, habits of the original, files, queries."""

import numpy as np
import pytest

from smalgos.algorithms import algorithm, load_model
from smalgos.algorithms.factorization_machines import queries
from smalgos.algorithms.factorization_machines.model import probabilities
from smalgos.algorithms.factorization_machines.parameters import FactorizationMachinesParameters
from smalgos.algorithms.factorization_machines.start import drawn, in_units
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays
from smalgos.kernels import load
from smalgos.learning import Spec
from smalgos.learning.train import train

USERS, ITEMS = 7, 9
D = USERS + ITEMS
CLASSIFIER = {"predictor_type": "binary_classifier", "num_factors": "3", "mini_batch_size": "20"}
REGRESSOR = CLASSIFIER | {"predictor_type": "regressor"}
FIELDS = f"[{USERS}, {ITEMS}]"
KINDS = ["pairwise", "field_aware", "field_weighted"]


def rows(n=90, seed=0, regressor=False):
    """One-hot pairs; a label that depends on both."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, n), rng.integers(0, ITEMS, n)
    x = np.zeros((n, D), np.float32)
    x[np.arange(n), users] = x[np.arange(n), USERS + items] = 1
    y = (users + items) % 3 if regressor else (users % 2 == items % 2)
    return Block.of(Csr.of(x), y.astype(np.float32))


def state_of(given, block, validation=None, side=None):
    a = algorithm("factorization-machines")
    channels = {"train", *(["validation"] if validation is not None else [])}
    spec = Spec.of(block, rows=len(block), channels=frozenset(channels), side=side or {})
    return a.state(a.parameters.parse(given), spec)


def learnt(given, block, validation=None, side=None):
    state = state_of(given, block, validation, side)
    channels = {"train": Arrays(block)}
    if validation is not None:
        channels["validation"] = Arrays(validation)
    train(state, channels)
    return state


def margin(x, a, interaction, field):
    """The margin of a dense row, pair by pair, in float64."""
    total = a["bias"][0] + x @ a["linear"]
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if interaction == "field_aware":
                product = a["factors"][i, field[j]] @ a["factors"][j, field[i]]
            else:
                product = a["factors"][i] @ a["factors"][j]
            if interaction == "field_weighted":
                product = product * a["field_weights"][field[i], field[j]]
            total += product * x[i] * x[j]
    return total


def mean_loss(X, y, a, interaction, field, logistic):
    m = np.array([margin(x, a, interaction, field) for x in X])
    return np.mean(np.logaddexp(0, m) - y * m if logistic else (y - m) ** 2)


@pytest.mark.parametrize("interaction", KINDS)
@pytest.mark.parametrize("logistic", [True, False])
def test_a_step_goes_down_the_gradient(interaction, logistic):
    """One step of sgd over all rows, against central differences of the loss."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(6, 5)).astype(np.float32)
    y = (rng.random(6) > 0.5).astype(np.float32)
    given = (CLASSIFIER if logistic else REGRESSOR) | {
        "mini_batch_size": "6", "optimizer": "sgd", "bias_lr": "1", "linear_lr": "1",
        "factors_lr": "1", "bias_wd": "0", "linear_wd": "0", "factors_wd": "0",
        "factors_init_sigma": "0.3", "linear_init_sigma": "0.3", "interaction": interaction,
        "fields": "[0, 1, 1, 2, 0]",
    }  # fmt: skip
    block = Block.of(X, y)
    state = state_of(given, block)
    before = {name: a.astype(np.float64) for name, a in state.weights.items()}
    train(state, {"train": Arrays(block)})
    field, h = np.array([0, 1, 1, 2, 0]), 1e-5
    for name, moved in state.weights.items():
        for at in np.ndindex(moved.shape):
            change = {}
            for sign in (1, -1):
                a = {n: v.copy() for n, v in before.items()}
                a[name][at] += sign * h
                if name == "field_weights" and at[0] != at[1]:
                    a[name][at[::-1]] += sign * h
                change[sign] = mean_loss(X, y, a, interaction, field, logistic)
            slope = (change[1] - change[-1]) / (2 * h)
            assert before[name][at] - moved[at] == pytest.approx(slope, rel=2e-3, abs=2e-5), name


def test_the_starts():
    k = load("factorization_machine")
    shape = 4000, 5

    def of(**given):
        p = FactorizationMachinesParameters.parse(CLASSIFIER | given)
        return drawn(k, p, "factors", 3, shape)

    normal = of(factors_init_sigma="0.5")
    assert normal.dtype == np.float32
    assert abs(normal.mean()) < 0.02
    assert normal.std() == pytest.approx(0.5, rel=0.02)
    assert (np.abs(normal) < 0.5).mean() == pytest.approx(0.6827, abs=0.01)
    assert abs(np.corrcoef(normal.T) - np.eye(5)).max() < 0.06
    uniform = of(factors_init_method="uniform", factors_init_scale="0.2")
    assert np.abs(uniform).max() <= 0.2
    assert uniform.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.02)
    constant = of(factors_init_method="constant", factors_init_value="0.25")
    assert (constant == 0.25).all()
    # The numbers of a feature are its own.
    p = FactorizationMachinesParameters.parse(CLASSIFIER | {"factors_init_sigma": "0.5"})
    assert np.array_equal(drawn(k, p, "factors", 3, (10, 5)), normal[:10])


def test_the_last_batch_is_filled_with_the_first_rows():
    """As if the first rows stood at the end of the file, too; counted in the training scores."""
    block = rows(90)
    filled = Block.join([block, block[:10]])
    given = CLASSIFIER | {"epochs": "3", "factors_lr": "0.05"}
    a, b = learnt(given, block), learnt(given, filled)
    assert np.array_equal(a.weights["factors"], b.weights["factors"])
    assert np.array_equal(a.loss_curve, b.loss_curve)
    assert a.seen == 270
    kept = learnt(given | {"pad_last": "false"}, block)
    assert not np.array_equal(kept.weights["factors"], a.weights["factors"])
    # Fewer rows than a batch are taken over and over: the mean is that of the rows.
    few = {"epochs": "1", "mini_batch_size": "90", "optimizer": "sgd", "linear_lr": "0.1"}
    twice = learnt(CLASSIFIER | few, block[:45])
    once = learnt(CLASSIFIER | few | {"mini_batch_size": "45"}, block[:45])
    np.testing.assert_allclose(twice.weights["linear"], once.weights["linear"], rtol=1e-5)


def test_features_that_do_not_occur_stand_still():
    block = rows(60)
    x = block.features.toarray()
    x[:, 3] = 0
    state = state_of(CLASSIFIER | {"linear_wd": "0.5", "epochs": "3"}, block)
    before = state.weights
    state = learnt(
        CLASSIFIER | {"linear_wd": "0.5", "epochs": "3"}, Block.of(Csr.of(x), block.labels)
    )
    for name in ("linear", "factors"):
        still = state.weights[name] == before[name]
        assert still[3].all()
        assert not still[[0, 1, 2, 4]].any()


def test_labels_of_any_scale():
    """A regressor that learns scaled labels answers in their units, and reports errors in them."""
    block = rows(300, regressor=True)
    far = block.replace(labels=1e4 + 500 * block.labels)
    given = REGRESSOR | {
        "normalize_label": "true", "epochs": "60", "linear_lr": "0.05", "factors_lr": "0.05",
        "factors_init_sigma": "0.1", "factors_wd": "0",
    }  # fmt: skip
    for interaction in KINDS:
        state = learnt(given | {"interaction": interaction, "fields": FIELDS}, far)
        said = state.model().predict(far)["score"]
        rmse = np.sqrt(np.mean((said - far.labels) ** 2.0))
        assert rmse < 0.5 * far.labels.std()
        assert np.sqrt(state.loss_curve[-1]) == pytest.approx(rmse, rel=0.4)
        np.testing.assert_allclose(
            said,
            state.machine.margins(far.features) * state.label_std + state.label_mean,
            rtol=1e-5,
        )
    arrays = state.weights
    back = in_units(in_units(arrays, 3.0, 2.0), -3 / 2, 1 / 2)
    for name, array in arrays.items():
        np.testing.assert_allclose(back[name], array, rtol=1e-5, atol=1e-6)


def test_ftrl_keeps_the_start_and_gives_exact_zeros():
    block = rows(200)
    given = CLASSIFIER | {
        "optimizer": "ftrl", "factors_init_sigma": "0.1", "linear_init_sigma": "0",
        "linear_lr": "0.1", "factors_lr": "1e-6",
    }  # fmt: skip
    state = state_of(given, block)
    start = state.weights["factors"]
    assert np.abs(start).min() > 0
    moved = learnt(given, block).weights["factors"]
    np.testing.assert_allclose(moved, start, rtol=1e-3, atol=1e-5)
    shrunk = learnt(given | {"linear_l1": "0.1", "factors_lr": "0.1"}, block).weights
    zeros = shrunk["linear"] == 0
    assert 0 < zeros.sum() < D
    assert (learnt(given | {"linear_l1": "100"}, block).weights["linear"] == 0).all()


def test_validation_rows_choose_the_epoch():
    block, held = rows(60), rows(60, seed=1)
    held = held.replace(labels=1 - held.labels)  # the more is learnt, the worse
    given = CLASSIFIER | {"epochs": "30", "linear_lr": "0.05", "factors_lr": "0.05"}
    state = learnt(given, block, held)
    assert state.epoch < 30
    assert state.stopping.at == int(state.validation_curve.argmin())
    m = state.model()
    p = m.predict(held)["score"].astype(np.float64)
    loss = -np.log(np.where(held.labels == 1, p, 1 - p)).mean()
    assert loss == pytest.approx(state.validation_curve.min(), rel=1e-5)
    assert m.notes["epoch"] == state.stopping.at


def test_an_earlier_model_goes_on():
    block = rows(120, regressor=True)
    earlier = learnt(REGRESSOR | {"epochs": "5", "linear_lr": "0.1"}, block).model()
    for more in ({}, {"normalize_label": "true"}):
        still = {"linear_lr": "0", "factors_lr": "0", "bias_lr": "0"}
        state = learnt(REGRESSOR | still | more, block, side={"model": earlier})
        got, want = (m.predict(block)["score"] for m in (state.model(), earlier))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="does not hold a factorization-machines model of 16"):
        state_of(REGRESSOR | {"num_factors": "4"}, block, side={"model": earlier})


def test_weights_are_repetitions_in_a_batch():
    block = rows(30)
    weight = np.random.default_rng(0).integers(1, 4, 30)
    twice = np.repeat(np.arange(30), weight)
    scaled = (weight * 30 / weight.sum()).astype(np.float32)
    given = CLASSIFIER | {"mini_batch_size": "1000", "epochs": "20", "linear_lr": "0.05",
                          "pad_last": "false"}  # fmt: skip
    a = learnt(given, block.replace(weights=scaled))
    b = learnt(given, block[twice])
    for name, array in a.weights.items():
        np.testing.assert_allclose(array, b.weights[name], rtol=1e-3, atol=1e-5)


def test_divergence_is_told():
    given = REGRESSOR | {
        "epochs": "50",
        "optimizer": "sgd",
        "linear_lr": "1e6",
        "factors_lr": "1e6",
    }
    with pytest.raises(UserError, match=r"training diverged in epoch 0: lower linear_lr"):
        learnt(given, rows(regressor=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: setattr(m, "bias", np.zeros(2, np.float32)), "bias has shape"),
        (lambda m: setattr(m, "linear", np.zeros(3, np.float32)), "has shape"),
        (lambda m: setattr(m, "factors", np.full_like(m.factors, np.nan)), "not finite"),
        (lambda m: setattr(m, "factors", m.factors.astype(np.float64)), "float32"),
        (lambda m: setattr(m, "factors", m.factors[:, :0]), "no factors"),
        (lambda m: setattr(m, "field_of", m.field_of - 1), "below 0"),
        (lambda m: setattr(m, "field_of", m.field_of[1:]), "has shape"),
        (lambda m: setattr(m, "field_of", None), "without fields"),
        (lambda m: setattr(m, "field_weights", None), "weights of fields"),
        (lambda m: setattr(m, "field_weights", np.float32([[1, 2], [3, 4]])), "symmetric"),
        (lambda m: setattr(m, "interaction", "triple"), "'triple' interactions"),
        (lambda m: setattr(m, "predictor_type", "ranker"), "'ranker'"),
    ],
)
def test_what_is_wrong_with_a_model(change, said, tmp_path):
    given = CLASSIFIER | {"interaction": "field_weighted", "fields": FIELDS}
    model = learnt(given, rows()).model()
    change(model)
    model.save(tmp_path / "m")
    with pytest.raises(UserError, match=said):
        load_model(tmp_path / "m")


# Queries ------------------------------------------------------------------------------------------


def machine(interaction, d=60, fields=4, k=3, seed=0):
    """A model of random parameters."""
    rng = np.random.default_rng(seed)
    block = Block.of(np.zeros((1, d), np.float32), np.zeros(1, np.float32))
    field = rng.integers(0, fields, d)
    field[:fields] = np.arange(fields)
    given = CLASSIFIER | {
        "num_factors": str(k), "interaction": interaction, "factors_init_sigma": "1",
        "fields": str(field.tolist()), "random_state": str(seed),
    }  # fmt: skip
    model = learnt(given, block).model()
    if interaction == "field_weighted":
        r = rng.normal(size=(fields, fields)).astype(np.float32)
        model.field_weights = r + r.T
    return model


@pytest.mark.parametrize("interaction", KINDS)
@pytest.mark.parametrize("n", [1, 7, 40, 5000])
def test_top_interactions_are_those_of_all_pairs(interaction, n, monkeypatch):
    monkeypatch.setattr(queries, "ROWS", 7)
    monkeypatch.setattr(queries, "COLUMNS", 16)
    model = machine(interaction)
    zero = {"bias": np.zeros(1), "linear": np.zeros(model.width)}
    a = model.arrays | zero
    want = {}
    for i in range(model.width):
        for j in range(i + 1, model.width):
            if model.field_of[i] != model.field_of[j]:
                x = np.zeros(model.width)
                x[[i, j]] = 1
                want[i, j] = margin(x, a, interaction, model.field_of)
    pairs, strengths = queries.top_interactions(model, n)
    best = sorted(want, key=lambda pair: -abs(want[pair]))[:n]
    assert len(pairs) == len(best)
    np.testing.assert_allclose(
        np.abs(strengths), [abs(want[p]) for p in best], rtol=1e-4, atol=1e-5
    )
    for pair, strength in zip(pairs.tolist(), strengths, strict=True):
        assert strength == pytest.approx(want[tuple(pair)], rel=1e-4, abs=1e-5)


def test_probabilities_do_not_overflow():
    m = np.float32([-200, -20, 0, 20, 200])
    with np.errstate(all="raise", under="ignore"):
        p = probabilities(m)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-m.astype(np.float64))), rtol=1e-6, atol=1e-40)
