"""Files of fastText: ``.bin``, and ``.ftz`` where rows are quantised; both are read and written.

All numbers are little-endian. What a file says is checked against its size before anything is
allocated. Versions 11 and 12 are read, 12 is written: the ``fasttext`` package predicts from what
is written here, and ``gensim.models.fasttext.load_facebook_model`` loads it.
"""

import io
import os
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.fasttext import Arguments, FastText, shrunk
from smalgos.algorithms.blazingtext.outputs import FAR
from smalgos.algorithms.blazingtext.quantized import CODES, Quantized, codes_per_row
from smalgos.algorithms.blazingtext.vectors_file import mapped
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary, are_pairs
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels import load as load_kernels
from smalgos.learning.files import replacing

__all__ = [
    "MAGIC",
    "Arguments",
    "FastText",
    "decode",
    "encode",
    "read",
    "read_model",
    "shrunk",
    "write",
]

MAGIC = struct.pack("<i", 793712314)
VERSION = 12
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
LABEL_PREFIX = "__label__"  # which files do not keep; fastText's own default
ENTRY = 10  # bytes of an entry of the dictionary beside its token: NUL, count, kind
ROWS = 1 << 16  # that are written together
MOST = 2**31  # rows, since they are numbered in 32 bits


def read(path: str | os.PathLike[str], *, device: str = "cpu") -> FastText:
    """Read a ``.bin`` or ``.ftz`` file.

    Raises
    ------
    UserError
        There is no such file, it is not fastText's, of another version, cut short or damaged.
    PlatformError
        The disk is faulty.
    """
    return decode(mapped(path), os.fspath(path), device=device)


def decode(data: Any, name: str, *, device: str = "cpu") -> FastText:
    """As `read`, from the bytes of a file; errors call them `name`."""
    given = np.frombuffer(data, np.uint8)
    return _Reader(given, name).file(device)


def read_model(path: str | Path, device: str = "cpu") -> Any:
    """The model, of those that predict and are saved, that a file of fastText holds."""
    from smalgos.algorithms.blazingtext.foreign import model_of

    return model_of(read(path, device=device), device)


def write(path: str | os.PathLike[str], model: FastText) -> None:
    """Write a file of version 12; ``.ftz`` is the usual ending where the input is quantised.

    Raises
    ------
    UserError, PlatformError
        As `smalgos.learning.files.write`.
    """
    with replacing(path) as file:
        _write(file, model)


def encode(model: FastText) -> bytes:
    """The bytes that `write` would write."""
    file = io.BytesIO()
    _write(file, model)
    return file.getvalue()


# Reading ------------------------------------------------------------------------------------------


