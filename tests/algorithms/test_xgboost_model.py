"""The model of boosted trees: margins, rounds, explanations, importance, dumps, files."""

import copy
import pickle

import numpy as np
import pytest
import xgboost

from smalgos.algorithms.xgboost import exchange
from smalgos.algorithms.xgboost.checks import check_trees
from smalgos.algorithms.xgboost.dump import to_graphviz, to_text
from smalgos.algorithms.xgboost.importance import KINDS
from smalgos.algorithms.xgboost.model import BoostedTreesModel, form_of
from smalgos.algorithms.xgboost.trees import Trees
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import files
from tests.algorithms import booster_oracle
from tests.fuzz.small_boosters import small_models, small_trees

KNOWN = ("softprob", "partition", "named", "dart", "parallel", "gblinear_softprob")


@pytest.fixture(scope="module", name="X")
def rows():
    return booster_oracle.table()


@pytest.fixture(scope="module")
def pairs(X):
    """{case: (booster, the data that it answers, model)}"""
    made = {}
    for name in KNOWN:
        kind, rounds, given = booster_oracle.CASES[name]
        data = booster_oracle.matrix(kind, X)
        booster = xgboost.train(booster_oracle.SMALL | given, data, rounds)
        model = exchange.decode(bytes(booster.save_raw("ubj")), name)
        made[name] = booster, data, model
    return made


def trees_alone(pairs):
    return {name: pair for name, pair in pairs.items() if pair[2].linear is None}


def absent(X):
    """The rows as Csr, in which what is missing is absent."""
    here = ~np.isnan(X)
    row, column = np.nonzero(here)
    offsets = np.concatenate(([0], np.cumsum(here.sum(axis=1)))).astype(np.int64)
    return Csr(X[row, column], column.astype(np.int32), offsets, X.shape[1])


def test_sparse_rows_say_the_same(pairs, X):
    for name, (_, _, model) in pairs.items():
        sparse = absent(X)
        want = model.predict_margin(X)
        atol = 1e-6 if model.linear is not None else 0
        np.testing.assert_allclose(model.predict_margin(sparse), want, atol=atol, err_msg=name)
        np.testing.assert_allclose(model.predict_margin(sparse[7:60]), want[7:60], atol=atol)
        same = (model.contributions(sparse[7:60]) == model.contributions(X[7:60])).all()
        assert same, name
        if model.linear is None:
            assert (model.predict_leaf(sparse) == model.predict_leaf(X)).all()
    narrow = X.copy()
    narrow[:, 4:] = np.nan
    model = pairs["softprob"][2]
    cut = absent(narrow)
    cut = Csr(cut.values, cut.indices, cut.offsets, 4)
    assert (model.predict_margin(cut) == model.predict_margin(narrow)).all()
    assert len(model.contributions(cut[:0])) == 0


def test_rounds(pairs, X):
    for name, (booster, data, model) in trees_alone(pairs).items():
        total = model.predict_margin(X)
        stages = list(model.staged(X))
        assert len(stages) == model.rounds == booster.num_boosted_rounds()
        assert (stages[-1] == total).all()
        for begin, end in ((0, 1), (1, model.rounds), (1, 2)):
            want = booster.predict(data, output_margin=True, iteration_range=(begin, end))
            got = model.predict_margin(X, (begin, end))
            np.testing.assert_allclose(got, want.reshape(got.shape), atol=2e-6, err_msg=name)
            leaves = booster.predict(data, pred_leaf=True).reshape(len(X), -1)
            step = model.trees_per_round
            got = model.predict_leaf(X, (begin, end))
            assert (got == leaves[:, begin * step : end * step]).all()
        best = copy.copy(model)
        best.best_iteration = 0
        assert (best.predict_margin(X) == stages[0]).all()
        for wrong in ((0, model.rounds + 1), (-1, 1), (2, 1)):
            with pytest.raises(UserError, match="rounds"):
                model.predict_margin(X, wrong)


