"""Batch prediction: a model's answers to all rows of a stream, in bounded memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from smalgos.algorithms import algorithm
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Stream, ahead, cut
from smalgos.learning.model import Model

ROWS = 8192  # of a block: its features and answers take some megabytes


def answers(
    model: Model, stream: Stream, *, n_jobs: int | None = None, **options: Any
) -> Iterator[dict[str, Any]]:
    """What the model says of the rows, in order.

    Parameters
    ----------
    model : Model
    stream : Stream
        Labels, where it has them, are passed over.
    n_jobs : int, optional
        Threads; None or -1: one per core.
    **options
        Of ``model.predict``.

    Yields
    ------
    dict
        {response field: one entry per row of a block}, fields in the order of the algorithm's.

    Raises
    ------
    UserError
        When rows do not fit the model or cannot be answered, named by file and row.
    """
    order = algorithm(model.algorithm).fields
    try:
        with model.k.threads(n_jobs):
            blocks = map(_features, stream.open(rows=ROWS))
            for block in ahead(cut(blocks, ROWS), lambda block: block.on(model.k)):
                _check_width(model, block)
                given = model.predict(block, **options)
                answer = {name: given[name] for name in (*order, *given) if name in given}
                _check_finite(answer, block)
                yield answer
    except RowError as e:
        raise UserError(f"{stream.where(e.row)}: {e.what}") from e


def _features(block: Block) -> Block:
    return Block({"features": block.features}, block.start)


def _check_width(model: Model, block: Block) -> None:
    given = block.features.shape[1]
    if given != model.width:
        labelled = given == model.width + 1
        hint = ": did you leave the label in? Of CSV, pass it over by --label-size 1"
        said = f"{given} features, where the model takes {model.width}"
        raise RowError(block.start, said + (hint if labelled else ""))


def _check_finite(answer: dict[str, Any], block: Block) -> None:
    for name, values in answer.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise RowError(
                block.start + row,
                f"no finite {name}: a feature is NaN, infinite or too large; fill or remove it",
            )
