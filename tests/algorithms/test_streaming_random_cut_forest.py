"""The streaming Random Cut Forest: shingles, what is missing, files."""

import copy
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms import algorithm, load_model
from smalgos.algorithms.streaming_random_cut_forest.shingling import Shingle
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Spec, files

NAME = "streaming-randomcutforest"
SMALL = {"num_trees": 4, "num_samples_per_tree": 16, "output_after": 8}


def state_of(width=2, **given):
    a = algorithm(NAME)
    spec = Spec.of(Block.of(np.empty((0, width), np.float32)))
    return a.state(a.parameters(**{**SMALL, "feature_dim": width, **given}), spec)


def learn(state, rows, **columns):
    """Scores of rows that are learnt."""
    block = Block.of(np.asarray(rows, np.float32)).replace(**columns)
    scores = state.follow(block)
    state.seen += len(block)
    return scores


def rows_of(n=60, width=2, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def same(a, b):
    """Whether two states are the same, to the bit."""
    a, b = a.snapshot(), b.snapshot()
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


# -- hyperparameters


def test_what_auto_stands_for():
    p = state_of(num_samples_per_tree=200, output_after="auto").p
    assert p.time_decay == pytest.approx(0.0005)
    assert p.output_after == 50
    assert state_of(num_samples_per_tree=3, output_after="auto").p.output_after == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"internal_rotation": True}, "internal_shingling"),
        ({"shingle_lag": 2, "shingle_size": 2}, "internal_shingling"),
        ({"shingle_size": 3}, "rows of 2 features are not points"),
        ({"time_decay": -0.1}, "time_decay"),
        ({"initial_accept_fraction": 0.0}, "initial_accept_fraction"),
        ({"num_trees": 0}, "num_trees"),
    ],
)
def test_hyperparameters_that_do_not_fit(given, said):
    with pytest.raises(UserError, match=said):
        state_of(**given)


# -- shingles


def slow_points(rows, size, lag, rotating):
    """Point i of all rows so far; None: there is none yet."""
    points = []
    for t in range(len(rows)):
        chosen = [t - j * lag for j in range(size - 1, -1, -1)]
        if chosen[0] < 0:
            points.append(None)
            continue
        places = [i // lag % size if rotating else j for j, i in enumerate(chosen)]
        point = np.empty((size, rows.shape[1]), np.float32)
        for place, i in zip(places, chosen, strict=True):
            point[place] = rows[i]
        points.append(point.reshape(-1))
    return points


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.booleans(),
    st.lists(st.integers(0, 7), min_size=1, max_size=12),
)  # fmt: skip
def test_shingles_of_rows_that_come_one_by_one_or_together(size, lag, width, rotating, cuts):
    rows = rows_of(sum(cuts), width)
    want = slow_points(rows, size, lag, rotating)
    one, many = (Shingle(size, lag, width, rotating=rotating) for _ in range(2))
    at = 0
    for count in cuts:
        part = rows[at : at + count]
        points, shares = many.extend(part)
        assert shares is None
        expected = [p for p in want[at : at + count] if p is not None]
        assert np.array_equal(points, np.reshape(expected, points.shape))
        for i, row in enumerate(part):
            if one.nearly:
                assert np.array_equal(one.next_point(row), want[at + i])
                assert np.array_equal(one.next_point(row)[one.next_place], row)
            one.push(row)
            assert one.full == (want[at + i] is not None)
            if one.full:
                assert np.array_equal(one.point, want[at + i])
        at += count
        a, b = one.snapshot(), many.snapshot()
        assert all(np.array_equal(a[name], b[name]) for name in a)
        many = Shingle(size, lag, width, rotating=rotating).restore(copy.deepcopy(b))


def test_a_long_series_row_by_row():
    rows = rows_of(5000, 1)
    shingle = Shingle(3, 1, 1)
    for i, row in enumerate(rows):
        shingle.push(row)
        assert i < 2 or np.array_equal(shingle.point, rows[i - 2 : i + 1, 0])


def test_shares_of_what_was_guessed():
    rows = rows_of(9, 2)
    shingle = Shingle(3, 1, 2)
    shingle.extend(rows[:3])
    _, shares = shingle.extend(rows[3:4], np.array([[True, False]]))
    assert shares == pytest.approx([1 / 6])
    assert not shingle.pure
    _, shares = shingle.extend(rows[4:])
    assert shares == pytest.approx([1 / 6, 1 / 6, 0, 0, 0])
    assert shingle.pure


