"""Rows of libsvm by Python's split and float, the whole file at once."""

import re

import numpy as np

NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.I)


class Bad(Exception):
    """A row, counted from 1, that cannot be taken."""

    def __init__(self, row, why):
        super().__init__(row, why)
        self.row = row


def number(text, row):
    """The float32 that a number means."""
    if not NUMBER.fullmatch(text):
        raise Bad(row, f"no number: {text!r}")
    with np.errstate(over="ignore"):
        return np.float32(float(text))


def read(data, *, base=0, width=None, label_size=1):
    """(label, weight or None, group or None, {column: value}) of each row of a file's bytes."""
    rows = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"):
        tokens = re.split("[ \t\r]+", line.partition("#")[0].strip(" \t\r"))
        if tokens == [""]:
            continue
        at = len(rows) + 1
        label, weight, group, entries = None, None, None, {}
        if label_size:
            label, colon, after = tokens.pop(0).partition(":")
            label = number(label, at)
            weight = number(after, at) if colon else None
        elif ":" not in tokens[0]:
            tokens.pop(0)
        if tokens and re.fullmatch(r"qid:[0-9]+", tokens[0]):
            group = int(tokens.pop(0)[4:].lstrip("0")[:20] or "0")
            if group >= 2**63:
                raise Bad(at, "great group")
        for token in tokens:
            index, colon, value = token.partition(":")
            if not colon or not re.fullmatch("[0-9]+", index):
                raise Bad(at, f"no entry: {token!r}")
            column = int(index.lstrip("0")[:20] or "0") - base
            if not 0 <= column <= 2**31 - 2 or column in entries:
                raise Bad(at, f"bad index: {token!r}")
            entries[column] = number(value, at)
        for mine, first in ((weight, 1), (group, 2)):
            if rows and (mine is None) != (rows[0][first] is None):
                raise Bad(at, "unlike the rows before")
        if width is not None and max(entries, default=0) >= width:
            raise Bad(at, "beyond the width")
        rows.append((label, weight, group, entries))
    return rows


def settle(datas):
    """Base and width of several files together."""
    indices = [i for data in datas for row in read(data) for i in row[3]]
    base = int(bool(indices) and min(indices) > 0)
    return {"base": base, "width": max(indices, default=0) + 1 - base}
