"""Whole data sets in and out: `read`, `iter_blocks`, `write`."""

import contextlib
import gzip
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

from smalgos.errors import PlatformError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import cut, stream
from smalgos.formats.content_type import ContentType, blocks_writer, by_suffix, types
from smalgos.formats.gathering import gather

APART_BYTES = 4 << 20  # a source of fewer is not worth a thread
GZIP_LEVEL = 6  # gzip's own default; 9 takes several times as long for a few percent


def read(source: Any, content_type: str | ContentType | None = None) -> Block:
    """All rows of a data set.

    Parameters
    ----------
    source : path, directory, binary file object or bytes
        A directory stands for all files below it, in the order of their paths, without those
        whose name begins with ``.`` or ``_``. Gzip is unpacked. A file object is read from where
        it stands to its end.
    content_type : str or ContentType, optional
        ``"text/csv; label_size=0"``, ``"application/x-recordio-protobuf"``, ... Default: what the
        suffix, else the first bytes tell. CSV begins with one label column unless ``label_size``
        says otherwise.

    Returns
    -------
    Block
        ``features`` (n, d) float32, dense or `Csr`; ``labels`` (n,) or (n, m) float32, where
        there are some.

    Raises
    ------
    UserError
        When the source does not exist, cannot be read as this content type (the message names
        file and row or byte) or has no rows, and when nothing tells the content type.
    PlatformError
        When the machine fails to read on.

    Examples
    --------
    >>> from smalgos.formats import read
    >>> read(b"1,0.5,2\\n0,1.5,3\\n", "text/csv").labels
    array([1., 0.], dtype=float32)
    """
    rows = stream(source, content_type)
    apart = (rows.size or 0) >= APART_BYTES and not rows.threaded
    whole = gather(rows.open(), rows.share, apart=apart)
    if whole is None:
        raise UserError("no rows")
    return whole


def iter_blocks(
    source: Any, content_type: str | ContentType | None = None, *, block_rows: int = 65536
) -> Iterator[Block]:
    """The rows of a data set in blocks of exactly `block_rows`, the last one maybe shorter.

    Memory is bounded by the size of a block, not of the data.

    Parameters
    ----------
    source, content_type
        As for `read`.
    block_rows : int
        At least 1.

    Returns
    -------
    iterator of Block
        All with columns like the first one's; `Block.start` counts rows from 0.

    Raises
    ------
    UserError, PlatformError
        As for `read`, now or when the place is reached.
    """
    if block_rows < 1:
        raise UserError(f"block_rows={block_rows}: must be at least 1")
    return cut(stream(source, content_type).open(rows=block_rows), block_rows)


def write(
    target: Any, block: Block | Iterable[Block], *, content_type: str | ContentType | None = None
) -> None:
    """Write rows to a file.

    Parameters
    ----------
    target : path or binary file object
        A file appears under its name only when it is complete; one that was there is replaced.
        A name in ``.gz`` is packed, always to the same bytes. A file object is written to as it
        is, and left open.
    block : Block or iterable of Block
    content_type : str or ContentType, optional
        Default: what the suffix tells (``.csv``, ``.pbr``, ``.csv.gz``, ...).

    Raises
    ------
    UserError
        When nothing tells the content type, or the file cannot be made.
    PlatformError
        When the machine fails to write on.

    Notes
    -----
    CSV of rows without labels has no label column, so it is read back with ``label_size=0``.
    """
    blocks = [block] if isinstance(block, Block) else block
    to_file_object = hasattr(target, "write")
    name = getattr(target, "name", "") if to_file_object else os.fspath(target)
    if content_type is None:
        content_type = by_suffix(name) if isinstance(name, str) else None
        if content_type is None:
            raise UserError(
                f"{name or 'the file'}: the name does not tell what to write; "
                f"give content_type: {' or '.join(types())}"
            )
    write_blocks = blocks_writer(content_type)
    if to_file_object:
        write_blocks(target, blocks)
        return
    with _replaced(name, packed=name.lower().endswith(".gz")) as file:
        write_blocks(file, blocks)


@contextlib.contextmanager
def _replaced(path: str, *, packed: bool) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when it is complete, and vanishes when it fails."""
    final = os.path.realpath(path)
    folder, name = os.path.split(final)
    # A pipe is written to, not replaced; nor is the file behind /dev/stdout.
    special = os.path.exists(path) and not os.path.isfile(path)
    special = special or os.path.dirname(os.path.abspath(path)) in ("/dev", "/dev/fd")
    made = path if special else os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    try:
        file = open(made, "ab" if special else "xb")  # noqa: SIM115 (closed below)
    except OSError as e:
        raise UserError(f"{path}: cannot be written: {e.strerror}") from e
    try:
        with file:
            if packed:  # without name and time, which would make the bytes differ
                with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as pack:
                    yield cast(BinaryIO, pack)
            else:
                yield file
            if special:
                return
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(final):
            shutil.copymode(final, made)
        os.replace(made, final)
    except BaseException as e:
        if not special:
            with contextlib.suppress(OSError):
                os.unlink(made)
        if isinstance(e, OSError):
            raise PlatformError(f"{path}: cannot be written: {e}") from e
        raise
