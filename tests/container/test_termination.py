"""SIGTERM by the phases of a job."""

import os
import signal
import time

import pytest

from smalgos.container import termination
from smalgos.container.interrupt import Interrupted
from smalgos.container.termination import Termination


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)


def test_before_training_it_is_obeyed_at_once():
    t = Termination()
    with t.handled(), pytest.raises(Interrupted):
        terminate()
    assert t.asked


def test_what_was_swallowed_comes_again(monkeypatch):
    monkeypatch.setattr(termination, "AGAIN", 0.05)
    t = Termination()
    with t.handled():
        with pytest.raises(Interrupted):
            terminate()
        with pytest.raises(Interrupted):
            time.sleep(60)
        with pytest.raises(Interrupted):
            t.watch("begin")


def test_during_training_it_is_asked_for():
    t = Termination()
    with t.handled():
        t.watch("begin")
        terminate()
        assert t.asked


def test_a_wait_for_data_is_left(monkeypatch):
    monkeypatch.setattr(termination, "PATIENCE", 0.05)
    t = Termination()
    with t.handled():
        t.watch("begin")
        terminate()
        with pytest.raises(Interrupted):
            time.sleep(60)


def test_the_model_is_written_in_peace(monkeypatch):
    monkeypatch.setattr(termination, "PATIENCE", 0.05)
    t = Termination()
    with t.handled():
        t.watch("begin")
        terminate()
        t.watch("stop")
        time.sleep(0.2)  # the alarm has come
        terminate()


def test_scoring_is_given_up():
    t = Termination()
    with t.handled():
        for event in ("begin", "stop", "scoring"):
            t.watch(event)
        with pytest.raises(Interrupted):
            terminate()
        terminate()  # once more changes nothing


def test_scoring_does_not_begin_when_it_came_before():
    t = Termination()
    with t.handled():
        t.watch("begin")
        t.watch("stop")
        terminate()
        with pytest.raises(Interrupted):
            t.watch("scoring")


def test_a_failure_is_told_in_peace():
    t = Termination()
    with t.handled():
        t.hold()
        terminate()


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with Termination().handled():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
