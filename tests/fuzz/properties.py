"""What must hold when a reader is given any bytes. Breaking it is an AssertionError or worse.

All that a check does follows from the bytes, so that those of a finding are enough to see it again.
"""

import base64
import contextlib
import hashlib
import io
import os
import re
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse

import smalgos
from smalgos import formats
from smalgos.algorithms.blazingtext import fasttext_file, foreign, vectors_file, vocabulary
from smalgos.algorithms.xgboost import exchange
from smalgos.errors import UserError
from smalgos.estimators.texts import TextEstimator
from smalgos.formats import csv, json_document, jsonlines, libffm, libsvm, protobuf
from smalgos.formats.block import Block, Csr
from smalgos.formats.csv_rows import parse_rows
from smalgos.formats.floats import MARGIN
from smalgos.formats.recordio import frame
from smalgos.formats.text import read_blocks as text_lines
from smalgos.learning import files
from tests.fuzz import judge

Arrays: TypeAlias = dict[str, np.ndarray]
NAME = "fuzz"
MEMORY = os.memfd_create("fuzz")  # a file that costs nothing to write, ...
FILE = Path(f"/proc/self/fd/{MEMORY}")  # ... and its name
SLACK = 6 << 20  # what reading nothing at all takes: the tables of a chunk
TIMES = 200  # bytes taken for each of the input: a row of the tables, Python's own numbers


class Trickle:
    """A file of which each call gives only a few bytes, as pipes do."""

    def __init__(self, data: bytes, steps: int) -> None:
        self.file, self.steps = io.BytesIO(data), steps

    def read(self, n: int) -> bytes:
        return self.file.read(min(n, self.steps))


class Rates(NamedTuple):
    """Of how many inputs one undergoes a costly check; which one follows from its bytes."""

    cut: int = 1  # read in pieces, too
    judge: int = 1  # compared with the reference
    memory: int = 1  # traced


rates = Rates()


def due(check: str, data: bytes) -> bool:
    """Whether a check is made of this input."""
    one_in: int = getattr(rates, check)
    return zlib.crc32(data, zlib.crc32(check.encode())) % one_in == 0


def read_all(blocks: Iterator[Block]) -> tuple[list[Block], str]:
    """The blocks before an error, and the error ("" for none)."""
    read, said = [], ""
    try:
        for block in blocks:
            read.append(block)
    except UserError as error:
        said = str(error)
    assert not said or said.startswith(NAME), f"the error does not name the file: {said}"
    return read, said


def flat(blocks: list[Block]) -> Arrays:
    """The rows of all blocks as arrays that do not depend on how they were cut."""
    parts: dict[str, list[np.ndarray]] = {}
    for block in blocks:
        n = len(block)
        assert block.start == sum(map(len, parts.get("length", [])))
        if "features" not in block:
            k = block["k"] if "k" in block else np.ones(n, np.int64)
            block = block.replace(k=k)
            more = {"length": np.zeros(n), "width": np.zeros(1)}
            continue_with(parts, more, block)
            continue
        features = block.features
        if isinstance(features, Csr):
            assert len(features.values) == len(features.indices) == features.offsets[-1]
            assert features.offsets[0] == 0
            assert (np.diff(features.offsets) >= 0).all()
            if len(features.indices):
                assert 0 <= features.indices.min() <= features.indices.max() < features.width
            columns, lengths = features.indices, np.diff(features.offsets)
            values, width = features.values, features.width
        else:
            width = features.shape[1]
            columns = np.tile(np.arange(width, dtype=np.int32), n)
            values, lengths = features.reshape(-1), np.full(n, width)
        more = {"value": values, "column": columns, "length": lengths, "width": np.array([width])}
        continue_with(parts, more, block)
    joined = {name: np.concatenate(p) for name, p in parts.items()}
    if joined:
        assert len(set(joined["width"].tolist())) == 1
        joined["width"] = joined["width"][:1]
    return joined


def continue_with(parts: dict[str, list[np.ndarray]], more: Arrays, block: Block) -> None:
    """Put the columns of a block that are not features behind those before, and `more`."""
    for name in sorted(set(block.columns) - {"features"}):
        column = block.columns[name]
        assert len(column) == len(block)
        if isinstance(column, np.ndarray):
            more[name] = column
        else:
            more[name] = column.tight().values
            more[f"{name} length"] = np.diff(column.offsets)
    for name, part in more.items():
        parts.setdefault(name, []).append(part)


def assert_same(one: Arrays, other: Arrays) -> None:
    """The same rows, to the bit; NaN is NaN."""
    assert one.keys() == other.keys()
    for name, a in one.items():
        b = other[name]
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{name}: {a.shape}, not {b.shape}"
        if a.tobytes() != b.tobytes():
            assert np.array_equal(a, b, equal_nan=True), f"{name}: {a} against {b}"
            zero = a == 0
            assert (np.signbit(a[zero]) == np.signbit(b[zero])).all(), f"{name}: signs of zeros"


