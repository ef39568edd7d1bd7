"""The original's log lines, made from the events of a job.

An algorithm reports events and knows no text. What the lines of one algorithm have that others
lack stands here, in its subclass of `Lines`; an algorithm without one gets the common lines.

Two kinds of lines reach standard output: sentences behind a prefix of time, level and thread, and
``#metrics`` lines of JSON without it.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from smalgos.container.job import Job
from smalgos.container.log import METRICS, PLAIN
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


class LinearLearnerLines(Lines):
    """Candidates' curves, the scaler, early stopping, the best model's setting."""

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over."""
        if p.look:
            self.scaler(state)
        if p.epoch:
            self.candidates("train", state, state.loss_curve[-1])
        elif p.channel == "validation":
            self.candidates("validation", state, state.validation_curve[-1])
        super().on_pass(state, p, metrics, rows)

    def scaler(self, state: Any) -> None:
        """What the features are scaled by."""
        found, labelled = state.scaler, state.p.predictor_type == "regressor"
        label_std, label_mean = (found.label_std, found.label_mean) if labelled else (None, None)
        self.say(
            "Scaling model computed with parameters:\n"
            f" {{'stdev_label': {label_std}, 'stdev_weight': \n"
            f"{found.std}, 'mean_label': {label_mean}, 'mean_weight': \n"
            f"{found.mean}}}"
        )

    def candidates(self, split: str, state: Any, values: Any) -> None:
        """The objective of every model."""
        for model, value in enumerate(values):
            series = {f"{split}_{state.objective}": Series(float(value))}
            self.metrics(series, epoch=state.epoch - 1, model=model)

    def on_epoch(self, state: Any, epoch: int) -> None:
        """An epoch is over, with what judges it."""
        value = float(state.criterion_curve[-1])
        self.say(
            f"#early_stopping_criteria_metric: host={self.host}, epoch={epoch}, "
            f"criteria={state.criterion_name}, value={value}"
        )
        if state.stopping.bad == 0:
            self.say(f"Epoch {epoch}: Loss improved. Updating best model")
        self.say(f"Saving model for epoch: {epoch}")
        if state.stopping.over:
            self.say("Early stop condition met. Stopping training.")
        super().on_epoch(state, epoch)

    def last_epoch(self, state: Any) -> bool:
        """Whether no epoch follows."""
        return bool(state.stopping.over) or super().last_epoch(state)

    def on_saved(self, state: State, model: Model, path: Any) -> None:
        """The model is on the disk."""
        self.say(f"Best model found for hyperparameters: {json.dumps(model.notes['setting'])}")
        super().on_saved(state, model, path)


