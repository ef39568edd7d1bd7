"""Batch prediction: a model's answers to all rows of a stream, in bounded memory."""

from collections.abc import Iterator
from typing import Any

from smalgos.algorithms.answering import answer, asked_columns
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Stream, ahead, cut
from smalgos.formats.responses import Answer
from smalgos.learning.model import Model

ROWS = 8192  # of a block: its features and answers take some megabytes


def answers(
    model: Model, stream: Stream, *, n_jobs: int | None = None, **options: Any
) -> Iterator[Answer]:
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
    try:
        with model.k.threads(n_jobs):
            wanted = asked_columns(model)
            blocks = (_only(block, wanted) for block in stream.open(rows=ROWS))
            for block in ahead(cut(blocks, ROWS), lambda block: block.on(model.k)):
                yield answer(model, block, **options)
    except RowError as e:
        raise UserError(f"{stream.where(e.row)}: {e.what}") from e


def _only(block: Block, names: tuple[str, ...]) -> Block:
    return Block({name: block[name] for name in names if name in block}, block.start)
