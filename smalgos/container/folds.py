"""Cross-validation: a model for each part of the rows, learnt from the other parts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms import algorithm, files_of
from smalgos.algorithms.xgboost.ensemble import Ensemble, mode
from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.container.job import Job, Outcome, as_saved, learn, make_folder
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning import files
from smalgos.learning.folds import parts
from smalgos.learning.state import Spec
from smalgos.learning.train import Checkpoint, Report

PREDICTIONS = "predictions.csv"


def cross_validate(
    job: Job,
    parameters: Any,
    spec: Spec,
    streams: Mapping[str, Stream],
    checkpoint: Checkpoint | None,
    report: Report,
    stop: Callable[[], bool],
) -> Outcome:
    """Train ``kfold * num_cv_round`` models on the rows of all channels, each on all but one part.

    Metrics are those of the rows that are held out, which also stop early. The models are saved as
    ``xgboost-model-0``, ..., and what they predict of these rows as ``predictions.csv``.

    Parameters
    ----------
    job : Job
    parameters : XGBoostParameters
    spec : Spec
        Of the train channel.
    streams : mapping of str to Stream
    checkpoint : Checkpoint, optional
        Each model has one of its own, under this one's name and its number.
    report : callable
        Called as by `smalgos.container.job.execute` for each model; also with "fold" (state,
        number, of, rows) before it is trained, and "folds" (state, repeat, means) behind those of
        a repeat, in the end behind all of several (repeat None).
    stop : callable

    Returns
    -------
    Outcome
        Its model is the ensemble, its state the last one's, its scores means over all models.

    Raises
    ------
    UserError
        For rows that cannot be used, or fewer than parts.
    """
    a, folds, repeats = algorithm(job.algorithm), parameters.kfold, parameters.num_cv_round
    rows = Rows(streams)
    n = len(rows.block)
    if n < folds:
        raise UserError(f"_kfold={folds}: there are only {n} rows")
    classes = rows.block.labels if is_classification(parameters) else None
    held = HeldOut(n, repeats)
    models: list[BoostedTreesModel] = []
    metrics: list[dict[str, float]] = []
    why = "done"
    for number, out in enumerate(parts(spec.seed, n, folds, repeats, classes)):
        inside = np.setdiff1d(np.arange(n), out)
        channels = {"train": rows.some(inside), "validation": rows.some(out)}
        own = dataclasses.replace(spec, rows=len(inside), channels=frozenset(channels))
        state = a.state(parameters, own)
        report("fold", state=state, number=number, of=(repeats, folds), rows=n)
        kept = None if checkpoint is None else numbered(checkpoint, number)
        why = learn(state, channels, report, kept, stop, parameters.n_jobs)
        if why != "done":
            break
        model = state.model()
        metrics.append(metrics_of(model))
        with state.k.threads(parameters.n_jobs):
            held.take(model, rows.block[out], out, number // folds, classes is not None)
        saved = as_saved(model, spec)
        assert isinstance(saved, BoostedTreesModel)
        models.append(saved)
        if not number:  # what an earlier job left would answer along
            for file in files_of(job.model_dir):
                file.unlink(missing_ok=True)
        path = job.model_dir / f"{a.file}-{number}"
        saved.save(path)
        report("saved", state=state, model=saved, path=path)
        if (number + 1) % folds == 0:
            means = mean(metrics[-folds:])
            report("folds", state=state, repeat=number // folds, means=means)
    if why == "done":
        if repeats > 1:
            report("folds", state=state, repeat=None, means=mean(metrics))
        held.write(rows.block.labels, job.data_dir or job.model_dir / "data")
    if not models:
        return Outcome(None, state, {}, why, None)
    return Outcome(
        Ensemble(models), state, by_split(mean(metrics)), why, job.model_dir / f"{a.file}-0"
    )


def is_classification(parameters: Any) -> bool:
    """Whether parts have about equal shares of the classes."""
    return bool(parameters.num_class) or str(parameters.objective).startswith("binary:")


def numbered(checkpoint: Checkpoint, number: int) -> Checkpoint:
    """The checkpoint of one of the models."""
    path = checkpoint.path
    return Checkpoint(
        path.with_name(f"{path.stem}-{number}{path.suffix}"),
        seconds=checkpoint.seconds,
        identity=checkpoint.identity,
    )


class Rows:
    """All rows of some channels in memory, and where they come from."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._streams, self._starts = streams, {}
        blocks: list[Block] = []
        for name, stream in streams.items():
            self._starts[name] = sum(map(len, blocks))
            try:
                blocks += stream.open()
            except UserError as e:
                raise UserError(f"{name} channel: {e}") from e
        weighted = any("weights" in block for block in blocks)
        if weighted:  # rows of a channel without weights count 1
            blocks = [b if "weights" in b else b.replace(weights=ones(b)) for b in blocks]
        self.block = Block.join(blocks).at(0)

    def some(self, rows: NDArray[np.int64]) -> Stream:
        """Some of them as a channel."""
        return Some(self, rows)

    def where(self, row: int) -> str:
        """Name a row."""
        name = [name for name, start in self._starts.items() if start <= row][-1]
        return self._streams[name].where(row - self._starts[name])


