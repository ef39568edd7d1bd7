"""The progress bar, fed with a driver's events."""

from types import SimpleNamespace
from typing import Any

import pytest

from smalgos.learning.progress import Progress


def run(progress: Progress, *, channels: set[str], rows: int | None, why: str = "done") -> None:
    """Two epochs of two blocks of 50 rows."""
    spec = SimpleNamespace(rows=rows)
    validates = "validation" in channels
    state = SimpleNamespace(spec=spec, validates=validates, watched="", budget=2, epoch=0, seen=0)
    reading = SimpleNamespace(epoch=True, channel="train")
    progress("begin", state=state)
    for _ in range(2):
        for _ in range(2):
            state.seen += 50
            progress("batch", state=state, p=reading)
        state.epoch += 1
        metrics = {"train:mse": 1 / 8}
        progress("pass", state=state, p=reading, metrics=metrics, rows=100)
        if "validation" in channels:
            look = SimpleNamespace(epoch=False, channel="validation")
            told = {"validation:mse": 0.25, "criteria": 9.0}
            progress("batch", state=state, p=look)
            progress("pass", state=state, p=look, metrics=told, rows=30)
    progress("stop", state=state, why=why)


@pytest.mark.parametrize("rows", [None, 100])
def test_it_counts_and_tells_the_latest_metric(rows: int | None, capsys: Any) -> None:
    run(Progress("linear"), channels={"train"}, rows=rows)
    told = capsys.readouterr()
    assert told.out == ""
    last = told.err.rstrip().rpartition("\r")[2]
    assert last.startswith("linear 100%|")
    assert last.endswith("epoch 2/2, train mse 0.125")


def test_validation_is_told_where_there_is_some(capsys: Any) -> None:
    run(Progress("linear"), channels={"train", "validation"}, rows=100)
    told = capsys.readouterr().err
    assert "epoch 2/2, val mse 0.25" in told
    assert "train mse 0.125" not in told


def test_rounds_without_reading_are_counted(capsys: Any) -> None:
    progress = Progress("trees")
    spec = SimpleNamespace(rows=100)
    state = SimpleNamespace(spec=spec, validates=False, watched="", budget=4, epoch=0, seen=0)
    step = SimpleNamespace(epoch=True, channel=None)
    progress("begin", state=state)
    for _ in range(3):
        progress("batch", state=state, p=step)
        state.epoch += 1
        progress("pass", state=state, p=step, metrics={"train:mse": 1 / 8}, rows=1)
    progress.close()
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert last.startswith("trees  75%|")
    assert last.endswith("round 3/4, train mse 0.125")


def test_before_the_first_rows_it_says_what_takes_so_long(capsys: Any) -> None:
    progress = Progress("linear")
    state = SimpleNamespace(spec=SimpleNamespace(rows=100), budget=1, epoch=0, seen=0)
    progress("begin", state=state)
    assert "linear starting; the first time, its kernels are compiled" in capsys.readouterr().err
    progress.close()


def test_training_that_failed_leaves_a_whole_line(capsys: Any) -> None:
    progress = Progress("linear")
    progress.close()  # before it began
    state = SimpleNamespace(spec=SimpleNamespace(rows=100), budget=1, epoch=0, seen=0)
    progress("begin", state=state)
    progress.close()
    assert capsys.readouterr().err.endswith("\n")


def test_the_metric_that_decides_is_told_by_a_short_name(capsys: Any) -> None:
    progress = Progress("linear")
    watched = "binary_classification_cross_entropy"
    state = SimpleNamespace(
        spec=SimpleNamespace(rows=100), validates=False, watched=watched, budget=1, epoch=0, seen=0
    )
    progress("begin", state=state)
    state.epoch, state.seen = 1, 100
    reading = SimpleNamespace(epoch=True, channel="train")
    progress("batch", state=state, p=reading)
    told = {f"train:{watched}": 0.5, "train:f1": 0.75}
    progress("pass", state=state, p=reading, metrics=told, rows=100)
    progress("stop", state=state, why="done")
    assert "epoch 1/1, train cross_entropy 0.5" in capsys.readouterr().err