# -- the stream


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"shingle_size": 3, "internal_shingling": True},
        {"shingle_size": 2, "internal_shingling": True, "internal_rotation": True,
         "shingle_lag": 2},
        {"impute_missing": True, "shingle_size": 2, "internal_shingling": True},
        {"initial_accept_fraction": 0.3, "time_decay": 0.0},
    ],
)  # fmt: skip
def test_rows_blocks_and_learning_alone_give_the_same(given):
    rows = rows_of(80)
    if "impute_missing" in given:
        rows[[3, 30, 31, 50], [0, 1, 0, 1]] = np.nan
        rows[44] = np.nan
    whole, one, parts, mute = (state_of(**given) for _ in range(4))
    scores = learn(whole, rows)
    assert np.array_equal([one.follow_row(row) for row in rows], scores)
    cuts = [0, 1, 2, 20, 31, 33, 80]
    found = [learn(parts, rows[a:b]) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(found), scores)
    mute.update(Block.of(rows))
    mute.seen += len(rows)
    assert same(whole, one)
    assert same(whole, parts)
    assert same(whole, mute)
    assert (scores[-20:] > 0).all()


@pytest.mark.slow
@pytest.mark.compiled
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["score", "learn", "rows", "file"]), st.integers(1, 40)),
             min_size=1, max_size=12),
    st.integers(1, 4), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_any_mixture_of_ways_gives_the_same(ways, size, lag, rotating, imputing, seed):
    given = {"shingle_size": size, "internal_shingling": True, "shingle_lag": lag, "interval": 1.0}
    given |= {"internal_rotation": rotating, "impute_missing": imputing, "random_state": seed}
    n = sum(count for _, count in ways)
    rng, rows = np.random.default_rng(seed), rows_of(n, seed=seed)
    if imputing:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    times = np.cumsum(1.0 + (rng.random(n) < 0.05) * rng.integers(0, 9, n))
    timed = "rows" not in dict(ways)
    columns = (lambda part: {"timestamps": times[part]}) if timed else (lambda part: {})
    whole, mixed, at = state_of(**given), state_of(**given), 0
    want = learn(whole, rows, **columns(slice(None)))
    for way, count in ways:
        part = slice(at, at + count)
        if way == "rows":
            found = [mixed.follow_row(row) for row in rows[part]]
        elif way == "learn":
            mixed.update(Block.of(rows[part]).replace(**columns(part)))
            mixed.seen += count
            found = want[part]
        else:
            found = learn(mixed, rows[part], **columns(part))
        if way == "file":
            mixed = mixed.finish().resumed()
        assert np.array_equal(found, want[part])
        at += count
    assert mixed.finish().snapshot().keys() == whole.finish().snapshot().keys()
    a, b = mixed.finish().snapshot(), whole.finish().snapshot()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_scores_begin_when_enough_was_learnt():
    state = state_of(shingle_size=3, internal_shingling=True)
    scores = learn(state, rows_of(30))
    assert not scores[:10].any()  # two rows that end no shingle, eight points
    assert (scores[10:] > 0).all()
    assert not learn(state_of(), rows_of(8)).any()


def test_a_pause_scores_and_learns_nothing():
    rows = rows_of(60)
    state = state_of()
    learn(state, rows[:30])
    before = copy.deepcopy(state.forest.snapshot())
    state.sample(False)
    paused = learn(state, rows[30:50])
    one_by_one = state_of()
    learn(one_by_one, rows[:30])
    one_by_one.sample(False)
    assert np.array_equal([one_by_one.follow_row(row) for row in rows[30:50]], paused)
    assert np.array_equal(state.score(Block.of(rows[30:50])), paused)
    after = state.forest.snapshot()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    state.sample(True)
    learn(state, rows[50:])
    assert state.forest.learnt == 40


@pytest.mark.compiled
def test_another_decay_from_now_on():
    state = state_of(num_trees=20, num_samples_per_tree=20, time_decay=0.0)
    learn(state, np.zeros((2000, 1)) if state.spec.width == 1 else rows_of(2000))
    state.decay(0.2)
    late = rows_of(200, seed=1) + 100
    learn(state, late)
    points = state.forest.trees.plain()["points"]
    assert (points > 50).all()  # e ** -40 of the others' weight would be left