def assert_prefix(short: Arrays, long: Arrays) -> None:
    """The rows of one reading are the first ones of the other."""
    if short:
        assert_same(short, {name: long[name][: len(a)] for name, a in short.items()})


@contextlib.contextmanager
def bounded(data: bytes) -> Iterator[None]:
    """Assert that what is allocated in the body is in proportion to the input."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < SLACK + TIMES * len(data), f"{peak} bytes for an input of {len(data)}"


def any_cut(data: bytes, read: Callable[[Any, int], Iterator[Block]]) -> tuple[Arrays, str]:
    """Read a file whole, and again in short reads and chunks; the same must come out."""
    # A byte more than all of it: what is read behind the file is behind the buffer, too.
    blocks, error = read_all(read(io.BytesIO(data), len(data) + 1))
    rows = flat(blocks)
    if due("cut", data):
        size = (1, 8, 40, 100)[zlib.crc32(data) >> 8 & 3]
        pieces, other_error = read_all(read(Trickle(data, size + 2), size))
        assert bool(error) == bool(other_error), f"whole: {error!r}, in pieces: {other_error!r}"
        in_pieces = flat(pieces)
        if error:
            one, other = sorted((rows, in_pieces), key=lambda r: len(r.get("length", ())))
            assert_prefix(one, other)
        else:
            assert_same(rows, in_pieces)
    if due("memory", data):
        with bounded(data):
            read_all(read(io.BytesIO(data), 1))
    return rows, error


def recordio_file(data: bytes) -> bytes:
    """The file that an input stands for: itself, or parts of one length, each in a right frame.

    A first byte of 0 is followed by the bytes of a file, and n by those of n % 8 records: few
    changes leave frames whole, and records of one length are what the reader compares.
    """
    n = data[0] % 8 if data else 0
    rest = data[1:]
    if n == 0:
        return rest
    size = len(rest) // n
    return b"".join(frame(rest[i * size : (i + 1) * size]) for i in range(n))


def recordio(data: bytes) -> bool:
    """Read a RecordIO file; return whether it was accepted."""
    data = recordio_file(data)

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return protobuf.read_blocks(file, NAME, uid=True, metadata=True, chunk_bytes=chunk_bytes)

    rows, error = any_cut(data, read)
    if due("judge", data):
        judge.recordio(data, rows, error)
    return not error


def csv_options(code: int) -> dict[str, Any]:
    """The options that the first byte of an input stands for."""
    return {
        "label_size": code & 3,
        "weights": bool(code & 4),
        "missing": ("error", "nan")[code >> 3 & 1],
        "delimiter": ",;\t "[code >> 4 & 3],
        "encoding": ("utf-8", "latin-1", "utf-16", "utf-8")[code >> 6],
    }


def table(data: bytes) -> bool:
    """Read a CSV file, the first byte of which chooses the options."""
    options, text = csv_options(data[0] if data else 1), data[1:]

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return csv.read_blocks(file, NAME, chunk_bytes=8 * chunk_bytes, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a column that counts the rows
        rows, error = any_cut(text, read)
    if due("judge", data):
        judge.table(text, rows, error, options)
    return not error


def line(data: bytes) -> bool:
    """Give a line of CSV to the kernel alone, which may leave it to others, but not misread it."""
    width = data.count(b",") + 1
    labels = int(width > 1)
    text = np.empty(len(data) + 2 * MARGIN, np.uint8)
    text[:] = ord("9")  # around the line, what would make a number longer
    text[MARGIN:-MARGIN] = np.frombuffer(data, np.uint8)
    lead, features = np.empty((1, labels), np.float32), np.empty((1, width - labels), np.float32)
    end, comma = MARGIN + len(data), np.uint8(ord(","))
    n = parse_rows(text, MARGIN, end, comma, False, lead, features)
    if n < 0:
        return False
    rows = {"value": features.reshape(-1)} | ({"labels": lead[:, 0]} if labels else {})
    judge.table(data, rows if n else {}, "", {"label_size": labels})
    return n > 0


def sparse_text(data: bytes) -> bool:
    """Read a file of libsvm, the first byte of which chooses the options."""
    code, text = data[0] if data else 0, data[1:]
    width = (2**31 - 1, 8)[code >> 2 & 1]
    options = {"base": code & 1, "label_size": 1 - (code >> 1 & 1), "width": width}

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return libsvm.read_blocks(file, NAME, chunk_bytes=8 * chunk_bytes, **options)

    rows, error = any_cut(text, read)
    if due("judge", data):
        judge.sparse_text(text, rows, error, options)
    return not error


def fielded_text(data: bytes) -> bool:
    """Read a file of libffm, the first byte of which chooses the options; and settle its fields."""
    code, text = data[0] if data else 0, data[1:]
    width = (libffm.MOST_COLUMNS, 8)[code >> 2 & 1]
    options = {"base": code & 1, "label_size": 1 - (code >> 1 & 1), "width": width}

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return libffm.read_blocks(file, NAME, chunk_bytes=8 * chunk_bytes, **options)

    _, error = any_cut(text, read)
    with contextlib.suppress(UserError):
        given = {"label_size": 1, "base": options["base"], "width": 8}
        found = libffm.settle(lambda f: f(io.BytesIO(text), NAME), **given)["fields"]
        assert found.shape == (8,)
        assert 0 <= found.min() <= found.max() <= libffm.MOST_FIELD
    return not error


def json_lines(data: bytes) -> bool:
    """Read JSON Lines, the first byte of which says how wide rows must be; 0: as the first."""
    width, text = (data[0] if data else 0) or None, data[1:]

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return jsonlines.read_blocks(file, NAME, width=width, chunk_bytes=chunk_bytes)

    rows, error = any_cut(text, read)
    if due("judge", data):
        judge.json_lines(text, rows, error, width)
    return not error


def json_documents(data: bytes) -> bool:
    """Read a JSON document; the first byte as that of `json_lines`."""
    width, text = (data[0] if data else 0) or None, data[1:]

    def read(file: Any, chunk_bytes: int) -> Iterator[Block]:
        return json_document.read_blocks(file, NAME, width=width)

    rows, error = any_cut(text, read)
    if due("judge", data):
        judge.json_document(text, rows, error, width)
    return not error


def texts(data: bytes) -> bool:
    """Read rows of texts, as what the first byte says."""
    code, text = data[0] % 8 if data else 0, data[1:]
    names = ("entity", "ip") if code in (2, 5, 7) else ("text",)

    def read(file: Any, size: int) -> Iterator[Block]:
        if code < 2:
            return text_lines(file, NAME, cut_lines=code == 1, chunk_bytes=size)
        if code < 4:
            return csv.read_blocks(file, NAME, texts=names, chunk_bytes=8 * size)
        if code < 6:
            return jsonlines.read_blocks(file, NAME, texts=names, chunk_bytes=size)
        return json_document.read_blocks(file, NAME, texts=names)

    rows, error = any_cut(text, read)
    if due("judge", data):
        judge.texts(code, names, text, rows, error)
    return not error


TYPES = ("application/x-recordio-protobuf", "text/csv", "text/csv; label_size=0", None)


def packed(data: bytes) -> bool:
    """Read a gzip file as the content type that the first byte chooses."""
    said = ""
    try:
        formats.read(data[1:], TYPES[data[0] % 4 if data else 0])
    except UserError as error:
        said = str(error)
    return not said


# Where a model file keeps its digits; see `files`.
_SEAL = re.compile(rb'\\"sha256\\":\\"([^"\\]*)\\"}"')


def seal(data: bytes) -> bytes:
    """A model file of any header and data with the length and the digits that it should have.

    `data` is the header, a newline and the arrays' bytes.
    """
    header, _, arrays = data.partition(b"\n")
    before, after = header, b""
    if place := _SEAL.search(header):
        before, after = header[: place.start(1)], header[place.end(1) :]
    blank = before + files.BLANK.encode() + after if place else header
    length = len(blank).to_bytes(8, "little")
    digits = hashlib.sha256(length + blank + arrays).hexdigest().encode() if place else b""
    return length + before + digits + after + arrays


def unsealed(data: bytes) -> bytes:
    """The inverse of `seal`."""
    end = 8 + int.from_bytes(data[:8], "little")
    return data[8:end] + b"\n" + data[end:]


def model(data: bytes) -> bool:
    """Load a model file as it is and with a right seal, and let it answer; whether it does."""
    return any([_model(data), _model(seal(data))])


ROWS = 4


def _model(data: bytes) -> bool:
    os.ftruncate(MEMORY, len(data))
    os.pwrite(MEMORY, data, 0)
    said = ""
    try:
        estimator = smalgos.load(FILE)
    except UserError as error:
        said = str(error)
    assert not said or str(FILE) in said, f"the error does not name the file: {said}"
    if said:
        return False
    if isinstance(estimator, TextEstimator):
        return _of_texts(estimator)
    if isinstance(estimator, smalgos.IPInsights):
        return _of_pairs(estimator)
    width = estimator.n_features_in_
    X = np.random.default_rng(0).normal(size=(ROWS, width)).astype(np.float32)
    answer = getattr(estimator, "predict", None) or estimator.transform
    with np.errstate(all="ignore"), warnings.catch_warnings():  # numbers may be huge
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn's, of rows without names
        for features in (X, scipy.sparse.csr_matrix(X)):
            assert len(answer(features)) == ROWS
        if hasattr(estimator, "state_"):
            with contextlib.suppress(UserError):
                estimator.partial_fit(X, np.arange(ROWS) % 2)
    return True


def _of_texts(estimator: Any) -> bool:
    answer = getattr(estimator, "predict_top", None) or estimator.transform
    with np.errstate(all="ignore"):
        assert len(answer(TEXTS)) == len(TEXTS)
        estimator.model_.predict(Block({"text": vocabulary.texts(TEXTS)}))
        with contextlib.suppress(UserError):
            foreign.record_of(estimator.model_)
        if hasattr(estimator, "state_"):
            labels = [["__label__b"]] * len(TEXTS) if hasattr(estimator, "classes_") else None
            with contextlib.suppress(UserError):
                estimator.partial_fit(TEXTS, labels)
    return True


def _of_pairs(estimator: Any) -> bool:
    pairs = [("a", "192.0.2.1"), ("", "2001:db8::1")]
    with np.errstate(all="ignore"):
        assert len(estimator.predict(pairs)) == len(pairs)
        assert len(estimator.knows(["a", "b"])) == 2
    return True


MOST_COLUMNS = 10_000  # a booster file may claim any number of features


def booster(data: bytes) -> bool:
    """Load a booster file and let it answer; whether it does."""
    said = ""
    try:
        read = exchange.decode(data, NAME)
    except UserError as error:
        said = str(error)
    assert not said or said.startswith(f"{NAME}: "), f"the error does not name the file: {said}"
    if due("memory", data):
        with bounded(data), contextlib.suppress(UserError):
            exchange.decode(data, NAME)
    if said:
        return False
    if read.width <= MOST_COLUMNS:
        X = np.random.default_rng(0).normal(size=(ROWS, read.width)).astype(np.float32)
        X[0] = np.nan
        with np.errstate(all="ignore"):  # numbers may be huge
            assert len(read.predict(Block.of(X))["score"]) == ROWS
            assert read.predict_margin(Csr.of(X)).shape == (ROWS, read.outputs)
    for form in ("json", "ubj"):
        with np.errstate(all="ignore"):
            again = exchange.decode(exchange.encode(read, form), NAME)
        assert again.snapshot().keys() == read.snapshot().keys()
    return True


TEXTS = ["the ball\n", "unknown \u00fcber"]


def fasttext(data: bytes) -> bool:
    """Read a file of fastText and let it answer; whether it does."""
    said = ""
    try:
        read = fasttext_file.decode(data, NAME)
    except UserError as error:
        said = str(error)
    assert not said or said.startswith(f"{NAME}: "), f"the error does not name the file: {said}"
    if due("memory", data):
        with bounded(data), contextlib.suppress(UserError):
            fasttext_file.decode(data, NAME)
    if said:
        return False
    with np.errstate(all="ignore"):  # numbers may be huge
        assert read.vectors(TEXTS).shape == (len(TEXTS), read.arguments.dim)
        if read.classifies:
            labels = len(read.vocabulary.labels)
            assert read.probabilities(vocabulary.texts(TEXTS)).shape == (len(TEXTS), labels)
    again = fasttext_file.encode(read)
    assert fasttext_file.encode(fasttext_file.decode(again, NAME)) == again
    return True


def word2vec(data: bytes) -> bool:
    """Read word vectors, binary ones if the first byte is odd; whether they are any."""
    text = np.frombuffer(data[1:], np.uint8)
    is_binary = bool(data[0] & 1) if data else False
    decode = vectors_file.decode_binary if is_binary else vectors_file.decode_text
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a word that comes again
        try:
            read = decode(text, NAME)
        except UserError as error:
            said = str(error)
        assert not said or said.startswith(NAME), f"the error does not name the file: {said}"
        if due("memory", data):
            with bounded(data), contextlib.suppress(UserError):
                decode(text, NAME)
    if said:
        return False
    assert read.values.shape[0] == len(read.words) == len(set(read.words))
    return True


PROPERTIES: dict[str, Callable[[bytes], bool]] = {
    "recordio": recordio,
    "csv": table,
    "lines": line,
    "libsvm": sparse_text,
    "libffm": fielded_text,
    "jsonlines": json_lines,
    "json": json_documents,
    "texts": texts,
    "gzip": packed,
    "model": model,
    "booster": booster,
    "fasttext": fasttext,
    "word2vec": word2vec,
}


def main() -> None:
    """Look at a finding again: ``python -m tests.fuzz.properties READER BASE64``"""
    reader, text = sys.argv[1:]
    accepted = PROPERTIES[reader](base64.b64decode(text))
    sys.stdout.write("accepted\n" if accepted else "refused\n")


if __name__ == "__main__":
    main()
