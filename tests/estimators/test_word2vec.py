"""Word2Vec: what goes in, what can be asked, files, scikit-learn's tools."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import smalgos
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.errors import UserError

SMALL = {"vector_dim": 8, "min_count": 2, "epochs": 3, "sampling_threshold": 0.1, "buckets": 9999}


def sentences(n=200, seed=0):
    """Two kinds of sentences, without a word in common but "and"."""
    rng = np.random.default_rng(seed)
    kinds = [["red", "green", "blue", "pink", "gray"], ["one", "two", "three", "four", "five"]]
    return [[*rng.choice(kinds[i % 2], 6), "and"] for i in range(n)]


@pytest.fixture(scope="module")
def fitted():
    return smalgos.Word2Vec(**SMALL | {"epochs": 40}).fit(sentences())


@pytest.fixture(scope="module")
def composed():
    return smalgos.Word2Vec(**SMALL, subwords=True).fit(sentences())


# -- what goes in


def test_all_kinds_of_sentences_give_the_same_vectors(tmp_path):
    rows = sentences()
    text = [" ".join(row) for row in rows]
    (tmp_path / "text.txt").write_text("\n".join(text) + "\n")

    class Again:
        def __iter__(self):
            return iter(rows)

    want = smalgos.Word2Vec(**SMALL).fit(rows).vectors_
    given = [
        text, np.array(text, object), tmp_path / "text.txt", str(tmp_path / "text.txt"), tmp_path,
        (row for row in rows), Again(), [t.encode() for t in text],
    ]  # fmt: skip
    for X in given:
        np.testing.assert_array_equal(smalgos.Word2Vec(**SMALL).fit(X).vectors_, want)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([["a", "b c"]], "row 0, counted from 0: the token 'b c' has white space"),
        ([["a"], ["b\n"]], "row 1"),
        ([["a"], 3], "row 1, counted from 0: 3 is neither a text nor a list"),
        ([["a", 3]], "neither a text nor a list"),
        ([], "no texts"),
        (iter([]), "no texts"),
        ("no such file.txt", "no such file"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        ([["a"]], "min_count"),
    ],
)
def test_bad_sentences(X, said):
    with pytest.raises(UserError, match=said):
        smalgos.Word2Vec(**SMALL).fit(X)


def test_bad_hyperparameters():
    with pytest.raises(UserError, match="TextClassifier"):
        smalgos.Word2Vec(mode="supervised").fit(sentences())
    with pytest.raises(UserError, match="batch_skipgram learns none"):
        smalgos.Word2Vec(mode="batch_skipgram", subwords=True).fit(sentences())
    with pytest.raises(TypeError, match="word_ngrams"):
        smalgos.Word2Vec(word_ngrams=2)
    assert "word_ngrams" not in smalgos.Word2Vec.__doc__
    assert "window_size" in smalgos.Word2Vec.__doc__


# -- what can be asked


def test_words(fitted):
    wv = fitted.wv
    assert "red" in wv
    assert "mauve" not in wv
    assert 3 not in wv
    assert len(wv) == len(fitted.vocabulary_) == len(fitted.vectors_) == 12
    assert list(wv) == wv.words == list(fitted.vocabulary_)
    assert fitted.vocabulary_["and"] == fitted.vocabulary_["</s>"] == 200
    np.testing.assert_array_equal(wv["red"], fitted.vectors_[wv.words.index("red")])
    assert wv[["red", "one"]].shape == (2, 8)
    with pytest.raises(KeyError, match="mauve"):
        wv["mauve"]


def test_alike(fitted):
    near = fitted.most_similar("red", topn=4)
    assert {word for word, _ in near} == {"green", "blue", "pink", "gray"}
    assert near == sorted(near, key=lambda pair: -pair[1])
    assert near[0][1] == pytest.approx(fitted.similarity("red", near[0][0]), abs=1e-6)
    assert (
        near == fitted.most_similar(["red"], [], 4) == fitted.most_similar([("red", 2.0)], topn=4)
    )
    by_vector = fitted.most_similar(fitted.wv["red"], topn=1)
    assert by_vector[0][0] == "red"
    assert len(fitted.most_similar("red", topn=100)) == 11
    assert fitted.most_similar(["red", "one"], ["two"], topn=1)[0][0] not in ("red", "one", "two")
    assert fitted.doesnt_match(["red", "green", "two", "blue", "unknown"]) == "two"
    assert fitted.wv.n_similarity(["red", "blue"], ["green"]) > fitted.wv.n_similarity(
        ["red", "blue"], ["one"]
    )
    assert fitted.wv.distance("red", "red") == pytest.approx(0, abs=1e-6)
    for bad, error in (((), UserError), (np.zeros(3), UserError), ("mauve", KeyError)):
        with pytest.raises(error):
            fitted.most_similar(bad)
    with pytest.raises(UserError, match="none of these"):
        fitted.doesnt_match(["mauve"])


def test_composed_words(composed):
    assert "reddish" not in composed.wv
    assert composed.wv["reddish"].any()
    assert composed.similarity("reddish", "red") > composed.similarity("reddish", "four")
    assert not composed.wv["xyzzy"].any()


def test_evaluations(fitted, tmp_path):
    told = fitted.evaluate_word_pairs([("red", "blue", 9), ("red", "one", 1), ("red", "x", 3)])
    assert told == {"not_found": 1, "spearmans_rho": pytest.approx(1), "total_pairs": 3}
    (tmp_path / "q.txt").write_text(
        ": colours\nred green green red\n: other\none RED red TWO\nred x y z\n"
    )
    accuracy, sections = fitted.evaluate_word_analogies(tmp_path / "q.txt")
    assert [s["section"] for s in sections] == ["colours", "other"]
    asked = [len(s["correct"]) + len(s["incorrect"]) for s in sections]
    assert asked == [1, 1]
    assert accuracy == sum(len(s["correct"]) for s in sections) / 2
    units = fitted.model_.units
    number = {w: i for i, w in enumerate(fitted.wv.words)}
    a, b, c = (number[w] for w in ("red", "green", "blue"))
    scores = units @ (units[b] - units[a] + units[c])
    scores[[a, b, c]] = -np.inf
    best = fitted.wv.words[int(scores.argmax())]
    assert fitted.evaluate_word_analogies([("red", "green", "blue", best)])[0] == 1
    assert fitted.evaluate_word_analogies([("red", "GREEN", "blue", best)], ignore_case=False) == (
        0.0, [{"section": "", "correct": [], "incorrect": []}]
    )  # fmt: skip
    (tmp_path / "q.txt").write_text("one two three\n")
    with pytest.raises(UserError, match="row 1"):
        fitted.evaluate_word_analogies(tmp_path / "q.txt")


def test_transform(fitted):
    found = fitted.transform([["red", "unknown", "blue"], "unknown", ""])
    want = fitted.wv[["red", "blue"]].mean(axis=0)
    np.testing.assert_allclose(found[0], want, rtol=1e-6)
    assert not found[1:].any()
    assert fitted.get_feature_names_out().tolist()[:2] == ["word2vec0", "word2vec1"]


# -- going on


def test_more_sentences():
    model = smalgos.Word2Vec(**SMALL).fit(sentences())
    before = dict(model.vocabulary_)
    model.partial_fit([["red", "vermilion"]] * 3 + [["once", "red"]])
    assert set(model.vocabulary_) - set(before) == {"vermilion"}
    assert model.vocabulary_["red"] == before["red"] + 4
    fresh = smalgos.Word2Vec(**SMALL).partial_fit(sentences())
    once = smalgos.Word2Vec(**SMALL | {"epochs": 1}).fit(sentences())
    np.testing.assert_array_equal(fresh.vectors_, once.vectors_)


def test_vectors_of_others(tmp_path):
    first = smalgos.Word2Vec(**SMALL).fit(sentences())
    first.save(tmp_path / "m")
    first.save_word2vec_format(tmp_path / "v.txt")
    found = [
        smalgos.Word2Vec(**SMALL, init=init).fit(sentences(50, 1))
        for init in (first, first.model_, tmp_path / "m", str(tmp_path / "m"))
    ]
    for other in found:
        np.testing.assert_array_equal(other.vectors_, found[0].vectors_)
        assert other.vocabulary_["and"] == 250
    text = smalgos.Word2Vec(**SMALL, init=tmp_path / "v.txt").fit(sentences(50, 1))
    assert set(text.vocabulary_) == set(first.vocabulary_)
    assert text.similarity("red", "blue") > text.similarity("red", "two")
    with pytest.raises(UserError, match="init="):
        smalgos.Word2Vec(init=3).fit(sentences())
    with pytest.raises(UserError, match="vector_dim"):
        smalgos.Word2Vec(init=first).fit(sentences())


# -- files


def test_saved_and_loaded(fitted, composed, tmp_path):
    for model in (fitted, composed):
        model.save(tmp_path / "m", state=True)
        again = smalgos.load(tmp_path / "m")
        assert type(again) is smalgos.Word2Vec
        assert {**again.get_params(), "device": 0} == {**model.get_params(), "device": 0}
        np.testing.assert_array_equal(again.vectors_, model.vectors_)
        more = sentences(40, 3)
        np.testing.assert_array_equal(
            again.partial_fit(more).vectors_, copy.deepcopy(model).partial_fit(more).vectors_
        )
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert again.most_similar("red") == fitted.most_similar("red")


def test_without_its_state_a_model_still_goes_on(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    again = smalgos.load(tmp_path / "m").partial_fit([["red", "vermilion"]] * 3)
    assert again.vocabulary_["and"] == 200
    assert again.vocabulary_["vermilion"] == 3


def test_files_of_word2vec(fitted, composed, tmp_path):
    for model in (fitted, composed):
        for binary in (False, True):
            model.save_word2vec_format(tmp_path / "v", binary=binary)
            for told in (None, binary):
                again = smalgos.Word2Vec.load_word2vec_format(tmp_path / "v", binary=told)
                assert again.wv.words == model.wv.words
                np.testing.assert_array_equal(again.vectors_, model.vectors_)
        assert again.most_similar("red") == model.most_similar("red")


def test_a_file_of_fasttext(composed, tmp_path):
    composed.save_fasttext(tmp_path / "vectors.bin")
    for path in (tmp_path / "vectors.bin", tmp_path):
        again = smalgos.load(path)
        assert type(again) is smalgos.Word2Vec
        assert (again.subwords, again.vector_dim, again.buckets) == (True, 8, 9999)
        np.testing.assert_allclose(
            again.wv["reddish"], composed.wv["reddish"], rtol=1e-5, atol=1e-7
        )
    again.partial_fit(sentences(20, 4))
    assert again.vocabulary_["and"] == 220


# -- scikit-learn's tools


def test_tools(fitted):
    X, y = sentences(), np.arange(200) % 2
    search = GridSearchCV(
        make_pipeline(smalgos.Word2Vec(**SMALL), LogisticRegression()),
        {"word2vec__vector_dim": [4, 8]}, cv=2,
    ).fit(X, y)  # fmt: skip
    assert search.best_score_ > 0.95
    names = search.best_estimator_[:-1].get_feature_names_out()
    assert len(names) in (4, 8)
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "model_")
    assert "Word2Vec(" in repr(fitted)


@pytest.mark.parametrize("mode", ["skipgram", "cbow", "batch_skipgram"])
def test_the_container_gives_the_same_bytes(mode, tmp_path):
    rows, text = sentences(), tmp_path / "text"
    text.mkdir()
    (text / "a.txt").write_text("".join(" ".join(row) + "\n" for row in rows[:50]))
    (text / "b.txt").write_text("\n".join(" ".join(row) for row in rows[50:]))
    smalgos.Word2Vec(**SMALL, mode=mode).fit(rows).save(tmp_path / "m")
    given = {name: str(value) for name, value in SMALL.items()} | {"mode": mode}
    for n_jobs in ("1", "3"):
        channels = {"train": ChannelConfig(text, "text/plain")}
        job = Job("blazingtext", given | {"n_jobs": n_jobs}, channels, tmp_path / "out")
        assert execute(job).path.read_bytes() == (tmp_path / "m").read_bytes()


def test_any_number_of_threads():
    found = [smalgos.Word2Vec(**SMALL, n_jobs=n).fit(sentences()).vectors_ for n in (1, 2, 5)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    other = smalgos.Word2Vec(**SMALL, random_state=1).fit(sentences()).vectors_
    assert not np.array_equal(found[0], other)
    fast = smalgos.Word2Vec(**SMALL, n_jobs=2, deterministic=False).fit(sentences())
    assert fast.similarity("red", "blue") > fast.similarity("red", "two")
