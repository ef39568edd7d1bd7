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
    columns = [_texts(values, ", ", "[{}]") for values in answer.values()]
    line = ", ".join(f'"{name}": %s' for name in answer)
    return _lines("{" + line + "}\n", columns)


def csv_lines(answer: Answer) -> bytes:
    """One line per row, fields and the numbers of lists separated by commas; no header."""
    columns = [_texts(values, ",", "{}") for values in answer.values()]
    return _lines(",".join(["%s"] * len(columns)) + "\n", columns)


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


def _texts(values: NDArray[Any], between: str, around: str) -> list[str]:
    """The text of each row."""
    flat = values.reshape(-1)
    if values.dtype.kind == "f":
        texts: list[str] = flat.astype(np.float32).astype("U").tolist()
    else:
        texts = [str(v) for v in flat.tolist()]
    if values.ndim == 1:
        return texts
    m = values.shape[1]
    starts = range(0, len(texts), m)
    return [around.format(between.join(texts[i : i + m])) for i in starts]


def _lines(line: str, columns: list[list[str]]) -> bytes:
    return "".join([line % row for row in zip(*columns, strict=True)]).encode()
