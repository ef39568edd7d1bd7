"""Answers of models to bytes, in the grammars of the original's responses.

An answer is ``{field: one entry per row}``, the fields in the order in which they are written; an
entry is a number, (n,), or a list of numbers, (n, m); or, in a Python list of n, a text, a list of
texts, or an array of numbers, which JSON alone has a place for. Floats are written as the shortest
decimal that is the same float32 when it is read; they are finite, or NaN as Python's JSON has it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.content_type import CSV, JSON, JSON_LINES, RECORDIO
from smalgos.formats.content_type import accept as accepted

__all__ = [
    "ENCODERS",
    "JSON",
    "JSON_LINES",
    "Answer",
    "Encoder",
    "bare_lines",
    "cells_of",
    "csv_lines",
    "encoder",
    "json_lines",
    "json_list",
    "quoted_lines",
    "records",
]

Numbers: TypeAlias = Mapping[str, NDArray[Any]]
Answer: TypeAlias = Mapping[str, NDArray[Any] | list[Any]]

# A string array of pyarrow holds 2 GiB; the text of so many numbers stays far below.
CELLS = 1 << 20

# Up to so many numbers, as a request of one row has, Python joins texts sooner than pyarrow does.
FEW = 64

# And of so few numbers, NumPy writes each sooner than pyarrow gets going.
FEWER = 8


def json_lines(answer: Answer) -> bytes:
    """One object per row and line: ``{"score": 0.4, "predicted_label": 0}``."""
    return _objects(answer, "\n")


def json_list(answer: Answer) -> bytes:
    """The same objects separated by commas: what stands within the brackets of a list."""
    return _objects(answer, ", ")[:-2]


def csv_lines(answer: Answer) -> bytes:
    """One line per row, fields and the numbers of lists separated by commas; no header."""
    write = _lines_of_few if cells_of(answer) <= FEW else _lines_of_many
    return b"".join(map(write, _pieces(_numbers(answer))))


def quoted_lines(answer: Answer) -> bytes:
    """One line per row, a list of numbers as one quoted cell: ``1,"[0.4, 0.6]"``."""
    columns = []
    for values in _numbers(answer).values():
        cells = _few(values, ", ")
        columns.append(cells if values.ndim == 1 else [f'"[{cell}]"' for cell in cells])
    return "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True)).encode()


def bare_lines(answer: Answer) -> bytes:
    """The first field alone, one line per row: ``0.4``, or ``[0.4, 0.6]``."""
    values = next(iter(_numbers(answer).values()))
    cells = _few(values, ", ")
    lines = cells if values.ndim == 1 else [f"[{cell}]" for cell in cells]
    return "".join(f"{line}\n" for line in lines).encode()


def records(answer: Answer) -> bytes:
    """One RecordIO-protobuf record per row: each field a float32 tensor of the label map."""
    from smalgos.formats.protobuf import encode_records

    return encode_records(_numbers(answer))


ENCODERS: dict[str, Callable[[Answer], bytes]] = {
    JSON: json_list,
    JSON_LINES: json_lines,
    CSV: csv_lines,
    RECORDIO: records,
}


@dataclass(frozen=True)
class Encoder:
    """What writes answers as one content type.

    Parameters
    ----------
    type : str
        The bare media type: what a response is labelled with.
    rows : callable
        ``rows(answer) -> bytes``, without what stands around and between them.
    parameters : mapping of str to str
        Of the range of the Accept list that was met: ``verbose=true``.
    frame : (bytes, bytes, bytes)
        What stands before the first row, between the rows of two answers, and behind the last.
    """

    type: str
    rows: Callable[[Answer], bytes]
    parameters: Mapping[str, str]
    frame: tuple[bytes, bytes, bytes] = (b"", b"", b"")

    def encode(self, answer: Answer) -> bytes:
        """An answer as a body of its own."""
        return b"".join(self.body([answer]))

    def body(self, answers: Iterable[Answer]) -> Iterator[bytes]:
        """Successive answers as one body, in pieces."""
        begin, between, end = self.frame
        before = begin
        for answer in answers:
            if rows := self.rows(answer):
                yield before + rows
                before = between
        yield end if before is between else begin + end


def encoder(
    accept: str | None = None, *, envelope: str = "predictions", default: str = JSON_LINES
) -> Encoder:
    """What writes answers as an Accept list asks for.

    Parameters
    ----------
    accept : str, optional
        None and the empty list take anything.
    envelope : str
        Key of a JSON document's list of rows: ``{"predictions": [{"score": 0.4}, ...]}``; empty:
        a bare list.
    default : str
        Media type for whoever takes anything.

    Returns
    -------
    Encoder

    Raises
    ------
    UserError
        When the list accepts nothing that can be written.
    """
    chosen = accepted(accept, list(ENCODERS), default)
    frame = (b"", b"", b"")
    if chosen.type == JSON:
        begin, end = (f"{{{json.dumps(envelope)}: [", "]}") if envelope else ("[", "]")
        frame = begin.encode(), b", ", end.encode()
    return Encoder(chosen.type, ENCODERS[chosen.type], chosen.parameters, frame)


def cells_of(answer: Answer) -> int:
    """How many numbers and texts an answer has."""
    return sum(
        sum(1 if isinstance(entry, str) else len(entry) for entry in values)
        if isinstance(values, list)
        else values.size
        for values in answer.values()
    )


def _numbers(answer: Answer) -> Numbers:
    """The same answer, of numbers alone."""
    numbers = {n: v for n, v in answer.items() if isinstance(v, np.ndarray)}
    if len(numbers) < len(answer):
        raise UserError(f"texts are answered as JSON: accept {JSON} or {JSON_LINES}")
    return numbers


def _pieces(answer: Numbers) -> Iterator[dict[str, NDArray[Any]]]:
    """Some rows at a time, floats in float32, the precision of the original's answers."""
    n = len(next(iter(answer.values()), ()))
    step = max(CELLS * n // max(cells_of(answer), 1), 1)
    for i in range(0, n, step):
        rows = {name: values[i : i + step] for name, values in answer.items()}
        yield {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in rows.items()}


def _lines_of_few(answer: Numbers) -> bytes:
    columns = [_few(values, ",") for values in answer.values()]
    return "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True)).encode()


def _lines_of_many(answer: Numbers) -> bytes:
    import pyarrow.compute as pc

    lines = pc.binary_join_element_wise(*(_many(v, ",") for v in answer.values()), ",")
    return _text(pc.binary_join_element_wise(lines, "", "\n"))


def _objects(answer: Answer, end: str) -> bytes:
    """A JSON object for each row, each followed by `end`."""
    if any(isinstance(values, list) for values in answer.values()):
        return _objects_of_texts(answer, end)
    write = _objects_of_few if cells_of(answer) <= FEW else _objects_of_many
    return b"".join(write(piece, end) for piece in _pieces(_numbers(answer)))


def _objects_of_texts(answer: Answer, end: str) -> bytes:
    columns = []
    for name, values in answer.items():
        entries = values if isinstance(values, list) else list(values)
        columns.append([f"{json.dumps(name)}: {_entry(entry)}" for entry in entries])
    return "".join(f"{{{', '.join(row)}}}{end}" for row in zip(*columns, strict=True)).encode()


def _entry(entry: Any) -> str:
    """The JSON of a text, some texts, a number or some numbers."""
    if isinstance(entry, np.ndarray | np.generic):
        numbers = np.asarray(entry, np.float32 if entry.dtype.kind == "f" else None)
        text = ", ".join(_few(numbers.ravel(), ", ", "NaN"))
        return f"[{text}]" if numbers.ndim else text
    return json.dumps(entry)


def _objects_of_few(answer: Numbers, end: str) -> bytes:
    columns = []
    for name, values in answer.items():
        cells = _few(values, ", ", "NaN")
        lists = values.ndim > 1
        columns.append([f'"{name}": [{c}]' if lists else f'"{name}": {c}' for c in cells])
    return "".join(f"{{{', '.join(row)}}}{end}" for row in zip(*columns, strict=True)).encode()


def _few(values: NDArray[Any], comma: str, nan: str = "nan") -> list[str]:
    """The text of each row's entry; a float has a point, as Python writes it."""
    flat = values.ravel()
    if flat.dtype.kind == "f":
        texts = _shortest(flat)
        texts = [nan if t == "nan" else t if "." in t or "e" in t else f"{t}.0" for t in texts]
    else:
        texts = list(map(str, flat.tolist()))
    if values.ndim == 1:
        return texts
    m = values.shape[1]
    return [comma.join(texts[i * m : (i + 1) * m]) for i in range(len(values))]


def _shortest(flat: NDArray[np.float32]) -> list[str]:
    """The shortest decimal of each number, as pyarrow writes it."""
    if flat.size <= FEWER and all(1e-4 <= abs(v) < 1e5 for v in flat.tolist()):
        return [str(v).removesuffix(".0") for v in flat]  # within these bounds it is the same

    import pyarrow as pa

    texts: list[str] = pa.array(flat).cast(pa.string()).to_pylist()
    return texts


def _objects_of_many(answer: Numbers, end: str) -> bytes:
    import pyarrow.compute as pc

    parts: list[Any] = []
    for name, values in answer.items():
        parts += [f'{", " if parts else "{"}"{name}": ', _cells(values)]
    return _text(pc.binary_join_element_wise(*parts, f"}}{end}", ""))


def _text(lines: Any) -> bytes:
    """All strings of a fresh array, which are in a row."""
    text: bytes = lines.buffers()[2].to_pybytes() if len(lines) else b""
    return text


def _cells(values: NDArray[Any]) -> Any:
    """The JSON of each row's entry, as a string array."""
    import pyarrow.compute as pc

    texts = _many(values, ", ", "NaN")
    return texts if values.ndim == 1 else pc.binary_join_element_wise("[", texts, "]", "")


def _many(values: NDArray[Any], comma: str, nan: str = "nan") -> Any:
    """As `_few`, as a string array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = np.ascontiguousarray(values).reshape(-1)
    texts = pa.array(flat).cast(pa.string())
    if values.dtype.kind == "f" and np.isnan(flat).any():
        texts = pc.if_else(pa.array(np.isnan(flat)), nan, texts)
    if values.dtype.kind == "f" and (whole := flat == np.trunc(flat)).any():
        plain = pc.and_(pa.array(whole), pc.invert(pc.match_substring(texts, "e")))
        texts = pc.if_else(plain, pc.binary_join_element_wise(texts, ".0", ""), texts)
    if values.ndim == 1:
        return texts
    starts = pa.array(np.arange(0, flat.size + 1, values.shape[1], dtype=np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(starts, texts), comma)
