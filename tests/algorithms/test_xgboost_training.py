"""Training boosted trees: beside XGBoost, and beside itself however it is interrupted or cut."""

import dataclasses
import json

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms import algorithm
from smalgos.algorithms.xgboost import sample
from smalgos.algorithms.xgboost import state as module
from smalgos.algorithms.xgboost.rows import constraint_bits, signs
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays, Stream
from smalgos.kernels import load
from smalgos.kernels.cpu import boosting
from smalgos.learning import Spec
from smalgos.learning.train import Checkpoint, end_pass, run_pass, train

SEED = 3


def fresh(run, block, channels=("train",), facts=None, **more):
    a = algorithm("xgboost")
    parameters = a.parameters(**{"num_round": 3, **run})
    spec = Spec.of(
        block, rows=len(block), channels=frozenset(channels), seed=SEED, facts=facts or {}, **more
    )
    return a.state(parameters, spec)


def learnt(run, block, validation=None, stream=None, n_jobs=None, checkpoint=None, **more):
    channels = {"train": stream or Arrays(block)}
    if validation is not None:
        channels["validation"] = Arrays(validation)
    state = fresh(run, block, channels, **more)
    train(state, channels, n_jobs=n_jobs, checkpoint=checkpoint)
    return state


def fields(model):
    """All that a model holds, as bytes."""
    flat = model.snapshot()
    return {n: v.tobytes() if isinstance(v, np.ndarray) else v for n, v in flat.items()}


def few(seed=0, n=400, d=5, distinct=7, missing=0.0, categories=()):
    """Rows of few values, each of which gets a bin of its own in both libraries."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, distinct, (n, d)).astype(np.float32)
    effect = rng.standard_normal((d, distinct)) * np.linspace(2, 0.5, d)[:, None]
    score = sum(effect[f, X[:, f].astype(int)] for f in range(d)) + X[:, 0] * X[:, 1] / 4
    X[rng.random((n, d)) < missing] = np.nan
    return X, (score + rng.normal(0, 0.5, n)).astype(np.float32)


def absent(X):
    stored = ~np.isnan(X)
    row, column = np.nonzero(stored)
    offsets = np.concatenate(([0], np.cumsum(stored.sum(axis=1)))).astype(np.int64)
    return Csr(X[row, column], column.astype(np.int32), offsets, X.shape[1])


# -- beside XGBoost


def peer(run, X, y, rounds=2, weight=None, categories=(), base=0.0):
    given = {"tree_method": "hist", "base_score": base, "nthread": 1, "verbosity": 0} | run
    names = {"reg_lambda": "lambda", "reg_alpha": "alpha"}
    given = {names.get(name, name): value for name, value in given.items()}
    for name in ("interaction_constraints", "monotone_constraints"):
        if name in given:
            as_text = given[name] if name[0] == "i" else tuple(given[name])
            given[name] = str(as_text)
    given.pop("categorical_features", None)
    kinds = ["c" if f in categories else "q" for f in range(X.shape[1])]
    data = xgboost.DMatrix(
        X, y, weight=weight, feature_types=kinds, enable_categorical=bool(categories), nthread=1
    )
    return xgboost.train(given, data, rounds)


def both(run, X, y, rounds=2, weight=None, categories=(), base=0.0):
    """(our model, XGBoost's booster) of the same rows."""
    block = Block.of(X, y, weight)
    own = {"num_round": rounds, "base_score": base, **run}
    if categories:
        own["categorical_features"] = list(categories)
    return learnt(own, block).model(), peer(run, X, y, rounds, weight, categories, base)


def others(X, seed=1):
    """Rows of the same values, any of them missing."""
    rng = np.random.default_rng(seed)
    made = np.stack([rng.permutation(X[:, f]) for f in range(X.shape[1])], axis=1)
    made[rng.random(X.shape) < 0.2] = np.nan
    return made


def check_same_trees(model, booster, X, categories=(), atol=2e-3):
    """Rows come to the same leaves, and so do nearly all others, whose values are missing.

    Not quite all: where a node lacks a value, either side of it is as good.
    """
    kinds = ["c" if f in categories else "q" for f in range(X.shape[1])]
    for rows in (X, others(X)):
        data = xgboost.DMatrix(rows, feature_types=kinds, enable_categorical=bool(categories))
        theirs = booster.predict(data, pred_leaf=True).reshape(len(rows), -1).astype(np.int64)
        ours = model.predict_leaf(rows)
        assert ours.shape == theirs.shape
        for a, b in zip(ours.T, theirs.T, strict=True):
            if rows is X:
                pairs = set(zip(a.tolist(), b.tolist(), strict=True))
                assert len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})
        want = booster.predict(data, output_margin=True)
        near = np.isclose(model.predict_margin(rows).reshape(want.shape), want, atol=atol)
        assert near.mean() >= (1 if rows is X else 0.95)


