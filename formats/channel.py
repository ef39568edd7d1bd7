"""Where blocks come from: arrays, files, pipes, anything that is read only once.

A `Stream` is read with `open`; how it cuts its blocks does not matter, since `cut` makes exact
ones of any. Memory is bounded: a few blocks, whatever the size of the data.
"""

import itertools
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.content_type import (
    GUESS_BYTES,
    RECORDIO,
    ContentType,
    Read,
    Reader,
    guess,
    reader,
    settled,
)
from smalgos.formats.cutting import Kinds, ahead, close, conform, cut, kinds
from smalgos.formats.reading import ROWS, Reading
from smalgos.formats.shards import GZIP_MAGIC, Path_, Peekable, Shard, find, unpacked
from smalgos.formats.shuffling import Order, permutation

__all__ = [
    "Arrays",
    "Files",
    "Kinds",
    "Once",
    "Pipe",
    "Stream",
    "ahead",
    "channel",
    "conform",
    "cut",
    "kinds",
    "stream",
]

POLL = 0.05  # seconds between two looks for a FIFO
PIPE_TIMEOUT = 3600.0


class Stream(ABC):
    """Rows that can be read from the beginning, as blocks.

    Attributes
    ----------
    rows : int or None
        How many, where that is known beforehand.
    replayable : bool
        Whether there can be more than one full reading.
    size : int or None
        Bytes of the source, where known.
    taken : int
        Of these, those that the latest reading has taken so far.
    threaded : bool
        Whether the reader works on several threads by itself.
    """

    rows: int | None = None
    replayable: bool = True
    size: int | None = None
    taken: int = 0
    threaded: bool = False

    @abstractmethod
    def open(
        self, order: Order | None = None, *, limited: bool = False, rows: int | None = None
    ) -> Iterator[Block]:
        """Begin a reading.

        Parameters
        ----------
        order : (int, int), optional
            Seed and epoch to shuffle by. Exact for arrays; of other sources the order of the
            files, and of rows within windows of about 64 MiB. Only without it do all sources of
            the same rows give the same sequence.
        limited : bool
            Only a look at the first rows: where rows can be read only once, the next reading
            gives these again.
        rows : int, optional
            Size of the blocks that the caller will cut.

        Returns
        -------
        iterator of Block
            With at least one row each, numbered from 0.

        Raises
        ------
        UserError
            Now or while reading, for data that cannot be read.
        """

    def share(self) -> float:
        """How much of the source the latest reading has taken, 0 to 1; 0 where not known."""
        return min(self.taken / self.size, 1.0) if self.size else 0.0

    def settled(self) -> Mapping[str, Any]:
        """Options of the reader that are settled by a look at all rows: ``{"base": 1, ...}``.

        Other channels of the same job are opened with them.
        """
        return {}

    @abstractmethod
    def where(self, row: int) -> str:
        """Name a row, counted from 0, of the latest reading: ``train/part-0.csv, row 1203``."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells other data apart without reading them."""

    def peek(self) -> Block | None:
        """The first block, which the next reading gives again; None where there are no rows."""
        reading = self.open(limited=True)
        first = next(reading, None)
        close(reading)
        return first


class Arrays(Stream):
    """Rows in memory.

    Parameters
    ----------
    block : Block
    """

    def __init__(self, block: Block) -> None:
        self._block = block.at(0)
        self.rows = len(block)
        self._order: Order | None = None

    def open(
        self, order: Order | None = None, *, limited: bool = False, rows: int | None = None
    ) -> Iterator[Block]:
        """Begin a reading: of the block itself, or of shuffled copies of `rows` rows."""
        self._order = order
        if order is None:
            return iter([self._block] if len(self._block) else [])
        return self._shuffled(order, rows or ROWS)

    def _shuffled(self, order: Order, rows: int) -> Iterator[Block]:
        p = permutation(len(self._block), order)
        for start in range(0, len(p), rows):
            yield self._block.pick(p[start : start + rows]).at(start)

    def where(self, row: int) -> str:
        """Name a row as it was given, counted from 0 as arrays do."""
        if self._order is not None:
            row = int(permutation(len(self._block), self._order)[row])
        return f"row {row} of the array, counted from 0"

    def fingerprint(self) -> str:
        """Kinds of the columns and number of rows."""
        columns = ", ".join(f"{n} {' '.join(map(str, k))}" for n, k in kinds(self._block).items())
        return f"{self.rows} rows of {columns}"


