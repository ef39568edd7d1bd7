"""Model files of XGBoost: its own, ours that it reads, and those that are wrong."""

import json
import math
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms.xgboost import exchange, exchange_trees, ubjson
from smalgos.errors import UserError
from smalgos.formats.block import Block
from tests.algorithms import booster_oracle
from tests.fuzz.small_boosters import small_documents, small_models

FORMS = ("json", "ubj")
OLD = {
    name: os.environ[variable]
    for name, variable in (
        ("1.7", "SMALGOS_ORACLE_XGBOOST17"),
        ("2.1", "SMALGOS_ORACLE_XGBOOST21"),
        ("3.0", "SMALGOS_ORACLE_XGBOOST30"),
    )
    if variable in os.environ
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Boosters of every kind, by the package that is installed."""
    folder = tmp_path_factory.mktemp("boosters")
    booster_oracle.train(folder)
    return folder


def models(folder, form):
    """{case: model} of the files of a folder."""
    paths = sorted(folder.glob(f"*.{form}"))
    return {path.stem: exchange.decode(path.read_bytes(), path.name) for path in paths}


def assert_answers(model, X, want, name):
    """That the model says what XGBoost said of the rows."""
    margin = model.predict_margin(X)
    np.testing.assert_allclose(
        margin, want["margin"].reshape(margin.shape), atol=2e-6, rtol=1e-6, err_msg=name
    )
    got = model.predict(Block.of(X))["score"]
    assert got.shape == want["predict"].shape, name
    np.testing.assert_allclose(got, want["predict"], atol=2e-6, rtol=1e-6, err_msg=name)
    if "leaf" in want and name != "pruned":  # whose nodes are numbered without gaps here
        leaf = model.predict_leaf(X, (0, model.rounds))
        assert (leaf == want["leaf"].reshape(leaf.shape)).all(), name


def assert_all_answer(folder, form):
    """That models of all files of a folder say what XGBoost said of its rows."""
    X = np.load(folder / "X.npy")
    for name, model in models(folder, form).items():
        assert_answers(model, X, np.load(folder / f"{name}.npz"), name)


@pytest.mark.parametrize("form", FORMS)
def test_boosters_of_xgboost_predict_the_same_here(trained, form):
    assert_all_answer(trained, form)


def written(folder, models, tmp_path):
    """A folder with files of the models, for the oracle."""
    np.save(tmp_path / "X.npy", np.load(folder / "X.npy"))
    for name, model in models.items():
        for form in FORMS:
            (tmp_path / f"{name}.{form}").write_bytes(exchange.encode(model, form))
    return tmp_path


def assert_same_there(folder, trained, forms=FORMS):
    """That XGBoost said of rows, with files of ours, what it says with its own."""
    for path in trained.glob("*.npz"):
        want = np.load(path)
        for form in forms:
            got = np.load(folder / f"{path.stem}.{form}.npz")
            for key in want:
                if (path.stem, key) == ("pruned", "leaf"):
                    continue
                np.testing.assert_allclose(
                    got[key], want[key], atol=2e-6, rtol=1e-6, err_msg=f"{path.stem}.{form} {key}"
                )


def test_xgboost_predicts_the_same_with_files_of_ours(trained, tmp_path):
    booster_oracle.predict(written(trained, models(trained, "ubj"), tmp_path))
    assert_same_there(tmp_path, trained)


@pytest.mark.slow
@pytest.mark.skipif(not OLD, reason="no SMALGOS_ORACLE_XGBOOST17, 21, 30: make oracles")
@pytest.mark.parametrize("version", OLD)
def test_old_versions_of_xgboost(version, trained, tmp_path):
    """Theirs are read here; what is trained now they read from files of ours."""

    def oracle(what, folder):
        command = [OLD[version], booster_oracle.__file__, what, str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    oracle("train", theirs)
    for form in FORMS:
        assert_all_answer(theirs, form)
    known = {path.stem for path in theirs.glob("*.ubj")}
    new = {name: model for name, model in models(trained, "json").items() if name in known}
    oracle("predict", written(trained, new, ours))
    kept = ours / "kept"
    kept.mkdir()
    for name in new:
        (kept / f"{name}.npz").write_bytes((trained / f"{name}.npz").read_bytes())
    assert_same_there(ours, kept)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_written_again(trained, form):
    for name, model in models(trained, form).items():
        data = exchange.encode(model, form)
        again = exchange.decode(data, name)
        assert exchange.encode(again, form) == data, name
        for other in FORMS:
            through = exchange.decode(exchange.encode(model, other), name)
            assert exchange.encode(through, form) == data, name
        if name in ("onehot", "partition", "dart", "lossguide", "pruned"):
            for field, array in model.trees.snapshot().items():
                assert (getattr(again.trees, field) == array).all(), (name, field)


def test_all_that_a_file_says_is_kept(trained):
    known = models(trained, "ubj")
    assert known["named"].notes["feature_names"] == ["a", "b|c", "d e", "é", "f", "g"]
    assert known["named"].notes["feature_types"][1] == "int"
    assert known["aft"].notes["hyperparameters"] == {
        "objective": "survival:aft",
        "aft_loss_distribution": "logistic",
        "aft_loss_distribution_scale": 0.800000012,
    }
    assert known["logistic"].notes["hyperparameters"]["scale_pos_weight"] == 2.5
    assert known["quantile"].notes["hyperparameters"]["quantile_alpha"] == "0.2,0.5,0.9"
    assert known["gblinear"].notes["boosted_rounds"] == 6
    assert known["gblinear"].linear.shape == (7, 1)
    assert known["parallel"].parallel == 2
    assert known["parallel"].rounds == 3
    early = known["early"]
    assert 0 <= early.best_iteration < early.rounds - 1
    assert early.notes["attributes"].keys() == {"best_score", "note"}
    early.notes["mine"] = {"a": [1.5, "é\n"]}
    for form in FORMS:
        data = exchange.encode(early, form)
        back = exchange.decode(data, "x")
        assert back.notes == early.notes
        booster = xgboost.Booster(model_file=bytearray(data))
        assert json.loads(booster.attr("smalgos"))["mine"] == {"a": [1.5, "é\n"]}
        assert booster.attr("best_iteration") == str(early.best_iteration)
        assert booster.attr("note") == "kept"
    config = json.loads(xgboost.Booster(model_file=trained / "aft.ubj").save_config())
    ours = xgboost.Booster(model_file=bytearray(exchange.encode(known["aft"], "ubj")))
    objective = json.loads(ours.save_config())["learner"]["objective"]
    assert objective == config["learner"]["objective"]


def test_what_we_noted_is_not_rounded():
    model = small_models()["dart"]
    ours = {"objective": "count:poisson", "max_delta_step": 0.0, "eta": 0.3}
    model.notes["hyperparameters"] = ours
    data = exchange.encode(model, "json")
    param = json.loads(data)["learner"]["objective"]["poisson_regression_param"]
    assert param == {"max_delta_step": "0.7"}
    assert exchange.decode(data, "x").notes["hyperparameters"] == ours
    changed = data.replace(b'{"max_delta_step":"0.7"}', b'{"max_delta_step":"0.4"}')
    assert exchange.decode(changed, "x").notes["hyperparameters"]["max_delta_step"] == 0.4


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_several_bases_are_written_so_that_all_versions_know(weight):
    model = small_models()["softprob"]
    model.base = np.float32([0.5, -1.0, 2.0])
    model.booster, model.trees.weight[:] = "dart", weight
    X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    want = model.predict_margin(X)
    data = exchange.encode(model, "json")
    score = json.loads(data)["learner"]["learner_model_param"]["base_score"]
    assert score == ("0.5" if weight else "[0.5,-1,2]")
    np.testing.assert_allclose(exchange.decode(data, "x").predict_margin(X), want, atol=1e-6)
    said = xgboost.Booster(model_file=bytearray(data)).predict(
        xgboost.DMatrix(X), output_margin=True
    )
    np.testing.assert_allclose(said, want, atol=1e-6)


def test_infinite_thresholds_and_extreme_leaves(trained):
    model = models(trained, "ubj")["squarederror"]
    flat = {name: array.copy() for name, array in model.trees.snapshot().items()}
    inner = np.flatnonzero(flat["left"] >= 0)
    flat["threshold"][inner[:3]] = np.inf, -np.inf, 1e-45
    flat["value"][~np.isin(np.arange(len(flat["left"])), inner)] *= np.float32(1e-30)
    model.trees = type(model.trees)(**flat)
    X = np.load(trained / "X.npy")
    for form in FORMS:
        data = exchange.encode(model, form)
        back = exchange.decode(data, "x")
        for name in ("threshold", "value"):
            assert (getattr(back.trees, name) == flat[name]).all()
        booster = xgboost.Booster(model_file=bytearray(data))
        said = booster.predict(xgboost.DMatrix(X))
        np.testing.assert_allclose(back.predict_margin(X)[:, 0], said, rtol=1e-6)


def test_trees_of_several_outputs_are_refused():
    X = np.random.default_rng(0).normal(size=(50, 3))
    parameters = {"multi_strategy": "multi_output_tree", "tree_method": "hist", "verbosity": 0}
    booster = xgboost.train(parameters, xgboost.DMatrix(X, X[:, :2]), 2)
    for form in FORMS:
        with pytest.raises(UserError, match="multi_output_tree"):
            exchange.decode(bytes(booster.save_raw(form)), "x")


def test_nodes_in_another_order_and_without_use():
    """As pruning and other tools leave them."""
    none = exchange_trees.NONE
    tree = {
        "left_children": [3, -1, -1, 1, -1],
        "right_children": [2, -1, -1, 4, -1],
        "split_indices": [1, 0, 0, 0, 0],
        "split_conditions": [0.5, 10.0, 20.0, -0.5, 30.0],
        "default_left": [True, False, False, False, False],
        "base_weights": [1.0, 2.0, 3.0, 4.0, 5.0],
        "loss_changes": [1.0, 0.0, 0.0, 2.0, 0.0],
        "sum_hessian": [3.0, 1.0, 1.0, 2.0, 1.0],
    }
    trees = exchange_trees.decode_trees([tree], [0], [1])
    assert trees.left.tolist() == [1, 2, -1, -1, -1]
    assert trees.right.tolist() == [4, 3, -1, -1, -1]
    assert trees.value.tolist() == [1.0, 4.0, 10.0, 30.0, 20.0]
    assert trees.cover.tolist() == [3.0, 2.0, 1.0, 1.0, 1.0]
    holes = {name: values.copy() for name, values in tree.items()}
    for name, at_root in (("left_children", 1), ("right_children", 2)):
        holes[name] = [at_root, -1, -1, -1, -1]
    holes["split_indices"][3] = none
    trees = exchange_trees.decode_trees([holes, tree], [0, 0], [1, 1])
    assert trees.offsets.tolist() == [0, 3, 8]
    assert trees.left.tolist() == [1, -1, -1, 1, 2, -1, -1, -1]
    assert trees.value[:3].tolist() == [1.0, 10.0, 20.0]


# The forms


numbers = st.integers(-(2**63), 2**63 - 1)
plain = st.none() | st.booleans() | st.floats(width=32, allow_nan=False) | numbers | st.text()
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_ubjson_there_and_back(value):
    assert ubjson.decode(ubjson.encode(value)) == value


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "i8", "f4", "f8"])
def test_ubjson_arrays(dtype):
    array = np.arange(5).astype(dtype)
    back = ubjson.decode(ubjson.encode({"a": array, "b": array[:0]}))
    assert (back["a"] == array).all()
    assert back["a"].dtype.str[1:] == dtype
    assert len(back["b"]) == 0


def test_ubjson_that_others_write():
    assert ubjson.decode(b"[NN i\x01]".replace(b" ", b"")) == [1]
    assert ubjson.decode(b"{i\x01ai\x05U\x01bU\xff}") == {"a": 5, "b": 255}
    assert ubjson.decode(b"{#i\x01i\x01aT") == {"a": True}
    assert ubjson.decode(b"[#i\x02ZF") == [None, False]
    assert ubjson.decode(b"D" + struct.pack(">d", 0.1)) == 0.1
    assert ubjson.decode(b"CaN"[:2]) == "a"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[", b"[i", b"x", b"[$T#L" + struct.pack(">q", 1 << 62),
        b"[$d#L" + struct.pack(">q", 1 << 62), b"[#L" + struct.pack(">q", 1 << 62),
        b"[#L" + struct.pack(">q", -1), b"SL" + struct.pack(">q", 1 << 40), b"[$d#i\x02abc",
        b"[" * 100000, b"{i\x01a" * 100000, b"SI\x00\x02\xff\xff", b"{$i#i\x01i\x01a\x01",
        b"ZZ", b"{S", b"[$d", b"Si", b"SD" + struct.pack(">d", math.nan),
    ],
)  # fmt: skip
def test_ubjson_that_is_none(data):
    with pytest.raises(ValueError, match="byte"):
        ubjson.decode(data)


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_short_numbers_are_the_same_floats(values):
    values = np.array(values, np.float32)
    short = exchange._shortest(values)
    assert (short.astype(np.float32) == values).all()


def test_short_numbers_are_short():
    values = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    texts = [str(v) for v in exchange._shortest(values).tolist()]
    assert max(len(text.lstrip("-0.").replace(".", "").split("e")[0]) for text in texts) <= 9
    assert exchange._shortest(np.float32([0.1, 1, -0.25])).tolist() == [0.1, 1.0, -0.25]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'{"learner"', "json"), (b' \n{ "version"', "json"), (b"{L\0\0", "ubj"),
        (b"binf\0\0\0?", "binary"), (b"bs64\tabc", "binary"),
        (bytes(136) + struct.pack("<Q", 15) + b"binary:logistic" + bytes(9), "binary"),
        (pickle.dumps(np.arange(3)), "pickle"), (pickle.dumps(np.arange(3), 0), "pickle"),
        (b"", None), (b"PK\3\4", None), (b"1,2,3\n", None), (b"import os\n", None),
        (bytes(300), None), (b"\x1f\x8b\x08", None),
    ],
)  # fmt: skip
def test_sniff(head, kind):
    assert exchange.sniff(head) == kind
    if kind not in FORMS:
        with pytest.raises(UserError, match=r"a\.model: .*(save|not a model)"):
            exchange.decode(head, "a.model")


# What is wrong


def change(document, path, value):
    """A copy of a document with one value changed."""
    changed = json.loads(json.dumps(document))
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


TREE = ("learner", "gradient_booster", "model", "trees", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("learner",), [], "learner"),
        (("learner", "learner_model_param", "num_feature"), "2147483648", "num_feature"),
        (("learner", "learner_model_param", "num_feature"), "-1", "num_feature"),
        (("learner", "learner_model_param", "num_feature"), "1", "trees.feature"),
        (("learner", "learner_model_param", "num_class"), "99999999999", "num_class"),
        (("learner", "learner_model_param", "num_target"), "9" * 5000, "num_target"),
        (("learner", "learner_model_param", "base_score"), "[1,2,3]", "base_score"),
        (("learner", "learner_model_param", "base_score"), "NaN", "base_score"),
        (("learner", "learner_model_param", "base_score"), "x", "usable"),
        (("learner", "objective", "name"), "reg:squarederor", "did you mean reg:squarederror"),
        (("learner", "gradient_booster", "name"), "gbforest", "gbforest"),
        (("learner", "attributes", "smalgos"), "[" * 10**5, "nested"),
        (("learner", "gradient_booster", "model", "tree_info"), [7], "tree_info"),
        (("learner", "gradient_booster", "model", "trees"), [3, 3], "tree 0 is no object"),
        ((*TREE, "left_children"), [-1], "entries"),
        ((*TREE, "left_children"), [], "no nodes"),
        ((*TREE, "left_children"), ["a", "b" * 1000], "left_children"),
        ((*TREE, "left_children"), [[1], [1, 2]], "left_children"),
        ((*TREE, "left_children"), [10**400, 1.5], "usable"),
        ((*TREE, "left_children", 0), 0, "two ways"),
        ((*TREE, "left_children", 0), 1000, "child"),
        ((*TREE, "left_children", 0), -2, "left_children"),
        ((*TREE, "right_children", 0), -1, "child"),
        ((*TREE, "split_indices", 0), -1, "split_indices"),
        ((*TREE, "split_conditions", 0), math.nan, "trees.threshold"),
        ((*TREE, "split_conditions"), {"a": 1}, "split_conditions"),
        ((*TREE, "sum_hessian", 0), 1e300, "trees.cover"),
        ((*TREE, "default_left", 0), 7, "default_left"),
        ((*TREE, "categories_nodes"), [0], "categories"),
        ((*TREE, "split_type", 0), 1, "categor"),
        ((*TREE, "tree_param", "size_leaf_vector"), "3", "multi_output_tree"),
    ],
)
def test_wrong_values_are_refused(path, value, said):
    document = small_documents()["squarederror"]
    for data in (
        json.dumps(change(document, path, value)).encode(),
        encoded(change(document, path, value)),
    ):
        if data is not None:
            with pytest.raises(UserError, match=said) as error:
                exchange.decode(data, "a.json")
            assert str(error.value).startswith("a.json: ")


def encoded(document):
    """As UBJSON, if its numbers have a place there."""
    try:
        return ubjson.encode(document)
    except (OverflowError, struct.error):
        return None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("categories_nodes", [0, 0]), ("categories_nodes", [1]), ("categories_nodes", [-1]),
        ("categories_nodes", [99]), ("categories_sizes", [1 << 40]), ("categories_sizes", [0]),
        ("categories_segments", [1]), ("categories", [1 << 24]), ("categories", [-1]),
        ("categories", []), ("categories_sizes", []),
    ],
)  # fmt: skip
def test_wrong_categories_are_refused(key, value):
    document = small_documents()["onehot"]
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree[key] = value
    with pytest.raises(UserError, match=r"categor|two ways"):
        exchange.decode(json.dumps(document).encode(), "a.json")


def test_large_sets_of_categories_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(exchange_trees, "MOST_WORDS", 1000)
    document = small_documents()["onehot"]
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["categories"][0] = 32000
    with pytest.raises(UserError, match="sets of categories"):
        exchange.decode(json.dumps(document).encode(), "a.json")


def test_a_long_chain_is_read_in_time():
    """What is numbered in another order takes a step per node, not a pass."""
    n = 20001
    left = [i + 2 if i % 2 == 0 and i + 2 < n else -1 for i in range(n)]
    right = [i + 1 if i % 2 == 0 and i + 2 < n else -1 for i in range(n)]
    left.append(-1)  # without use
    right.append(-1)
    zeros = [0] * (n + 1)
    names = ("split_indices", "split_conditions", "default_left", "base_weights", "loss_changes")
    tree = {name: zeros for name in (*names, "sum_hessian")}
    tree |= {"left_children": left, "right_children": right}
    trees = exchange_trees.decode_trees([tree], [0], [1])
    assert len(trees.left) == n