SHAPES = {
    "default": {},
    "eta": {"eta": 1.0, "max_depth": 3},
    "gamma": {"gamma": 6.0},
    "alpha": {"reg_alpha": 4.0},
    "lambda": {"reg_lambda": 20.0},
    "no lambda": {"reg_lambda": 0.0},
    "min_child_weight": {"min_child_weight": 12.0},
    "min_child_weight 0": {"min_child_weight": 0.0, "max_depth": 4},
    "max_delta_step": {"max_delta_step": 0.7},
    "monotone": {"monotone_constraints": [1, -1, 0, 1, -1]},
    "monotone and deep": {"monotone_constraints": [1, 1, 1, 1, 1], "max_depth": 8},
    "interaction": {"interaction_constraints": [[0, 1], [1, 2, 3]]},
    "interaction alone": {"interaction_constraints": [[1, 2]]},
    "lossguide": {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0},
    "lossguide and depth": {"grow_policy": "lossguide", "max_leaves": 30, "max_depth": 4},
    "leaves": {"max_leaves": 6},
    "depth 0": {"max_depth": 0, "max_leaves": 0, "min_child_weight": 5.0},
    "depth 1": {"max_depth": 1},
    "light root": {"min_child_weight": 1000.0},
    "parallel": {"num_parallel_tree": 3},
    "gamma and lossguide": {
        "grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0, "gamma": 8.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("name", SHAPES)
def test_trees_are_those_of_xgboost(name, missing):
    run = {"max_depth": 5} | SHAPES[name]
    missing *= "monotone" not in name  # XGBoost may have missing values alone on the left
    X, y = few(len(name), missing=missing)
    model, booster = both(run, X, y)
    check_same_trees(model, booster, X)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_trees_are_those_of_xgboost_often(name):
    """Now and then two gains differ by less than gradients are rounded by."""
    run = {"max_depth": 5} | SHAPES[name]
    others = 0
    for seed in range(20):
        missing = (seed % 3) * 0.2 * ("monotone" not in name)
        X, y = few(100 + seed, n=200 + 40 * seed, missing=missing)
        model, booster = both(run, X, y, 3)
        try:
            check_same_trees(model, booster, X, atol=5e-3)
        except AssertionError:
            others += 1
    assert others <= 2


@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("onehot", [1, 4, 100])
def test_categories_are_split_as_by_xgboost(onehot, missing):
    X, y = few(7, distinct=6, missing=missing)
    run = {"max_depth": 4, "max_cat_to_onehot": onehot}
    model, booster = both(run, X, y, categories=(0, 1, 3))
    check_same_trees(model, booster, X, (0, 1, 3))


@pytest.mark.parametrize(
    ("objective", "run"),
    [
        ("binary:logistic", {"scale_pos_weight": 3.0}),
        ("binary:logistic", {"max_delta_step": 0.5}),
        ("reg:logistic", {"min_child_weight": 3.0}),
        ("count:poisson", {}),
        ("count:poisson", {"max_delta_step": 0.3}),
        ("reg:tweedie", {}),
        ("reg:gamma", {}),
        ("reg:pseudohubererror", {}),
        ("multi:softprob", {"num_class": 3}),
        ("multi:softmax", {"num_class": 3, "num_parallel_tree": 2}),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_objectives_grow_the_trees_of_xgboost(objective, run, weighted):
    X, score = few(11)
    kind = objective.split(":")[1]
    y = {
        "logistic": score > 0, "poisson": np.floor(np.exp(score / 4)), "tweedie": np.exp(score / 4),
        "gamma": np.exp(score / 4), "softprob": np.digitize(score, [-1, 2]),
        "softmax": np.digitize(score, [-1, 2]),
    }.get(kind, score)  # fmt: skip
    weight = np.random.default_rng(0).random(len(y), np.float32) + 0.1
    # Gradients of few different values have many splits of equal gain.
    weighted = weighted or kind.startswith("soft")
    run = {"objective": objective, "max_depth": 3, **run}
    model, booster = both(
        run, X, np.asarray(y, np.float32), 2, weight if weighted else None, base=0.5
    )
    check_same_trees(model, booster, X)


OBJECTIVES = {
    "reg:squarederror": "real", "reg:absoluteerror": "real", "reg:pseudohubererror": "real",
    "reg:quantileerror": "real", "reg:squaredlogerror": "positive", "count:poisson": "counts",
    "reg:gamma": "positive", "reg:tweedie": "positive", "binary:logistic": "binary",
    "binary:hinge": "binary", "multi:softprob": "classes", "rank:ndcg": "groups",
    "rank:pairwise": "groups", "survival:cox": "positive", "survival:aft": "positive",
}  # fmt: skip


def smooth(kind, seed=0, n=3000):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(0, 0.4, n)
    y = {
        "real": score, "positive": np.exp(score / 3), "binary": score > 0.3,
        "counts": rng.poisson(np.exp(score / 3)), "classes": np.digitize(score, [-0.7, 0.8]),
        "groups": np.digitize(score, [-0.7, 0.8, 2]),
    }[kind]  # fmt: skip
    return X, y.astype(np.float32)


@pytest.mark.compiled
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_are_those_of_xgboost(objective):
    """The metric of rows that were not trained on, from round to round."""
    kind = OBJECTIVES[objective]
    X, y = smooth(kind)
    groups = np.repeat(np.arange(150), 20) if kind == "groups" else None
    run = {"objective": objective, "max_depth": 4, "eta": 0.3}
    if kind == "classes":
        run["num_class"] = 3
    if objective == "reg:quantileerror":
        run["quantile_alpha"] = [0.7]
    blocks, data = [], []
    for rows in (slice(0, 2000), slice(2000, 3000)):
        block = Block.of(X[rows], y[rows])
        blocks.append(block if groups is None else block.replace(groups=groups[rows]))
        made = xgboost.DMatrix(X[rows], y[rows], qid=None if groups is None else groups[rows])
        if objective == "survival:aft":
            made.set_float_info("label_lower_bound", y[rows])
            made.set_float_info("label_upper_bound", y[rows])
        data.append(made)
    history = {}
    given = run | {"tree_method": "hist", "nthread": 1}
    if "quantile_alpha" in given:
        given["quantile_alpha"] = 0.7
    xgboost.train(
        given, data[0], 30, evals=[(data[1], "validation")], evals_result=history,
        verbose_eval=False,
    )  # fmt: skip
    model = learnt(run | {"num_round": 30}, *blocks).model()
    name, want = next(iter(history["validation"].items()))
    got = model.notes["evals"][f"validation:{name}"]
    spread = max(want) - min(want)
    few_errors = 0.02 if name == "error" else 0.0
    assert abs(got[0] - want[0]) < 0.03 * spread + 0.02 * abs(want[0]) + few_errors
    assert abs(got[-1] - want[-1]) < 0.05 * spread + 0.03 * abs(want[-1]) + few_errors
    assert model.objective == objective


# -- dart


@pytest.mark.parametrize("normalize", ["tree", "forest"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("run", [{"rate_drop": 1.0}, {"rate_drop": 1.0, "num_parallel_tree": 2}])
def test_dart_weighs_trees_as_xgboost(normalize, outputs, run):
    """All earlier trees are dropped in each round."""
    X, y = few(5)
    run = {"booster": "dart", "normalize_type": normalize, "max_depth": 3, "eta": 0.4, **run}
    if outputs == 3:
        y = np.digitize(y, [-1, 2]).astype(np.float32)
        run |= {"objective": "multi:softprob", "num_class": 3}
    model, booster = both(run, X, y, 4, base=0.5)
    theirs = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["weight_drop"]
    np.testing.assert_allclose(model.trees.weight, theirs, rtol=1e-5)
    check_same_trees(model, booster, X, atol=5e-3)


def dropped(run, rounds=40):
    X, y = few(5, n=60)
    state = learnt({"booster": "dart", "num_round": rounds, "max_depth": 2, **run}, Block.of(X, y))
    counts, draw = [], state.dart.drop
    state._pack()
    for round_ in range(300):
        counts.append(len(draw(1000 + round_)))
    return np.array(counts), state


def test_dart_drops_as_many_as_asked_for():
    none, _ = dropped({"rate_drop": 0.0})
    assert not none.any()
    some, _ = dropped({"rate_drop": 0.1})
    assert some.mean() == pytest.approx(4, abs=0.6)
    assert (some == 0).any()
    one, _ = dropped({"rate_drop": 0.0, "one_drop": 1})
    assert (one == 1).all()
    skipped, _ = dropped({"rate_drop": 0.5, "skip_drop": 0.7, "one_drop": 1})
    assert (skipped == 0).mean() == pytest.approx(0.7, abs=0.1)
    weighted, _ = dropped({"rate_drop": 0.1, "sample_type": "weighted"})
    assert weighted.mean() == pytest.approx(4, abs=0.8)


def test_without_drops_dart_is_gbtree():
    X, y = few(5, missing=0.1)
    block = Block.of(X, y)
    usual = learnt({"num_round": 5}, block).model()
    dart = learnt({"num_round": 5, "booster": "dart"}, block).model()
    assert fields(dart)["trees.weight"] == fields(usual)["trees.weight"]
    np.testing.assert_array_equal(dart.predict_leaf(X), usual.predict_leaf(X))
    np.testing.assert_allclose(dart.predict_margin(X), usual.predict_margin(X), atol=1e-3)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_margins_while_training_are_those_of_the_model(booster):
    """Of train and validation rows, with values that no training row had, missing ones, sets."""
    X, y = few(9, missing=0.2)
    other, z = few(10, n=150, missing=0.3)
    other[:, 2:] += 0.4
    run = {
        "booster": booster, "num_round": 6, "categorical_features": [0, 1], "max_depth": 4,
        "max_cat_to_onehot": 1, "objective": "multi:softprob", "num_class": 3,
    } | ({"rate_drop": 0.4} if booster == "dart" else {})  # fmt: skip
    y, z = (np.digitize(v, [-1, 2]).astype(np.float32) for v in (y, z))
    for rows, held in ((X, other), (absent(X), absent(other))):
        state = learnt(run, Block.of(rows, y), Block.of(held, z))
        model = state.model()
        for x, side in ((X, state._train), (other, state._validation)):
            np.testing.assert_allclose(model.predict_margin(x).T, side.margin, atol=2e-6)


# -- the same bytes

RUNS = {
    "usual": {},
    "categories": {"categorical_features": [0, 3], "max_cat_to_onehot": 2},
    "classes": {"objective": "multi:softprob", "num_class": 3},
    "sampled": {"subsample": 0.6, "colsample_bytree": 0.8, "colsample_bylevel": 0.8,
                "colsample_bynode": 0.8},
    "gradient_based": {"subsample": 0.3, "sampling_method": "gradient_based"},
    "dart": {"booster": "dart", "rate_drop": 0.5, "objective": "binary:logistic"},
    "dart of classes": {"booster": "dart", "rate_drop": 0.3, "one_drop": 1, "skip_drop": 0.3,
                        "objective": "multi:softprob", "num_class": 3, "sample_type": "weighted"},
    "parallel": {"num_parallel_tree": 3, "subsample": 0.5},
    "coarse": {"num_grad_quant_bins": 4},
    "lossguide": {"grow_policy": "lossguide", "max_leaves": 12},
    "medians": {"objective": "reg:absoluteerror"},
    "pairs": {"objective": "rank:ndcg"},
}  # fmt: skip


def problem(run, n=300, seed=0):
    X, y = few(seed, n=n, missing=0.1)
    objective = run.get("objective", "")
    groups = None
    if objective.startswith("binary"):
        y = (y > 0).astype(np.float32)
    elif objective.startswith(("multi", "rank")):
        y = np.digitize(y, [-1, 2]).astype(np.float32)
    block = Block.of(X, y)
    if objective.startswith("rank"):
        groups = np.arange(n) // 12
        block = block.replace(groups=groups.astype(np.int64))
    return block


@pytest.mark.compiled
@pytest.mark.parametrize("name", RUNS)
def test_threads_change_no_byte(name, monkeypatch):
    monkeypatch.setattr(boosting, "SMALL", 0)
    monkeypatch.setattr(boosting, "CHUNK", 100)
    run = RUNS[name] | {"max_depth": 5, "num_round": 4}
    block = problem(run)
    want = fields(learnt(run, block, n_jobs=1).model())
    for n_jobs in (2, 8):
        assert fields(learnt(run, block, n_jobs=n_jobs).model()) == want


class Cut(Stream):
    """A stream with cuts of its own."""

    def __init__(self, block, cuts):
        super().__init__()
        self.block, self.cuts = block, sorted({0, len(block), *cuts})

    def open(self, order=None, *, limited=False, rows=None):
        for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            yield self.block[a:b]

    def where(self, row):
        return f"row {row}"

    def fingerprint(self):
        return "cut"


@pytest.mark.parametrize("name", ["usual", "sampled", "dart of classes"])
@pytest.mark.parametrize("sparse", [False, True])
def test_cuts_change_no_byte(name, sparse, monkeypatch):
    """Neither those of the source nor the blocks that training asks for."""
    run = RUNS[name]
    block = problem(run)
    if sparse:
        block = block.replace(features=absent(block.features))
    want = fields(learnt(run, block).model())

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.integers(1, 299), max_size=12))
    def check(cuts):
        assert fields(learnt(run, block, stream=Cut(block, cuts)).model()) == want

    check()
    monkeypatch.setattr(module.BoostedTreesState, "next_pass", in_blocks_of(70))
    assert fields(learnt(run, block, stream=Cut(block, [50])).model()) == want


def in_blocks_of(rows):
    usual = module.BoostedTreesState.next_pass

    def next_pass(self):
        found = usual(self)
        if found is None or found.channel is None:
            return found
        return dataclasses.replace(found, rows=rows)

    return next_pass


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_the_same_for_any_cut(seed, monkeypatch):
    """More rows than a sample holds, known beforehand or not."""
    monkeypatch.setattr(sample, "ROWS", 0)  # 1000 are held
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((5000, 2)).astype(np.float32)
    block = Block.of(X, np.zeros(5000, np.float32), rng.random(5000).astype(np.float32))
    found = []
    for known, cuts in ((None, 5000), (5000, 7), (None, 1024), (5000, 2500)):
        sampled = sample.Sample(load("boosting"), seed, known, 2)
        for a in range(0, 5000, cuts):
            sampled.add(block[a : a + cuts].at(a))
        made = sample.cuts(sampled, 5000, np.array([0, 0]))
        assert [len(c) for c in made] == [1000, 1000]  # of different rows
        found.append(np.concatenate([*made, sampled.weights()]).tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("validated", [False, True])
def test_resuming_after_any_round_changes_no_byte(name, validated, tmp_path):
    run = RUNS[name] | {"num_round": 5, "max_depth": 3}
    if validated:
        run |= {"early_stopping_rounds": 2, "eta": 1.0}
    block = problem(run)
    held = problem(run, 100, 1) if validated else None
    want = fields(learnt(run, block, held).model())
    behind, ended = 0, False
    while not ended:
        behind += 1
        path = tmp_path / f"{behind}"

        class Once(Checkpoint):
            """Stops behind one checkpoint, as a kill would."""

            def offer(self, state, *, force=False, behind=behind):
                super().offer(state, force=force)
                if self._count == behind:
                    raise KeyboardInterrupt

        try:
            learnt(run, block, held, checkpoint=Once(path, blocks=1))
            ended = True
        except KeyboardInterrupt:
            again = learnt(run, block, held, checkpoint=Checkpoint(path, blocks=1))
            assert fields(again.model()) == want, behind
    assert behind > 3


# -- going on


@pytest.mark.parametrize("name", ["usual", "classes", "sampled", "parallel", "dart"])
def test_going_on_from_a_model_is_not_to_stop(name):
    run = RUNS[name] | {"max_depth": 4}
    block = problem(run)
    whole = learnt(run | {"num_round": 6}, block).model()
    half = learnt(run | {"num_round": 2}, block).model()
    rest = learnt(run | {"num_round": 4}, block, side={"model": half}).model()
    assert rest.rounds == 6
    assert fields(rest) == fields(whole)


@pytest.mark.compiled
def test_going_on_with_other_rows_and_stopping():
    X, y = smooth("real")
    first = Block.of(X[:500], y[:500])
    second, held = Block.of(X[500:1500], y[500:1500]), Block.of(X[1500:], y[1500:])
    for booster in ("gbtree", "dart"):
        run = {"booster": booster, "num_round": 5}
        half = learnt(run, first).model()
        state = learnt(
            run | {"num_round": 200, "early_stopping_rounds": 5}, second, held,
            side={"model": half},
        )  # fmt: skip
        model = state.model()
        errors = model.notes["evals"]["validation:rmse"]
        assert len(errors) < 200
        assert model.best_iteration == 5 + int(np.argmin(errors))
        rounds = (0, model.best_iteration + 1)
        if booster == "gbtree":  # the weights of dart's trees went on changing
            margin = model.predict_margin(X[1500:], rounds)[:, 0]
            assert np.sqrt(((margin - y[1500:]) ** 2).mean()) == pytest.approx(
                min(errors), rel=1e-5
            )
        # Margins of what was there before are those of the earlier model, whatever its cuts were.
        margin = model.predict_margin(X[500:1500], (0, model.rounds)).T
        np.testing.assert_allclose(margin, state._train.margin, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"booster": "dart"}, "the earlier model is a gbtree"),
        ({"objective": "multi:softmax", "num_class": 3}, "of 1 outputs"),
        ({"num_parallel_tree": 2}, "num_parallel_tree"),
    ],
)
def test_models_that_do_not_fit_are_refused(change, said):
    X, y = few()
    y = (y > 0).astype(np.float32)
    half = learnt({}, Block.of(X, y)).model()
    with pytest.raises(UserError, match=said):
        learnt(change, Block.of(X, y), side={"model": half})
    with pytest.raises(UserError, match="takes 5 features"):
        learnt({}, Block.of(X[:, :3], y), side={"model": half})


# -- weights


def test_whole_weights_are_repeated_rows():
    """Exactly but for rounding: the same trees, nearly the same leaves."""
    X, y = few(4, missing=0.1)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    again = np.repeat(np.arange(len(y)), weight)
    run = {"num_round": 3, "max_depth": 4}
    weighted = learnt(run, Block.of(X, y, weight.astype(np.float32))).model()
    repeated = learnt(run, Block.of(X[again], y[again])).model()
    np.testing.assert_array_equal(weighted.predict_leaf(X), repeated.predict_leaf(X))
    np.testing.assert_allclose(weighted.predict_margin(X), repeated.predict_margin(X), atol=1e-3)
    np.testing.assert_allclose(weighted.trees.cover, repeated.trees.cover, rtol=1e-5)


def test_rows_of_weight_zero_do_not_count():
    X, y = few(4, n=300)
    weight = np.ones(300, np.float32)
    weight[200:] = 0
    wild = y.copy()
    wild[200:] = 1e6
    run = {"num_round": 3, "max_depth": 4}
    without = learnt(run, Block.of(X[:200], y[:200])).model()
    weighted = learnt(run, Block.of(X, wild, weight)).model()
    np.testing.assert_array_equal(weighted.predict_leaf(X), without.predict_leaf(X))
    np.testing.assert_allclose(weighted.predict_margin(X), without.predict_margin(X), atol=1e-3)
    with pytest.raises(UserError, match="weights of all rows are 0"):
        learnt(run, Block.of(X, y, 0 * weight))


# -- odd tables


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.ones((1, 1)), np.array([3.0])),
        (np.ones((20, 2)), np.arange(20.0)),
        (np.full((20, 2), np.nan), np.arange(20.0)),
        (np.arange(20.0)[:, None], np.full(20, 7.0)),
        (np.where(np.arange(20)[:, None] < 5, np.nan, 1.0), np.arange(20.0) < 5),
    ],
)
def test_odd_tables(X, y, sparse):
    X, y = X.astype(np.float32), y.astype(np.float32)
    rows = absent(X) if sparse else X
    model = learnt({"num_round": 4, "eta": 1.0, "reg_lambda": 0.0}, Block.of(rows, y)).model()
    said = model.predict_margin(X)[:, 0]
    groups = [tuple(row) for row in np.nan_to_num(X, nan=-1.0).tolist()]
    # Rows that cannot be told apart get their mean.
    for row in set(groups):
        alike = [i for i, other in enumerate(groups) if other == row]
        np.testing.assert_allclose(said[alike], y[alike].mean(), atol=2e-2)