class Some(Arrays):
    """Rows out of others, called what they are called there."""

    def __init__(self, source: Rows, rows: NDArray[np.int64]) -> None:
        super().__init__(source.block[rows])
        self._source, self._rows = source, rows

    def where(self, row: int) -> str:
        """Name a row."""
        return self._source.where(int(self._rows[row]))


def ones(block: Block) -> NDArray[np.float32]:
    """Weights of 1."""
    return np.ones(len(block), np.float32)


def metrics_of(model: BoostedTreesModel) -> dict[str, float]:
    """{"train:rmse": value} behind the round where predictions end."""
    return {name: values[model.best_iteration] for name, values in model.notes["evals"].items()}


def mean(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric, that of the train rows before that of those held out."""
    names = sorted(metrics[0], key=lambda name: [*metrics[0]].index(name) % (len(metrics[0]) // 2))
    return {name: float(np.mean([found[name] for found in metrics])) for name in names}


def by_split(means: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """{"train": {"rmse": value}, "validation": ...}"""
    scores: dict[str, dict[str, float]] = {}
    for name, value in means.items():
        split, _, metric = name.partition(":")
        scores.setdefault(split, {})[metric] = value
    return scores


class HeldOut:
    """What the models predict of the rows that they did not see."""

    def __init__(self, n: int, repeats: int) -> None:
        self.n, self.repeats = n, repeats
        self.columns: dict[str, NDArray[np.float64]] = {}

    def take(
        self, model: BoostedTreesModel, block: Block, rows: NDArray[np.int64], repeat: int,
        classes: bool,
    ) -> None:  # fmt: skip
        """The predictions of a model; of classes the likeliest one and its probability.

        Of two classes it is the probability of the second one.
        """
        margin = model.predict_margin(block.features)
        if not classes:
            self._put(repeat, rows, score=model.transform(margin))
        elif model.outputs > 1:
            shares = np.exp(margin - margin.max(axis=1, keepdims=True), dtype=np.float64)
            self._put(repeat, rows, score=1 / shares.sum(axis=1), label=margin.argmax(axis=1))
        else:
            m = margin[:, 0].astype(np.float64)
            hinge = model.objective == "binary:hinge"
            share = m > 0 if hinge else 1 / (1 + np.exp(-np.clip(m, -700, 700)))
            self._put(repeat, rows, score=share, label=m > 0)

    def _put(self, repeat: int, rows: NDArray[np.int64], **values: NDArray[Any]) -> None:
        for name, found in values.items():
            shape = (self.repeats, self.n, *found.shape[1:])
            self.columns.setdefault(name, np.zeros(shape))[repeat, rows] = found

    def write(self, labels: NDArray[np.float32], folder: Path) -> None:
        """One row for each: the label, the mean prediction and, of classes, the most frequent."""
        columns = [labels, self.columns["score"].mean(axis=0)]
        if "label" in self.columns:
            columns.append(mode(self.columns["label"]))
        make_folder(folder)
        with files.replacing(folder / PREDICTIONS) as file:
            np.savetxt(file, np.column_stack(columns), "%f", ",")
