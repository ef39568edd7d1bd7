"""BlazingText: the same bytes, models and what they answer, rules, files of others."""

import copy
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from smalgos.algorithms import load_model
from smalgos.algorithms.blazingtext import ALGORITHM, foreign, state
from smalgos.algorithms.blazingtext.classifier_model import one_line
from smalgos.algorithms.blazingtext.fasttext_file import read
from smalgos.algorithms.blazingtext.similarity import FOLDER, Pairs, evaluated, sets_of, spearman
from smalgos.algorithms.blazingtext.tables import Places
from smalgos.algorithms.blazingtext.vocabulary import texts
from smalgos.errors import NotReady, RowError, UserError
from smalgos.formats.block import Block, Ragged
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning import Spec
from smalgos.learning.train import Checkpoint, end_pass, run_pass, train

SMALL = {"vector_dim": "5", "epochs": "2", "buckets": "300", "min_count": "2"}
SUPERVISED = SMALL | {"mode": "supervised", "learning_rate": "0.5"}
RUNS = {
    "skipgram": SMALL | {"mode": "skipgram"},
    "subwords": SMALL | {"mode": "skipgram", "subwords": "True", "max_char": "4"},
    "cbow": SMALL | {"mode": "cbow", "subwords": "True", "min_char": "2", "max_char": "3"},
    "batch_skipgram": SMALL | {"mode": "batch_skipgram"},
    "supervised": SUPERVISED,
    "shuffled": SUPERVISED | {"shuffle": "True", "epochs": "3", "word_ngrams": "1"},
    "stopped": SUPERVISED
    | {"early_stopping": "True", "min_epochs": "2", "patience": "1", "epochs": "4"},
}
FEW = ("subwords", "stopped")  # what all modes share is looked at in these


class Cut(Stream):
    """A stream with cuts of its own."""

    def __init__(self, block, cuts):
        self.block, self.cuts = block, sorted({0, len(block), *cuts})

    def open(self, order=None, *, limited=False, rows=None):
        for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            yield self.block[a:b]

    def where(self, row):
        return f"row {row}"

    def fingerprint(self):
        return "cut"