def test_a_single_class():
    X, _ = few(n=50)
    for objective, label in (("binary:logistic", 1.0), ("binary:logistic", 0.0)):
        model = learnt(
            {"objective": objective}, Block.of(X, np.full(50, label, np.float32))
        ).model()
        p = model.predict(Block.of(X))["score"]
        assert np.isfinite(p).all()
        assert (np.abs(p - label) < 0.01).all()


@pytest.mark.compiled
@pytest.mark.parametrize("sparse", [False, True])
def test_many_sparse_features(sparse):
    rng = np.random.default_rng(0)
    n, d = 400, 3000
    X = np.full((n, d), np.nan, np.float32)
    for f in range(d):
        own = rng.integers(0, n, 6)
        X[own, f] = rng.integers(1, 4, 6)
    signal = rng.permutation(n)[:120]
    X[signal, 1234] = rng.integers(1, 4, 120)
    y = np.where(np.isnan(X[:, 1234]), 0.0, X[:, 1234] * 3).astype(np.float32)
    rows = absent(X) if sparse else X
    state = learnt({"num_round": 4, "max_depth": 3, "eta": 0.9}, Block.of(rows, y))
    assert state._train.binned.sparse == sparse
    model = state.model()
    np.testing.assert_allclose(model.predict_margin(rows)[:, 0], y, atol=0.1)
    assert np.argmax(model.importance("total_gain")) == 1234