class _Reader:
    """Takes a file apart from its first byte to its last."""

    def __init__(self, data: NDArray[np.uint8], name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def fail(self, what: str) -> UserError:
        return UserError(f"{self.name}: byte {self.at}: {what}")

    def room(self, size: int, what: str) -> None:
        """Raise unless so many bytes follow."""
        if size < 0 or size > len(self.data) - self.at:
            raise self.fail(f"cut short or damaged: {what} should take {size} bytes")

    def numbers(self, layout: str, what: str) -> tuple[Any, ...]:
        """Some numbers, as `struct` describes them."""
        size = struct.calcsize("<" + layout)
        self.room(size, what)
        given = struct.unpack_from("<" + layout, self.data.data, self.at)
        self.at += size
        return given

    def array(self, dtype: str, count: int, what: str) -> NDArray[Any]:
        """An array in memory of its own."""
        kind = np.dtype(dtype)
        self.room(count * kind.itemsize, what)
        end = self.at + count * kind.itemsize
        array = np.empty(count, kind.newbyteorder("="))
        array.view(np.uint8)[:] = self.data[self.at : end]
        if kind.kind == "f" and not load_kernels("tokens").all_finite(array):
            raise self.fail(f"{what} has numbers that are not finite")
        self.at = end
        return array

    def flag(self, what: str) -> bool:
        """A byte that is 0 or 1."""
        (value,) = self.numbers("B", what)
        if value > 1:
            self.at -= 1
            raise self.fail(f"{what} is {value}, which is neither 0 nor 1")
        return bool(value)

    def file(self, device: str) -> FastText:
        """All of it."""
        arguments, old = self.arguments()
        vocabulary = self.dictionary(arguments, device)
        if sum(vocabulary.label_counts.tolist()) >= FAR:
            raise self.fail("labels come more often than there can be tokens")
        n, grams = vocabulary.nwords, vocabulary.pruned
        quantized = self.flag("quant_input")
        if grams is not None and not quantized:
            raise self.fail("rows are pruned, but not quantised: this is an old, faulty file")
        given = self.matrix(quantized, arguments.dim, "the input")
        rows = n + (arguments.bucket if grams is None else len(grams))
        unused = arguments.wordNgrams <= 1 and arguments.maxn <= 0
        if given.shape[0] != rows:
            if not unused or given.shape[0] < n or grams is not None:
                raise self.fail(f"the input has {given.shape[0]} rows, not {rows}")
            arguments = replace(arguments, bucket=given.shape[0] - n)
        output = self.matrix(self.flag("qout") and quantized, arguments.dim, "the output")
        targets = len(vocabulary.label_counts) if arguments.model == "supervised" else n
        if output.shape[0] != targets:
            raise self.fail(f"the output has {output.shape[0]} rows, not {targets}")
        if self.at != len(self.data):
            raise self.fail(f"{len(self.data) - self.at} bytes more than expected")
        if old and arguments.model == "supervised":
            arguments = replace(arguments, maxn=0)  # version 11 had no subwords there
        return FastText(arguments, vocabulary, given, output)

    def arguments(self) -> tuple[Arguments, bool]:
        """The settings, and whether the file is of version 11."""
        if len(self.data) < 8 or self.data[:4].tobytes() != MAGIC:
            found = self.data[:4].tobytes().hex()
            raise UserError(
                f"{self.name}: not a file of fastText: it begins with {found}, not {MAGIC.hex()}"
            )
        _, version = self.numbers("ii", "the version")
        if version not in (11, VERSION):
            raise self.fail(f"version {version} of fastText's files, which is not 11 or {VERSION}")
        given = list(self.numbers("12id", "the arguments"))
        for place, names, what in ((6, LOSSES, "loss"), (7, MODELS, "model")):
            if given[place] not in names:
                raise self.fail(f"{what} {given[place]} is unknown")
            given[place] = names[given[place]]
        a = Arguments(*given)
        if a.dim < 1 or a.bucket < 0 or a.wordNgrams < 0 or a.minn < 0 or a.maxn < 0:
            raise self.fail("a dimension, a number of buckets or a length below what there can be")
        if not np.isfinite(a.t):
            raise self.fail("the sampling threshold t is not finite")
        return a, version == 11

    def dictionary(self, arguments: Arguments, device: str) -> Vocabulary:
        """Words, labels and which rows of n-grams are left."""
        k = load_kernels("tokens_files", device)
        size, nwords, nlabels, tokens, pruned = self.numbers("iiiqq", "the dictionary")
        if min(size, nwords, nlabels, tokens) < 0 or nwords + nlabels != size or nwords == 0:
            raise self.fail(f"a dictionary of {size} entries, {nwords} words and {nlabels} labels")
        if arguments.model == "supervised" and nlabels == 0:
            raise self.fail("a classifier without labels")
        if nwords + arguments.bucket >= MOST:
            raise self.fail(f"{nwords} words and {arguments.bucket} buckets: too many rows")
        self.room(size * (ENTRY + 1), f"a dictionary of {size} entries")
        starts, ends, counts, kinds, end = k.entries(self.data, self.at, size)
        if end < 0:
            self.at = -int(end)
            raise self.fail("an entry of the dictionary that is empty or does not end")
        order = np.repeat(np.array([0, 1], np.uint8), [nwords, nlabels])
        wrong = np.flatnonzero((kinds != order) | (counts < 0))
        if len(wrong):
            self.at = int(starts[wrong[0]])
            raise self.fail(f"entry {wrong[0]} of the dictionary is damaged or out of order")
        self.at = int(end)
        pairs = None
        if pruned >= 0:
            pairs = self.array("<i4", 2 * pruned, "the list of n-grams").reshape(-1, 2)
            if not are_pairs(pairs) or pairs[:, 0].max(initial=-1) >= arguments.bucket:
                raise self.fail("the list of n-grams that are left is damaged")
        offsets = np.zeros(size + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        strings = Ragged(k.gathered(self.data, starts, ends), offsets)
        prefix = LABEL_PREFIX if arguments.model == "supervised" else None
        vocabulary = Vocabulary(strings, counts, nwords, tokens, prefix, pairs, device=device)
        if vocabulary.distinct != size:
            raise self.fail("a token is twice in the dictionary")
        return vocabulary

    def matrix(self, quantized: bool, dim: int, what: str) -> Any:
        """Rows of numbers, or of codes."""
        if quantized:
            return self.codes(dim, what)
        rows, columns = self.numbers("qq", what)
        if columns != dim or not 0 <= rows < MOST:
            raise self.fail(f"{what} is said to be {rows} x {columns}, and dim is {dim}")
        return self.array("<f4", rows * columns, what).reshape(rows, columns)

    def codes(self, dim: int, what: str) -> Quantized:
        """Rows that are quantised."""
        qnorm = self.flag(f"qnorm of {what}")
        rows, columns, size = self.numbers("qqi", what)
        if columns != dim or not 0 <= rows < MOST:
            raise self.fail(f"{what} is said to be {rows} x {columns}, and dim is {dim}")
        codes = self.array("u1", size, f"codes of {what}")
        dsub, centroids = self.quantizer(dim, what)
        if size != rows * codes_per_row(dim, dsub):
            raise self.fail(f"{size} codes for {rows} rows of {what}")
        norms = norm_centroids = None
        if qnorm:
            norms = self.array("u1", rows, f"norms of {what}")
            _, norm_centroids = self.quantizer(1, f"norms of {what}")
        return Quantized(
            codes.reshape(rows, codes_per_row(dim, dsub)), centroids, dim, dsub,
            norms, norm_centroids,
        )  # fmt: skip

    def quantizer(self, dim: int, what: str) -> tuple[int, NDArray[np.float32]]:
        """How many numbers share a code, and what codes stand for."""
        given = self.numbers("4i", f"the quantizer of {what}")
        size, parts, dsub, last = given
        if size != dim or not 1 <= dsub <= dim or parts != codes_per_row(dim, dsub):
            raise self.fail(f"the quantizer of {what} is damaged: {given}")
        if last != (dim % dsub or dsub):
            raise self.fail(f"the quantizer of {what} is damaged: {given}")
        return dsub, self.array("<f4", dim * CODES, f"centroids of {what}")


# Writing ------------------------------------------------------------------------------------------


def _write(file: BinaryIO, model: FastText) -> None:
    codes = {name: code for names in (LOSSES, MODELS) for code, name in names.items()}
    given = [getattr(model.arguments, field.name) for field in fields(Arguments)]
    values = [codes.get(v, v) for v in given]
    file.write(MAGIC + struct.pack("<i12id", VERSION, *values))
    v = model.vocabulary
    size, pruned = len(v.all_counts), -1 if v.pruned is None else len(v.pruned)
    file.write(struct.pack("<iiiqq", size, v.nwords, size - v.nwords, v.tokens, pruned))
    for first in range(0, size, ROWS):
        file.write(_entries(v, first, min(size, first + ROWS)).data)
    if v.pruned is not None:
        file.write(v.pruned.astype("<i4").tobytes())
    quantized = isinstance(model.input, Quantized)
    if isinstance(model.output, Quantized) and not quantized:
        raise UserError("fastText has no files in which only the output is quantised")
    for matrix in (model.input, model.output):
        file.write(struct.pack("B", isinstance(matrix, Quantized)))
        if isinstance(matrix, Quantized):
            _write_codes(file, matrix)
        else:
            _write_rows(file, matrix)


def _entries(v: Vocabulary, first: int, last: int) -> NDArray[np.uint8]:
    """Entries of the dictionary: token, NUL, count, kind."""
    strings = v.strings[first:last].tight()
    n = len(strings)
    lengths = np.diff(strings.offsets)
    out = np.zeros(int(strings.offsets[-1]) + n * ENTRY, np.uint8)
    shift = np.repeat(np.arange(n) * ENTRY, lengths)
    out[np.arange(len(strings.values)) + shift] = strings.values
    ends = strings.offsets[1:] + np.arange(n) * ENTRY + 1
    counts = v.all_counts[first:last].astype("<i8").view(np.uint8).reshape(n, 8)
    out[ends[:, None] + np.arange(8)] = counts
    out[ends + 8] = np.arange(first, last) >= v.nwords
    return out


def _write_rows(file: BinaryIO, matrix: Any) -> None:
    rows, columns = matrix.shape
    file.write(struct.pack("<qq", rows, columns))
    for first in range(0, rows, ROWS):
        part = np.ascontiguousarray(matrix[first : first + ROWS], "<f4")
        file.write(part.reshape(-1).view(np.uint8).data)


def _write_codes(file: BinaryIO, matrix: Quantized) -> None:
    rows, columns = matrix.shape
    norms = matrix.norms is not None
    file.write(struct.pack("<Bqqi", norms, rows, columns, matrix.codes.size))
    file.write(matrix.codes.tobytes())
    _write_quantizer(file, columns, matrix.dsub, matrix.centroids)
    if matrix.norms is not None and matrix.norm_centroids is not None:
        file.write(matrix.norms.tobytes())
        _write_quantizer(file, 1, 1, matrix.norm_centroids)


def _write_quantizer(file: BinaryIO, dim: int, dsub: int, centroids: NDArray[np.float32]) -> None:
    head = struct.pack("<4i", dim, codes_per_row(dim, dsub), dsub, dim % dsub or dsub)
    file.write(head + centroids.astype("<f4").tobytes())
