"""A training job from channels to a model file, in a container or out of one."""

import hashlib
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from smalgos.algorithms import FILES, algorithm, files_of, load_model
from smalgos.container.interrupt import Interrupted
from smalgos.errors import NotReady, PlatformError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Stream, channel, stream
from smalgos.formats.content_type import ContentType, guess
from smalgos.learning.model import Algorithm, Model
from smalgos.learning.state import Spec, State
from smalgos.learning.train import Checkpoint, Report, evaluate, quiet, train

ARCHIVE = "model.tar.gz"  # how the platform hands over an earlier job's model

TUNING_KEY = "_tuning_objective_metric"  # a tuning job adds it to the hyperparameters

SCORED_UNSEEN = ("validation", "test")
TRAIN_ROWS_SCORED = 1_000_000  # at most: some scores need all answers at once (ROC AUC)


@dataclass(frozen=True)
class ChannelConfig:
    """Where the rows of a channel are.

    Parameters
    ----------
    path : Path
        A file or a folder; in Pipe mode the FIFOs' name without ``_0``, ``_1``, ...
    content_type : str, optional
        Default: what the files' names, else their first bytes tell; in Pipe mode the algorithm's.
    mode : {"File", "FastFile", "Pipe"}
    """

    path: Path
    content_type: str | None = None
    mode: Literal["File", "FastFile", "Pipe"] = "File"


