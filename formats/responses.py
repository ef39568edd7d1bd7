"""Answers of models to bytes, in the grammars of the original's responses.

An answer is ``{field: one entry per row}``, the fields in the order in which they are written; an
entry is a number, (n,), or a list of numbers, (n, m), all of them finite. Floats are written as
the shortest decimal that is the same float32 when it is read.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.content_type import CSV, RECORDIO, accept

Answer: TypeAlias = Mapping[str, NDArray[Any]]

JSON_LINES = "application/jsonlines"

# A string array of pyarrow holds 2 GiB; the text of so many numbers stays far below.
CELLS = 1 << 20


def json_lines(answer: Answer) -> bytes:
    """One object per row and line: ``{"score": 0.4, "predicted_label": 0}``."""
    return b"".join(map(_json_lines, _pieces(answer)))


def csv_lines(answer: Answer) -> bytes:
    """One line per row, fields and the numbers of lists separated by commas; no header."""
    from smalgos.formats.csv import encode_columns

    return b"".join(encode_columns(list(piece.values())) for piece in _pieces(answer))


def records(answer: Answer) -> bytes:
    """One RecordIO-protobuf record per row: each field a float32 tensor of the label map."""
    from smalgos.formats.protobuf import encode_records

    return encode_records(answer)


ENCODERS: dict[str, Callable[[Answer], bytes]] = {
    JSON_LINES: json_lines,
    CSV: csv_lines,
    RECORDIO: records,
}


def encoder(header: str | None = None) -> Callable[[Answer], bytes]:
    """What writes answers as an Accept list asks for; JSON Lines where it takes anything.

    The bytes of successive answers make one body.

    Raises
    ------
    UserError
        When the list accepts nothing that can be written.
    """
    return ENCODERS[accept(header, list(ENCODERS), JSON_LINES).type]


def _pieces(answer: Answer) -> Iterator[dict[str, NDArray[Any]]]:
    """Some rows at a time, floats in float32, the precision of the original's answers."""
    n = len(next(iter(answer.values()), ()))
    step = max(CELLS * n // max(sum(v.size for v in answer.values()), 1), 1)
    for i in range(0, n, step):
        rows = {name: values[i : i + step] for name, values in answer.items()}
        yield {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in rows.items()}


def _json_lines(answer: Answer) -> bytes:
    import pyarrow.compute as pc

    parts: list[Any] = []
    for name, values in answer.items():
        parts += [f'{", " if parts else "{"}"{name}": ', _cells(values)]
    lines = pc.binary_join_element_wise(*parts, "}\n", "")
    text: bytes = lines.buffers()[2].to_pybytes()  # of a fresh string array: all of them in a row
    return text


def _cells(values: NDArray[Any]) -> Any:
    """The JSON of each row's entry, as a string array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = np.ascontiguousarray(values).reshape(-1)
    texts = pa.array(flat).cast(pa.string())
    if values.dtype.kind == "f" and (whole := flat == np.trunc(flat)).any():
        # The point makes them floats to a reader, as it does in Python's JSON.
        plain = pc.and_(pa.array(whole), pc.invert(pc.match_substring(texts, "e")))
        texts = pc.if_else(plain, pc.binary_join_element_wise(texts, ".0", ""), texts)
    if values.ndim == 1:
        return texts
    starts = pa.array(np.arange(0, flat.size + 1, values.shape[1], dtype=np.int32))
    lists = pc.binary_join(pa.ListArray.from_arrays(starts, texts), ", ")
    return pc.binary_join_element_wise("[", lists, "]", "")