def test_sparse_stages(pairs, X):
    model = pairs["parallel"][2]
    for sparse, dense in zip(model.staged(absent(X)), model.staged(X), strict=True):
        assert (sparse == dense).all()


def test_explanations_are_those_of_xgboost(pairs, X):
    for name, (booster, data, model) in pairs.items():
        got = model.contributions(X)
        want = booster.predict(data, pred_contribs=True).reshape(got.shape)
        np.testing.assert_allclose(got, want, atol=2e-5, err_msg=name)
        if model.linear is None:
            got = model.contributions(X, approximate=True)
            want = booster.predict(data, pred_contribs=True, approx_contribs=True)
            np.testing.assert_allclose(got, want.reshape(got.shape), atol=2e-5, err_msg=name)
        got = model.interactions(X[:20])
        total = got.sum(axis=-1)
        np.testing.assert_allclose(total, model.contributions(X[:20]), atol=2e-5, err_msg=name)
        margin = model.predict_margin(X[:20])
        np.testing.assert_allclose(total.sum(axis=-1), margin, atol=2e-5, err_msg=name)


def test_importance_is_that_of_xgboost(pairs):
    for name, (booster, _, model) in trees_alone(pairs).items():
        names = model.notes.get("feature_names") or [f"f{i}" for i in range(model.width)]
        for kind in KINDS:
            score = booster.get_score(importance_type=kind)
            want = [score.get(feature, 0.0) for feature in names]
            np.testing.assert_allclose(model.importance(kind), want, rtol=1e-5, err_msg=name)
    with pytest.raises(UserError, match="total_gain"):
        model.importance("gains")
    with pytest.raises(UserError, match="gblinear"):
        pairs["gblinear_softprob"][2].importance()


def test_dumps_are_those_of_xgboost(pairs):
    for name, (booster, _, model) in trees_alone(pairs).items():
        names, types = (model.notes.get(f"feature_{what}") for what in ("names", "types"))
        for i, want in enumerate(booster.get_dump(with_stats=True)):
            assert to_text(model.trees, i, names, types) == want, name
        for i, want in enumerate(booster.get_dump()):
            assert to_text(model.trees, i, names, types, stats=False) == want, name
        # Its graphs always tell gain and cover of categorical nodes.
        for stats in (True, False)[: 1 if model.trees.categorical else 2]:
            for i, want in enumerate(booster.get_dump(dump_format="dot", with_stats=stats)):
                assert to_graphviz(model.trees, i, names, types, stats=stats) == want, name


def test_names_in_graphviz_stay_inside_of_their_quotes():
    assert 'label="a\\"]<-0.25"' in to_graphviz(small_trees(), 0, ['a"]', "b"], ["int2", "q"])
    assert "1:[a] yes=3,no=4," in to_text(small_trees(), 0, ["a", "b"], ["i", "q"])


@pytest.mark.parametrize("name", list(small_models()))
def test_our_own_file(name, tmp_path):
    model = small_models()[name]
    model.check()
    model.save(tmp_path / "model.safetensors")
    arrays, meta = files.read(tmp_path / "model.safetensors")
    back = BoostedTreesModel.from_parts(arrays, meta, "cpu", "x")
    again = pickle.loads(pickle.dumps(back))
    X = np.float32([[0, 0], [np.nan, 1], [3, np.nan]])
    for other in (back, again):
        assert other.notes == model.notes
        assert other.snapshot().keys() == model.snapshot().keys()
        want = model.predict(Block.of(X))["score"]
        assert other.predict(Block.of(X))["score"].tobytes() == want.tobytes()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", "json"), ("a.ubj", "ubj"), ("xgboost-model", "ubj"), ("xgboost-model-12", "ubj"),
        ("xgboost-checkpoint.3", "ubj"), ("a.safetensors", None), ("xgboost-models", None),
    ],
)  # fmt: skip
def test_files_by_name(name, form, tmp_path):
    model = small_models()["softprob"]
    path = tmp_path / name
    model.save(path)
    assert form_of(path) == form
    assert exchange.sniff(path.read_bytes()[:256]) == form
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
    if form:
        assert exchange.decode(path.read_bytes(), name).rounds == model.rounds
        with pytest.raises(UserError, match="training state"):
            model.save(path, state=object())
    with pytest.raises(UserError, match="folder"):
        model.save(tmp_path / "none" / name)


