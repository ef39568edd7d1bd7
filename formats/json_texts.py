"""Rows of texts as JSON.

Where a row has one text, it is the text itself, or ``{"source": "..."}``, and may say how many
answers it wants (``"k": 3``) and what its labels are (``"label": 1`` or ``"label": [1, 3]``, as in
augmented manifests): they are put in front of the text as tokens, ``__label__1 __label__3``. Where
it has several, they are listed as features are: ``{"features": ["...", "..."]}``, short for
``{"data": {"features": {"values": ["...", "..."]}}}``. Other members are passed over.
"""

from typing import Any

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.csv_texts import texts_of
from smalgos.formats.json_rows import Bad, shown

LABEL = "__label__"


class TextRows:
    """Rows put behind one another, into blocks.

    Parameters
    ----------
    name : str
        What errors call the file.
    texts : tuple of str
        Names of the columns.
    k : int, optional
        How many answers rows want that do not say it.
    """

    def __init__(self, name: str, texts: tuple[str, ...], k: int | None = None) -> None:
        self.name, self._texts, self._k = name, texts, k
        self._start = 0
        self._rows: list[list[bytes]] = []
        self._wanted: list[int | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Any) -> None:
        """Take one more row.

        Raises
        ------
        Bad
            When it is none.
        """
        texts, k = _one(row) if len(self._texts) == 1 else (_several(row, self._texts), None)
        self._rows.append([_bytes(text) for text in texts])
        self._wanted.append(k)

    def error(self, why: Bad) -> UserError:
        """Says what is wrong with the row behind those taken."""
        return UserError(f"{self.name}, row {self._start + len(self) + 1}: {why}")

    def take(self) -> Block:
        """The rows since the last block; with a column `k`, if one of them wants a number."""
        columns = texts_of(self._texts, self._rows)
        if self._k is not None or any(k is not None for k in self._wanted):
            usual = self._k or 1
            columns["k"] = np.array([usual if k is None else k for k in self._wanted], np.int64)
        block = Block(columns, self._start)
        self._start += len(self)
        self._rows, self._wanted = [], []
        return block


def configured(document: Any) -> int | None:
    """How many answers all rows of a document want: ``{"configuration": {"k": 2}, ...}``."""
    configuration = document.get("configuration") if isinstance(document, dict) else None
    if configuration is None:
        return None
    if not isinstance(configuration, dict):
        raise Bad(f'"configuration" is {shown(configuration)}: write {{"k": 2}}')
    return _count(configuration["k"]) if "k" in configuration else None


def _one(row: Any) -> tuple[list[str], int | None]:
    if isinstance(row, str):
        return [row], None
    if not isinstance(row, dict) or not isinstance(row.get("source"), str):
        what = "an object without a text" if isinstance(row, dict) else shown(row)
        raise Bad(f'{what} is no row: write "..." or {{"source": "..."}}')
    labels = row.get("label", [])
    tokens = [_label(label) for label in (labels if isinstance(labels, list) else [labels])]
    return [" ".join([*tokens, row["source"]])], _count(row["k"]) if "k" in row else None


def _label(label: Any) -> str:
    if type(label) is float and label.is_integer() and 0 <= label < 2**31:
        return f"{LABEL}{int(label)}"
    if isinstance(label, str) and label and not set(label) & set(" \t\n\v\f\r\0"):
        return label if label.startswith(LABEL) else LABEL + label
    raise Bad(f'"label" holds {shown(label)}: write a whole number, or a list of such')


def _count(k: Any) -> int:
    if type(k) is not float or not k.is_integer() or not 1 <= k < 2**31:
        raise Bad(f'"k" is {shown(k)}: write a whole number from 1 on')
    return int(k)


def _several(row: Any, names: tuple[str, ...]) -> list[str]:
    wanted = f'{{"features": [{", ".join(names)}]}}'
    data = row.get("data") if isinstance(row, dict) else None
    tensor = data.get("features") if isinstance(data, dict) else None
    values = tensor.get("values") if isinstance(tensor, dict) else None
    if isinstance(row, dict) and "features" in row:
        if data is not None:
            raise Bad('both "features" and "data" are given: keep one')
        values = row["features"]
    if not isinstance(values, list):
        raise Bad(f"no features: write {wanted}")
    if len(values) != len(names):
        raise Bad(f"{len(values)} features where {len(names)} are expected: write {wanted}")
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str):
            raise Bad(f"the {name} is {shown(value)}, and must be a string: write {wanted}")
    return values


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as e:
        raise Bad(f"character {e.start + 1} of a text is half of a surrogate pair") from None