class Files(Stream):
    """Files on a disk, or bytes in memory, one after another.

    Parameters
    ----------
    source : path, bytes or iterable of paths
        As for `shards.find`: directories stand for all files below them.
    read : callable
        ``read(file, name) -> Iterator[Block]``, as `content_type.reader` makes it. Files that
        begin as gzip does are unpacked for it.
    single : bool
        Whether only one file will do.

    Raises
    ------
    UserError
        When there is nothing to read.
    """

    def __init__(
        self, source: Path_ | bytes | Iterable[Path_], read: Read, *, single: bool = False
    ) -> None:
        self._shards = find(source, single=single)
        self._read = read
        self._settled: dict[str, Any] | None = None
        self.size = sum(shard.size for shard in self._shards)
        self.threaded = isinstance(read, Reader) and read.threaded
        self._name = self._shards[0].name.partition("/")[0]
        self._reading = Reading(self._name, None, None)

    def open(
        self, order: Order | None = None, *, limited: bool = False, rows: int | None = None
    ) -> Iterator[Block]:
        """Begin a reading; an error when files disagree about their columns, or have no rows."""
        self.settled()
        self._reading = reading = Reading(self._name, order, rows)
        self.taken = 0
        n = len(self._shards)
        turns = range(n) if order is None else permutation(n, order, window=2**63).tolist()
        return reading.blocks(self._blocks([self._shards[i] for i in turns], reading))

    def settled(self) -> Mapping[str, Any]:
        """Options that are settled by a look at all files, once."""
        if self._settled is None:
            self._read, self._settled = settled(self._read, self._look)
        return self._settled

    def _look(self, read: Callable[[BinaryIO, str], Iterator[Any]]) -> Iterator[Any]:
        for shard in self._shards:
            yield from shard.blocks(read)

    def _blocks(self, shards: list[Shard], reading: Reading) -> Iterator[Block]:
        first, expected = "", None
        for shard in shards:
            reading.begin(shard.name)
            for block in shard.blocks(self._read, self._count):
                widths = {name: width for name, (_, _, width) in kinds(block).items()}
                if expected is None:
                    first, expected = shard.name, widths
                elif widths != expected:
                    raise UserError(
                        f"{shard.name} has {_shown(widths)}, but {first} has {_shown(expected)}: "
                        "all files of a channel must have the same columns"
                    )
                yield block
        if not reading.read:
            raise UserError(f"{self._name}: no rows")

    def _count(self, n: int) -> None:
        self.taken += n

    def where(self, row: int) -> str:
        """Name a row by its file, counted from 1 there as editors do."""
        return self._reading.where(row)

    def fingerprint(self) -> str:
        """Names (below the directory given) and sizes of the files."""
        listed = "".join(f"{s.name.partition('/')[2] or s.name}\t{s.size}\n" for s in self._shards)
        return (
            f"{len(self._shards)} files, {self.size} bytes, {sha256(listed.encode()).hexdigest()}"
        )


def _shown(widths: dict[str, int]) -> str:
    return " and ".join(f"{name} of width {w}" if w else name for name, w in widths.items())


class _Remembered:
    """Blocks that can be read once; those of limited readings are given again."""

    def __init__(self, blocks: Iterable[Block], name: str) -> None:
        self._blocks = iter(blocks)
        self._kept: deque[Block] = deque()
        self.name, self.spent = name, False

    def look(self) -> Iterator[Block]:
        i = 0
        while True:
            if i == len(self._kept):
                block = next(self._blocks, None)
                if block is None:
                    return
                self._kept.append(block)
            yield self._kept[i]
            i += 1

    def read(self) -> Iterator[Block]:
        self.spent = True
        try:
            while self._kept:
                yield self._kept.popleft()
            yield from self._blocks
        finally:  # left early or not: what it holds (a pipe's end) is let go
            self._kept.clear()
            close(self._blocks)


class Once(Stream):
    """Blocks that can be read only once: a generator's, a socket's, those of standard input.

    Parameters
    ----------
    blocks : iterable of Block
    name : str
        What errors call them.
    """

    replayable = False

    def __init__(self, blocks: Iterable[Block], name: str = "the data") -> None:
        self._name = name
        self._source = _Remembered(blocks, name)
        self._reading = Reading(name, None, None)

    def open(
        self, order: Order | None = None, *, limited: bool = False, rows: int | None = None
    ) -> Iterator[Block]:
        """Begin a reading; an error behind a full one."""
        self._reading = reading = Reading(self._name, order, rows)
        return reading.blocks(self._blocks(reading, limited))

    def _blocks(self, reading: Reading, limited: bool) -> Iterator[Block]:
        if self._source.spent:
            self._source = self._again()
        reading.begin(self._source.name)
        yield from self._source.look() if limited else self._source.read()

    def _again(self) -> _Remembered:
        raise UserError(
            f"{self._name} can be read only once, and this asks for a second reading: give "
            "arrays or files, or ask for one pass (epochs=1)"
        )

    def where(self, row: int) -> str:
        """Name a row, counted from 1."""
        return self._reading.where(row)

    def fingerprint(self) -> str:
        """The name: nothing more is known beforehand."""
        return self._name