def test_sparse_rows_are_rows_with_missing_values():
    X, y = few(3, missing=0.9, d=8)
    dense, sparse = Block.of(X, y), Block.of(absent(X), y)
    for run in ({}, {"categorical_features": [1, 4]}, {"subsample": 0.7}):
        a, b = learnt(run, dense), learnt(run, sparse)
        assert b._train.binned.sparse
        assert not a._train.binned.sparse
        assert fields(a.model()) == fields(b.model())
    half = X.copy()
    half[:, 0] = 1  # too many entries to gain by being sparse
    half[:, 1:4] = np.nan_to_num(half[:, 1:4])
    state = learnt({}, Block.of(absent(half), y))
    assert not state._train.binned.sparse
    assert fields(state.model()) == fields(learnt({}, Block.of(half, y)).model())


@pytest.mark.compiled
def test_trees_of_any_depth():
    rng = np.random.default_rng(0)
    n = 40_000
    X = np.arange(n, dtype=np.float32).reshape(-1, 1) % 251
    X = np.column_stack([X, np.arange(n) // 251]).astype(np.float32)
    y = rng.standard_normal(n).astype(np.float32)
    run = {"num_round": 1, "max_depth": 0, "eta": 1.0, "reg_lambda": 0.0, "min_child_weight": 0.0}
    model = learnt(run, Block.of(X, y)).model()
    assert len(model.trees.value) > 65_536
    np.testing.assert_allclose(model.predict_margin(X)[:, 0], y, atol=1e-2)


@pytest.mark.compiled
def test_more_bins_and_fewer():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 1)).astype(np.float32)
    y = np.sin(5 * X[:, 0])
    errors = []
    for most in (2, 3, 8, 256, 1000):
        state = learnt({"max_bin": most, "num_round": 30}, Block.of(X, y))
        assert len(np.unique(state.model().trees.threshold)) <= most
        errors.append(((state.model().predict_margin(X)[:, 0] - y) ** 2).mean())
    assert (np.diff(errors) < 0).all()
    assert errors[0] == pytest.approx(y.var(), rel=1e-3)  # one bin beside that of missing values