@pytest.mark.compiled
def test_weights():
    rows = rows_of(400)
    state = state_of(num_trees=10, time_decay=0.0)
    heavy = np.arange(400) % 2 == 0
    learn(state, rows, weights=np.where(heavy, 1.0, 0.0).astype(np.float32))
    held = state.forest.trees.plain()["points"]
    assert np.isin(held[:, 0], rows[heavy, 0]).all()
    for bad in (-1.0, np.nan, np.inf):
        weights = np.ones(400, np.float32)
        weights[7] = bad
        with pytest.raises(UserError, match=r"row 7.*weight"):
            learn(state, rows, weights=weights)


# -- what is missing


def test_before_the_forest_scores_the_row_before_fills():
    state = state_of(impute_missing=True, output_after=100, use_imputed_fraction=1.0)
    rows = rows_of(10)
    rows[0, 1] = rows[4, 0] = np.nan
    learn(state, rows)
    points = state.forest.trees.plain()["points"]
    assert [rows[0, 0], 0] in points.tolist()
    assert [rows[3, 0], rows[4, 1]] in points.tolist()


@pytest.mark.compiled
def test_imputing_takes_the_value_of_the_matching_cluster():
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 600) * 2 - 1
    rows = (side[:, None] * [5, -5] + 0.05 * rng.standard_normal((600, 2))).astype(np.float32)
    state = state_of(num_trees=30, num_samples_per_tree=64, impute_missing=True)
    learn(state, rows)
    for x in ([5, np.nan], [-5, np.nan], [np.nan, 5]):
        filled = state.completed(np.array(x, np.float32))
        assert filled.sum() == pytest.approx(0, abs=0.3)
    asked = np.array([[5, np.nan], [5, -5]], np.float32)
    scores = state.score(Block.of(asked))
    assert scores[0] == pytest.approx(scores[1], rel=0.3)


def test_points_that_are_mostly_guessed_are_not_learnt():
    state = state_of(shingle_size=4, internal_shingling=True, impute_missing=True)
    rows = rows_of(40)
    learn(state, rows[:20])
    assert state.forest.learnt == 17
    rows[20:22] = np.nan
    scores = learn(state, rows[20:])
    # Of the points from the second one on that holds both rows, half is guessed.
    assert state.forest.learnt == 17 + 20 - 3
    assert (scores > 0).all()


def test_gaps():
    rows, times = rows_of(40), np.arange(40.0) * 10
    late = np.where(np.arange(40) >= 20, times + 30, times) + 1.2  # three rows are missing
    common = {"interval": 10.0, "shingle_size": 4, "internal_shingling": True}
    state = state_of(**common)
    scores = learn(state, rows, timestamps=late)
    assert not scores[20:23].any()  # a new shingle fills
    assert (scores[23:] > 0).all()
    assert state.forest.learnt == 40 - 3 - 3
    parts = state_of(**common)
    for a in range(0, 40, 8):
        learn(parts, rows[a : a + 8], timestamps=late[a : a + 8])
    assert same(state, parts)
    filled = state_of(**common, impute_missing=True)
    scores = learn(filled, rows, timestamps=late)
    assert (scores[20:] > 0).all()
    assert filled.shingle.arrived == 43
    as_rows = state_of(**common, impute_missing=True)
    with_nan = np.insert(rows, [20] * 3, np.nan, axis=0)
    learn(as_rows, with_nan)
    assert np.array_equal(as_rows.shingle.last, filled.shingle.last)


def test_timestamps_ascend():
    state = state_of(interval=1.0)
    learn(state, rows_of(5), timestamps=np.arange(5.0))
    with pytest.raises(UserError, match=r"row 0.*timestamp 4"):
        learn(state, rows_of(2), timestamps=np.array([4.0, 5]))
    with pytest.raises(UserError, match=r"row 2.*timestamp nan"):
        learn(state, rows_of(3), timestamps=np.array([5.0, 6, np.nan]))
    assert state.seen == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("imputing", [False, True])
def test_bad_rows_leave_the_stream_as_it_was(value, imputing):
    state = state_of(impute_missing=imputing)
    learn(state, rows_of(20))
    before = copy.deepcopy(state.snapshot())
    rows = rows_of(6)
    rows[4, 1] = value
    if imputing and np.isnan(value):
        learn(state, rows)
        return
    for asked in (learn, lambda state, rows: state.score(Block.of(rows))):
        with pytest.raises(UserError, match=r"row 4.*feature 1"):
            asked(state, rows)
    with pytest.raises(UserError, match="feature 1"):
        state.follow_row(rows[4])
    with pytest.raises(UserError, match="give 2 numbers"):
        state.follow_row(rows[4, :1])
    after = state.snapshot()
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_sparse_rows():
    rows = np.maximum(rows_of(60), 0)
    dense, sparse = state_of(), state_of()
    learn(dense, rows)
    sparse.follow(Block.of(Csr.of(rows)))
    sparse.seen += 60
    assert same(dense, sparse)