@dataclass(frozen=True)
class Job:
    """What to train, on what, and where the model goes.

    Parameters
    ----------
    algorithm : str
        The original's image name.
    hyperparameters : mapping of str to str
        As in ``hyperparameters.json``.
    channels : mapping of str to ChannelConfig
        ``train``, and what else the algorithm takes; ``model`` is a file or folder with an earlier
        model.
    model_dir : Path
        Folder for the model, made when missing.
    checkpoint : Path, optional
        File to resume from, and to write to now and then.
    checkpoint_seconds : float
        Least time between two checkpoints.
    facts : mapping
        What is known of the circumstances: ``{"tuning": True}`` under a tuning job.
    data_dir : Path, optional
        Folder for what else comes of it: predictions of cross-validation. Default: ``data`` in
        `model_dir`.
    """

    algorithm: str
    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, ChannelConfig]
    model_dir: Path
    checkpoint: Path | None = None
    checkpoint_seconds: float = 60.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    model : Model or None
        None when the job was stopped before anything was learnt.
    state : State
    scores : dict
        {split: {metric: value}} of the final model.
    why : {"done", "stopped"}
    path : Path or None
        The model's file.
    """

    model: Model | None
    state: State
    scores: dict[str, dict[str, float]]
    why: str
    path: Path | None


def execute(
    job: Job, *, report: Report = quiet, stop: Callable[[], bool] = lambda: False
) -> Outcome:
    """Train, score, and write the model.

    Parameters
    ----------
    job : Job
    report : callable
        Called with the driver's events (see `smalgos.learning.train.quiet`) and, between "stop"
        and the end, with "scoring" (state, model), "score" (state, model, split, scores, rows),
        "scored" (state, why) and "saved" (state, model, path).
    stop : callable
        Asked behind each block; True ends training and keeps the model learnt so far.

    Returns
    -------
    Outcome

    Raises
    ------
    UserError
        For hyperparameters, channels or rows that cannot be used.
    PlatformError
        When the disk is full or faulty.

    Notes
    -----
    `Interrupted`, raised from a signal handler while training or scoring, ends that part as `stop`
    does; raised earlier it is passed on.
    """
    a = algorithm(job.algorithm)
    parameters = a.parameters.parse(job.hyperparameters)
    check_channels(a, job.channels)
    make_folder(job.model_dir)
    streams, settled = open_channels(job.channels, a, parameters)
    spec = look(job, a, streams, parameters, settled)
    for name in streams.keys() - {"train"}:
        check_alike(name, job.channels[name], streams[name], spec)
    checkpoint = checkpoint_of(job, streams)
    if getattr(parameters, "kfold", None):
        from smalgos.container.folds import cross_validate

        return cross_validate(job, parameters, spec, streams, checkpoint, report, stop)
    state = a.state(parameters, spec)
    why = learn(state, streams, report, checkpoint, stop, parameters.n_jobs)
    try:
        model: Model = state.model()
    except NotReady:
        if why == "done":
            raise
        return Outcome(None, state, {}, why, None)
    scores = state.final_scores()
    if why == "done" and a.metrics is not None:
        try:
            report("scoring", state=state, model=model)
            with state.k.threads(parameters.n_jobs):
                scores = score(a, model, state, streams, report)
            report("scored", state=state, why=why)
        except Interrupted:
            why = "stopped"
            report("scored", state=state, why=why)
    model = as_saved(model, spec)
    path = job.model_dir / a.file
    model.save(path)
    model.beside(job.model_dir)
    report("saved", state=state, model=model, path=path)
    return Outcome(model, state, scores, why, path)


def learn(
    state: State,
    streams: Mapping[str, Stream],
    report: Report,
    checkpoint: Checkpoint | None,
    stop: Callable[[], bool],
    n_jobs: int | None,
) -> str:
    """Train; "done" or "stopped"."""
    try:
        return train(state, streams, report=report, checkpoint=checkpoint, stop=stop, n_jobs=n_jobs)
    except Interrupted:
        report("stop", state=state, why="stopped")
        return "stopped"


def as_saved(model: Model, spec: Spec) -> Model:
    """The model as the job leaves it: requests are read as its channels were."""
    model = model.cut()
    if spec.facts["settled"].get("base"):  # what is not the default
        model.notes["libsvm_base"] = spec.facts["settled"]["base"]
    return model


def check_channels(a: Algorithm, given: Mapping[str, ChannelConfig]) -> None:
    """Raise `UserError` unless the algorithm takes these channels, and has all it needs."""
    for name, required in a.known_channels.items():
        if required and name not in given:
            said = ", ".join(given) if given else "none"
            raise UserError(f"missing required channel: {name} (given: {said})")
    for name in given:
        if name not in a.known_channels:
            known = ", ".join(a.known_channels)
            raise UserError(f"unknown channel {name!r}: {a.name} takes {known}")


def open_channels(
    given: Mapping[str, ChannelConfig], a: Algorithm, parameters: Any
) -> tuple[dict[str, Stream], Mapping[str, Any]]:
    """The rows of the channels, and what those of train settled for all of them.

    Raises
    ------
    UserError
        When there is nothing to read, naming the channel.
    """
    streams = {"train": open_channel("train", given["train"], a, parameters)}
    try:
        settled = streams["train"].settled()
    except UserError as e:
        raise UserError(f"train channel: {e}") from e
    for name in given.keys() - {"train", "model", *a.side}:
        streams[name] = open_channel(name, given[name], a, parameters, **settled)
    return {name: streams[name] for name in given if name in streams}, settled


def open_channel(
    name: str, config: ChannelConfig, a: Algorithm, parameters: Any, **settled: Any
) -> Stream:
    """The rows of a channel, read with the options that another one settled.

    Raises
    ------
    UserError
        When there is nothing to read, naming the channel.
    """
    try:
        given = config.content_type or (a.content_type if config.mode == "Pipe" else None)
        known = ContentType.parse(given) if given else None
        if known is None and config.path.exists() and not config.path.is_fifo():
            known = guess(config.path, default=a.content_type if a.texts else None)
        own = a.reading(parameters, known) if a.reading else {}
        options = {"label_size": a.label_size, "texts": a.texts, **own, **settled}
        if given:
            return channel(config.path, given, mode=config.mode, **options)
        return stream(config.path, known, **options)
    except UserError as e:
        raise UserError(f"{name} channel: {e}") from e


def look(
    job: Job,
    a: Algorithm,
    streams: Mapping[str, Stream],
    parameters: Any,
    settled: Mapping[str, Any],
) -> Spec:
    """What is known before the first row is learnt from."""
    rows = streams["train"]
    first = first_block("train", rows)
    if first is None:
        raise UserError("no rows in the train channel: there is nothing to learn from")
    side: dict[str, Any] = {n: job.channels[n].path for n in a.side if n in job.channels}
    if "model" in job.channels:
        side["model"] = earlier_model(job, parameters.device)
    return Spec.of(
        first,
        rows=rows.rows,
        replayable=rows.replayable,
        channels=frozenset(streams),
        side=side,
        seed=parameters.random_state,
        device=parameters.device,
        facts={
            "tuning_metric": job.hyperparameters.get(TUNING_KEY),
            "settled": settled,
            **job.facts,
        },
    )


def first_block(name: str, rows: Stream) -> Block | None:
    """The first rows of a channel; an error names it."""
    try:
        return rows.peek()
    except UserError as e:
        raise UserError(f"{name} channel: {e}") from e


def check_alike(name: str, config: ChannelConfig, rows: Stream, spec: Spec) -> None:
    """Raise `UserError` unless a channel begins with rows like those of train.

    Hours of training should not end in an error that could have been found at once. A pipe is left
    alone: opened now, it would stand idle until then.
    """
    if config.mode == "Pipe":
        return
    first = first_block(name, rows)
    if first is None:
        raise UserError(f"no rows in the {name} channel")
    found = Spec.of(first)
    if found.width != spec.width:
        raise UserError(
            f"{name} channel, {rows.where(0)}: {found.width} features, where the train channel "
            f"has {spec.width}"
        )
    if "labels" in spec.columns and "labels" not in found.columns:
        raise UserError(
            f"{name} channel, {rows.where(0)}: no label, where the train channel has one"
        )


def checkpoint_of(job: Job, streams: Mapping[str, Stream]) -> Checkpoint | None:
    """Where the state is kept, if anywhere, tied to the rows it learns from."""
    if job.checkpoint is None:
        return None
    make_folder(job.checkpoint.parent)
    identity: dict[str, Any] = {
        name: [job.channels[name].content_type, rows.fingerprint()]
        for name, rows in sorted(streams.items())
        if name != "test"
    }
    if "model" in job.channels:
        with open(model_file(job.channels["model"].path), "rb") as file:
            identity["model"] = hashlib.file_digest(file, "sha256").hexdigest()
    return Checkpoint(job.checkpoint, seconds=job.checkpoint_seconds, identity=identity)


def make_folder(path: Path) -> None:
    """Make a folder, so that a job that cannot write fails before it trains."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise PlatformError(f"cannot make the folder {path}: {e.strerror}") from e