# -- samples


def used(model):
    inner = model.trees.left >= 0
    tree = np.repeat(np.arange(len(model.trees)), np.diff(model.trees.offsets))
    return [set(model.trees.feature[inner & (tree == t)]) for t in range(len(model.trees))]


def test_shares_of_features():
    X, y = few(2, d=10, n=600)
    block = Block.of(X, y)
    trees = used(learnt({"colsample_bytree": 0.3, "num_round": 40}, block).model())
    assert max(map(len, trees)) == 3
    assert set.union(*trees) == set(range(10))
    levels = learnt({"colsample_bylevel": 0.1, "num_round": 20, "max_depth": 4}, block).model()
    for t in range(len(levels.trees)):
        part = slice(levels.trees.offsets[t], levels.trees.offsets[t + 1])
        depth = np.zeros(part.stop - part.start, int)
        seen = {}
        for i, (left, right, f) in enumerate(
            zip(
                *(getattr(levels.trees, n)[part] for n in ("left", "right", "feature")), strict=True
            )
        ):
            if left >= 0:
                depth[left] = depth[right] = depth[i] + 1
                seen.setdefault(depth[i], set()).add(f)
        assert all(len(features) == 1 for features in seen.values())
    assert set.union(*used(levels)) == set(range(10))
    nodes = used(learnt({"colsample_bynode": 0.1, "num_round": 20}, block).model())
    assert max(map(len, nodes)) > 5
    assert used(learnt({"colsample_bytree": 0.01, "num_round": 3}, block).model())


