"""Parquet tables of numbers, by pyarrow."""

import gzip
import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import PlatformError, RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.cutting import cut

# Fields of our own files say what they hold: {b"smalgos": b"labels"}.
ROLE = b"smalgos"
ROLES = ("labels", "weights", "groups", "features")

CELLS = 1 << 18  # of a block: about a megabyte, so that columns become rows within a cache
GROUP_CELLS = 1 << 22  # of a row group
GROUP_ROWS = 1 << 16
MOST_COLUMNS = 1000  # what is wider is written as one column of lists: each column costs

SPOOL = 8 << 20  # bytes of a copy that are kept in memory
BUFFER = 256 << 10  # bytes of each column that are read at a time


def read_blocks(
    file: BinaryIO, name: str, *, label_size: int = 1, weights: bool = False
) -> Iterator[Block]:
    """Read a table of numbers.

    Columns of integers, floats and truth values; or one column of lists, all of one length, for
    the features. The names of columns do not matter. Files that `write_blocks` made say what their
    columns are.

    Parameters
    ----------
    file : binary file
        What cannot be sought in (gzip, a pipe) is copied to a temporary file first: the end of a
        Parquet file says where everything is.
    name : str
        What messages call the file.
    label_size : int
        How many columns, the first ones, are labels, where the file does not say.
    weights : bool
        Whether the column behind the labels holds the weights of the rows, likewise.

    Returns
    -------
    iterator of Block
        ``features`` (n, d), ``labels`` (n,) or (n, label_size), unless that is 0, ``weights`` (n,)
        where there are some, all float32, and ``groups`` (n,) int64 of our own files; `start`
        counts the rows from 0.

    Raises
    ------
    UserError
        For an option out of range; while iterating, for a file that is damaged or no Parquet, a
        column of another type, a value that is missing, a list of another length: with file, row
        (counted from 1) and column.
    """
    if label_size < 0:
        raise UserError(f"label_size={label_size}: must be at least 0")
    return _read(file, name, label_size, weights)


def _read(file: Any, name: str, label_size: int, weights: bool) -> Iterator[Block]:
    import pyarrow as pa
    from pyarrow import parquet

    with _sought(file, name) as source:
        try:
            # Not buffered ahead: that would keep in memory all that was read.
            table = parquet.ParquetFile(
                pa.PythonFile(source, "r"), buffer_size=BUFFER, pre_buffer=False
            )
            roles = _roles(table.schema_arrow, name, label_size, weights)
            cells = max(1, len(table.schema_arrow))
            done, width = 0, 0
            for batch in table.iter_batches(max(1, CELLS // cells), use_threads=False):
                if len(batch):
                    block = _block(batch, roles, width, done, name)
                    width = block.features.shape[1]
                    yield block
                    done += len(block)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
            said = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise UserError(f"{name}: damaged, or no Parquet: {said}") from None


def _sought(file: Any, name: str) -> Any:
    """The file itself if it can be sought in, else a copy."""
    if not isinstance(file, gzip.GzipFile) and getattr(file, "seekable", lambda: False)():
        return nullcontext(file if isinstance(file, io.BytesIO) else io.BufferedReader(file))
    copy = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 (the caller closes it)
    while piece := file.read(1 << 20):
        try:
            copy.write(piece)
        except OSError as e:
            raise PlatformError(f"no temporary copy can be made of {name}: {e}") from e
    copy.seek(0)
    return copy


def _roles(schema: Any, name: str, label_size: int, weights: bool) -> dict[str, list[int]]:
    """Which columns hold what: by the notes of our own files, else by their order."""
    import pyarrow.types as kinds

    said = [
        ((field.metadata or {}).get(ROLE) or b"").decode("utf-8", "replace") for field in schema
    ]
    if not set(said) & set(ROLES):
        said = ["labels"] * label_size + ["weights"] * weights
        said += ["features"] * (len(schema) - len(said))
        if "features" not in said[: len(schema)]:
            behind = f"label_size={label_size}{' and weights' if weights else ''}"
            raise UserError(f"{name} has {len(schema)} columns: {behind} needs more")
    roles = {role: [i for i, s in enumerate(said) if s == role] for role in ROLES}
    for i, field in enumerate(schema):
        kind = field.type
        lists = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
        if lists and roles["features"] != [i]:
            raise UserError(
                f"{name}, column {field.name!r}: lists are features only as the one column of them"
            )
        value = kind.value_type if lists else kind
        if not (kinds.is_integer(value) or kinds.is_floating(value) or kinds.is_boolean(value)):
            raise UserError(f"{name}, column {field.name!r}: {kind} is no number: leave it out")
        if i in roles["groups"] and not kinds.is_integer(kind):
            raise UserError(f"{name}, column {field.name!r}: groups (qid) are integers, not {kind}")
    return roles


def _block(batch: Any, roles: dict[str, list[int]], width: int, start: int, name: str) -> Block:
    columns: dict[str, Any] = {}
    for role, places in roles.items():
        if not places:
            continue
        given = [_numbers(batch, i, start, name, width) for i in places]
        if role == "groups":
            columns[role] = given[0].astype(np.int64)
            continue
        with np.errstate(over="ignore"):  # 1e39 is inf, as in float32 it is
            if given[0].ndim == 2:
                columns[role] = given[0].astype(np.float32)
            elif role == "features" or len(given) > 1:
                columns[role] = np.empty((len(batch), len(given)), np.float32)
                for i, column in enumerate(given):
                    columns[role][:, i] = column
            else:
                columns[role] = np.array(given[0], np.float32)
    return Block(columns, start)


def _numbers(batch: Any, i: int, start: int, name: str, width: int) -> NDArray[Any]:
    """A column as an array, (n,), or (n, width) of lists; width 0: as the first row has it."""
    column, field = batch.column(i), batch.schema.field(i)
    if column.null_count:
        row = start + int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False)))
        raise _bad(name, row, field, "is missing (null): fill it in first")
    if not hasattr(column, "flatten") or not hasattr(field.type, "value_type"):
        return cast(NDArray[Any], column.to_numpy(zero_copy_only=False))
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    width = width or int(lengths[0])
    if (lengths != width).any():
        row = int(np.argmax(lengths != width))
        what = f"has {lengths[row]} numbers, where the first row has {width}"
        raise _bad(name, start + row, field, what)
    values = column.flatten()
    if values.null_count:
        first = int(np.argmin(values.is_valid().to_numpy(zero_copy_only=False)))
        row = start + first // max(width, 1)
        raise _bad(name, row, field, "has a number that is missing (null): fill it in first")
    return cast(NDArray[Any], values.to_numpy(zero_copy_only=False)).reshape(len(batch), width)


