"""The commands `train`, and `container train`, which is what images run."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smalgos.cli.text import number, pairs, size, table
from smalgos.errors import UserError

if TYPE_CHECKING:
    from smalgos.container.job import Job, Outcome

A_PATH = click.Path(path_type=Path)
CHECKPOINT_FILE = "smalgos-checkpoint.safetensors"


@click.group()
def container() -> None:
    """Run what a container image runs."""


@container.command("train")
@click.pass_context
def container_train(ctx: click.Context) -> None:
    """Run the training job below /opt/ml.

    The environment variable SMALGOS_ALGORITHM names the algorithm, SAGEMAKER_BASE_DIR moves
    /opt/ml.
    """
    from smalgos.container.train import main

    ctx.exit(main())


@click.command()
@click.argument("algo")
@click.option(
    "--train",
    "train_",
    type=A_PATH,
    required=True,
    metavar="PATH",
    help="Rows to learn from: a file, or a folder of files.",
)
@click.option(
    "--validation", type=A_PATH, metavar="PATH", help="Rows that select the model and end training."
)
@click.option("--test", type=A_PATH, metavar="PATH", help="Rows to score the final model on.")
@click.option("--model", type=A_PATH, metavar="PATH", help="An earlier model to go on from.")
@click.option(
    "--content-type",
    metavar="TYPE",
    help='Of all rows, such as "text/csv; label_size=1"; default: what file names or first bytes '
    "tell.",
)
@click.option(
    "--test-content-type",
    metavar="TYPE",
    help="Of the rows of --test, where it is another one: those that have labels, say.",
)
@click.option(
    "--hyperparameters", "file", type=A_PATH, metavar="FILE", help="A JSON object of them."
)
@click.option(
    "-p",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="One hyperparameter, stronger than the file; -p may be given many times.",
)
@click.option(
    "--output",
    type=A_PATH,
    required=True,
    metavar="DIR",
    help="Folder to put the model in; made when missing.",
)
@click.option(
    "--checkpoint",
    type=A_PATH,
    metavar="DIR",
    help="Where to keep the progress; the same command resumes from there.",
)
@click.option("--n-jobs", type=int, help="Threads; default: one per core. The model is the same.")
@click.option(
    "--log", is_flag=True, help="Print the original's log lines, not a progress bar and a summary."
)
def train(
    algo: str,
    train_: Path,
    validation: Path | None,
    test: Path | None,
    model: Path | None,
    content_type: str | None,
    test_content_type: str | None,
    file: Path | None,
    assignments: tuple[str, ...],
    output: Path,
    checkpoint: Path | None,
    n_jobs: int | None,
    log: bool,
) -> None:
    """Train a model and write it to a folder.

    This runs what a training container runs, without one. Ctrl-C ends training early and keeps
    what was learnt.
    """
    from smalgos.container.job import ChannelConfig, Job, execute
    from smalgos.learning.progress import Progress

    given = hyperparameters(file, assignments)
    if n_jobs is not None:
        given["n_jobs"] = str(n_jobs)
    paths = {"train": train_, "validation": validation, "test": test, "model": model}
    types = {"model": None, "test": test_content_type or content_type}
    channels = {
        name: ChannelConfig(path, types.get(name, content_type))
        for name, path in paths.items()
        if path is not None
    }
    job = Job(algo, given, channels, output, checkpoint and checkpoint / CHECKPOINT_FILE)
    began = time.monotonic()
    source = str(file or "the command line")
    reporter = original_lines(job, source) if log else closing(Progress(algo))
    with reporter as report, CtrlC(report) as watched:
        outcome = execute(job, report=watched, stop=watched.stop)
    if outcome.model is None:
        raise UserError("stopped before anything was learnt: no model was written")
    if not log:
        click.echo(summary(outcome, time.monotonic() - began, job.checkpoint))


def hyperparameters(file: Path | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """{name: value} as ``hyperparameters.json`` has them; assignments go over the file.

    Raises
    ------
    UserError
        When the file is no JSON object, or an assignment not ``name=value``, or there twice.
    """
    given: Any = {}
    if file is not None:
        try:
            given = json.loads(file.read_bytes())
        except OSError as e:
            raise UserError(f"{file}: cannot be read: {e.strerror}") from e
        except (ValueError, RecursionError) as e:
            raise UserError(f"{file}: not JSON: {e}") from e
        if not isinstance(given, dict):
            raise UserError(f'{file}: must hold a JSON object, such as {{"epochs": "5"}}')
    assigned: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals or not name:
            raise UserError(f"-p {assignment}: must be NAME=VALUE, such as -p epochs=5")
        if assigned.setdefault(name, value) != value:
            raise UserError(f"-p {name} is given twice, as {assigned[name]} and as {value}")
    return {**given, **assigned}


@contextmanager
def original_lines(job: "Job", source: str) -> Iterator[Callable[..., Any]]:
    """A reporter that prints the original's log lines; the first ones at once.

    Parameters
    ----------
    job : Job
    source : str
        Where the hyperparameters come from.
    """
    from smalgos.algorithms import algorithm
    from smalgos.container.log import logging_to
    from smalgos.container.own_lines import lines_of

    a = algorithm(job.algorithm)
    with logging_to(sys.stdout) as log:
        lines = lines_of(a)(a, "algo-1", log)
        lines.configuration(job.hyperparameters, source)
        lines.channels(job)
        yield lines


class CtrlC:
    """Ctrl-C once ends training behind the block at hand, twice ends the program.

    A reporter (see `smalgos.container.job.execute`) that passes all events on: what there is to
    keep depends on how far the job is.

    Parameters
    ----------
    report : callable
        Gets the events.
    """

    def __init__(self, report: Callable[..., Any]) -> None:
        self._report = report
        self._event = ""
        self._pressed = False

    def __enter__(self) -> "CtrlC":
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def __call__(self, event: str, **facts: Any) -> Any:
        """Take an event of a job."""
        self._event = event
        return self._report(event, **facts)

    def stop(self) -> bool:
        """Whether to end training."""
        return self._pressed

    def _press(self, *_: object) -> None:
        from smalgos.container.interrupt import Interrupted

        if self._pressed or not self._event:  # nothing is learnt before the first event
            raise KeyboardInterrupt
        self._pressed = True
        click.echo("\nStopping, and keeping what was learnt; once more gives it up.", err=True)
        if self._event in ("scoring", "score"):
            raise Interrupted


def summary(outcome: "Outcome", seconds: float, checkpoint: Path | None) -> str:
    """What came of a job, in a few lines."""
    assert outcome.model is not None
    assert outcome.path is not None
    state, notes = outcome.state, outcome.model.notes
    stopped = outcome.why != "done"
    done = "stopped early, with what was learnt," if stopped else "trained"
    unit = "epoch" if state.seen else "round"
    spent = f"{state.epoch} {unit}{'s' if state.epoch != 1 else ''}"
    spent += f", {state.seen:,} rows" if state.seen else ""
    said = []
    if len(tried := notes.get("models", ())) > 1:
        said.append(("Best model", f"{notes['model']} (of {len(tried)}, counted from 0)"))
    if setting := notes.get("setting"):
        said.append(("Setting", ", ".join(f"{name}={number(v)}" for name, v in setting.items())))
    said.append(("Model", f"{outcome.path} ({size(outcome.path.stat().st_size)})"))
    if stopped and checkpoint is not None:
        said.append(("Checkpoint", f"{checkpoint} (the same command goes on from there)"))
    lines = [f"{outcome.model.algorithm} {done} in {seconds:.1f} s: {spent}"]
    lines.append(pairs(said))
    scores = outcome.scores or final(notes.get("evals", {}))
    if scores:
        metrics = dict.fromkeys(name for found in scores.values() for name in found)
        none = float("nan")
        rows = [[m, *(s.get(m, none) for s in scores.values())] for m in metrics]
        lines.append("\n" + table(rows, ["Scores", *scores]))
    return "\n".join(lines)


def final(evals: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """{split: {metric: value}} behind the last of the rounds that a model was judged by."""
    scores: dict[str, dict[str, float]] = {}
    for name, values in evals.items():
        split, _, metric = name.partition(":")
        scores.setdefault(split, {})[metric] = values[-1]
    return scores