@pytest.mark.parametrize("method", ["uniform", "gradient_based"])
def test_shares_of_rows(method):
    X, y = smooth("real")
    block = Block.of(X, y)
    run = {"subsample": 0.3, "sampling_method": method, "num_round": 10, "max_depth": 3}
    model = learnt(run, block).model()
    root = model.trees.cover[model.trees.offsets[:-1]]
    want = len(y) * (0.3 if method == "uniform" else 1.0)  # rows stand for others
    np.testing.assert_allclose(root, want, rtol=0.2)
    assert len(set(root.tolist())) == 10
    full = learnt(run | {"subsample": 1.0}, block).model()
    errors = [((m.predict_margin(X)[:, 0] - y) ** 2).mean() for m in (model, full)]
    assert errors[0] < 1.25 * errors[1]


@pytest.mark.compiled
@pytest.mark.parametrize("steps", [4, 15])
def test_coarse_gradients_learn_as_well(steps):
    for kind, objective in (("real", "reg:squarederror"), ("binary", "binary:logistic")):
        X, y = smooth(kind)
        blocks = Block.of(X[:2000], y[:2000]), Block.of(X[2000:], y[2000:])
        run = {"num_round": 30, "max_depth": 4, "eta": 0.2, "objective": objective}
        found = []
        for width in (0, steps):
            model = learnt(run | {"num_grad_quant_bins": width}, *blocks).model()
            found.append(next(v for n, v in model.notes["evals"].items() if "valid" in n)[-1])
        assert found[1] < 1.12 * found[0]