def _bad(name: str, row: int, field: Any, what: str) -> UserError:
    return UserError(f"{name}, row {row + 1}, column {field.name!r}: {what}")


# Writing ------------------------------------------------------------------------------------------


def encode(block: Block) -> bytes:
    """Write rows as a file of their own; see `write_blocks`.

    Parameters
    ----------
    block : Block

    Returns
    -------
    bytes
    """
    file = io.BytesIO()
    write_blocks(file, [block])
    return file.getvalue()


def write_blocks(file: BinaryIO, blocks: Iterable[Block]) -> None:
    """Write blocks as one file, in row groups of one size however the blocks are cut.

    Columns are ``label`` (or ``label_0``, ``label_1``, ...), ``weight``, ``group``, then ``f0``,
    ``f1``, ... or, for more than `MOST_COLUMNS` of them, lists named ``features``; numbers keep
    their types. Sparse rows are written densely.

    Parameters
    ----------
    file : binary file
        Written sequentially.
    blocks : iterable of Block
        At least one.

    Raises
    ------
    UserError
        When there are no blocks, or when they disagree about their columns.
    """
    from pyarrow import parquet

    blocks = iter(blocks)
    first = next(blocks, None)
    if first is None:
        raise UserError("Parquet: no rows to write, not even none of so many columns")
    width = max(1, sum(int(np.prod(c.shape[1:])) for c in _dense(first[:0]).values()))
    rows = max(1, min(GROUP_CELLS // width, GROUP_ROWS))

    def chained() -> Iterator[Block]:
        yield first
        yield from blocks

    try:
        schema = _table(first[:0]).schema
        with parquet.ParquetWriter(file, schema) as writer:
            for block in cut(chained(), rows):
                writer.write_table(_table(block), row_group_size=rows)
    except RowError as e:
        raise UserError(f"row {e.row + 1}: {e.what}") from None


def _dense(block: Block) -> dict[str, NDArray[Any]]:
    """The columns of a block by role, in the order in which they are written."""
    given = {role: block.columns[role] for role in ROLES if role in block}
    return {r: c.toarray() if isinstance(c, Csr) else np.asarray(c) for r, c in given.items()}


def _table(block: Block) -> Any:
    import pyarrow as pa

    fields, arrays = [], []
    for role, column in _dense(block).items():
        note = {ROLE: role.encode()}
        name = {"features": "f"}.get(role, role.removesuffix("s"))
        if column.ndim == 2 and role == "features" and column.shape[1] > MOST_COLUMNS:
            flat = pa.array(np.ascontiguousarray(column).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, column.shape[1])
            fields.append(pa.field(role, lists.type, nullable=False, metadata=note))
            arrays.append(lists)
            continue
        names = (
            [f"{name}{'' if role == 'features' else '_'}{i}" for i in range(column.shape[1])]
            if column.ndim == 2
            else [name]
        )
        values = column.T if column.ndim == 2 else [column]
        for one, of in zip(values, names, strict=True):
            array = pa.array(np.ascontiguousarray(one))
            fields.append(pa.field(of, array.type, nullable=False, metadata=note))
            arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