class KMeansLines(Lines):
    """What "auto" stands for, the loss on the way, the attempts to shrink many centres to k.

    The original's `train msd` is the loss over the many centres; that over the rows, where they
    can be read once more, is `train data_msd`.
    """

    def configuration(self, provided: Mapping[str, Any], path: str) -> None:
        """The hyperparameters."""
        super().configuration(provided, path)
        self.provided = dict(provided)

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if event == "batch":
            self.on_batch(facts["state"])
        super().__call__(event, **facts)

    def on_begin(self, state: State) -> None:
        """Training begins, or goes on."""
        super().on_begin(state)
        self.say(f"Setting up with params: {self.provided}")
        for name in ("extra_center_factor", "local_lloyd_num_trials"):
            if str(self.provided.get(name, "auto")).strip('"').lower() == "auto":
                self.say(f"'{name}' was set to 'auto', evaluated to {getattr(state.p, name)}.")
        self.say("number of center slices 1")

    def on_batch(self, state: Any) -> None:
        """Some mini-batches are over."""
        told, state.told = getattr(state, "told", []), []
        for batch, short, long in told:
            self.say(f"Iter {batch}: Short term msd {short:.6f}. Long term msd {long:.6f}")

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading, an iteration, or the shrinking is over."""
        if p.look and rows < state.p.mini_batch_size:
            self.log.warning(
                "%s",
                f"Batch size {state.p.mini_batch_size} is bigger than the first batch data. "
                f"Effective batch size used to initialize is {rows}",
            )
        if p.hold:
            self.epoch_rows = len(state.rows)
            self.counters.add(self.epoch_rows, state.p.mini_batch_size)
            return
        if p.epoch:
            self.say(f"processed a total of {rows} examples")
        super().on_pass(state, p, metrics, rows)
        if p.name == "shrink":
            self.took("_shrink.time")
            self.say(f"shrinking {len(state.centres)} centers into {state.p.k}")
            for i in range(len(state.attempts)):
                self.attempt(state, i)
            self.shrunk(state)
            self.profile(state)
        elif p.name == "iterate" and not state.begun:  # this start is over
            self.attempt(state, state.trial - 1)
            if state.trial == len(state.attempts):
                self.on_epoch(state, 0)
                self.shrunk(state)

    def last_epoch(self, state: Any) -> bool:
        """Whether no epoch follows."""
        return state.p.solver == "lloyd" or super().last_epoch(state)

    def attempt(self, state: Any, i: int) -> None:
        """How well a start of Lloyd's iterations did."""
        msd = state.attempts[i]
        self.say(f"local kmeans attempt #{i}. Current mean square distance {msd:.6f}")

    def shrunk(self, state: Any) -> None:
        """How well the best one did."""
        msd = float(state.attempts.min())
        self.say(f"finished shrinking process. Mean Square Distance = {msd:.0f}")
        self.quality("train", "msd", msd)

    def profile(self, state: Any) -> None:
        """What time went to."""
        spent = {
            "compute all data-center distances": state.times["assignment"],
            "gradient: cluster center and cluster size": state.times["update"],
            "shrink": state.times["shrinking"],
        }
        taken = [*self.times["update.time"].values, self.times["_shrink.time"].values[-1]]
        total = sum(taken) / 1000
        spent["batch data loading with context"] = max(total - sum(spent.values()), 0.0)
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
            self.say(f"{name} took: {100 * seconds / total:.4f}%, ({seconds:.6f} secs)")
        self.say(f"TOTAL took: {total}")

    def on_score(
        self, state: State, model: Model, split: str, scores: Mapping[str, float], rows: int
    ) -> None:
        """The final model was scored on a channel."""
        if split == "train":
            scores = {f"data_{name}": value for name, value in scores.items()}
        super().on_score(state, model, split, scores, rows)

    def quality(self, split: str, name: str, value: float, epoch: int | None = None) -> None:
        """A ``#quality_metric`` line: of losses alone."""
        self.say(f"#quality_metric: host={self.host}, {split} {name} <loss>={value}")


class PCALines(Lines):
    """Width of the rows, and what share of their variance the components keep."""

    def on_begin(self, state: State) -> None:
        """Training begins, or goes on."""
        self.say(f"{state.spec.width} feature(s) found in 'data'.")
        super().on_begin(state)

    def on_saved(self, state: State, model: Any, path: Any) -> None:
        """The model is on the disk."""
        if model.trace > 0:
            shares = model.s**2 / model.trace
            self.say(f"Explained variance: {shares.sum():.6g} of 1, by component {shares}")
        super().on_saved(state, model, path)