def score(
    a: Algorithm, model: Model, state: State, streams: Mapping[str, Stream], report: Report
) -> dict[str, dict[str, float]]:
    """{split: {metric: value}}: on rows not learnt from, else on the first ones of train."""
    splits = [split for split in SCORED_UNSEEN if split in streams]
    if a.judged_on_train and "validation" not in streams and state.spec.replayable:
        splits.insert(0, "train")
    scores = {}
    for split in splits:
        try:
            limit = TRAIN_ROWS_SCORED if split == "train" else None
            judged = evaluate(model, a.metrics(model), streams[split], limit=limit)
        except UserError as e:
            raise UserError(f"{split} channel, {e}") from e
        scores[split] = {name: float(value) for name, value in judged.result().items()}
        report(
            "score", state=state, model=model, split=split, scores=scores[split], rows=judged.rows
        )
    return scores


# The model channel: an earlier model to go on from ------------------------------------------------


def earlier_model(job: Job, device: str) -> Model:
    """The model of the ``model`` channel.

    Raises
    ------
    UserError
        When there is none that this job could go on from.
    """
    config = job.channels["model"]
    if config.mode == "Pipe":
        raise UserError("model channel: give it in File mode, an earlier model is one file")
    path = model_file(config.path)
    if tarfile.is_tarfile(path):
        with unpacked(path) as inner:
            try:
                model = load_model(inner, device)
            except UserError as e:
                raise UserError(str(e).replace(str(inner), f"{path}/{inner.name}")) from e
    else:
        model = load_model(path, device)
    if model.algorithm != job.algorithm:
        raise UserError(
            f"model channel: {path} holds a {model.algorithm} model; {job.algorithm} cannot go on "
            "from it"
        )
    return model


def model_file(path: Path) -> Path:
    """The file of an earlier model: `path` itself, or what a folder holds of that kind."""
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"model channel: {path}: no such file or folder")
        return path
    found = files_of(path)
    if len(found) > 1:
        raise UserError(f"model channel: {path} holds {len(found)} models: give one of them")
    for file in (found[0], path / ARCHIVE):
        if file.is_file():
            return file
    raise UserError(f"model channel: {path} holds neither {' nor '.join((*FILES, ARCHIVE))}")


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The model file of an archive, for a while, in a folder of its own.

    Of the archive nothing but the content of that one regular file is used: no name, link or mode.
    """
    with tempfile.TemporaryDirectory(prefix="smalgos-") as folder:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = PurePosixPath(member.name).name
                    if member.isreg() and name in FILES:
                        target = Path(folder) / name
                        content = tar.extractfile(member)
                        assert content is not None  # of a regular file there is one
                        with content, open(target, "wb") as file:
                            shutil.copyfileobj(content, file)
                        break
                else:
                    raise UserError(f"model channel: {archive} holds no {' and no '.join(FILES)}")
        except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
            raise UserError(f"model channel: {archive} cannot be unpacked: {e}") from e
        yield target
