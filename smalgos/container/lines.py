"""The original's log lines, made from the events of a job.

An algorithm reports events and knows no text. What the lines of one algorithm have that others
lack stands in its subclass of `Lines` (`own_lines`); an algorithm without one gets these.

Two kinds of lines reach standard output: sentences behind a prefix of time, level and thread, and
``#metrics`` lines of JSON without it.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from smalgos.container.job import Job
from smalgos.container.log import METRICS
from smalgos.formats.content_type import ContentType
from smalgos.learning.metrics import goal
from smalgos.learning.model import Algorithm, Model
from smalgos.learning.parameters import REQUIRED
from smalgos.learning.state import Pass, State


class Series:
    """A metric as ``#metrics`` lines give it: sum, count, least and greatest of some values."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def add(self, value: float) -> None:
        """One more."""
        self.values.append(value)

    def as_dict(self) -> dict[str, float]:
        """``{"sum": , "count": , "min": , "max": }``"""
        v = self.values
        return {"sum": float(sum(v)), "count": len(v), "min": min(v), "max": max(v)}


class Counters:
    """Rows and batches that a channel has given.

    A reset is the beginning of a further reading.
    """

    def __init__(self) -> None:
        self.readings: list[tuple[int, int]] = []  # (rows, batches) of each
        self.started = time.time()

    def add(self, rows: int, batch: int) -> None:
        """One reading is over."""
        self.readings.append((rows, -(-rows // batch)))

    def as_dict(self) -> dict[str, Series]:
        """The original's seven numbers."""
        records, batches = zip(*self.readings, strict=True) if self.readings else ((0,), (0,))
        return {
            "Total Records Seen": Series(sum(records)),
            "Total Batches Seen": Series(sum(batches)),
            "Max Records Seen Between Resets": Series(max(records)),
            "Max Batches Seen Between Resets": Series(max(batches)),
            "Reset Count": Series(len(self.readings)),
            "Number of Records Since Last Reset": Series(records[-1]),
            "Number of Batches Since Last Reset": Series(batches[-1]),
        }


class Lines:
    """A reporter that writes the lines all algorithms have in common.

    Parameters
    ----------
    algorithm : Algorithm
    host : str
    log : logging.Logger
    started : float
        When the process began, in seconds since 1970.
    """

    def __init__(
        self, algorithm: Algorithm, host: str, log: logging.Logger, started: float | None = None
    ) -> None:
        self.algorithm, self.host, self.log = algorithm, host, log
        self.started = started or time.time()
        self.times: dict[str, Series] = {}  # milliseconds
        self.counters = Counters()  # of the train channel
        self.epoch_rows = 0
        self.mark = self.started  # where the stage began that the next event ends

    def say(self, text: str) -> None:
        """A line with the prefix."""
        self.log.info("%s", text)

    def metrics(
        self, values: Mapping[str, Series], *, since: float | None = None, **dimensions: Any
    ) -> None:
        """A ``#metrics`` line."""
        now = time.time()
        entry = {
            "StartTime": now if since is None else since,
            "EndTime": now,
            "Dimensions": {
                "Algorithm": self.algorithm.label,
                "Host": self.host,
                "Operation": "training",
                **dimensions,
            },
            "Metrics": {name: series.as_dict() for name, series in values.items()},
        }
        self.log.info("%s", METRICS + json.dumps(entry))

    def quality(self, split: str, name: str, value: float, epoch: int | None = None) -> None:
        """A ``#quality_metric`` line; `epoch` is None for the final model."""
        at = "" if epoch is None else f"epoch={epoch}, "
        kind = "<loss>" if goal(name) == "min" else "<score>"
        self.say(f"#quality_metric: host={self.host}, {at}{split} {name} {kind}={value}")

    def took(self, name: str) -> None:
        """Count the time since the last mark to a timer; set the mark."""
        now = time.time()
        self.times.setdefault(name, Series()).add(1000 * (now - self.mark))
        self.mark = now

    # -- before the events

    def configuration(self, provided: Mapping[str, Any], path: str) -> None:
        """The hyperparameters: defaults, what was given, both together."""
        default = {
            name: as_string(f.default)
            for name, f in self.algorithm.parameters.table.items()
            if f.default is not REQUIRED and f.default is not None
        }
        module = self.algorithm.parameters.__module__
        self.say(f"Reading default configuration from {module}: {default}")
        self.say(f"Merging with provided configuration from {path}: {dict(provided)}")
        self.say(f"Final configuration: {default | dict(provided)}")

    def channels(self, job: Job) -> None:
        """How the job is run, and what its channels are."""
        self.say("Using default worker.")
        rows = [config for name, config in job.channels.items() if name != "model"]
        types = [ContentType.parse(c.content_type).type for c in rows if c.content_type]
        for text in dict.fromkeys(types):
            self.say(f"Loaded iterator creator {text} for content type ('{text}', '1.0')")
        if job.checkpoint is None:
            self.say("Checkpoint loading and saving are disabled.")
        else:
            self.say(f"Checkpoints are saved to {job.checkpoint}")
        for name, config in job.channels.items():
            if config.mode == "Pipe":
                self.say(f"The channel '{name}' is in pipe input mode under {config.path}.")
        self.took("setuptime")

    # -- the events

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        handlers: dict[str, Callable[..., None]] = {
            "begin": self.on_begin,
            "pass": self.on_pass,
            "stop": self.on_stop,
            "score": self.on_score,
            "scored": self.on_scored,
            "saved": self.on_saved,
        }
        if event in handlers:
            handlers[event](**facts)

    def on_begin(self, state: State) -> None:
        """Training begins, or goes on."""
        self.say("Create Store: local")
        self.say("Number of GPUs being used: 0")
        if state.passes or state.row:
            self.say(f"Resumed from the checkpoint: epoch {state.epoch}, row {state.row}")
        self.took("initialize.time")

    def on_pass(self, state: State, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over."""
        if p.channel == "train":
            self.counters.add(rows, getattr(state.p, "mini_batch_size", p.batch))
        if p.look:
            self.metrics(
                self.counters.as_dict(), since=self.counters.started, Meta="init_train_data_iter"
            )
            self.took("initialize.time")
        epoch = state.epoch - 1
        for key, value in metrics.items():
            split, colon, name = key.partition(":")
            if colon:
                self.quality(split, name, float(value), epoch)
        if p.epoch:
            self.epoch_rows = rows
        if p.channel == "validation" or (p.epoch and "validation" not in state.spec.channels):
            self.on_epoch(state, epoch)

    def on_epoch(self, state: State, epoch: int) -> None:
        """An epoch is over, with what judges it."""
        percent = 100 if self.last_epoch(state) else 100 * state.epoch // state.budget
        self.say(f"#progress_metric: host={self.host}, completed {percent} % of epochs")
        since = self.mark
        self.took("update.time")
        self.metrics(self.counters.as_dict(), since=since, epoch=epoch, Meta="training_data_iter")
        rate = self.epoch_rows / max(self.mark - since, 1e-9)
        self.say(f"#throughput_metric: host={self.host}, train throughput={rate} records/second")

    def last_epoch(self, state: State) -> bool:
        """Whether no epoch follows."""
        return state.epoch >= state.budget

    def on_stop(self, state: State, why: str) -> None:
        """Training is over."""
        if why == "stopped":
            self.say("Training was asked to stop: the model learnt so far is saved, not scored.")
        self.mark = time.time()

    def on_score(
        self, state: State, model: Model, split: str, scores: Mapping[str, float], rows: int
    ) -> None:
        """The final model was scored on a channel."""
        for name, value in scores.items():
            self.say(f"#{split}_score ({self.host}) : {(name, float(value))!r}")
        for name, value in scores.items():
            self.quality(split, name, float(value))
        if split == "test":
            counters = Counters()
            counters.add(rows, getattr(state.p, "mini_batch_size", rows))
            self.metrics(counters.as_dict(), since=self.mark, Meta="test_data_iter")

    def on_scored(self, state: State, why: str) -> None:
        """The final model was scored, or not to the end."""
        if why == "stopped":
            self.say("Scoring was asked to stop: the model is saved.")

    def on_saved(self, state: State, model: Model, path: Any) -> None:
        """The model is on the disk."""
        if "test" not in state.spec.channels:
            self.say("Test data is not provided.")
        self.took("finalize.time")
        self.say(f"Serializing model to {path}")
        epochs, total = Series(state.budget), Series(1000 * (time.time() - self.started))
        times = {"epochs": epochs, **self.times, "totaltime": total}
        self.metrics(times, since=self.started)


def as_string(value: Any) -> str:
    """A default as ``hyperparameters.json`` would spell it."""
    return json.dumps(value) if isinstance(value, bool | list) else str(value)
