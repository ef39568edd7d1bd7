"""Log lines that the original of one algorithm has and others lack."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smalgos.container.job import Job
from smalgos.container.lines import Counters, Lines, Series
from smalgos.container.log import PLAIN
from smalgos.learning.model import Algorithm, Model
from smalgos.learning.state import Pass, State


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
        self.say(
            f"Using per-worker sample size = {state.p.sample_size} (Available virtual memory = "
            f"{free_memory()} bytes, GPU free memory = 0 bytes, number of workers = 1). If an "
            "out-of-memory error occurs, give a smaller sample_size."
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


class RandomCutForestLines(Lines):
    """Checks, the sample, and what the forest is like.

    Its sums in bytes are the original's, for a sample that is full.
    """

    built = False  # whether it was said that the forest is built

    def on_begin(self, state: Any) -> None:
        """Training begins, or goes on."""
        p, width = state.p, state.spec.width * state.p.shingle_size
        sample = p.num_trees * p.num_samples_per_tree * width * 16
        self.say("Verifying hyperparamemters...")
        self.say("Hyperparameters are correct.")
        self.say("Validating that feature_dim agrees with dimensions in training data...")
        self.say("feature_dim is correct.")
        self.say("Validating memory limits...")
        self.say(f"Available memory in bytes: {free_memory()}")
        self.say(f"Estimated sample size in bytes: {sample}")
        self.say(f"Estimated memory needed to build the forest in bytes: {sample * 5 // 2}")
        self.say("Memory limits validated.")
        self.say("Initializing Sampler...")
        super().on_begin(state)
        self.say("Sampler correctly initialized.")
        self.say("Sampling training data...")

    def on_pass(self, state: State, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over."""
        self.say("Sampling training data completed.")
        super().on_pass(state, p, metrics, rows)

    def on_stop(self, state: Any, why: str) -> None:
        """Training is over."""
        super().on_stop(state, why)
        self.say("Master node: building Random Cut Forest...")
        self.say("Gathering samples...")
        self.say(f"{len(state.sample)} samples gathered")
        self.say("Building Random Cut Forest...")

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if "model" in facts and not self.built:
            self.on_built(facts["model"])
            self.built = True
        super().__call__(event, **facts)

    def on_built(self, model: Any) -> None:
        """The forest is there."""
        self.took("fit_model.time")
        arrays = model.forest.plain()
        nodes, depth = model.forest.shape()
        size = sum(array.nbytes for array in arrays.values())
        rows = int(arrays["mass"][arrays["offsets"][:-1]].sum())
        told: dict[str, Any] = {
            "num_trees": len(nodes),
            "num_samples_in_forest": rows,
            "num_samples_per_tree": rows // len(nodes),
            "sample_dim": model.width,
            "shingle_size": model.shingle_size,
            "trees_num_nodes": f"[{''.join(f'{n}, ' for n in nodes)}]",
            "trees_depth": f"[{''.join(f'{n}, ' for n in depth)}]",
        }
        for name, values in (("num_nodes", nodes), ("tree_depth", depth)):
            told[f"max_{name}"] = values.max()
            told[f"min_{name}"] = values.min()
            told[f"avg_{name}"] = values.sum() // len(values)
        told["mem_size"] = size
        self.say("Random Cut Forest built: ")
        self.say("")
        self.say(f"ForestInfo{{{', '.join(f'{name}: {value}' for name, value in told.items())}}}")
        self.times["model.bytes"] = Series(size)

    def on_saved(self, state: State, model: Model, path: Any) -> None:
        """The model is on the disk."""
        self.say("Master node: Serializing the RandomCutForest model")
        super().on_saved(state, model, path)


