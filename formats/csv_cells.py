"""The kernel that parts rows of CSV into cells."""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

import numpy as np

from smalgos._jit import kernel

SPACE, NEWLINE, RETURN, QUOTE = (np.uint8(ord(c)) for c in ' \n\r"')


@kernel
def split_cells(text, begin, end, comma, values, offsets):
    """Copy the cells of rows to their columns; the number of rows, or -1 for anything odd.

    text     uint8, ``text[begin:end]`` being whole lines
    comma    uint8, what separates cells
    values   (columns, end - begin) uint8                                                 out
    offsets  (columns, lines + 1) int64, zeros: cell r of column c is
             ``values[c, offsets[c, r]:offsets[c, r + 1]]``                               out
    Odd are quotes, carriage returns but at the end of lines, and rows with another number of cells
    (blank lines, too).
    """
    columns = len(values)
    row, column, start = 0, 0, begin
    for at in range(begin, end):
        c = text[at]
        if c == QUOTE or (c == RETURN and text[at + 1] != NEWLINE):
            return -1
        if c != comma and c != NEWLINE:
            continue
        if (c == NEWLINE) != (column == columns - 1):
            return -1
        stop = at
        if c == NEWLINE and stop > start and text[stop - 1] == RETURN:
            stop -= 1
        while start < stop and text[start] == SPACE:
            start += 1
        while stop > start and text[stop - 1] == SPACE:
            stop -= 1
        if columns == 1 and start == stop:
            return -1
        to = offsets[column, row]
        for i in range(start, stop):
            values[column, to] = text[i]
            to += 1
        offsets[column, row + 1] = to
        start = at + 1
        column += 1
        if c == NEWLINE:
            row, column = row + 1, 0
    return row
