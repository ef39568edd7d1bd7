"""Answers of models to bytes, in the grammars of the original's responses.

An answer is ``{field: one entry per row}``, the fields in the order in which they are written; an
entry is a number, (n,), or a list of numbers, (n, m). Floats are written as the shortest decimal
that is the same float32 when it is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.content_type import CSV, RECORDIO, accept

Answer: TypeAlias = Mapping[str, NDArray[Any]]

JSON_LINES = "application/jsonlines"


def json_lines(answer: Answer) -> bytes:
    """One object per row and line: ``{"score": 0.4, "predicted_label": 0}``."""
    line = "{" + ", ".join(f'"{name}": %s' for name in answer) + "}\n"
    rows = zip(*map(_texts, answer.values()), strict=True)
    return "".join([line % row for row in rows]).encode()


def csv_lines(answer: Answer) -> bytes:
    """One line per row, fields and the numbers of lists separated by commas; no header."""
    from smalgos.formats.csv import encode_columns

    return encode_columns([_single(values) for values in answer.values()])


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


def _single(values: NDArray[Any]) -> NDArray[Any]:
    """Floats in float32, the precision of the original's answers."""
    return values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values


def _texts(values: NDArray[Any]) -> list[str]:
    """The JSON of each row."""
    if values.dtype.kind == "f":
        flat: list[str] = _single(values).reshape(-1).astype("U").tolist()
    else:
        flat = [str(v) for v in values.reshape(-1).tolist()]
    if values.ndim == 1:
        return flat
    m = values.shape[1]
    return [f"[{', '.join(flat[i : i + m])}]" for i in range(0, len(flat), m)]