def test_coarse_leaves_say_what_gradients_do():
    """A tree without splits says the mean, however coarse its gradients were."""
    X, y = few(1)
    run = {"num_grad_quant_bins": 4, "gamma": 1e9, "num_round": 1, "eta": 1.0, "reg_lambda": 0.0}
    model = learnt(run | {"base_score": 0.0}, Block.of(X, y)).model()
    assert model.predict_margin(X)[0, 0] == pytest.approx(y.mean(), rel=1e-6)


# -- what is refused


@pytest.mark.parametrize(
    ("run", "y", "said"),
    [
        ({"objective": "binary:logistic"}, 2.0, "row 17.*: label 2"),
        ({"objective": "count:poisson"}, -1.0, "row 17.*: label -1"),
        ({"objective": "reg:gamma"}, 0.0, "row 17.*: label 0"),
        ({"objective": "multi:softmax", "num_class": 3}, 3.0, "row 17.*: label 3"),
        ({"objective": "multi:softmax", "num_class": 3}, 0.5, "row 17.*: label 0.5"),
        ({}, np.nan, "row 17.*: label nan"),
        ({}, np.inf, "row 17.*: label inf"),
    ],
)
def test_bad_labels_are_named(run, y, said):
    X, _ = few(n=50)
    labels = np.ones(50, np.float32)
    labels[17] = y
    with pytest.raises(UserError, match=said):
        learnt(run, Block.of(X, labels))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("value", "f", "said"),
    [
        (np.inf, 2, "row 23.*: feature 2 is infinite"),
        (-np.inf, 2, "row 23.*: feature 2 is infinite"),
        (-1.0, 1, "row 23.*: feature 1 is -1: a category must be a whole number"),
        (1.5, 1, "row 23.*: feature 1 is 1.5: a category must be a whole number"),
        (np.inf, 1, "row 23.*: feature 1 is infinite"),
    ],
)
def test_bad_values_are_named(value, f, said, sparse):
    X, y = few(n=50)
    X[23, f] = value
    block = Block.of(absent(X) if sparse else X, y)
    run = {"categorical_features": [1]}
    with pytest.raises(UserError, match=said):
        learnt(run, block)
    with pytest.raises(UserError, match=said):
        learnt(run, block, stream=Cut(block, [10, 20, 30]))


