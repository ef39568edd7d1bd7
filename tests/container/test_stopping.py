"""SIGTERM and SIGKILL: what is saved, and that a resumed job ends with the same bytes."""

import os
import random
import re
import signal
import time

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.container.lines import Lines
from tests.container.box import Box, numbers, records

HYPERPARAMETERS = {
    "predictor_type": "binary_classifier", "epochs": "3", "mini_batch_size": "64",
}  # fmt: skip

# Small blocks: several checkpoints within each epoch.
SMALL = "import smalgos.learning.minibatch as m; m.BLOCK_BYTES = 1\n"
MAIN = "import sys; from smalgos.container.train import main; sys.exit(main([]))\n"
# Dies behind its n-th checkpoint, as by SIGKILL from outside.
DYING = (
    SMALL
    + """
import os, signal
from smalgos.learning import files
write, left = files.write, [{n}]
def written(path, *rest):
    write(path, *rest)
    left[0] -= "checkpoint" in str(path)
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
files.write = written
"""
    + MAIN
)


def rows(n, seed):
    features, score = numbers(n, seed=seed)
    return records(features, (score > 0).astype(np.float32))


TRAIN, VALIDATION = rows(1500, 0), rows(300, 1)


def job(base, mode="File", algorithm="linear-learner", *, checkpoints=True):
    box = Box(base, algorithm)
    box.environment["SMALGOS_CHECKPOINT_SECONDS"] = "0"
    if algorithm == "pca":
        box.hyperparameters(num_components="2", mini_batch_size="100")
        box.channel("train", {"a.pbr": TRAIN}, mode=mode)
    else:
        box.hyperparameters(**HYPERPARAMETERS)
        box.channel("train", {"a.pbr": TRAIN}, mode=mode)
        box.channel("validation", {"a.pbr": VALIDATION}, mode=mode)
    if checkpoints:
        box.config("checkpointconfig.json", {"LocalPath": str(base / "checkpoints")})
    return box


def pipes(box):
    """Fresh FIFOs, as the platform makes at each start of a job."""
    for path in (box.base / "input" / "data").glob("*_*"):
        path.unlink()
    for name, content in (("train", TRAIN), ("validation", VALIDATION)):
        box.feed(name, content, range(6))


def finished(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


def until(process, text):
    """The output up to a line that contains `text`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} never came: {''.join(lines)}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of the model of an uninterrupted run, without checkpoints and in blocks as usual."""
    box = job(tmp_path_factory.mktemp("whole") / "ml", checkpoints=False)
    finished(box.start())
    return box.model.read_bytes()


# SIGKILL ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "n"), [("File", 2), ("File", 9), ("Pipe", 12)])
def test_killed_behind_a_checkpoint_it_ends_with_the_same_bytes(tmp_path, whole, mode, n):
    box = job(tmp_path / "ml", mode)
    if mode == "Pipe":
        pipes(box)
    process = box.start(DYING.format(n=n))
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, out
    assert not box.model.exists()
    if mode == "Pipe":
        pipes(box)
    assert "Resumed from the checkpoint" in finished(box.start(SMALL + MAIN))
    assert box.model.read_bytes() == whole
    assert [p.name for p in (box.base / "checkpoints").iterdir()] == [
        "smalgos-checkpoint-algo-1.safetensors"
    ]


def test_pca_killed_and_resumed(tmp_path, monkeypatch, capsys):
    box = job(tmp_path / "ml", algorithm="pca")
    process = box.start(DYING.format(n=1))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    out = box.trained(monkeypatch, capsys)
    assert "Resumed" in out
    other = job(tmp_path / "other", algorithm="pca", checkpoints=False)
    other.trained(monkeypatch, capsys)
    assert box.model.read_bytes() == other.model.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["File", "Pipe"])
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(tmp_path, whole, mode):
    """Each start is killed after a random time behind its first line, if it is not done before."""
    chance = random.Random(5)
    box, kills = job(tmp_path / "ml", mode), 0
    while kills < 20:
        if mode == "Pipe":
            pipes(box)
        process = box.start(SMALL + MAIN)
        until(process, "Create Store")
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        kills += process.returncode != 0
        if box.model.exists():  # done before it was killed: begin again
            assert box.model.read_bytes() == whole
            box.model.unlink()
            for path in (box.base / "checkpoints").iterdir():
                path.unlink()
    if mode == "Pipe":
        pipes(box)
    finished(box.start(SMALL + MAIN))
    assert box.model.read_bytes() == whole