class Pipe(Once):
    """FIFOs ``path_0``, ``path_1``, ...: each full reading, even one left early, takes the next.

    The FIFOs of SageMaker's Pipe mode, which appear one by one. Each is read by one process only.

    Parameters
    ----------
    path : path
        Without the number.
    read : callable
        ``read(file, name) -> Iterator[Block]``.
    timeout : float
        Seconds to wait for a FIFO to appear.
    """

    replayable = True

    def __init__(self, path: Path_, read: Read, *, timeout: float = PIPE_TIMEOUT) -> None:
        self._path, self._read, self._timeout = os.fspath(path), read, timeout
        self._numbers = itertools.count()
        super().__init__((), os.path.basename(self._path))
        self._source = self._again()

    def _again(self) -> _Remembered:
        path = f"{self._path}_{next(self._numbers)}"
        return _Remembered(self._fifo(path), os.path.basename(path))

    def _fifo(self, path: str) -> Iterator[Block]:
        deadline = time.monotonic() + self._timeout
        while not os.path.exists(path):
            if time.monotonic() > deadline:
                raise UserError(
                    f"{path}: no such pipe within {self._timeout:g} seconds: each pass needs one; "
                    "ask for fewer epochs, or give the channel in File mode"
                )
            time.sleep(POLL)
        shard = Shard(os.path.basename(path), Path(path), 0)
        with shard.open() as file:
            yield from unpacked(self._read, file, shard.name, packed=False)


def channel(
    path: Path_,
    content_type: str | None = None,
    *,
    mode: Literal["File", "FastFile", "Pipe"] = "File",
    default_content_type: str = RECORDIO,
    timeout: float = PIPE_TIMEOUT,
    **options: Any,
) -> Stream:
    """A channel of a training job.

    Parameters
    ----------
    path : path
        ``.../data/train``: the directory (or file) of modes File and FastFile, and what the names
        of Pipe mode's FIFOs begin with.
    content_type : str, optional
    mode : {"File", "FastFile", "Pipe"}
        ``TrainingInputMode``.
    default_content_type : str
        Where `content_type` is None or empty.
    timeout : float
        Seconds to wait for a FIFO.
    **options
        Options of the reader where the content type does not say, such as ``label_size=0``.

    Returns
    -------
    Stream

    Raises
    ------
    UserError
        For an unknown mode or content type, and when there is nothing to read.
    """
    read = reader(content_type or default_content_type, **options)
    if mode == "Pipe":
        return Pipe(path, read, timeout=timeout)
    if mode not in ("File", "FastFile"):
        raise UserError(f"input mode {mode!r}: must be File, FastFile or Pipe")
    return Files(path, read)


def stream(
    source: Any,
    content_type: str | ContentType | None = None,
    *,
    single: bool = False,
    read: Read | None = None,
    **options: Any,
) -> Stream:
    """The rows of anything that holds them as bytes.

    Parameters
    ----------
    source : path, bytes or binary file object
        A path may be a file, a directory or a pipe. A file object is read from where it stands,
        once.
    content_type : str or ContentType, optional
        Default: what the name, else the first bytes tell.
    single : bool
        Whether only one file will do.
    read : callable, optional
        ``read(file, name) -> Iterator[Block]``, in the place of the content type's reader.
    **options
        Options of the reader where the content type does not say.

    Returns
    -------
    Stream

    Raises
    ------
    UserError
        When there is nothing to read, or nothing tells the content type.
    """
    if isinstance(source, str | os.PathLike) and _special(Path(source)):
        file = Shard(os.path.basename(source), Path(source), 0).open()
        return _opened(file, content_type, read, options, owned=True)
    if hasattr(source, "read"):
        return _opened(source, content_type, read, options)
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | bytes | os.PathLike):
        raise UserError(f"{type(source).__name__} given: expected a path, bytes or an opened file")
    if read is None:
        read = reader(content_type or _guess(source), **options)
    return Files(source, read, single=single)


def _special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _guess(source: Path_ | bytes) -> ContentType:
    return guess(source[:GUESS_BYTES] if isinstance(source, bytes) else source)


def _opened(
    file: Any,
    content_type: str | ContentType | None,
    read: Read | None,
    options: dict[str, Any],
    owned: bool = False,
) -> Once:
    given = getattr(file, "name", "")
    name = os.path.basename(given) if isinstance(given, str) and given else "the data"
    peekable = Peekable(file)
    if read is None:
        read = reader(content_type or guess(peekable.peek(GUESS_BYTES), name), **options)
    packed = peekable.peek(len(GZIP_MAGIC)) == GZIP_MAGIC

    def blocks() -> Iterator[Block]:
        with file if owned else nullcontext():
            yield from unpacked(read, cast(BinaryIO, peekable), name, packed)

    return Once(blocks(), name)