def test_categories_that_training_did_not_see():
    X, y = few(n=50)
    other = X.copy()
    other[3, 1] = 100
    with pytest.raises(UserError, match=r"row 3.*: feature 1 is 100: .* from 0 to 6"):
        learnt({"categorical_features": [1]}, Block.of(X, y), Block.of(other, y))
    X[3, 1] = 65_535
    with pytest.raises(UserError, match="feature 1 has categories up to 65535"):
        learnt({"categorical_features": [1]}, Block.of(X, y))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"monotone_constraints": [1] * 6}, "monotone_constraints: 6 for 5 features"),
        ({"monotone_constraints": [2]}, "monotone_constraints"),
        ({"monotone_constraints": [0, 1], "categorical_features": [1]}, "feature 1 is categorical"),
        ({"interaction_constraints": [[0, 5]]}, "feature 5 is not from 0 to 4"),
        ({"interaction_constraints": [0, 1]}, "lists of features in a list"),
        ({"categorical_features": [5]}, "categorical_features: 5 is not from 0 to 4"),
        ({"categorical_features": [0.5]}, "whole numbers"),
        ({"early_stopping_rounds": 3}, "no validation rows"),
        ({"num_grad_quant_bins": 1}, "num_grad_quant_bins"),
        ({"grow_policy": "lossguide", "max_depth": 0}, "max_leaves or max_depth"),
        ({"objective": "multi:softmax"}, "num_class"),
        ({"num_class": 3}, "num_class"),
    ],
)
def test_bad_hyperparameters_are_named(run, said):
    X, y = few(n=50)
    with pytest.raises(UserError, match=said):
        learnt(run, Block.of(X, y))


def test_constraints_as_arrays():
    np.testing.assert_array_equal(signs(None, 3), [0, 0, 0])
    np.testing.assert_array_equal(signs([1, -1], 3), [1, -1, 0])
    np.testing.assert_array_equal(constraint_bits(None, 2), [-1, -1])
    np.testing.assert_array_equal(constraint_bits([[0, 1], [1]], 3), [1, 3, 0])
    with pytest.raises(UserError, match="63 groups"):
        constraint_bits([[0]] * 63, 3)


def test_nothing_learnt_is_not_ready():
    X, y = few(n=50)
    with pytest.raises(NotReady):
        fresh({}, Block.of(X, y)).finish()
    with pytest.raises(UserError, match="no labels"):
        fresh({}, Block.of(X))


def test_rows_must_stay_as_many():
    X, y = few(n=50)
    block = Block.of(X, y)
    for rows, said in (
        (block[:40], "now has 40"),
        (Block.join([block, block[:9]]), "now has more"),
    ):
        state = fresh({}, block)
        run_pass(state, p := state.next_pass(), {"train": Arrays(block)})
        end_pass(state, p)
        with pytest.raises(UserError, match=said):
            train(state, {"train": Arrays(rows)})


@pytest.mark.compiled
def test_early_stopping_keeps_the_best_round():
    X, y = smooth("real")
    train_rows, held = Block.of(X[:300], y[:300]), Block.of(X[300:], y[300:])
    run = {"num_round": 300, "eta": 0.5, "early_stopping_rounds": 4}
    model = learnt(run, train_rows, held).model()
    errors = model.notes["evals"]["validation:rmse"]
    best = int(np.argmin(errors))
    assert model.best_iteration == best
    assert len(errors) == model.rounds == best + 5
    margin = model.predict_margin(held.features)[:, 0]
    assert np.sqrt(((margin - held.labels) ** 2).mean()) == pytest.approx(errors[best], rel=1e-5)
    # The last of several metrics decides; and one that is to be great.
    y = (y > 0).astype(np.float32)
    train_rows, held = Block.of(X[:300], y[:300]), Block.of(X[300:], y[300:])
    run |= {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"]}
    model = learnt(run, train_rows, held).model()
    assert model.best_iteration == int(np.argmax(model.notes["evals"]["validation:auc"]))
