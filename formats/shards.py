"""Finding the files that make up a data set, and opening them, unpacked."""

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from smalgos.errors import PlatformError, UserError
from smalgos.formats.block import Block

GZIP_MAGIC = b"\x1f\x8b"

Path_: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Shard:
    """One file, or bytes in memory in its place.

    Parameters
    ----------
    name : str
        What errors call it: the path from the directory that was asked for, with that one's name.
    path : Path
    size : int
        Bytes, still packed.
    data : bytes-like, optional
        The content, where there is no file.
    """

    name: str
    path: Path
    size: int
    data: bytes | None = None

    def open(self) -> BinaryIO:
        """The content from its beginning, packed as it is."""
        if self.data is not None:
            return io.BytesIO(self.data)
        try:
            return open(self.path, "rb", buffering=0)
        except OSError as e:
            raise UserError(f"{self.name}: cannot be opened: {e.strerror}") from e

    def blocks(
        self,
        read: Callable[[BinaryIO, str], Iterator[Block]],
        taken: Callable[[int], None] = lambda n: None,
    ) -> Iterator[Block]:
        """What a reader makes of the content, unpacked when it is gzip; see `unpacked`."""
        with self.open() as file:
            packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            yield from unpacked(read, file, self.name, packed, taken)


def unpacked(
    read: Callable[[BinaryIO, str], Iterator[Block]],
    file: BinaryIO,
    name: str,
    packed: bool,
    taken: Callable[[int], None] = lambda n: None,
) -> Iterator[Block]:
    """The blocks of a file, of its unpacked content if it is gzip.

    Parameters
    ----------
    read : callable
        ``read(file, name) -> Iterator[Block]``.
    file : binary file object
    name : str
        What errors call it.
    packed : bool
        Whether it is gzip.
    taken : callable
        Told the number of bytes, still packed, of each reading.

    Raises
    ------
    UserError
        When packed data are damaged or end too early.
    PlatformError
        When the machine cannot read on.
    """
    content: Any = _Watched(file, name, taken)
    if packed:
        content = gzip.GzipFile(fileobj=content)
    try:
        yield from read(content, name)
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise UserError(f"{name}: the gzip data are damaged or cut off: {e}") from e


class _Watched(io.RawIOBase):
    """A file whose own faults are told from those of who reads it, and whose bytes are counted."""

    def __init__(self, file: BinaryIO, name: str, taken: Callable[[int], None]) -> None:
        self._file, self._name, self._taken = file, name, taken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            n = cast(int, self._file.readinto(buffer))  # type: ignore[attr-defined]
        except OSError as e:
            raise PlatformError(f"{self._name}: cannot be read on: {e}") from e
        self._taken(n or 0)
        return n

    def seekable(self) -> bool:
        return bool(getattr(self._file, "seekable", lambda: False)())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def find(source: Path_ | bytes | Iterable[Path_], *, single: bool = False) -> list[Shard]:
    """The files of a data set in the order in which they are read.

    Parameters
    ----------
    source : path, bytes or iterable of paths
        A directory stands for all files below it, sorted by their path as text (as S3 lists
        keys), without empty ones and those whose name, or a folder's on the way, begins with
        ``.`` or ``_``.
    single : bool
        Whether only one file will do.

    Returns
    -------
    list of Shard
        At least one.

    Raises
    ------
    UserError
        When a path does not exist or is special (a pipe, a device), a directory has no file to
        read, or `single` is not met.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return [Shard("the bytes given", Path(), len(source), bytes(source))]
    if isinstance(source, str | os.PathLike):
        source = [source]
    shards: list[Shard] = []
    for path in map(Path, source):
        if not path.exists():
            raise UserError(f"{path}: no such file or directory")
        name = os.path.basename(os.path.abspath(path))
        if path.is_file():
            shards.append(Shard(name, path, path.stat().st_size))
            continue
        if not path.is_dir():
            raise UserError(f"{path}: no plain file and no directory: give it opened")
        if single:
            raise UserError(f"{path}: a directory, where one file is required")
        found = sorted(_below(path, ""), key=lambda found: found[0])
        if not found:
            raise UserError(
                f"{path}: no files to read (empty ones and names that begin with . or _ do "
                "not count)"
            )
        shards += [Shard(f"{name}/{below}", path / below, size) for below, size in found]
    if not shards or (single and len(shards) > 1):
        raise UserError(f"{len(shards)} files were given, where one is required")
    return shards


def _below(root: Path, folder: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """(path from root, size) of the files in and below a folder; links are followed."""
    real = os.path.realpath(root / folder)
    if real in above:  # a link back to where we come from
        return
    try:
        entries = list(os.scandir(root / folder))
    except OSError as e:
        raise UserError(f"{root / folder}: cannot be listed: {e.strerror}") from e
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        below = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir():
            yield from _below(root, below, (*above, real))
        elif entry.is_file() and (size := entry.stat().st_size):
            yield below, size


class Peekable(io.RawIOBase):
    """A file that can only be read forwards, with a look at its first bytes.

    Parameters
    ----------
    file : object with ``read(n)``
        Binary; short reads are fine.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._head = file, b""

    def peek(self, n: int) -> bytes:
        """The next n bytes, fewer at the end of the file; they are read again afterwards."""
        while len(self._head) < n:
            more = self._file.read(n - len(self._head))
            if not isinstance(more, bytes | None):
                raise UserError("data are read as bytes: open the file in binary mode")
            if not more:
                break
            self._head += more
        return self._head[:n]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if not self._head:
            if hasattr(self._file, "readinto"):
                return cast(int, self._file.readinto(view))
            self._head = self._file.read(len(view))
        n = min(len(view), len(self._head))
        view[:n], self._head = self._head[:n], self._head[n:]
        return n