def lines(run, n=90, seed=0):
    """Lines in which words of a class are frequent; labelled ones for a classifier."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{i}" for i in range(30)])
    found = []
    for i in range(n):
        of = rng.integers(0, 3, rng.integers(2, 9)) * (rng.random() < 0.3) + i % 3
        line = " ".join(words[(of * 7 + rng.integers(0, 9, len(of))) % 30])
        label = f"__label__{'abc'[i % 3]} " if run["mode"] == "supervised" else ""
        extra = "__label__d " if label and i % 10 == 0 else ""
        found.append(label + extra + line + "\n")
    return Block({"text": texts(found)})


def fresh(run, block, channels=("train",), **facts):
    spec = Spec.of(block, channels=frozenset(channels), facts={"judge": False} | facts)
    return ALGORITHM.state(ALGORITHM.parameters.parse(run), spec)


def learnt(run, stream, block=None, *, facts=None, **options):
    block = lines(run) if block is None else block
    channels = {"train": stream}
    if run.get("early_stopping"):
        channels["validation"] = Arrays(lines(run, 30, 1))
    made = fresh(run, block, channels, **facts or {})
    train(made, channels, **options)
    return made


def saved(model, folder):
    model.save(folder / "m.safetensors")
    return (folder / "m.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    monkeypatch.setattr(state, "ROWS", 40)
    monkeypatch.setattr("smalgos.algorithms.blazingtext.classifier.ROWS", 40)


# -- the same bytes


@pytest.mark.parametrize("name", RUNS)
def test_cuts_threads_and_memory_change_no_byte(name, tmp_path, monkeypatch):
    run = RUNS[name]
    block = lines(run)
    want = saved(learnt(run, Arrays(block)).model(), tmp_path)
    assert saved(learnt(run, Arrays(block), n_jobs=1).model(), tmp_path) == want
    assert saved(learnt(run, Arrays(block), n_jobs=5).model(), tmp_path) == want
    for cuts in ([1, 2, 50], [39, 40, 41, 89]):
        assert saved(learnt(run, Cut(block, cuts), block).model(), tmp_path) == want
    if name != "shuffled":  # a stream is shuffled in windows
        monkeypatch.setattr(state, "HELD_BYTES", 0)
        assert saved(learnt(run, Arrays(block)).model(), tmp_path) == want


@pytest.mark.compiled
@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("held", [True, False])
def test_resuming_behind_any_checkpoint_changes_no_byte(name, held, tmp_path, monkeypatch):
    """Also while the final model is judged."""
    monkeypatch.setattr(state, "HELD_BYTES", state.HELD_BYTES * held)
    run = RUNS[name]
    block = lines(run)
    want = saved(learnt(run, Arrays(block)).model(), tmp_path)
    judged = {"facts": {"judge": True}}
    for behind in range(1, 60):
        path = tmp_path / f"checkpoint-{behind}"

        class Once(Checkpoint):
            """Stops behind one checkpoint, as a kill would."""

            def offer(self, state, *, force=False, behind=behind):
                self._count += 1
                if self._count == behind:
                    super().offer(state, force=True)
                    raise KeyboardInterrupt

        try:
            learnt(run, Arrays(block), checkpoint=Once(path), **judged)
        except KeyboardInterrupt:
            again = learnt(run, Arrays(block), checkpoint=Checkpoint(path), **judged)
            assert saved(again.model(), tmp_path) == want, behind
        else:
            assert behind > 4
            return
    raise AssertionError("training never ended")


@pytest.mark.parametrize("name", FEW)
def test_a_state_survives_a_copy_in_the_middle(name, tmp_path):
    run = RUNS[name]
    block = lines(run)
    channels = {"train": Arrays(block), "validation": Arrays(lines(run, 30, 1))}
    want = saved(learnt(run, Arrays(block)).model(), tmp_path)
    made = fresh(run, block, channels)
    while made.next_pass() is not None:
        made = copy.deepcopy(made)
        while (p := made.next_pass()) is not None:
            run_pass(made, p, channels)
            end_pass(made, p)
            if not p.hold:  # what is held stays behind
                break
    assert saved(made.finish(), tmp_path) == want


@pytest.mark.parametrize("name", ["skipgram", "supervised"])
def test_merging_halves(name):
    run = RUNS[name]
    block = lines(run, 200)
    parts = [fresh(run, block) for _ in range(2)]
    base = fresh(run, block)
    for part, rows in zip(parts, (block[:100], block[100:]), strict=True):
        run_pass(part, part.next_pass(), {"train": Arrays(rows.at(0))})
    a, b = parts
    a.merge(b, base)
    a.row = 200
    end_pass(a, a.next_pass())
    whole = fresh(run, block)
    p = whole.next_pass()
    run_pass(whole, p, {"train": Arrays(block)})
    end_pass(whole, p)
    assert a.lexicon.vocabulary.words == whole.lexicon.vocabulary.words
    assert a.lexicon.vocabulary.counts.tolist() == whole.lexicon.vocabulary.counts.tolist()
    while not (p := whole.next_pass()).epoch:
        run_pass(whole, p, {"train": Arrays(block)})
        end_pass(whole, p)
    base, b = copy.deepcopy(whole), copy.deepcopy(whole)
    for part in (whole, b):
        while not (p := part.next_pass()).epoch:
            run_pass(part, p, {"train": Arrays(block)})
            end_pass(part, p)
        run_pass(part, p, {"train": Arrays(block)})
    whole.merge(b, base)
    np.testing.assert_allclose(whole.finish().input, b.finish().input, atol=1e-6)


# -- what is learnt


def test_words_of_a_class_are_alike():
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(list("abcdef" if i % 2 else "uvwxyz"), 8)) for i in range(600)]
    block = Block({"text": texts(f"{row}\n" for row in rows)})
    for mode in ("skipgram", "cbow", "batch_skipgram"):
        run = {"mode": mode, "vector_dim": "8", "epochs": "10", "sampling_threshold": "0.5"}
        model = learnt(run, Arrays(block), block).model()
        units = model.units[model.words.find(list("abcdefuvwxyz"))]
        cosines = units @ units.T
        assert cosines[:6, :6].min() > cosines[:6, 6:].max() + 0.2, mode


@pytest.mark.parametrize("name", ["supervised", "shuffled", "stopped"])
def test_classes_are_told(name):
    run = RUNS[name] | {"epochs": "20"}
    block = lines(run, 300)
    made = learnt(run, Arrays(block), block, facts={"judge": True})
    assert made.scores["train:accuracy"] > 0.8
    assert made.examples["train"] == 300
    if name == "stopped":
        assert made.epoch < 20
        assert np.nanmax(made.curves[:, 1]) == made.scores["validation:accuracy"] > 0.8
        assert not made.best
    model = made.model()
    found = model.predict(Block({"text": texts(["w1 w2 w3", "w8 w9"]), "k": np.array([1, 9])}))
    assert [len(labels) for labels in found["label"]] == [1, 4]
    assert found["label"][0] == ["__label__a"]
    assert sum(found["prob"][1]) == pytest.approx(1, abs=1e-5)
    p = model.probabilities(block["text"])
    assert p.shape == (300, 4)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_more_text_brings_new_words_and_labels(tmp_path):
    for name in ("subwords", "supervised"):
        run = RUNS[name]
        made = learnt(run, Arrays(lines(run)))
        before = made.model()
        label = "__label__new " if name == "supervised" else ""
        more = Block({"text": texts([f"{label}w1 w2 newer newest\n"] * 5 + [f"{label}w3 once\n"])})
        made.again()
        train(made, {"train": Arrays(more)})
        after = made.model()
        assert set(after.words.words) == {*before.words.words, "newer", "newest"}
        assert set(after.named) - set(before.named) == (
            {"__label__new"} if label else {"newer", "newest"}
        )
        assert set(before.rows) < set(after.rows)
        moved = after.words.find(before.words.words)
        still = [i for i, w in enumerate(before.words.words) if w not in ("w1", "w2", "w3", "</s>")]
        if label:  # rows of words that did not come stay
            np.testing.assert_array_equal(after.input[moved[still]], before.input[still])
            at = np.searchsorted(after.rows, before.rows) + len(after.words)
            was = before.input[len(before.words) : -1]
            assert (after.input[at] == was).all(axis=1).mean() > 0.9
        after.check()
        assert not after.input[-1].any()


def test_go_on_from_a_model(tmp_path):
    for name in ("subwords", "supervised"):
        run = RUNS[name]
        model = learnt(run, Arrays(lines(run))).model()
        made = learnt(run, Arrays(lines(run, seed=5)), facts={"model": model})
        assert set(made.model().words.words) >= set(model.words.words)
        assert made.model().words.tokens > model.words.tokens
        with pytest.raises(UserError, match="vector_dim"):
            fresh(run | {"vector_dim": "7"}, lines(run), model=model)
        with pytest.raises(UserError, match="buckets"):
            fresh(run | {"buckets": "200"}, lines(run), model=model)
    with pytest.raises(UserError, match="label_prefix"):
        fresh(run | {"label_prefix": "#"}, lines(run), model=model)


def test_a_classifier_begins_with_vectors_of_words():
    vectors = learnt(RUNS["skipgram"], Arrays(lines(RUNS["skipgram"]))).model()
    run = RUNS["supervised"]
    made = fresh(run, lines(run), model=vectors)
    while made.phase != "train":
        p = made.next_pass()
        run_pass(made, p, {"train": Arrays(lines(run))})
        end_pass(made, p)
    given, known = made.tables.plain()[0], made.lexicon.vocabulary
    at, there = known.find(vectors.words.words), known.find(vectors.words.words) >= 0
    np.testing.assert_array_equal(given[at[there]], vectors.vectors[there])
    assert there.sum() > 10
    model = learnt(run, Arrays(lines(run))).model()
    with pytest.raises(UserError, match="no word vectors"):
        fresh(RUNS["skipgram"], lines(RUNS["skipgram"]), model=model)


# -- answers


def test_unknown_words():
    plain = learnt(RUNS["skipgram"], Arrays(lines(RUNS["skipgram"]))).model()
    composed = learnt(RUNS["subwords"], Arrays(lines(RUNS["subwords"]))).model()
    asked = Block({"text": texts(["w1", " w2\n", "w111", "q", ""])})
    for model in (plain, composed):
        found = model.predict(asked)
        assert found["word"] == ["w1", "w2", "w111", "q", ""]
        np.testing.assert_array_equal(
            found["vector"][:2], model.vectors[model.words.find(["w1", "w2"])]
        )
        assert not found["vector"][4].any()
    assert not plain.predict(asked)["vector"][2:].any()
    assert composed.predict(asked)["vector"][2].any()
    n = len(composed.words)
    pieces = composed.words.pieces_of(["w111"], 3, 4, 300).values - n
    rows = [np.flatnonzero(composed.rows == p) for p in pieces]
    want = sum(composed.input[n + r[0]] for r in rows if len(r)) / len(pieces)
    np.testing.assert_allclose(composed.predict(asked)["vector"][2], want, rtol=1e-5)


def test_texts_are_lines_of_their_own():
    text = one_line(texts(["a b", "a\nb\n", "", "\n", "c\nd"]))
    assert [text.row(i).tobytes() for i in range(5)] == [b"a b\n", b"a b\n", b"\n", b"\n", b"c d\n"]
    run = RUNS["supervised"]
    model = learnt(run, Arrays(lines(run))).model()
    block = Block({"text": texts(["w1 w2\nw3", "w9", "nothing known", ""])})
    whole = model.predict(block)
    for i in range(4):
        assert model.predict(block[i : i + 1])["prob"][0] == whole["prob"][i]
    with pytest.raises(RowError, match="k=0"):
        model.predict(block.replace(k=np.array([1, 1, 0, 1])))


# -- files


@pytest.mark.parametrize("name", RUNS)
def test_saved_and_loaded(name, tmp_path):
    run = RUNS[name]
    made = learnt(run, Arrays(lines(run)))
    model, block = made.model(), lines(run)
    first = saved(model, tmp_path)
    again = load_model(tmp_path / "m.safetensors")
    assert type(again) is type(model)
    assert saved(again, tmp_path) == first
    for field, values in model.predict(block).items():
        assert np.array_equal(again.predict(block)[field], values), field
    assert (again.width, again.reading) == (0, {})
    assert copy.deepcopy(again).predict(block).keys() == model.predict(block).keys()


@pytest.mark.parametrize("name", RUNS)
def test_a_file_of_fasttext_and_back(name, tmp_path):
    run = RUNS[name]
    model = learnt(run, Arrays(lines(run))).model()
    model.beside(tmp_path)
    path = tmp_path / (
        "vectors.bin" if "skipgram" in name or name in ("cbow", "subwords") else "model.bin"
    )
    again = foreign.model_of(read(path), "cpu")
    assert again.words.words == model.words.words
    if path.name == "model.bin":
        text = texts(["w1 w2 w3", "w5 w6 other"])
        np.testing.assert_array_equal(again.probabilities(text), model.probabilities(text))
        assert again.labels == model.labels
        assert not (tmp_path / "vectors.txt").exists()
    else:
        words = [*model.words.words, "w111"]
        np.testing.assert_allclose(
            again.lookup(words)[0], model.lookup(words)[0], rtol=1e-5, atol=1e-7
        )
        np.testing.assert_array_equal(again.output, model.output)
        text = foreign.read_vectors(tmp_path / "vectors.txt")
        assert text.words.words == model.words.words
        np.testing.assert_array_equal(text.vectors, model.vectors)
    assert again.settings["epochs"] == model.notes["epochs"]


def test_damaged_models(tmp_path):
    for name in ("subwords", "supervised"):
        run = RUNS[name]
        good = learnt(run, Arrays(lines(run))).model()
        damage = {
            "mode": "lda", "buckets": -1, "rows": good.rows[::-1].copy(), "input": good.input[:-1],
            "output": good.output[:, :-1], "max_char": 1 << 40, "min_char": "3",
            "vocabulary": {**good.vocabulary, "offsets": good.vocabulary["offsets"][::-1].copy()},
        }  # fmt: skip
        if name == "supervised":
            damage |= {"loss": "hinge", "word_ngrams": 0, "label_prefix": ""}
        for field, value in damage.items():
            bad = load_model_of(good, tmp_path, **{field: value})
            with pytest.raises(UserError):
                bad()


def load_model_of(good, folder, **changed):
    """A way to load the model with some fields changed."""
    fields = {name: getattr(good, name) for name in good.fields()} | changed

    def load():
        bad = type(good)("cpu", good.notes)
        for name, value in fields.items():
            setattr(bad, name, value)
        bad.save(folder / "bad.safetensors")
        return load_model(folder / "bad.safetensors")

    return load


# -- rules


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "mode is required"),
        ({"mode": "glove"}, "one of supervised, batch_skipgram, skipgram, cbow"),
        ({"mode": "batch_skipgram", "subwords": "True"}, "batch_skipgram learns none"),
        ({"mode": "cbow", "subwords": "True", "min_char": "7"}, "min_char=7"),
        ({"mode": "cbow", "subwords": "maybe"}, "subwords='maybe'"),
        ({"mode": "cbow", "sampling_threshold": "1"}, "sampling_threshold"),
        ({"mode": "cbow", "window": "5"}, "did you mean window_size"),
        ({"mode": "supervised", "label_prefix": "a b"}, "without white space"),
        ({"mode": "supervised", "min_count": "-1"}, "min_count"),
    ],
)
def test_rules(given, said):
    with pytest.raises(UserError, match=said):
        ALGORITHM.parameters.parse(given)


def test_rules_that_the_text_breaks():
    run = RUNS["supervised"]
    with pytest.raises(UserError, match="no validation channel"):
        fresh(RUNS["stopped"], lines(run))
    with pytest.raises(UserError, match="min_count"):
        learnt(run | {"min_count": "1000"}, Arrays(lines(run)))
    bare = lines(RUNS["skipgram"])
    with pytest.raises(UserError, match="__label__"):
        learnt(run, Arrays(bare), bare)
    with pytest.raises(UserError, match="learning rate"):
        learnt(run | {"learning_rate": "1e30"}, Arrays(lines(run)))
    with pytest.raises(NotReady):
        fresh(run, lines(run)).finish()
    with pytest.raises(UserError, match="no rows"):
        learnt(run, Cut(lines(run)[:0], []))


def test_places():
    places = Places(3, np.array([1, 4], np.int32), 6)
    ids = Ragged(np.arange(9, dtype=np.int32), np.array([0, 4, 9]))
    assert places.of(ids).values.tolist() == [0, 1, 2, 5, 3, 5, 5, 4, 5]
    assert Places(3, np.arange(6, dtype=np.int32), 6).of(ids) is ids


# -- word similarities


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 5, 50):
        a, b = rng.integers(0, 6, n).astype(float), rng.random(n)
        a[0] += 1
        assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0], nan_ok=True)
    assert spearman(np.ones(4), np.arange(4.0)) == spearman(np.ones(1), np.ones(1)) == 0


def test_sets_of_pairs(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("Word 1,Word 2,Human\nw1,w2,7.5\n\nw3,zz,1\n")
    (tmp_path / "b.txt").write_text("# of people\nw1\tw3\t2\nw2\tw3\t3\nw1\tw2\t9\n")
    sets = sets_of(tmp_path)
    assert [len(sets[name]) for name in ("a.csv", "b.txt")] == [2, 3]
    vectors = {"w1": [1, 0], "w2": [0.9, 0.1], "w3": [0, 1]}

    def lookup(words):
        known = np.array([w in vectors for w in words])
        return np.array([vectors.get(w, [0, 0]) for w in words], np.float32), known

    told = evaluated(sets, lookup)
    assert told["a.csv"] == {"not_found": 1, "spearmans_rho": 0.0, "total_pairs": 2}
    assert told["b.txt"] == {"not_found": 0, "spearmans_rho": pytest.approx(1), "total_pairs": 3}
    assert told["mean_rho"] == pytest.approx(0.5)
    monkeypatch.setenv(FOLDER, str(tmp_path / "b.txt"))
    assert list(sets_of(None)) == ["b.txt"]
    (tmp_path / "b.txt").write_text("w1\tw3\t2\nw1 w2 3\n")
    with pytest.raises(UserError, match=r"b\.txt, row 2"):
        Pairs.read(tmp_path / "b.txt")
    with pytest.raises(UserError, match="cannot be read"):
        Pairs.read(tmp_path / "none.txt")


def test_evaluation(tmp_path):
    (tmp_path / "pairs.txt").write_text("w1\tw2\t3\nw1\tw8\t1\nw2\tw9\t2\n")
    run = RUNS["skipgram"]
    block = lines(run)
    spec = Spec.of(block, side={"evaluation": tmp_path})
    made = ALGORITHM.state(ALGORITHM.parameters.parse(run), spec)
    train(made, {"train": Arrays(block)})
    model = made.model()
    (tmp_path / "out").mkdir()
    model.beside(tmp_path / "out")
    text = (tmp_path / "out" / "eval.json").read_text()
    told = json.loads(text)
    assert text == json.dumps(told, indent=4, sort_keys=True)
    assert told["mean_rho"] == told["pairs.txt"]["spearmans_rho"] == made.scores["train:mean_rho"]
    assert told["pairs.txt"]["total_pairs"] == 3
