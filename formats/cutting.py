"""Blocks of exact size from any stream, and blocks read ahead."""

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np

from smalgos.errors import RowError
from smalgos.formats.block import Block, Column, Csr, Ragged, Taken

T = TypeVar("T")

# Column name -> ("dense", "csr" or "ragged"; dtype; width, 0 for one number or ragged values)
Kinds: TypeAlias = Mapping[str, tuple[str, str, int]]
Like: TypeAlias = Kinds | Callable[[Block], Block]

GRACE = 10.0  # seconds: how long a reading that is closed may wait for its thread


def kinds(block: Block) -> dict[str, tuple[str, str, int]]:
    """What the columns of a block are: name -> (kind, dtype, width)."""

    def kind(c: Column) -> tuple[str, str, int]:
        if isinstance(c, Csr) or (isinstance(c, Taken) and c.sparse):
            return "csr", str(c.dtype), c.shape[1]
        if isinstance(c, Ragged):
            return "ragged", str(c.values.dtype), 0
        return "dense", str(c.dtype), c.shape[1] if c.ndim > 1 else 0

    return {name: kind(c) for name, c in block.columns.items()}


def conform(block: Block, like: Kinds, *, by_number: bool = False) -> Block:
    """The same rows with the columns that `like` names, of its kinds.

    Sparse rows become dense and dense ones sparse as asked for; dense columns come C-ordered and
    writeable, so that kernels see one type. What is right already is not copied.

    Parameters
    ----------
    block : Block
    like : mapping
        As `kinds` makes it.
    by_number : bool
        Leave a `Taken` of the right kind and dtype as it is.

    Returns
    -------
    Block

    Raises
    ------
    RowError
        For the first row of the block, when a column is missing or of another width.
    """
    columns: dict[str, Column] = {}
    for name, (kind, dtype, width) in like.items():
        column = block.columns.get(name)
        if column is None:
            raise RowError(block.start, f"no {name}, which are expected")
        given_kind, given_dtype, given_width = kinds(Block({name: column}))[name]
        if given_width != width or (given_kind == "ragged") != (kind == "ragged"):
            given, expected = _said(given_kind, given_width), _said(kind, width)
            raise RowError(block.start, f"{name}: {given}, but expected {expected}")
        fits = (given_kind, given_dtype) == (kind, dtype)
        if not (by_number and isinstance(column, Taken) and fits):
            column = _column(column, kind, np.dtype(dtype))
        columns[name] = column
    return Block(columns, block.start)


def _said(kind: str, width: int) -> str:
    return "ragged rows" if kind == "ragged" else f"rows of {width}" if width else "single values"


def _column(column: Column, kind: str, dtype: np.dtype[Any]) -> Column:
    if isinstance(column, Ragged):
        if column.values.dtype == dtype:
            return column
        ragged = column.tight()  # a slice shares the values of all rows
        return Ragged(ragged.values.astype(dtype), ragged.offsets)
    if isinstance(column, Taken):
        column = column.copied()
    if kind == "csr":
        sparse = column if isinstance(column, Csr) else Csr.of(np.asarray(column))
        if sparse.dtype == dtype:
            return sparse
        sparse = sparse.tight()
        return Csr(sparse.values.astype(dtype), sparse.indices, sparse.offsets, sparse.width)
    dense = column.toarray() if isinstance(column, Csr) else column
    return np.require(dense, dtype, ["C", "W"])