def test_a_finished_job_started_again_gives_the_same_model(tmp_path, whole, monkeypatch, capsys):
    box = job(tmp_path / "ml")
    for _ in range(2):
        out = box.trained(monkeypatch, capsys)
        assert box.model.read_bytes() == whole
        box.model.unlink()
    assert "Resumed from the checkpoint: epoch 3" in out


def test_a_checkpoint_of_other_data_is_refused(tmp_path, monkeypatch, capsys):
    box = job(tmp_path / "ml")
    box.trained(monkeypatch, capsys)
    box.model.unlink()
    box.channel("train", {"a.pbr": rows(1400, 0)})
    said = box.failed(monkeypatch, capsys)
    assert re.search(r"checkpoints/.*: this checkpoint was written with other data", said)


# SIGTERM ------------------------------------------------------------------------------------------


def test_sigterm_during_start_up(tmp_path):
    """The train channel's pipe is there, but nobody writes to it."""
    box = job(tmp_path / "ml", "Pipe", checkpoints=False)
    box.fifo("train", 0)
    process = box.start()
    until(process, "is in pipe input mode")
    process.terminate()
    out = finished(process)
    assert "SIGTERM before training began: there is no model to save." in out
    assert not box.model.exists()
    assert box.failure == ""


def half_fed(box, code):
    """A process that has done an epoch and waits for the rest of the second one's rows."""
    box.feed("train", TRAIN, [0])
    box.feed("validation", VALIDATION, range(5))
    path = box.fifo("train", 1)
    process = box.start(code)
    until(process, "#throughput_metric")
    pipe = os.open(path, os.O_WRONLY)
    os.write(pipe, TRAIN[:30_000])
    return process, pipe


def test_sigterm_during_training_finishes_the_block_and_saves(tmp_path, whole):
    box = job(tmp_path / "ml", "Pipe")
    process, pipe = half_fed(box, SMALL + MAIN)
    process.terminate()
    time.sleep(0.2)
    with open(pipe, "wb") as rest:
        rest.write(TRAIN[30_000:])
    out = finished(process)
    assert "Training was asked to stop" in out
    assert "_score" not in out
    stopped = load_model(box.model)
    assert stopped.notes["epochs"] == 1
    assert box.failure == ""
    # The platform's restart behind a spot interruption.
    pipes(box)
    assert "Resumed from the checkpoint: epoch 1, row " in finished(box.start(SMALL + MAIN))
    assert box.model.read_bytes() == whole


def test_sigterm_while_training_waits_for_data(tmp_path):
    box = job(tmp_path / "ml", "Pipe", checkpoints=False)
    impatient = (
        "import smalgos.container.termination as t; t.PATIENCE = 0.3\n"
        "import smalgos.formats.cutting as c; c.GRACE = 0.1\n"
    )
    process, pipe = half_fed(box, impatient + SMALL + MAIN)
    process.terminate()
    out = finished(process)
    os.close(pipe)
    assert "Training was asked to stop" in out
    assert load_model(box.model).notes["epochs"] == 1


def test_sigterm_while_the_model_is_scored(tmp_path, monkeypatch, capsys):
    def slow(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    box = job(tmp_path / "ml", checkpoints=False)
    monkeypatch.setattr("smalgos.container.job.score", slow)
    out = box.trained(monkeypatch, capsys)
    assert "Scoring was asked to stop: the model is saved." in out
    assert load_model(box.model).notes["epochs"] == 3


def test_sigterm_before_anything_is_learnt(tmp_path, monkeypatch, capsys):
    """It comes when training begins: the first block of the scaler is finished, no step is done."""
    box = job(tmp_path / "ml", checkpoints=False)
    begin = Lines.on_begin

    def terminated(self, state):
        begin(self, state)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Lines, "on_begin", terminated)
    out = box.trained(monkeypatch, capsys)
    assert "SIGTERM before anything was learnt: there is no model to save." in out
    assert not box.model.exists()
    assert (box.failure, box.leftovers()) == ("", [])
