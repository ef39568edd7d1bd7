"""The command `predict`."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click


@click.command()
@click.argument("model")
@click.argument("data", metavar="INPUT")
@click.option("--output", metavar="FILE", help="Where to write; default: standard output.")
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
@click.option("--n-jobs", type=int, help="Threads; default: one per core.")
def predict(
    model: str,
    data: str,
    output: str | None,
    content_type: str | None,
    accept: str | None,
    label_size: int,
    n_jobs: int | None,
) -> None:
    """Let a model answer every row of a file or folder.

    MODEL is a model.safetensors, or the folder that holds it; INPUT may be - for standard input.
    """
    from smalgos.algorithms import algorithm, load_model
    from smalgos.batch import answers
    from smalgos.formats.channel import stream
    from smalgos.formats.responses import encoder

    loaded = load_model(model)
    chosen = encoder(accept, envelope=algorithm(loaded.algorithm).envelope)
    source: Any = sys.stdin.buffer if data == "-" else data
    rows = stream(source, content_type, label_size=label_size, **loaded.reading)
    with _target(output) as (file, bar):

        def counted() -> Iterator[Any]:
            for answer in answers(loaded, rows, n_jobs=n_jobs):
                yield answer
                bar.update(len(next(iter(answer.values()))))

        file.writelines(chosen.body(counted()))


@contextlib.contextmanager
def _target(output: str | None) -> Iterator[tuple[BinaryIO, Any]]:
    """(file to write to, progress bar), the bar only where it does not stand among the answers."""
    from tqdm import tqdm

    from smalgos.learning.files import replacing

    if output is None:
        file = sys.stdout.buffer
        yield file, tqdm(disable=True)
        file.flush()
        return
    with replacing(output) as file, tqdm(
        desc="predict", unit="row", unit_scale=True, dynamic_ncols=True, disable=None
    ) as bar:  # fmt: skip
        yield file, bar
