"""The command `predict`."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smalgos.cli.text import listed
from smalgos.errors import UserError

if TYPE_CHECKING:
    from smalgos.batch.transform import Report, Transform


@click.command()
@click.argument("model")
@click.argument("data", metavar="INPUT")
@click.option(
    "--output",
    metavar="PATH",
    help="Where to write: a file, or the folder of a file NAME.out for each file; default: "
    "standard output.",
)
@click.option(
    "--content-type",
    metavar="TYPE",
    help="Of INPUT; default: what its name or its first bytes tell.",
)
@click.option(
    "--accept",
    metavar="TYPE",
    help="Of the answers: application/jsonlines (default), application/json, text/csv or "
    "application/x-recordio-protobuf.",
)
@click.option(
    "--label-size",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Columns at the beginning of CSV rows that are labels, to be passed over.",
)
@click.option(
    "--split",
    type=click.Choice(["line", "record", "none"]),
    help="What a record is; default: a line of CSV and JSON Lines, a whole JSON document.",
)
@click.option("--input-filter", metavar="PATH", help="What the model gets of a record: '$[1:]'.")
@click.option("--output-filter", metavar="PATH", help="What is written of it: '$[0,-1]'.")
@click.option(
    "--join", type=click.Choice(["input"]), help="Put answers behind the records, unfiltered."
)
@click.option("--inclusive-slices", is_flag=True, help="[1:3] of filters holds element 3, too.")
@click.option("--n-jobs", type=int, help="Threads; default: one per core.")
def predict(
    model: str,
    data: str,
    output: str | None,
    content_type: str | None,
    accept: str | None,
    label_size: int,
    split: str | None,
    input_filter: str | None,
    output_filter: str | None,
    join: str | None,
    inclusive_slices: bool,
    n_jobs: int | None,
) -> None:
    """Let a model answer every row of a file or folder.

    MODEL is a model file, or the folder that holds it; INPUT may be - for standard input.

    Of a folder, each file below it gets a file of answers of its own, if there is an --output. One
    with a bad record gets none; the others do, and the exit code is 1.

    Filters are paths as batch transform has them: $, $.name, $['name','name'], $[0], $[0,-1],
    $[1:3], $.*. They take records of CSV, JSON and JSON Lines, and answers are of the same type:
    columns behind those of a row of CSV; of JSON, the member SageMakerOutput.
    """
    from smalgos.algorithms import load_model
    from smalgos.algorithms.answering import reading
    from smalgos.batch.paths import Path as Filter
    from smalgos.batch.records import Processing
    from smalgos.batch.transform import Transform

    processing = Processing(
        Filter.parse(input_filter or "$", "--input-filter", inclusive=inclusive_slices),
        Filter.parse(output_filter or "$", "--output-filter", inclusive=inclusive_slices),
        join == "input",
    )
    loaded = load_model(model)
    transform = Transform(
        loaded,
        content_type=content_type,
        accept=accept,
        split=split,
        processing=processing,
        n_jobs=n_jobs,
        label_size=label_size,
        **reading(loaded),
    )
    if output is not None and os.path.isdir(data):
        _transform_folder(transform, data, output)
    elif output is None:
        source: Any = sys.stdin.buffer if data == "-" else data
        sys.stdout.buffer.writelines(transform(source))
        sys.stdout.buffer.flush()
    else:
        with _progress() as report:
            _write(transform, data, _target(data, output), report)


def _target(data: str, output: str) -> str:
    """The file to write to: in a folder, it is called after the input."""
    if not os.path.isdir(output):
        return output
    if data == "-":
        raise UserError(f"{output} is a folder: name a file for answers to standard input")
    return os.path.join(output, f"{os.path.basename(data)}.out")


def _write(transform: "Transform", data: str, target: str, report: "Report") -> None:
    from smalgos.learning.files import replacing

    pieces = transform(sys.stdin.buffer if data == "-" else data, report)
    with replacing(target) as file:
        file.writelines(pieces)


def _transform_folder(transform: "Transform", data: str, output: str) -> None:
    """``<output>/<path below the folder>.out`` for each file."""
    from smalgos.formats.shards import find

    shards = find(data)
    bad = []
    with _progress(sum(shard.size for shard in shards)) as report:
        for shard in shards:
            key = os.path.relpath(shard.path, data)
            target = Path(output, f"{key}.out")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise UserError(f"{target.parent}: no folder can be made: {e.strerror}") from e
            try:
                _write(transform, os.fspath(shard.path), os.fspath(target), report)
            except UserError as e:
                bad.append(key)
                target.unlink(missing_ok=True)  # of an earlier run, it would look like this one's
                click.echo(f"Error: {key}: {e}", err=True)
    if bad:
        raise UserError(f"no answers for {len(bad)} of {len(shards)} files: {listed(bad)}")


@contextlib.contextmanager
def _progress(size: int | None = None) -> Iterator["Report"]:
    """A progress bar of the bytes of all files, or of one; of rows, where these are not known."""
    from tqdm import tqdm

    with tqdm(desc="predict", unit_scale=True, dynamic_ncols=True, disable=None) as bar:
        latest: Any = None
        before = 0  # bytes of the files before the latest

        def report(stream: Any, rows: int) -> None:
            nonlocal latest, before
            if stream is not latest:
                before, latest = before + (latest.taken if latest else 0), stream
            bar.total = size or stream.size
            bar.unit = "B" if bar.total else "row"
            bar.update(before + stream.taken - bar.n if bar.total else rows)

        yield report