class FactorizationMachinesLines(Lines):
    """Scores of the first batch of an epoch and of each so many more, as means since it began."""

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if event == "batch" and facts["p"].epoch:
            self.on_batch(facts["state"])
        super().__call__(event, **facts)

    def on_begin(self, state: Any) -> None:
        """Training begins, or goes on."""
        self.say("Number of GPUs being used: 0")
        if state.spec.columns["features"][0] == "csr":
            self.say("[Sparse network] Building a sparse network.")
        self.say("Create Store: local")
        if state.passes or state.row:
            self.say(f"Resumed from the checkpoint: epoch {state.epoch}, row {state.row}")
        self.took("initialize.time")
        batch = state.p.mini_batch_size
        self.counters.add(min(batch, state.spec.rows or batch), batch)
        self.metrics({"initialize.time": self.times["initialize.time"]}, since=self.started)
        self.metrics(
            self.counters.as_dict(), since=self.counters.started, Meta="init_train_data_iter"
        )

    def on_batch(self, state: Any) -> None:
        """Some mini-batches are over."""
        for batch, scores in state.told:
            for name, value in scores.items():
                self.quality(f"batch={batch} train", name, value, state.epoch)

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over; looks at the first rows are not told."""
        if not p.look:
            super().on_pass(state, p, metrics, rows)

    def on_epoch(self, state: State, epoch: int) -> None:
        """An epoch is over, with what judges it."""
        since = self.mark
        self.took("update.time")
        spent = {"update.time": Series(self.times["update.time"].values[-1])}
        if epoch == 0:
            spent["epochs"] = Series(state.budget)
        self.metrics(spent, since=since)
        percent = 100.0 if self.last_epoch(state) else 100 * state.epoch / state.budget
        self.say(f"#progress_metric: host={self.host}, completed {percent} % of epochs")
        self.metrics(self.counters.as_dict(), since=since, epoch=epoch, Meta="training_data_iter")
        rate = self.epoch_rows / max(self.mark - since, 1e-9)
        self.say(f"#throughput_metric: host={self.host}, train throughput={rate} records/second")

    def last_epoch(self, state: Any) -> bool:
        """Whether no epoch follows."""
        return bool(state.stopping.over) or super().last_epoch(state)

    def on_stop(self, state: State, why: str) -> None:
        """Training is over."""
        self.say("Pulling entire model from kvstore to finalize")
        super().on_stop(state, why)


class PairCounters(Counters):
    """Pairs and steps: of each row there are several, made-up ones included."""

    each = 1

    def add(self, rows: int, batch: int) -> None:
        """One reading is over."""
        steps, left = divmod(rows, batch)
        steps = steps * min(batch, self.each) + min(left, self.each)
        self.readings.append((rows * self.each, steps))


class IPInsightsLines(Lines):
    """Metrics after each so many batches, as means since the epoch began; rates in pairs."""

    counters: PairCounters

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counters = PairCounters()
        self.began = self.last = (time.time(), 0.0)  # (when, pairs of the epoch by then)

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if event == "batch" and facts["p"].epoch:
            self.on_batch(facts["state"])
        super().__call__(event, **facts)

    def on_begin(self, state: Any) -> None:
        """Training begins, or goes on."""
        super().on_begin(state)
        p = state.p
        made_up = p.random_negative_sampling_rate + p.shuffled_negative_sampling_rate
        self.counters.each = 1 + made_up
        self.began = self.last = time.time(), float(state.sums[2])

    def on_batch(self, state: Any) -> None:
        """Some steps are over."""
        told, state.told = state.told, []
        now, (when, before) = time.time(), self.last
        speed = (state.sums[2] - before) / max(now - when, 1e-9)
        for batch, accuracy, loss in told:
            if batch:
                self.say(
                    f"Epoch[{state.epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec\t"
                    f"binary_classification_accuracy={accuracy:.6f}\t"
                    f"binary_classification_cross_entropy={loss:.6f}"
                )
            at = f"#quality_metric: host={self.host}, epoch={state.epoch}, batch={batch} train"
            self.say(f"{at} binary_classification_accuracy <score>={accuracy}")
            self.say(f"{at} binary_classification_cross_entropy <loss>={loss}")
        if told:
            self.last = now, float(state.sums[2])

    def on_pass(self, state: State, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading is over."""
        if p.epoch:
            now, epoch = time.time(), state.epoch - 1
            for key, value in metrics.items():
                self.say(f"Epoch[{epoch}] Train-{key.removeprefix('train:')}={value:.6f}")
            self.say(f"Epoch[{epoch}] Time cost={now - self.began[0]:.3f}")
            self.began = self.last = now, 0.0
        super().on_pass(state, p, metrics, rows)

    def on_epoch(self, state: State, epoch: int) -> None:
        """An epoch is over, with what judges it."""
        self.epoch_rows *= self.counters.each
        super().on_epoch(state, epoch)
        self.began = self.last = time.time(), 0.0


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


