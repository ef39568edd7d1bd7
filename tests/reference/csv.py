"""CSV by Python's csv module and float, the whole file at once."""

import csv
import io

import numpy as np


class Bad(Exception):
    """A row, counted from 1, that cannot be taken."""

    def __init__(self, row, why):
        super().__init__(row, why)
        self.row = row


def number(cell, row, empty_is_nan):
    """The float32 that a cell means."""
    if not cell.strip():
        if not empty_is_nan:
            raise Bad(row, "empty")
        return np.float32(np.nan)
    if not cell.isascii() or "_" in cell:
        raise Bad(row, "no number")
    try:
        with np.errstate(over="ignore"):
            return np.float32(float(cell))
    except ValueError:
        raise Bad(row, "no number") from None


def read(data, *, label_size=1, weights=False, delimiter=",", encoding="utf-8", missing="error"):
    """Labels, weights and features of the bytes of a file."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode(encoding, "replace")
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != " "
    )
    rows, width, blank = [], None, False
    for cells in lines:
        row = len(rows) + 1
        if not cells or ((width or 0) > 1 and len(cells) == 1 and not cells[0].strip()):
            blank = True
            continue
        if blank:
            raise Bad(row, "blank")
        width = width or len(cells)
        if len(cells) != width:
            raise Bad(row, "ragged")
        if width < label_size + weights + 1:
            raise Bad(row, "too few columns")
        rows.append([number(c, row, missing == "nan") for c in cells])
    if text.count('"') % 2:
        raise Bad(len(rows) + blank, "open quote")
    table = np.array(rows, np.float32).reshape(len(rows), width or label_size + weights + 1)
    labels = table[:, 0] if label_size == 1 else table[:, :label_size]
    return (
        labels if label_size else None,
        table[:, label_size] if weights else None,
        table[:, label_size + weights :],
    )