# -- asking


def test_the_next_row_and_whole_points():
    given = {"shingle_size": 3, "internal_shingling": True}
    state = state_of(**given)
    rows = rows_of(50)
    with pytest.raises(NotReady):
        state.points(Block.of(rows[:1]))
    assert not state.score(Block.of(rows[:1])).any()
    learn(state, rows[:49])
    point = np.concatenate([rows[47], rows[48], rows[49]])[None]
    next_row = state.score(Block.of(rows[49:]))
    assert np.array_equal(state.score(Block.of(point)), next_row)
    assert np.array_equal(learn(state, rows[49:]), next_row)
    with pytest.raises(UserError, match="rows of 3 features"):
        state.score(Block.of(rows_of(1, 3)))


@pytest.mark.compiled
def test_what_counts_as_an_anomaly():
    rows = rows_of(300, seed=2)
    for share, most in (("auto", 0.03), (0.1, 0.11)):
        state = state_of(contamination=share, num_samples_per_tree=64, num_trees=20)
        learn(state, rows)
        found = (-state.score(Block.of(rows)) < state.offset).mean()
        assert 0.001 < found < most
    assert state_of().offset == 0


# -- files


def model_of(tmp_path, **given):
    state = state_of(**given)
    learn(state, rows_of(50))
    state.finish().save(tmp_path / "m")
    return state, load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "given", [{}, {"shingle_size": 3, "internal_shingling": True, "impute_missing": True}]
)
def test_a_file_goes_on_to_the_same_bytes(given, tmp_path):
    state, model = model_of(tmp_path, **given)
    resumed = model.resumed()
    more = rows_of(40, seed=1)
    assert np.array_equal(learn(state, more), learn(resumed, more))
    assert same(state, resumed)
    state.finish().save(tmp_path / "a")
    resumed.finish().save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_stands_still(tmp_path):
    state, _ = model_of(tmp_path)
    model, rows = state.finish(), Block.of(rows_of(20, seed=3))
    want = model.predict(rows)["score"]
    learn(state, rows_of(100, seed=4))
    assert np.array_equal(model.predict(rows)["score"], want)
    assert np.array_equal(copy.deepcopy(model).predict(rows)["score"], want)


def test_verbose_answers(tmp_path):
    _, model = model_of(tmp_path, shingle_size=3, internal_shingling=True)
    rows = np.concatenate([rows_of(5), [[40, 0]]]).astype(np.float32)
    told = model.predict(Block.of(rows), verbose=True)
    assert np.array_equal(told["score"], model.predict(Block.of(rows))["score"])
    assert told["predicted_label"][5] == 1
    assert told["attribution_high"].shape == (6, 6)
    assert told["attribution_high"][5].argmax() == 4  # the first feature of the newest row
    total = (told["attribution_high"] + told["attribution_low"]).sum(axis=1)
    np.testing.assert_allclose(total, told["score"], rtol=1e-9)


def test_files_that_are_no_streams(tmp_path):
    model_of(tmp_path, shingle_size=3, internal_shingling=True)
    arrays, meta = files.read(tmp_path / "m")

    def refused(arrays, meta):
        files.write(tmp_path / "bad", arrays, meta)
        with pytest.raises(UserError, match="bad"):
            load_model(tmp_path / "bad")

    for name in arrays:
        refused({n: a for n, a in arrays.items() if n != name}, meta)
        refused(arrays | {name: arrays[name][:-1]}, meta)
        refused(arrays | {name: arrays[name].astype(np.float16)}, meta)
    for name in meta["scalars"]:
        for value in ("x", -1, None, 1e300):
            scalars = meta["scalars"] | {name: value}
            if value is None:
                del scalars[name]
            if (name, value) != ("forest.total", 1e300):  # a sum
                refused(arrays, meta | {"scalars": scalars})
    for notes in ({}, {"hyperparameters": 3}, {"hyperparameters": {"num_trees": "x"}}):
        refused(arrays, meta | {"notes": notes})
    asked = meta["notes"]["hyperparameters"] | {"num_trees": 1000, "num_samples_per_tree": 100_000}
    refused(arrays, meta | {"notes": {"hyperparameters": asked}})
