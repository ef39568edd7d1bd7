"""Random Cut Forest: the sample, what trees get of it, the threshold, the model's file."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms import load_model
from smalgos.algorithms.random_cut_forest import ALGORITHM, scores_of
from smalgos.algorithms.random_cut_forest import state as module
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays
from smalgos.learning import Spec, files
from smalgos.learning.series import shingle
from smalgos.learning.train import Checkpoint, end_pass, train

N, D = 700, 3
SMALL = {"num_trees": "50", "num_samples_per_tree": "10", "partition": "shuffled"}


def rows(n=N, d=D, seed=0):
    return Block.of(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def fresh(block, seed=0, **given):
    parameters = ALGORITHM.parameters.parse(SMALL | given)
    return ALGORITHM.state(parameters, Spec.of(block, rows=len(block), seed=seed))


def learnt(block, seed=0, **given):
    state = fresh(block, seed, **given)
    train(state, {"train": Arrays(block)})
    return state


def saved(model, path):
    model.save(path)
    return path.read_bytes()


def held(model):
    """The points of each tree, those that are alike once."""
    arrays = model.forest.plain()
    leaves = [
        arrays["point"][a:b][arrays["point"][a:b] >= 0]
        for a, b in zip(arrays["offsets"], arrays["offsets"][1:], strict=False)
    ]
    return [arrays["points"][at] for at in leaves]


# The sample ---------------------------------------------------------------------------------------


def test_the_sample_is_drawn_by_number_and_seed():
    block = rows()
    state = learnt(block)
    assert len(state.sample) == 500
    kept = state.sample.sample()
    np.testing.assert_array_equal(kept.features, block.features[kept.rows])
    assert not np.array_equal(learnt(block, seed=1).sample.sample().rows, kept.rows)
    # Each number belongs to one row, wherever a block begins.
    whole = state.keys(0, 50)
    parts = np.concatenate([state.keys(a, n) for a, n in ((0, 1), (1, 6), (7, 2), (9, 41))])
    assert np.array_equal(whole, parts)
    assert len(set(whole)) == 50


@pytest.mark.parametrize("more", [{}, {"partition": "consecutive"}, {"time_decay": "0.01"}])
def test_halves_merge_to_the_bytes_of_the_whole(more, tmp_path):
    block = rows()
    whole = learnt(block, **more)
    base = fresh(block, **more)
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    p = a.next_pass()
    a.update(block[:300])
    b.update(block[300:])
    a.seen, b.seen = 300, N - 300
    b.merge(a, base)
    end_pass(b, p)
    assert saved(whole.model(), tmp_path / "whole") == saved(b.model(), tmp_path / "merged")


def test_rows_in_portions_are_rows_at_once(tmp_path):
    block = rows()
    for more in ({}, {"shingle_size": "4"}):
        parts = fresh(block, **more)
        for part in (block[:400], block[400:402], block[402:]):
            parts.again()
            train(parts, {"train": Arrays(part.at(0))})
            parts.model()
        want = saved(learnt(block, **more).model(), tmp_path / "whole")
        assert saved(parts.model(), tmp_path / "parts") == want


def test_decay_keeps_what_is_young():
    """Where few are kept of many, the chance falls like exp(-decay * age)."""
    block = rows(40_000, 1)
    ages = 39_999 - learnt(block, time_decay="0.0005").sample.sample().rows
    # A row is kept if its exponential time is below t: the share is 1 - exp(-t exp(-decay age)).
    shares = np.histogram(ages, np.arange(0, 20_001, 1000))[0] / 1000
    t = 500 * 0.0005  # about: times add up to the capacity
    want = 1 - np.exp(-t * np.exp(-0.0005 * (np.arange(20) * 1000 + 500)))
    np.testing.assert_allclose(shares, want, atol=0.04)
    with pytest.raises(UserError, match="time_decay"):
        fresh(block, time_decay="1")


# What trees get -----------------------------------------------------------------------------------


def test_consecutive_rows():
    block = Block.of(np.random.default_rng(0).integers(0, 9, (437, 1)).astype(np.float32))
    model = learnt(block, partition="consecutive").model()
    parts = block.features[: 50 * 8].reshape(50, 8)  # 37 rows are dropped
    for points, part in zip(held(model), parts, strict=True):
        assert np.array_equal(np.sort(points[:, 0]), np.unique(part))
    nodes, levels = model.forest.shape()
    assert nodes.tolist() == [2 * len(np.unique(part)) - 1 for part in parts]
    assert (levels <= (nodes + 1) // 2).all()
    assert (2**levels > nodes).all()


def test_shuffled_rows_of_many():
    model = learnt(rows()).model()
    points = np.concatenate(held(model))
    assert len(np.unique(points, axis=0)) == 500  # in no two trees
    number = {x: i for i, x in enumerate(rows().features[:, 0].tolist())}
    for points in held(model):
        assert np.ptp([number[x] for x in points[:, 0].tolist()]) > N / 4


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 300), st.integers(1, 40), st.integers(50, 60))
def test_rows_are_dealt_evenly(n, size, trees):
    size = min(n, size)
    dealt = fresh(rows(5)).deal(n, trees, size).reshape(trees, size)
    for tree in dealt:
        assert len(set(tree.tolist())) == size
    if n >= trees * size:
        assert len(np.unique(dealt)) == trees * size
    # A round hands out each row once, but for the few that are left over at its end.
    assert np.bincount(dealt.ravel(), minlength=n).max() <= -(-trees // (n // size))


def test_few_rows():
    few = rows(20)
    assert [len(points) for points in held(learnt(few).model())] == [10] * 50
    assert [len(p) for p in held(learnt(few, num_samples_per_tree="256").model())] == [20] * 50
    with pytest.raises(UserError, match="n_samples = 1 rows"):
        learnt(rows(1)).model()
    with pytest.raises(UserError, match="of 50 trees needs at least 50"):
        learnt(rows(49), partition="consecutive").model()
    with pytest.raises(UserError, match="n_samples = 1 shingles of 20 rows"):
        learnt(few, shingle_size="20").model()


def test_rows_without_any_spread():
    one = Block.of(np.ones((300, 2), np.float32))
    model = learnt(one, num_samples_per_tree="16").model()
    said = model.scores(np.array([[1, 1], [1, 2], [-9, 1]], np.float32))
    # A tree is a leaf of 16 rows: log2(17) / log2(16), and log2(17) for what is elsewhere.
    np.testing.assert_allclose(said, [np.log2(17) / 4, np.log2(17), np.log2(17)])
    flat = rows()
    flat.features[:, 1] = 7  # no range: never cut
    assert 1 not in learnt(flat).model().forest.plain()["feature"]


# Scores -------------------------------------------------------------------------------------------


def test_thresholds():
    block = rows()
    model = learnt(block, num_samples_per_tree="256").model()
    said = model.scores(block.features)
    assert model.threshold == pytest.approx(said.mean() + 3 * said.std(), rel=1e-12)
    model = learnt(block, num_samples_per_tree="256", contamination="0.1").model()
    verbose = model.predict(block, verbose=True)
    assert verbose["predicted_label"].sum() == 70
    assert np.array_equal(verbose["score"], model.predict(block)["score"])
    parts = verbose["attribution_high"] + verbose["attribution_low"]
    np.testing.assert_allclose(parts.sum(axis=1), verbose["score"], rtol=1e-6)


def test_thresholds_of_some_rows_of_the_sample(monkeypatch):
    block = rows(4000)
    want = learnt(block, num_samples_per_tree="100").model().threshold
    monkeypatch.setattr(module, "JUDGED", 500)
    found = learnt(block, num_samples_per_tree="100").model().threshold
    assert found != want
    assert found == pytest.approx(want, rel=0.1)


def test_what_is_far_scores_high():
    block = rows()
    model = learnt(block, num_samples_per_tree="256").model()
    far = np.array([[0, 0, 0], [3, 0, 0], [9, 0, 0], [90, 90, 90]], np.float32)
    said = model.scores(far)
    assert (np.diff(said) > 0).all()
    assert said[0] < model.threshold < said[2] < said[3] < np.log2(257)


def test_the_metrics_of_the_test_channel():
    model = learnt(rows()).model()
    judge = scores_of(model)
    scores, labels = np.full(100, 0.5), np.zeros(100)
    scores[:4], labels[1:6] = 5.0, 1  # mean + 3 deviations: 3.3; 3 of 5 found, 1 of 4 wrong
    scores[-1], labels[-1] = 0, 1  # without a full shingle: passed over
    for a, b in ((0, 3), (3, 100)):
        judge.add(labels[a:b], {"score": scores[a:b]})
    want = {"accuracy": 96 / 99, "precision": 0.75, "recall": 0.6, "f1": 2 / 3}
    assert judge.result() == pytest.approx(want)
    assert list(judge.result()) == list(want)
    model = learnt(rows(), eval_metrics='["accuracy"]').model()
    judge = scores_of(model)
    judge.add(labels[:4], {"score": scores[:4]})
    assert list(judge.result()) == ["accuracy"]
    assert np.isnan(scores_of(model).result()["accuracy"])
    with pytest.raises(UserError, match="no labels"):
        judge.add(None, {"score": scores})
    with pytest.raises(RowError, match="label 2 is not a whole number from 0 to 1"):
        judge.add(np.array([2.0]), {"score": scores[:1]})


# Series -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_shingles(sparse, tmp_path):
    block = rows(300, 2)
    more = {"shingle_size": "5", "num_samples_per_tree": "4"}
    want = shingle(block.features, 5)
    state = learnt(block, **more)
    kept = state.sample.sample()
    np.testing.assert_array_equal(kept.features, want[kept.rows - 4])
    model = state.model()
    assert (model.width, model.row_width) == (10, 2)
    if sparse:
        block = block.replace(features=Csr.of(block.features))
        again = learnt(block, **more).model()
        assert saved(again, tmp_path / "a") == saved(model, tmp_path / "b")
    said = model.predict(block, verbose=True)
    assert (said["score"][:4] == 0).all()
    assert (said["attribution_low"][:4] == 0).all()
    assert np.array_equal(said["score"][4:], model.scores(want))
    assert model.scores(block.features[:3]).tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="rows of 3 features: the model was trained on 2"):
        model.scores(np.zeros((9, 3), np.float32))


def test_a_series_resumes_where_it_was_left(tmp_path):
    block = rows(20_000, 2)  # two blocks
    more = {"shingle_size": "7", "num_samples_per_tree": "4"}

    class Once(Checkpoint):
        def offer(self, state, *, force=False):
            super().offer(state, force=force)
            if self._count == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(block, **more), {"train": Arrays(block)},
              checkpoint=Once(tmp_path / "c", blocks=1))  # fmt: skip
    state = fresh(block, **more)
    train(state, {"train": Arrays(block)}, checkpoint=Checkpoint(tmp_path / "c", blocks=1))
    want = saved(learnt(block, **more).model(), tmp_path / "a")
    assert saved(state.model(), tmp_path / "b") == want


# What cannot be -----------------------------------------------------------------------------------


def test_what_cannot_be(monkeypatch):
    for far in (5e37, 1e38):
        with pytest.raises(UserError, match="scale them"):
            learnt(Block.of(np.clip(rows().features, -3, 3) * np.float32(far))).model()
    model = learnt(rows()).model()
    assert model.scores(np.full((1, 3), 1e37, np.float32)) > 3
    assert model.predict(Block.of(np.full((1, 3), 3e38, np.float32)))["score"] > 3
    for more in ({"num_trees": "49"}, {"num_samples_per_tree": "2049"}, {"epochs": "2"},
                 {"eval_metrics": '["f1"]'}, {"contamination": "0.6"}):  # fmt: skip
        with pytest.raises(UserError, match=next(iter(more))):
            fresh(rows(), **more)
    monkeypatch.setattr(module, "physical_memory", lambda: 10_000)
    with pytest.raises(UserError, match=r"takes about \d+ bytes, and this machine has 10000"):
        fresh(rows(), num_samples_per_tree="256")
    fresh(rows(10), num_samples_per_tree="256")


def test_the_originals_hyperparameters():
    p = ALGORITHM.parameters.parse({
        "feature_dim": "3", "num_trees": "60", "num_samples_per_tree": "512", "epochs": "1",
        "eval_metrics": '["accuracy", "precision_recall_fscore"]', "mini_batch_size": "1000",
        "force_dense": "true", "_kvstore": "dist_async", "_ftp_port": "8999", "random_seed": "7",
    })  # fmt: skip
    assert (p.num_trees, p.partition, p.random_state) == (60, "consecutive", 7)
    assert p.capacity == 60 * 512


# The file -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("forest") / "m"
    learnt(rows()).model().save(path)
    return files.read(path)


@pytest.mark.parametrize(("name", "spoil"), [
    ("forest.points", lambda a: a[:-1]),
    ("forest.points", lambda a: a * np.nan),
    ("forest.points", lambda a: a.astype(np.float64)),
    ("forest.feature", lambda a: np.where(a >= 0, 3, a).astype(np.int32)),
    ("forest.left", lambda a: np.where(a >= 0, 0, a).astype(np.int32)),
    ("forest.right", lambda a: a * 2),
    ("forest.mass", lambda a: a + np.int32(1)),
    ("forest.point", lambda a: a * 2),
    ("forest.offsets", lambda a: a[:-1]),
    ("forest.offsets", lambda a: a[::-1].copy()),
    ("forest.cut", lambda a: a * np.nan),
    ("forest.cut", lambda a: a[:, None]),
])  # fmt: skip
def test_damaged_forests_are_refused(parts, name, spoil, tmp_path):
    arrays, meta = parts
    files.write(tmp_path / "m", arrays | {name: np.ascontiguousarray(spoil(arrays[name]))}, meta)
    with pytest.raises(UserError, match=str(tmp_path)):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("scalars", [
    {"threshold": 1.0}, {"threshold": "1", "shingle_size": 1},
    {"threshold": 1.0, "shingle_size": 2}, {"threshold": 1.0, "shingle_size": 0},
    {"threshold": 1.0, "shingle_size": 1.0},
    {"threshold": float("inf"), "shingle_size": 1},
])  # fmt: skip
def test_damaged_headers_are_refused(parts, scalars, tmp_path):
    arrays, meta = parts
    files.write(tmp_path / "m", arrays, meta | {"scalars": scalars})
    with pytest.raises(UserError, match=str(tmp_path)):
        load_model(tmp_path / "m")
    for left_out in ("forest.cut", "forest.points"):
        some = {n: a for n, a in arrays.items() if n != left_out}
        files.write(tmp_path / "m", some, meta)
        with pytest.raises(UserError, match=str(tmp_path)):
            load_model(tmp_path / "m")