def test_rows_that_do_not_fit():
    model = small_models()["squarederror"]
    for X in (np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32)):
        with pytest.raises(UserError, match="the model was trained on 2"):
            model.predict(Block.of(X))
    with pytest.raises(UserError, match="the model was trained on 2"):
        model.predict_leaf(Csr.of(np.zeros((2, 3), np.float32)))
    with pytest.raises(UserError, match="leaves"):
        small_models()["gblinear"].predict_leaf(np.zeros((2, 2), np.float32))


def spoilt(name, change):
    """Small trees, of which one array is changed."""
    flat = {key: array.copy() for key, array in small_trees(categorical=True).snapshot().items()}
    flat[name] = change(flat[name])
    trees = Trees()
    return trees.restore(flat)


def put(i, value):
    def change(array):
        array[i] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("offsets", put(1, 6)), ("offsets", put(0, 1)), ("offsets", put(-1, 11)),
        ("offsets", put(1, -(2**62))), ("offsets", put(1, 0)), ("offsets", lambda a: a[:-1]),
        ("group", put(0, 1)), ("group", put(0, -1)), ("group", lambda a: a.astype(np.int64)),
        ("weight", put(0, np.nan)), ("left", put(0, 0)), ("left", put(0, 2)), ("left", put(2, 3)),
        ("left", put(1, 5)), ("left", put(0, -2)), ("right", put(2, 4)), ("right", put(0, -1)),
        ("feature", put(3, 2)), ("feature", put(0, -1)), ("threshold", put(1, np.nan)),
        ("default_left", put(0, 2)), ("value", put(2, np.inf)), ("gain", put(0, np.nan)),
        ("cover", put(0, np.inf)), ("words", put(1, 3)), ("words", put(-1, 1)),
        ("words", put(3, 1)), ("sets", lambda a: a[:1]), ("sets", lambda a: a.reshape(2, 1)),
        ("value", lambda a: a[:-1]), ("value", lambda a: a[:, None]), ("words", lambda a: None),
    ],
)  # fmt: skip
def test_wrong_trees_are_refused(name, change):
    check_trees(small_trees(categorical=True), 2, 1)
    with pytest.raises(UserError):
        check_trees(spoilt(name, change), 2, 1)


def test_leaves_have_no_sets():
    flat = small_trees(categorical=True).snapshot()
    flat["words"] = np.array([0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2])
    with pytest.raises(UserError, match="leaf"):
        check_trees(Trees().restore(flat), 2, 1)


def test_infinite_thresholds_are_good():
    check_trees(spoilt("threshold", put(1, np.inf)), 2, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("columns", 1), ("columns", 0), ("columns", 2.0), ("columns", True), ("parallel", 0),
        ("parallel", 3), ("best_iteration", 2), ("best_iteration", -2), ("booster", "tree"),
        ("booster", "gblinear"), ("objective", "reg:squared"), ("objective", 3),
        ("objective", "multi:softprob"), ("base", np.float32([np.nan])),
        ("base", np.zeros(0, np.float32)), ("base", np.zeros(3, np.float32)),
        ("linear", np.zeros((3, 1), np.float32)), ("notes", {"hyperparameters": 3}),
        ("notes", {"hyperparameters": {"scale_pos_weight": "a"}}),
    ],
)  # fmt: skip
def test_wrong_models_are_refused(field, value):
    model = small_models()["squarederror"]
    model.check()
    setattr(model, field, value)
    model.__dict__.pop("_objective", None)
    with pytest.raises(UserError):
        model.check()
