"""The classifier of texts against the slow one in float64, and the promises about its bytes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels.cpu import text_classifier
from smalgos.kernels.cpu.shared import threads
from tests.reference import text_classifier as reference

SIZE = 60 if COMPILED else 12  # lines


class Problem:
    """Lines of rows and labels, and what to start from."""

    def __init__(self, seed=0, d=20, rows=40, labels=5, n=SIZE, longest=9):
        rng = np.random.default_rng(seed)
        self.lines = [rng.integers(0, rows, k).tolist() for k in rng.integers(0, longest, n)]
        self.marks = [rng.integers(0, labels, k).tolist() for k in rng.integers(0, 4, n)]
        self.rows = Ragged.of(self.lines, np.int32)
        self.labels = Ragged.of(self.marks, np.int32)
        self.W = (0.5 * rng.standard_normal((rows, d))).astype(np.float32)
        self.U = (0.5 * rng.standard_normal((labels, d))).astype(np.float32)

    def learn(self, trainer, cuts=(), epochs=2, rate=0.3, deterministic=True):
        ends, n = [0, *cuts, len(self.lines)], len(self.lines)
        told = []
        for epoch in range(epochs):
            for a, b in itertools.pairwise(ends):
                given = self.rows[a:b], self.labels[a:b], a, epoch, epoch * n + a, epochs * n
                told.append(trainer.learn(*given, rate, deterministic))
        return [sum(x) for x in zip(*told, strict=True)]


def compare(problem, seed=3):
    trainer = text_classifier.Classifier(problem.W, problem.U, seed)
    found = problem.learn(trainer)
    W, U = problem.W.astype(float), problem.U.astype(float)
    n, want = len(problem.lines), np.zeros(3)
    for epoch in range(2):
        for i, (rows, labels) in enumerate(zip(problem.lines, problem.marks, strict=True)):
            if rows and labels:
                rate = 0.3 * (1 - (epoch * n + i) / (2 * n))
                label = reference.target(labels, i, seed, epoch)
                want += reference.learn(W, U, rows, label, rate), 1, len(rows)
    np.testing.assert_allclose(trainer.input, W, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trainer.output, U, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_training_is_the_slow_one():
    compare(Problem())


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_any_shape(data):
    compare(
        Problem(
            seed=data.draw(st.integers(0, 99)),
            d=data.draw(st.sampled_from([1, 15, 16, 17, 130])),
            rows=data.draw(st.integers(1, 50)),
            labels=data.draw(st.sampled_from([1, 2, 15, 16, 17, 70])),
            n=data.draw(st.integers(0, 10)),
            longest=data.draw(st.integers(1, 40)),
        )
    )


def test_steps_are_gradients():
    rng = np.random.default_rng(0)
    W, U, rows = rng.standard_normal((6, 4)), rng.standard_normal((3, 4)), [1, 4, 4]
    moved = W.copy(), U.copy()
    reference.learn(*moved, rows, 2, 1e-7)
    for x, after in zip((W, U), moved, strict=True):
        for at in np.ndindex(x.shape):
            slope = []
            for h in (1e-5, -1e-5):
                x[at] += h
                slope.append(reference.loss(W, U, rows, 2))
                x[at] -= h
            want = -(slope[0] - slope[1]) / 2e-5
            assert (after[at] - x[at]) / 1e-7 == pytest.approx(want, rel=1e-4, abs=1e-5)


def test_same_bytes_for_any_cuts_and_threads():
    problem = Problem()
    made = []
    for cuts, jobs in (((), 1), ((1, 2, SIZE // 2), 3)):
        with threads(jobs):
            trainer = text_classifier.Classifier(problem.W, problem.U, 3)
            told = problem.learn(trainer, cuts)
            made.append((told[1:], *(x.tobytes() for x in trainer.plain())))
    assert made[0] == made[1]


def test_threads_without_locks_learn_the_same_lines():
    problem = Problem()
    trainer = text_classifier.Classifier(problem.W, problem.U, 3)
    alone = text_classifier.Classifier(problem.W, problem.U, 3)
    with threads(2):
        told = problem.learn(trainer, deterministic=False)
    assert told[1:] == problem.learn(alone)[1:]
    np.testing.assert_allclose(trainer.output, alone.output, atol=0.2)


def test_each_label_of_a_line_has_its_turn():
    problem = Problem(labels=3)
    problem.labels = Ragged.of([[0, 2]] * SIZE, np.int32)
    problem.rows = Ragged.of([[1]] * SIZE, np.int32)
    trainer = text_classifier.Classifier(problem.W, 0 * problem.U, 3)
    problem.learn(trainer, epochs=20, rate=0.02)
    p = trainer.probabilities(problem.rows[:1])[0]
    assert p[1] < p[[0, 2]].min()
    assert abs(p[0] - p[2]) < 0.2


@pytest.mark.parametrize("labels", [1, 5, 16, 33])
def test_probabilities_and_top(labels):
    problem = Problem(labels=labels, n=300 if COMPILED else 10)
    problem.U[labels // 2] = problem.U[0]  # a tie
    trainer = text_classifier.Classifier(problem.W, problem.U)
    p = trainer.probabilities(problem.rows)
    W, U = problem.W.astype(float), problem.U.astype(float)
    for row, found in zip(problem.lines, p, strict=True):
        h = W[row].mean(axis=0) if row else np.zeros(W.shape[1])
        np.testing.assert_allclose(found, reference.softmax(U @ h), rtol=1e-4, atol=1e-6)
    for k in (0, 1, 3, 99):
        best, chance = trainer.top(problem.rows, k)
        want = np.argsort(-p, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(best, want)
        np.testing.assert_array_equal(chance, np.take_along_axis(p, want, axis=1))
    started = text_classifier.starts(*problem.W.shape, 0, 0)
    started[:] = problem.W
    same = text_classifier.probabilities(started, problem.U, problem.rows[3:9])
    np.testing.assert_array_equal(same, p[3:9])


def test_scores_far_apart():
    W, U = np.eye(1, 4, dtype=np.float32), np.zeros((3, 4), np.float32)
    U[:, 0] = 1e4, -1e4, 9999
    p = text_classifier.probabilities(W, U, Ragged.of([[0]], np.int32))
    np.testing.assert_allclose(p, [[1 / (1 + np.exp(-1)), 0, 1 / (1 + np.exp(1))]], rtol=1e-5)


@pytest.mark.compiled
def test_a_rate_that_is_too_high_is_said():
    problem = Problem()
    trainer = text_classifier.Classifier(1e18 * problem.W, 1e18 * problem.U)
    with pytest.raises(UserError, match=r"learning rate 1e\+30 is too high"):
        problem.learn(trainer, rate=1e30)


def test_what_does_not_fit():
    problem = Problem()
    with pytest.raises(ValueError, match="width"):
        text_classifier.Classifier(problem.W, problem.U[:, 1:])
    trainer = text_classifier.Classifier(problem.W, problem.U)
    one = Ragged.of([[1]], np.int32)
    with pytest.raises(ValueError, match="1 lines have 2"):
        trainer.learn(one, Ragged.of([[0], [0]], np.int32), 0, 0, 0, 1, 0.1)
    for rows, labels in (([[40]], [[0]]), ([[-1]], [[0]]), ([[0]], [[5]])):
        with pytest.raises(ValueError, match="rows"):
            trainer.learn(Ragged.of(rows, np.int32), Ragged.of(labels, np.int32), 0, 0, 0, 1, 0.1)
    with pytest.raises(ValueError, match="rows"):
        trainer.top(Ragged.of([[40]], np.int32), 1)
