"""The driver: passes, blocks, checkpoints, limits, and the naming of bad rows."""

from typing import Any

import numpy as np
import pytest

from smalgos.errors import NotReady, RowError, UserError
from smalgos.formats import write
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays, channel
from smalgos.learning import Model, Parameters, Pass, Spec, State, Sum, param
from smalgos.learning.train import Checkpoint, evaluate, train


class MeanParameters(Parameters):
    epochs: int = param(default=2, low=1, doc="passes")
    rows: int = param(default=10, low=1, doc="rows of a block")
    tail: str = param(default="keep", choices=("keep", "drop"), doc="what becomes of the rest")
    shuffle: bool = param(default=False, doc="new order")


class MeanState(State):
    """The mean row, by a look, epochs and a pass of steps: every kind of pass there is."""

    kernels = "shared"

    first: float
    total: Sum[np.ndarray]
    steps: int

    def begin(self, spec):
        self.first, self.total, self.steps = 0.0, np.zeros(spec.width), 0
        self.heard = []  # no field: forgotten by a resume

    def next_pass(self):
        if self.passes == 0:
            return Pass("look", self.look, rows=5, limit=5, look=True)
        if self.epoch < self.budget:
            return Pass(
                "train", self.update, self.end_pass, prepare=self.prepare, rows=self.p.rows,
                batch=4, tail=self.p.tail, epoch=True, shuffle=self.p.shuffle,
            )  # fmt: skip
        if self.steps < 3:
            return Pass("steps", self.step, channel=None, steps=3)
        return None

    def look(self, block):
        self.first = float(block.features[0, 0])

    def prepare(self, block):
        bad = np.isnan(block.features).any(axis=1)
        if bad.any():
            raise RowError(block.start + int(bad.argmax()), "is NaN")
        return block

    def update(self, block):
        self.heard.append((block.start, len(block)))
        self.total = self.total + block.features.sum(axis=0, dtype=np.float64)

    def end_pass(self):
        return {"train:rows": float(self.row)}

    def step(self, i):
        assert i == self.steps
        self.steps += 1

    def finish(self):
        if not self.seen:
            raise NotReady("nothing")
        return self.total / self.seen


def rows(n=43, d=3):
    return Block.of(np.random.default_rng(0).standard_normal((n, d)).astype(np.float32))


def state_of(block, **given):
    return MeanState(MeanParameters(**given), Spec.of(block))


def test_every_kind_of_pass():
    block, heard = rows(), []
    state = state_of(block)
    why = train(
        state, {"train": Arrays(block)}, report=lambda event, **facts: heard.append((event, facts))
    )
    assert why == "done"
    assert state.first == block.features[0, 0]
    assert state.steps == 3
    assert state.seen == 86
    assert state.finish() == pytest.approx(block.features.mean(axis=0), rel=1e-5)
    # blocks of 8: ten rows rounded to whole batches of 4
    assert state.heard[:6] == [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 3)]
    assert [f["metrics"] for e, f in heard if e == "pass" and f["p"].epoch] == [
        {"train:rows": 43.0}
    ] * 2
    assert heard[-1][1]["why"] == "done"


def test_a_dropped_tail_and_a_single_short_batch():
    state = state_of(rows(), tail="drop", epochs=1)
    train(state, {"train": Arrays(rows())})
    assert state.seen == 40
    state = state_of(rows(3), tail="drop", epochs=1)
    train(state, {"train": Arrays(rows(3))})
    assert state.seen == 3


def test_shuffling_is_a_function_of_seed_and_epoch():
    seen = []

    class Told(MeanState):
        def update(self, block):
            seen.append(block.features[:, 0].copy())

    def run(seed):
        seen.clear()
        block = rows()
        state = Told(MeanParameters(shuffle=True), Spec.of(block, seed=seed))
        train(state, {"train": Arrays(block)})
        return np.concatenate(seen)

    one, again, other = run(1), run(1), run(2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:43], one[43:])
    assert np.array_equal(np.sort(one[:43]), np.sort(rows().features[:, 0]))


def test_bad_rows_are_named_by_file_and_row(tmp_path):
    block = rows(30)
    block.features[17, 1] = np.nan
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.csv", block[:10])
    write(tmp_path / "data" / "b.csv", block[10:])
    stream = channel(tmp_path / "data", "text/csv;label_size=0")
    with pytest.raises(UserError) as caught:
        train(state_of(block), {"train": stream})
    assert "train channel" in str(caught.value)
    assert "b.csv, row 8" in str(caught.value)
    with pytest.raises(UserError, match="array"):
        train(state_of(block), {"train": Arrays(block)})


def test_other_widths_and_missing_columns():
    block = rows()
    with pytest.raises(UserError, match="rows of 4"):
        train(state_of(block), {"train": Arrays(rows(d=4))})
    labelled = Block.of(block.features, np.zeros(len(block), np.float32))
    with pytest.raises(UserError, match="no labels"):
        train(state_of(labelled), {"train": Arrays(block)})
    with pytest.raises(UserError, match="no rows in the train channel"):
        train(state_of(block), {"train": Arrays(block[:0])})


def test_sparse_rows_where_dense_ones_are_expected():
    block = rows()
    sparse = block.replace(features=Csr.of(block.features))
    state = state_of(block)
    train(state, {"train": Arrays(sparse)})
    assert state.finish() == pytest.approx(block.features.mean(axis=0), rel=1e-5)


def test_stopping():
    block = rows()
    state = state_of(block)
    assert train(state, {"train": Arrays(block)}, stop=lambda: state.row >= 16) == "stopped"
    assert state.row == 16
    state = state_of(block)
    assert train(state, {"train": Arrays(block)}, time_limit=-1) == "time"
    state = state_of(block)
    ended = train(
        state, {"train": Arrays(block)},
        report=lambda event, **facts: event == "pass" and state.epoch == 1,
    )  # fmt: skip
    assert (ended, state.epoch) == ("stopped", 1)


def test_checkpoints(tmp_path):
    block, path = rows(), tmp_path / "c"
    state = state_of(block)
    point = Checkpoint(path, seconds=1e9, identity={"train": "x"})
    assert (
        train(state, {"train": Arrays(block)}, checkpoint=point, stop=lambda: state.row >= 16)
        == "stopped"
    )
    assert path.exists()  # what was learnt is kept, whenever the last writing was
    again = state_of(block)
    train(again, {"train": Arrays(block)}, checkpoint=point)
    whole = state_of(block)
    train(whole, {"train": Arrays(block)})
    assert np.array_equal(again.total, whole.total)
    assert again.heard[0][0] == 16
    with pytest.raises(UserError, match="other hyperparameters"):
        train(state_of(block, rows=20), {"train": Arrays(block)}, checkpoint=point)
    other = Checkpoint(path, identity={"train": "y"})
    with pytest.raises(UserError, match="other data"):
        train(state_of(block), {"train": Arrays(block)}, checkpoint=other)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=str(path)):
        train(state_of(block), {"train": Arrays(block)}, checkpoint=point)


class Identity(Model):
    kernels = "shared"
    width = 3

    def predict(self, block: Block, **options: Any):
        return {"score": block.features[:, 0]}

    def check(self): ...


def test_evaluate_runs_over_predict():
    block = rows()
    labelled = Block.of(block.features, block.features[:, 0] + 1)

    class Total:
        total = 0.0

        def add(self, labels, outputs, weights=None):
            self.total += float((labels - outputs["score"]).sum())

    assert evaluate(Identity(), Total(), Arrays(labelled)).total == pytest.approx(43, rel=1e-5)
