"""TextClassifier: texts and labels, answers, files, scikit-learn's tools."""

import copy
import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import smalgos
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.errors import UserError

SMALL = {"vector_dim": 6, "min_count": 1, "epochs": 8, "learning_rate": 0.5, "buckets": 9999}
KINDS = {
    "colours": ["red", "green", "blue", "pink"],
    "numbers": ["one", "two", "three", "four"],
    "sounds": ["bang", "hiss", "boom", "click"],
}


def data(n=150, seed=0):
    """Texts of one kind of words each, in the order of their classes."""
    rng = np.random.default_rng(seed)
    y = sorted(list(KINDS)[i % 3] for i in range(n))
    return [[*rng.choice(KINDS[label], 5), "and"] for label in y], y


@pytest.fixture(scope="module")
def fitted():
    return smalgos.TextClassifier(**SMALL).fit(*data())


# -- texts and labels


def test_predictions(fitted):
    X, y = data(60, 1)
    assert fitted.classes_.tolist() == sorted(KINDS)
    assert fitted.score(X, y) == 1
    assert fitted.predict([["red", "blue"], "bang hiss"]).tolist() == ["colours", "sounds"]
    p = fitted.predict_proba(X)
    assert (p.shape, p.dtype) == ((60, 3), np.float32)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (fitted.classes_[p.argmax(axis=1)] == y).all()
    labels, chances = fitted.predict_top(X, 2)
    assert labels.shape == chances.shape == (60, 2)
    assert (labels[:, 0] == y).all()
    np.testing.assert_array_equal(chances, np.sort(p, axis=1)[:, :0:-1])
    assert fitted.predict_top(X, 9)[0].shape == (60, 3)
    with pytest.raises(UserError, match="k=0"):
        fitted.predict_top(X, 0)


@pytest.mark.parametrize(
    "classes",
    [
        (3, 1, 2),
        (1.5, -2.5, 0.5),
        (True, False, True),
        ("b c", "a\tb", "c"),
        ("ü", "ö", "__label__"),
    ],
)
def test_labels_of_all_kinds(classes, tmp_path):
    X, y = data()
    given = np.array([classes[list(KINDS).index(label)] for label in y])
    model = smalgos.TextClassifier(**SMALL).fit(X, given)
    assert model.classes_.tolist() == sorted(set(given.tolist()))
    assert (model.predict(X) == given).mean() > 0.95
    model.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.classes_, model.classes_)
    np.testing.assert_array_equal(again.partial_fit(X, given).predict(X), given)


def test_several_labels():
    X, y = data()
    several = [[label, "any"] if i % 2 else [label] for i, label in enumerate(y)]
    model = smalgos.TextClassifier(**SMALL).fit(X, several)
    assert model.classes_.tolist() == ["any", "colours", "numbers", "sounds"]
    assert model.score(X, several) > 0.95
    assert set(model.predict_top([["red", "green"]], 2)[0][0]) == {"colours", "any"}


def test_labels_in_the_texts(tmp_path):
    X, y = data()
    text = [f"__label__{label} {' '.join(row)}" for row, label in zip(X, y, strict=True)]
    (tmp_path / "t.txt").write_text("\n".join(text))
    want = smalgos.TextClassifier(**SMALL).fit(X, y)
    for given in (text, tmp_path / "t.txt", str(tmp_path / "t.txt")):
        model = smalgos.TextClassifier(**SMALL).fit(given)
        assert model.classes_.tolist() == sorted(KINDS)
        np.testing.assert_array_equal(model.predict_proba(X), want.predict_proba(X))


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        ([["a"], ["b"]], ["x"], "2 texts, but 1 labels"),
        ([["a b"]], ["x"], "white space"),
        ([["a", "__label__b"]], ["x"], "looks like a label"),
        ([["a"]], [[]], "row 0 of y"),
        ([["a"]], "x", "one label"),
        ("a text", None, "no such file"),
        ("a text", ["x"], "X is a path"),
        ([], [], "no texts"),
        ([["a"], ["b"]], ["x y", "x_y"], "the same as tokens"),
        ([["a"], ["b"]], ["x", 3], "several kinds"),
        ([["a"], ["b"]], ["x", None], "row 1 of y, counted from 0: None where a label"),
        ([["a"], ["b"]], [float("nan"), "x"], "row 0 of y, counted from 0: nan where a label"),
        (None, ["x"], "None: give a list of texts"),
        ([["a"], ["b"]], None, "__label__"),
    ],
)
def test_bad_texts(X, y, said):
    with pytest.raises(UserError, match=said):
        smalgos.TextClassifier(**SMALL).fit(X, y)


def test_early_stopping():
    X, y = data()
    model = smalgos.TextClassifier(
        **SMALL | {"epochs": 30}, early_stopping=True, min_epochs=2, patience=1
    ).fit(X, y, *data(60, 1))
    assert model.state_.epoch < 30
    assert model.model_.notes["validation_accuracy"][-1] <= 1
    with pytest.raises(UserError, match="no validation channel"):
        smalgos.TextClassifier(early_stopping=True).fit(X, y)
    assert model.accuracy_curve_[0] is None
    assert len(model.accuracy_curve_) == len(model.loss_curve_) == model.n_iter_
    with pytest.raises(UserError, match="without y_val"):
        smalgos.TextClassifier(early_stopping=True).fit(X, y, X)
    with pytest.raises(UserError, match="without X_val"):
        smalgos.TextClassifier().fit(X, y, y_val=y)


