"""The command `convert`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from smalgos.cli.text import listed
from smalgos.errors import RowError, UserError

if TYPE_CHECKING:
    from smalgos.formats.block import Block
    from smalgos.formats.channel import Stream


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "--from", "from_", metavar="TYPE", help="Of IN; default: what its name or first bytes tell."
)
@click.option("--to", metavar="TYPE", help="Of OUT; default: what its name tells.")
@click.option(
    "--label-size",
    type=click.IntRange(0),
    metavar="N",
    help="How many columns of CSV and Parquet, the first ones, are labels; default: 1.",
)
@click.option(
    "--drop",
    multiple=True,
    type=click.Choice(["labels", "weights", "groups"]),
    help="Leave these out; may be given many times.",
)
def convert(
    source: str,
    target: str,
    from_: str | None,
    to: str | None,
    label_size: int | None,
    drop: tuple[str, ...],
) -> None:
    """Write the rows of a file or folder in another format.

    IN may be a folder, whose files are put behind one another; IN and OUT may be - for standard
    input and output. Order and values of rows are kept to the last bit of float32. OUT appears when
    it is complete. Names in .gz are unpacked and packed.

    \b
    What a format can hold beside features:
      application/x-recordio-protobuf  labels                      dense or sparse
      text/csv                         labels, weights             dense
      text/libsvm                      one label, weights, groups  sparse
      text/libffm                      one label, weights, groups  sparse, with fields
      application/x-parquet            labels, weights, groups     dense
      application/json, jsonlines      nothing                     dense or sparse

    A TYPE may have parameters: "text/csv; weights=1" has weights behind the labels. Parquet files
    that were written here say themselves what their columns are. Columns of libsvm are counted from
    1 if no row has an index 0, and there are as many as rows need; of a pipe, say it: "text/libsvm;
    base=1; width=100".
    """
    from smalgos.formats.channel import stream
    from smalgos.formats.content_type import by_suffix, columns, types
    from smalgos.formats.io import write

    to = to or by_suffix(target)
    if to is None:
        known = listed(types(), "or")
        raise UserError(f"{target}: the name does not tell the format; give --to: {known}")
    options: dict[str, Any] = {} if label_size is None else {"label_size": label_size}
    rows = stream(sys.stdin.buffer if source == "-" else source, from_, **options)
    blocks = _kept(_watched(rows, source, shown=target != "-"), drop, columns(to), to)
    try:
        write(sys.stdout.buffer if target == "-" else target, blocks, content_type=to)
    except RowError as e:
        raise UserError(f"{rows.where(e.row)}: {e.what}") from e


def _watched(rows: "Stream", name: str, *, shown: bool) -> Iterator["Block"]:
    """The blocks of a stream, read ahead on another thread, with a progress bar of its bytes."""
    from tqdm import tqdm

    from smalgos.formats.channel import ahead

    with tqdm(
        desc=f"convert {name}", total=rows.size, unit="B", unit_scale=True, dynamic_ncols=True,
        disable=None if shown else True,
    ) as bar:  # fmt: skip
        blocks: Iterator[Block] = ahead(rows.open())
        for block in blocks:
            yield block
            bar.update(rows.taken - bar.n)


def _kept(
    blocks: Iterable["Block"], drop: Sequence[str], columns: Sequence[str], to: str
) -> Iterator["Block"]:
    """The blocks without the columns to drop, if the format can hold the others."""
    from smalgos.formats.block import Block

    for block in blocks:
        kept = {name: column for name, column in block.columns.items() if name not in drop}
        if lost := [name for name in kept if name not in columns]:
            raise UserError(
                f"{to} cannot hold {listed(lost)}: leave them out by --drop {' --drop '.join(lost)}"
            )
        yield Block(kept, block.start)