def cut(
    blocks: Iterable[Block],
    rows: int,
    *,
    batch: int = 1,
    limit: int | None = None,
    tail: Literal["keep", "drop"] = "keep",
    skip: int = 0,
    like: Like | None = None,
) -> Iterator[Block]:
    """Blocks of exactly `rows` rows, numbered from 0, however the source was cut.

    Rows are copied only where a block spans several of the source's.

    Parameters
    ----------
    blocks : iterable of Block
        Not asked for more than is needed.
    rows : int
        Rows of a block, rounded down to whole batches (one at least). The last may be shorter.
    batch : int
        Rows of a mini-batch.
    limit : int, optional
        Rows to read at most.
    tail : {"keep", "drop"}
        "drop" leaves out a last short batch, unless it is the only one.
    skip : int
        Rows at the beginning to pass over, without a copy. The blocks behind them are the same
        as if nothing had been skipped; one that `skip` falls into gives its rest.
    like : mapping or callable, optional
        What the columns shall be: as `kinds` makes it, or ``block -> block``. Default: what they
        are in the first block.

    Yields
    ------
    Block

    Raises
    ------
    RowError
        When a column is missing, new, or of another width than in `like`.
    """
    size = max(rows // batch, 1) * batch
    source, left = iter(blocks), limit
    waiting: deque[Block] = deque()
    at = pending = 0  # rows handed out or passed over; rows waiting
    fit = _fit(like)
    try:
        while left != 0 and (block := next(source, None)) is not None:
            if left is not None:
                block = block[:left]
                left -= len(block)
            if len(block):
                waiting.append(block)
                pending += len(block)
            while pending:
                if at < skip:
                    n = min(skip - at, pending)
                    _take(waiting, n)
                else:
                    n = size - at % size
                    if pending < n:
                        break
                    yield _joined(_take(waiting, n), at, fit)
                at, pending = at + n, pending - n
        over = (at + pending) % batch if tail == "drop" and at + pending >= batch else 0
        if pending > over:
            yield _joined(_take(waiting, pending - over), at, fit)
    finally:
        close(source)


def _fit(like: Like | None) -> Callable[[Block], Block]:
    if callable(like):
        return like
    if like is not None:
        return lambda block: conform(block, like)
    return like_first()


def like_first() -> Callable[[Block], Block]:
    """What gives blocks the kinds of columns of the first one; a `RowError` for new ones."""
    first: dict[str, tuple[str, str, int]] = {}

    def as_first(block: Block) -> Block:
        if not first:
            first.update(kinds(block))
        if more := ", ".join(block.columns.keys() - first.keys()):
            raise RowError(block.start, f"has {more}, which the rows before have not")
        return conform(block, first)

    return as_first


def _take(waiting: deque[Block], n: int) -> list[Block]:
    """Remove the first n rows: views, no copies."""
    pieces = []
    while n:
        block = waiting.popleft()
        if len(block) > n:
            waiting.appendleft(block[n:])
            block = block[:n]
        pieces.append(block)
        n -= len(block)
    return pieces


def _joined(pieces: list[Block], start: int, fit: Callable[[Block], Block]) -> Block:
    at, fitting = start, []
    for piece in pieces:
        fitting.append(fit(piece.at(at)))
        at += len(piece)
    return Block.join(fitting)


def close(iterator: Iterator[Any]) -> None:
    """Let go of what a generator holds (files), now and not when it is collected."""
    if isinstance(iterator, Generator):
        iterator.close()


def ahead(
    blocks: Iterable[Block],
    prepare: Callable[[Block], T] | None = None,
    depth: int = 2,
) -> Iterator[T]:
    """Read, and prepare, on another thread while the caller works.

    The results and their order are those of ``map(prepare, blocks)``.

    Parameters
    ----------
    blocks : iterable of Block
    prepare : callable, optional
        Pure. Default: the block itself.
    depth : int
        Results that may wait; one more is in the making. 0: no thread.

    Yields
    ------
    object
        ``prepare(block)``.

    Raises
    ------
    Exception
        What reading or preparing raises, behind the results of the blocks before.
    """
    make = prepare or cast(Callable[[Block], T], lambda block: block)
    if depth == 0:
        yield from map(make, blocks)
        return
    results: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    left = threading.Event()

    def work(source: Iterator[Block]) -> None:
        last: tuple[str, Any] = ("end", None)
        try:
            for block in source:
                results.put(("result", make(block)))
                if left.is_set():  # asked behind each put: the caller empties the queue just once
                    return
        except BaseException as e:
            last = "error", e
        finally:
            close(source)
            if not left.is_set():
                results.put(last)

    # The thread takes the caller's context with it: NumPy's error state, limits on threads.
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(work, iter(blocks)), name="smalgos-ahead", daemon=True
    )
    thread.start()
    try:
        while True:
            kind, value = results.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        left.set()
        while not results.empty():
            results.get_nowait()
        # A pipe whose writer stalls could hold the thread for ever; it is a daemon, so let it.
        thread.join(GRACE)
