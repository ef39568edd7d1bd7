"""Word vectors against the slow ones in float64, and the promises about their bytes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels.cpu import word_vectors
from smalgos.kernels.cpu.negatives import noise_list
from smalgos.kernels.cpu.shared import threads
from smalgos.kernels.cpu.word_rows import parts
from tests.reference import word_vectors as reference

MODES = list(word_vectors.MODES)
SIZE = 40 if COMPILED else 8  # sentences


class Problem:
    """A small vocabulary, sentences over it, rows to start from."""

    def __init__(self, mode, seed=0, d=20, words=30, lengths=None, pieces=False, **method):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(0, 12, SIZE) if lengths is None else np.array(lengths, int)
        self.words, self.mode = words, mode
        chance = 1 / np.arange(1, words + 1)
        values = rng.choice(words, lengths.sum(), p=chance / chance.sum())
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.sentences = Ragged(values.astype(np.int32), offsets.astype(np.int64))
        rows = words + 10
        self.pieces = [[w] for w in range(words)]
        if pieces:
            more = (rng.integers(words, rows, rng.integers(0, 5)).tolist() for _ in range(words))
            self.pieces = [[w, *extra] for w, extra in enumerate(more)]
        self.ragged = Ragged.of(self.pieces, np.int32) if pieces else None
        self.W = (0.5 * rng.standard_normal((rows, d))).astype(np.float32)
        self.U = (0.5 * rng.standard_normal((words, d))).astype(np.float32)
        self.keep = rng.uniform(0.5, 1.2, words).clip(max=1).astype(np.float32)
        self.noise = chance**0.75
        self.method = dict(window=3, negatives=3, batch_size=7, seed=5) | method

    def trainer(self, **changed):
        given = dict(keep=self.keep, noise=self.noise, pieces=self.ragged, mode=self.mode)
        return word_vectors.Words(self.W, self.U, **given, **self.method | changed)

    def learn(self, trainer, cuts=(), epochs=2, rate=0.2, deterministic=True, first=0):
        s = self.sentences
        total, kept = float(epochs * len(s.values)), 0
        ends = [0, *cuts, len(s)]
        for epoch in range(epochs):
            for a, b in itertools.pairwise(ends):
                done = epoch * len(s.values) + float(s.offsets[a])
                kept += trainer.learn(s[a:b], first + a, epoch, done, total, rate, deterministic)
        return kept

    def examples(self, epochs=2, rate=0.2):
        s, total = self.sentences, float(epochs * len(self.sentences.values))
        names = dict(count="negatives", batch="batch_size", window="window", seed="seed")
        for epoch in range(epochs):
            for i in range(len(s)):
                done = epoch * len(s.values) + float(s.offsets[i])
                yield from reference.examples(
                    s.row(i), i, keep=self.keep, noise=noise_list(self.noise, self.method["seed"]),
                    pieces=self.pieces, mode=self.mode, epoch=epoch, done=done, total=total,
                    rate=rate, **{to: self.method[name] for to, name in names.items()},
                )  # fmt: skip


def compare(problem, rate=0.2):
    trainer = problem.trainer()
    problem.learn(trainer, rate=rate)
    W, U = problem.W.astype(float), problem.U.astype(float)
    for example in problem.examples(rate=rate):
        reference.learn(W, U, example)
    assert (W != problem.W).any() or problem.sentences.values.size < 3
    np.testing.assert_allclose(trainer.input, W, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trainer.output, U, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pieces", [False, True])
def test_all_modes_are_the_slow_ones(mode, pieces):
    if not (pieces and mode == "batch_skipgram"):
        compare(Problem(mode, pieces=pieces))


@pytest.mark.parametrize("mode", MODES)
def test_long_sentences_are_cut_and_long_lists_taken_in_parts(mode):
    method = dict(window=9, negatives=6, batch_size=4)
    lengths = [1500, 0, 1, 2] if COMPILED else [30, 0, 1, 2]
    for words in (30, 1000):
        compare(Problem(mode, d=3, words=words, lengths=lengths, **method), rate=0.02)


def test_batches_of_one():
    compare(Problem("batch_skipgram", batch_size=1, window=1, negatives=1))


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_any_shape(data):
    mode = data.draw(st.sampled_from(MODES))
    compare(
        Problem(
            mode,
            seed=data.draw(st.integers(0, 99)),
            d=data.draw(st.sampled_from([1, 15, 16, 17, 33, 130])),
            words=data.draw(st.integers(2, 12)),
            lengths=data.draw(st.lists(st.integers(0, 20), max_size=6)),
            pieces=mode != "batch_skipgram" and data.draw(st.booleans()),
            window=data.draw(st.integers(1, 4)),
            negatives=data.draw(st.integers(1, 18)),
            batch_size=data.draw(st.integers(1, 30)),
        ),
        rate=0.01,  # many negatives among few words: at higher rates they run away
    )


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_gradients(mode):
    problem = Problem(mode, d=6, words=8, pieces=mode == "cbow")
    rng = np.random.default_rng(0)
    for number, example in enumerate(problem.examples(epochs=1)):
        if number == 5:
            break
        W, U = (rng.standard_normal(x.shape) for x in (problem.W, problem.U))
        moved = W.copy(), U.copy()
        reference.learn(*moved, example._replace(rate=1e-7))
        for x, after, share in ((W, moved[0], True), (U, moved[1], False)):
            for r in np.flatnonzero((x != after).any(axis=1)):
                at, slope = (r, 2), np.zeros(2)
                for side, h in enumerate((1e-5, -1e-5)):
                    x[at] += h
                    slope[side] = reference.loss(W, U, example)
                    x[at] -= h
                want = -(slope[0] - slope[1]) / 2e-5
                if share and mode == "cbow":  # every row of a mean gets all of its gradient
                    want *= len(example.inputs)
                assert (after[at] - x[at]) / 1e-7 == pytest.approx(want, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_same_bytes_for_any_cuts_and_threads(mode):
    problem = Problem(mode)
    whole, pieces = problem.trainer(), problem.trainer()
    with threads(1):
        kept = problem.learn(whole)
    with threads(3):
        assert problem.learn(pieces, cuts=(1, 2, SIZE // 2)) == kept
    for a, b in zip(whole.plain(), pieces.plain(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = problem.trainer(seed=6)
    problem.learn(other)
    assert (other.input != whole.input).any()


def test_epochs_go_on_from_plain_rows():
    problem = Problem("skipgram", pieces=True)
    whole = problem.trainer()
    problem.learn(whole, epochs=1)
    rest = problem.trainer()
    rest = word_vectors.Words(
        *(x.copy() for x in whole.plain()),
        keep=problem.keep, noise=problem.noise, pieces=problem.ragged, **problem.method,
    )  # fmt: skip
    for trainer in (whole, rest):
        trainer.learn(problem.sentences, 0, 1, 50.0, 100.0, 0.1)
    np.testing.assert_array_equal(whole.input, rest.input)


@pytest.mark.parametrize("mode", MODES)
def test_threads_without_locks_learn_the_same_words(mode):
    problem = Problem(mode)
    trainer, alone = problem.trainer(), problem.trainer()
    with threads(2):
        kept = problem.learn(trainer, deterministic=False)
    assert kept == problem.learn(alone)
    np.testing.assert_allclose(trainer.output, alone.output, atol=0.2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("made_for", [1, 3])
def test_threads_work_on_copies_of_frequent_words(mode, made_for, monkeypatch):
    for name, size in (("ROUND", 60), ("TASK", 20), ("COPIES", 9 * 128)):
        monkeypatch.setattr(word_vectors, name, size)
    problem = Problem(mode)
    alone = problem.trainer()
    kept = problem.learn(alone, rate=0.01)
    with threads(made_for):
        trainer = problem.trainer()
    with threads(3):
        assert problem.learn(trainer, rate=0.01, deterministic=False) == kept
    moved = abs(alone.output - problem.U).max()
    np.testing.assert_allclose(trainer.output, alone.output, atol=0.3 * moved)
    np.testing.assert_allclose(trainer.input, alone.input, atol=0.3 * moved)
    before = trainer.output.copy()
    with threads(3):
        problem.learn(trainer, cuts=(3,), rate=0.0, deterministic=False)
    np.testing.assert_array_equal(trainer.output, before)


def test_lists_are_parted_by_size():
    offsets = np.array([5, 5, 8, 30, 31, 31, 40])
    found = parts(offsets, 10)
    assert [(p.start, p.stop) for p in found] == [(0, 3), (3, 6)]
    assert parts(np.array([3]), 10) == []


def test_words_are_kept_by_chance():
    problem = Problem("skipgram", lengths=[9] * (2000 if COMPILED else 300))
    problem.keep[:] = 0.3
    n = len(problem.sentences.values)
    kept = problem.learn(problem.trainer(), epochs=1)
    assert abs(kept - 0.3 * n) < 4 * np.sqrt(n * 0.3 * 0.7)
    problem.keep[:] = 1
    assert problem.learn(problem.trainer(), epochs=1) == n


def test_nothing_to_learn():
    problem = Problem("cbow", lengths=[0, 1, 0, 1])
    trainer = problem.trainer()
    problem.keep[:] = 1
    assert problem.learn(trainer, epochs=1) == 2
    np.testing.assert_array_equal(trainer.input, problem.W)


@pytest.mark.compiled
@pytest.mark.parametrize("mode", MODES)
def test_a_rate_that_is_too_high_is_said(mode):
    problem = Problem(mode, lengths=[8] * 20)
    problem.W[:] *= 1e18
    problem.U[:] *= 1e18
    with pytest.raises(UserError, match=r"learning rate 1e\+30 is too high"):
        problem.learn(problem.trainer(), rate=1e30)


def test_rows_in_place():
    problem = Problem("skipgram")
    W = word_vectors.starts(*problem.W.shape, 0.1, 1)
    U = word_vectors.starts(*problem.U.shape, 0, 1)
    before = W.copy()
    trainer = word_vectors.Words(
        W, U, keep=problem.keep, noise=problem.noise, **problem.method, in_place=True
    )
    problem.learn(trainer)
    assert trainer.plain()[0] is trainer.input
    assert np.shares_memory(trainer.input, W)
    assert (before != W).any()
    with pytest.raises(ValueError, match="starts"):
        word_vectors.Words(problem.W, U, keep=problem.keep, noise=problem.noise, in_place=True)


def test_start_rows():
    rows = word_vectors.starts(500, 21, 0.25, 3)
    assert rows.min() >= -0.25
    assert rows.min() < 0 - 0.2
    assert 0.2 < rows.max() < 0.25
    assert abs(rows.mean()) < 0.01
    assert len(np.unique(rows)) > 0.95 * rows.size
    np.testing.assert_array_equal(rows[:20], word_vectors.starts(20, 21, 0.25, 3))
    assert (rows[:20] != word_vectors.starts(20, 21, 0.25, 3, "others")).any()
    some = word_vectors.starts(500, 21, 0.25, 3, drawn=7)
    np.testing.assert_array_equal(some[:7], rows[:7])
    assert not some[7:].any()
    some[400] = 1  # the memory can be written to


def test_means_of_rows():
    rng = np.random.default_rng(0)
    rows = Ragged.of([[1, 2, 2], [], [0]], np.int32)
    for table in (rng.standard_normal((3, 5)).astype(np.float32), word_vectors.starts(3, 5, 1, 0)):
        want = [table[[1, 2, 2]].mean(axis=0), np.zeros(5), table[0]]
        np.testing.assert_allclose(word_vectors.means(table, rows), want, atol=1e-6)
    with pytest.raises(ValueError, match="1 to 3"):
        word_vectors.means(table, Ragged.of([[1, 3]], np.int32))


def test_what_does_not_fit():
    problem = Problem("skipgram", pieces=True)
    good = dict(keep=problem.keep, noise=problem.noise, pieces=problem.ragged)
    W, U = problem.W, problem.U
    bad_pieces = Ragged.of([[1]] * 29 + [[]], np.int32)
    far_pieces = Ragged.of([[99]] * 30, np.int32)
    for changed in (
        dict(mode="glove"), dict(keep=problem.keep[1:]), dict(mode="batch_skipgram"),
        dict(pieces=bad_pieces), dict(pieces=far_pieces),
    ):  # fmt: skip
        with pytest.raises(ValueError):  # noqa: PT011
            word_vectors.Words(W, U, **good | changed)
    with pytest.raises(ValueError, match="fewer"):
        word_vectors.Words(W[:20], U, keep=problem.keep, noise=problem.noise)
    for bad in (-1, problem.words):
        with pytest.raises(ValueError, match="rows"):
            problem.trainer().learn(Ragged.of([[0, bad]], np.int32), 0, 0, 0, 1, 0.1)