class KNNLines(Lines):
    """The sample, the index that is made of it, and how long that takes."""

    building = False  # whether it was said that data are added to the index

    def on_begin(self, state: State) -> None:
        """Training begins, or goes on."""
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.say(
            f"Using per-worker sample size = {state.p.sample_size} (Available virtual memory = "
            f"{free} bytes, GPU free memory = 0 bytes, number of workers = 1). If an out-of-memory "
            "error occurs, give a smaller sample_size."
        )
        super().on_begin(state)

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over."""
        super().on_pass(state, p, metrics, rows)
        if p.epoch:
            shape = state.sample.features.shape if len(state.sample) else (0, 0)
            self.say(f"Getting reservoir sample from {self.host}...")
            self.say(
                f"...Got reservoir sample from {self.host}: data={shape}, "
                f"labels=({shape[0]},), NaNs=0"
            )
            self.say("Training index...")

    def on_stop(self, state: State, why: str) -> None:
        """Training is over."""
        self.say(f"...Finished training index in {int(time.time() - self.mark)} second(s)")
        super().on_stop(state, why)
        self.say("Adding data to index...")
        self.building = True

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if self.building and event in ("scoring", "saved"):
            seconds = int(time.time() - self.mark)
            self.say(f"...Finished adding data to index in {seconds} second(s)")
            self.building = False
        super().__call__(event, **facts)


class XGBoostLines(Lines):
    """XGBoost's own lines, one for each round, and those that the container adds.

    There are no ``#metrics`` lines, and sentences have the prefix of Python's root logger.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folds = 0  # of cross-validation that have begun

    def say(self, text: str) -> None:
        """A sentence."""
        self.bare(f"INFO:root:{text}")

    def bare(self, text: str) -> None:
        """A line without a prefix."""
        self.log.info("%s", text, extra=PLAIN)

    def configuration(self, provided: Mapping[str, Any], path: str) -> None:
        """Nothing is said of it."""

    def channels(self, job: Job) -> None:
        """Where checkpoints and pipes are."""
        if job.checkpoint is not None:
            self.say(f"Checkpoints are saved to {job.checkpoint}")
        for name, config in job.channels.items():
            if config.mode == "Pipe":
                self.say(f"The channel '{name}' is in pipe input mode under {config.path}.")

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if event == "fold":
            self.on_fold(**facts)
        elif event == "folds":
            self.on_folds(**facts)
        super().__call__(event, **facts)

    def on_begin(self, state: State) -> None:
        """Training begins, or goes on."""
        if not self.folds:
            self.first(state.spec.facts)
            self.say("Single node training.")
        if state.passes or state.row:
            self.say(f"Resumed from the checkpoint: round {state.epoch}")

    def first(self, facts: Mapping[str, Any]) -> None:
        """What is said once."""
        if delimiter := facts.get("settled", {}).get("delimiter"):
            self.say(f"Determined delimiter of CSV input is '{delimiter}'")
        if metric := facts.get("tuning_metric"):
            said = str(metric).rpartition(":")[2]
            self.bare(f"Setting up HPO optimized metric to be : {said}")

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A round is over, or rows are held."""
        if p.epoch:
            self.round(state.epoch - 1, metrics)
        elif not self.folds and p.channel == "validation":
            self.say(f"Validation matrix has {state.side('validation').n} rows")
        elif not self.folds and p.name == "sketch":
            self.say(f"Train matrix has {state.rows} rows and {state.spec.width} columns")

    def round(self, number: int, metrics: Mapping[str, float]) -> None:
        """``[0]<tab>train-rmse:8.10123<tab>validation-rmse:8.23456``"""
        told = (f"\t{name.replace(':', '-', 1)}:{value:.5f}" for name, value in metrics.items())
        self.bare(f"[{number}]{''.join(told)}")

    def on_stop(self, state: State, why: str) -> None:
        """Training is over."""
        if why == "stopped":
            self.say("Training was asked to stop: the model learnt so far is saved.")

    def on_saved(self, state: State, model: Model, path: Any) -> None:
        """The model is on the disk."""

    def on_fold(self, state: State, number: int, of: tuple[int, int], rows: int) -> None:
        """A part of the rows is about to be held out."""
        repeats, folds = of
        if not self.folds:
            self.first(state.spec.facts)
            self.say(f"Run {repeats}-round of {folds}-fold cross validation with {rows} rows")
        self.folds += 1
        self.say(f"Train cross validation fold {number % folds + 1}")

    def on_folds(self, state: State, repeat: int | None, means: Mapping[str, float]) -> None:
        """All parts were held out, or all repeats are over (None): the means of metrics."""
        if repeat is None:
            self.say("The overall metrics of cross validation")
        else:
            self.say(f"The metrics of round {repeat + 1} cross validation")
        self.round(state.budget, means)


OWN_LINES: dict[str, type[Lines]] = {
    "knn": KNNLines,
    "kmeans": KMeansLines,
    "linear-learner": LinearLearnerLines,
    "pca": PCALines,
    "xgboost": XGBoostLines,
}


def lines_of(algorithm: Algorithm) -> type[Lines]:
    """The class of an algorithm's lines."""
    return OWN_LINES.get(algorithm.name, Lines)