def test_more_texts(fitted):
    model = copy.deepcopy(fitted)
    for _ in range(5):
        model.partial_fit([["sweet", "sour", "and"]] * 20, ["tastes"] * 20)
    assert model.classes_.tolist() == ["colours", "numbers", "sounds", "tastes"]
    assert model.predict([["sweet"]])[0] == "tastes"
    assert fitted.classes_.tolist() == sorted(KINDS)


def test_vectors_of_others():
    X, y = data()
    words = smalgos.Word2Vec(vector_dim=6, min_count=1).fit(X)
    model = smalgos.TextClassifier(**SMALL | {"epochs": 1}, init=words).fit(X, y)
    plain = smalgos.TextClassifier(**SMALL | {"epochs": 1}).fit(X, y)
    assert not np.array_equal(model.model_.input, plain.model_.input)


# -- the same bytes


def test_the_container_gives_the_same_bytes(tmp_path):
    X, y = data()
    text = "".join(f"__label__{label} {' '.join(row)}\n" for row, label in zip(X, y, strict=True))
    (tmp_path / "train.txt").write_text(text)
    lines = [{"source": " ".join(row), "label": y[i]} for i, row in enumerate(X)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {name: str(value) for name, value in SMALL.items()} | {"mode": "supervised"}
    found = set()
    for name in ("train.txt", "train.jsonl"):
        for n_jobs in ("1", "3"):
            channels = {"train": ChannelConfig(tmp_path / name)}
            job = Job("blazingtext", given | {"n_jobs": n_jobs}, channels, tmp_path / "out")
            found.add(execute(job).path.read_bytes())
    smalgos.TextClassifier(**SMALL, shuffle=False).fit(X, y).save(tmp_path / "m")
    found.add((tmp_path / "m").read_bytes())
    assert len(found) == 1
    again = smalgos.load(tmp_path / "out" / "model.bin")
    np.testing.assert_array_equal(
        again.predict_proba(X), smalgos.load(tmp_path / "out").predict_proba(X)
    )


def test_any_number_of_threads():
    X, y = data()
    found = [
        smalgos.TextClassifier(**SMALL, n_jobs=n).fit(X, y).predict_proba(X) for n in (1, 2, 5)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    fast = smalgos.TextClassifier(**SMALL, n_jobs=2, deterministic=False).fit(X, y)
    assert fast.score(X, y) > 0.95


# -- files


def test_saved_and_loaded(fitted, tmp_path):
    X, y = data(60, 1)
    fitted.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert {**again.get_params(), "device": 0} == {**fitted.get_params(), "device": 0}
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(
        again.partial_fit(X, y).predict_proba(X),
        copy.deepcopy(fitted).partial_fit(X, y).predict_proba(X),
    )
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.predict(X), fitted.predict(X))


def test_a_file_of_fasttext(fitted, tmp_path):
    X, y = data(60, 1)
    fitted.save_fasttext(tmp_path / "model.bin")
    again = smalgos.load(tmp_path)
    assert type(again) is smalgos.TextClassifier
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    again.partial_fit(X, y)
    assert again.score(X, y) == 1
    with pytest.raises(UserError, match="__label__"):
        smalgos.TextClassifier(**SMALL, label_prefix="#").fit(X, y).save_fasttext(tmp_path / "m")


def test_quantised(tmp_path):
    rng = np.random.default_rng(0)
    X = [[f"{label}{i}" for i in rng.integers(0, 200, 6)] for label in "abc" for _ in range(150)]
    y = [label for label in "abc" for _ in range(150)]
    model = smalgos.TextClassifier(**SMALL | {"word_ngrams": 1}).fit(X, y)
    small = model.quantize(tmp_path / "model.ftz", dsub=2)
    assert small.score(X, y) > 0.9
    assert small.classes_.tolist() == ["a", "b", "c"]
    again = smalgos.load(tmp_path / "model.ftz")
    np.testing.assert_array_equal(again.predict_proba(X), small.predict_proba(X))
    model.save_fasttext(tmp_path / "model.bin")
    assert (tmp_path / "model.ftz").stat().st_size < (tmp_path / "model.bin").stat().st_size
    cut = smalgos.TextClassifier(**SMALL | {"buckets": 600}).fit(X, y)
    fewer = cut.quantize(tmp_path / "model.ftz", cutoff=300)
    assert len(fewer.model_.words) + len(fewer.model_.rows) == 300
    with pytest.raises(UserError, match="cut off"):
        fewer.save_fasttext(tmp_path / "m")
    fewer.save(tmp_path / "m")
    np.testing.assert_array_equal(smalgos.load(tmp_path / "m").predict(X), fewer.predict(X))


# -- scikit-learn's tools


def test_tools(fitted):
    X, y = data()
    search = GridSearchCV(
        smalgos.TextClassifier(**SMALL), {"word_ngrams": [1, 2], "vector_dim": [4]}, cv=3
    ).fit(X, y)
    assert search.best_score_ > 0.95
    assert cross_val_score(smalgos.TextClassifier(**SMALL), X, y, cv=3).mean() > 0.95
    split = FunctionTransformer(lambda texts: [text.split() for text in texts])
    piped = make_pipeline(split, smalgos.TextClassifier(**SMALL))
    assert piped.fit([" ".join(row) for row in X], y).predict(["red red"]).tolist() == ["colours"]
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(TypeError, match="window_size"):
        smalgos.TextClassifier(window_size=3)
    assert "mode" not in fitted.get_params()