class BlazingTextLines(Lines):
    """The tool's own lines, most of them without a prefix: words read, progress, accuracies.

    There are no ``#metrics`` lines.
    """

    EVERY = 2.0  # seconds between two lines of progress
    READ = 10_000_000  # words between two lines while they are counted

    told = 0  # words that were told of
    throughput = 0.0

    def bare(self, text: str) -> None:
        """A line without a prefix."""
        self.log.info("%s", text, extra=PLAIN)

    def configuration(self, provided: Mapping[str, Any], path: str) -> None:
        """Nothing is said of it, as long as all of it is used."""
        self.provided = dict(provided)

    def channels(self, job: Job) -> None:
        """The files."""
        self.folder, self.validation = job.model_dir, job.channels.get("validation")
        looked = time.time()
        gpus = int(shutil.which("nvidia-smi") is not None)
        self.say(f"nvidia-smi took: {time.time() - looked} secs to identify {0 * gpus} gpus")
        mode = str(job.hyperparameters.get("mode", "")).strip('"')
        self.say(f"Running single machine CPU BlazingText training using {mode} mode.")
        if job.checkpoint is not None:
            self.say(f"Checkpoints are saved to {job.checkpoint}")
        for name, config in job.channels.items():
            if config.mode == "Pipe":
                self.say(f"The channel '{name}' is in pipe input mode under {config.path}.")
            elif name in ("train", "validation"):
                path, size = _file_of(config.path)
                self.say(f"Processing {path} . File size: {size >> 20} MB")

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.container.job.execute`."""
        if event == "batch":
            self.on_batch(**facts)
        super().__call__(event, **facts)

    def on_begin(self, state: Any) -> None:
        """Training begins, or goes on."""
        for name in state.p.unused():
            if name in self.provided:
                self.log.warning("%s", f"{name} is given, but mode={state.p.mode} does not use it.")
        if state.passes or state.row:
            self.say(f"Resumed from the checkpoint: epoch {state.epoch}, row {state.row}")
        self.began = self.mark = time.time()
        if state.p.evaluation and not state.p.classifies and not state.sets:
            self.say(
                "There are no sets of word similarities to evaluate the vectors with: give some in "
                "the channel 'evaluation'."
            )

    def on_batch(self, state: Any, p: Pass) -> None:
        """Some rows, or a step, are over."""
        now = time.time()
        if p.name == "vocabulary":
            read = state.lexicon.counting.tokens
            if read // self.READ > self.told // self.READ:
                self.bare(f"Read {read // 1_000_000}M words")
                self.told = read
        elif p.name == "train" and now - self.mark >= self.EVERY:
            self.progress(state)

    def progress(self, state: Any) -> None:
        """How far training is."""
        self.mark = time.time()
        share = state.progress()
        words = share * state.rounds * state.lexicon.vocabulary.tokens / 1e6
        self.throughput = words / max(self.mark - self.began, 1e-9)
        told = (
            f"Alpha: {state.p.learning_rate * (1 - share):.4f}  Progress: {100 * share:.2f}%  "
            f"Million Words/sec: {self.throughput:.2f}"
        )
        self.bare(f"##### {told} #####" if state.p.classifies else told)

    def on_pass(self, state: Any, p: Pass, metrics: Mapping[str, float], rows: int) -> None:
        """A reading, an epoch, a look or a judgement is over."""
        if p.name == "vocabulary":
            words = state.lexicon.vocabulary
            self.bare(f"Read {words.tokens // 1_000_000}M words")
            self.bare(f"Number of words:  {len(words)}")
            if self.validation is not None:
                self.bare(f"Loading validation data from {_file_of(self.validation.path)[0]}")
                self.bare("Loaded validation data.")
        elif p.name == "validate":
            self.look(state, metrics["validation:accuracy"])
        elif p.name == "judge":
            ((key, value),) = metrics.items()
            split = key.partition(":")[0]
            self.bare(f"#{split}_accuracy: {value:.4f}")
            self.bare(f"Number of {split} examples: {state.examples[split]}")
        elif p.name == "evaluate":
            self.bare("Evaluating word embeddings....")
            self.bare(f"Vectors read from: {self.folder / 'vectors.txt'} ")
            self.bare(json.dumps(state.evaluation, indent=4, sort_keys=True))
            self.say(f"#mean_rho: {metrics['train:mean_rho']}")
        if p.name in ("train", "validate") and state.phase not in ("train", "validate"):
            self.finished(state)
        if p.name in ("vocabulary", "rows"):  # epochs are about to begin
            self.began = self.mark = time.time()

    def look(self, state: Any, accuracy: float) -> None:
        """The validation rows were looked at."""
        self.bare(f"-------------- End of epoch: {state.epoch}")
        with state.k.threads(state.p.n_jobs) as threads:
            self.bare(f"Using {threads} threads for prediction!")
        self.bare(f"Validation accuracy: {accuracy:.6f}")
        if state.stopping.bad:
            bad = state.stopping.bad
            self.bare(f"Validation accuracy has not improved for last {bad} epochs.")
        else:
            self.bare("Validation accuracy improved! Storing best weights...")

    def finished(self, state: Any) -> None:
        """The last epoch is over."""
        self.progress(state)
        self.bare("Training finished." if state.p.classifies else "Training finished!")
        self.bare(f"Average throughput in Million words/sec: {self.throughput:.2f}")
        self.bare(f"Total training time in seconds: {time.time() - self.began:.2f}")
        if state.p.classifies:
            self.bare("")

    def on_stop(self, state: State, why: str) -> None:
        """Training is over."""
        if why == "stopped":
            self.say("Training was asked to stop: the model learnt so far is saved.")

    def on_saved(self, state: State, model: Model, path: Any) -> None:
        """The model is on the disk."""


def _file_of(path: Path) -> tuple[Path, int]:
    """A channel's file, or its folder where there are several; bytes in all."""
    files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
    size = sum(f.stat().st_size for f in files if f.exists())
    return (files[0] if len(files) == 1 else path), size


OWN_LINES: dict[str, type[Lines]] = {
    "blazingtext": BlazingTextLines,
    "factorization-machines": FactorizationMachinesLines,
    "knn": KNNLines,
    "ipinsights": IPInsightsLines,
    "kmeans": KMeansLines,
    "linear-learner": LinearLearnerLines,
    "pca": PCALines,
    "randomcutforest": RandomCutForestLines,
    "xgboost": XGBoostLines,
}


def free_memory() -> int:
    """Bytes of memory that nobody uses."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def lines_of(algorithm: Algorithm) -> type[Lines]:
    """The class of an algorithm's lines."""
    return OWN_LINES.get(algorithm.name, Lines)
