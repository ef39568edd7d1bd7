"""The kernels that turn the text of libsvm rows into sparse numbers."""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

import numpy as np

from smalgos._bits import MASK, inner, load64, ones, trailing_zeros, word
from smalgos._jit import kernel
from smalgos.formats.floats import (
    ASCII_ZEROS,
    BYTE,
    HIGH_BITS,
    UNKNOWN,
    eight_digits,
    leading_zeros,
    marks64,
    no_digits,
    number,
)

# Places in `facts`, what is known of parsed rows.
ROWS, ENTRIES, LEAST, MOST, FORM, ASCENDING = range(6)
FACTS = 6
WEIGHTS, GROUPS = 1, 2  # bits of FORM

MOST_INDEX = 2**31 - 2  # so that the number of columns is an int32, too

_TAB, _NEWLINE, _RETURN, _SPACE, _COMMENT, _COLON = (word(ord(c)) for c in "\t\n\r #:")
_ABOVE_SPACE = word(0x2121212121212121)
_HALF = word(0xFFFFFFFF)
_QID = word(int.from_bytes(b"qid", "little"))
_QID_COLON = word(int.from_bytes(b"qid:", "little"))


@inner
def _token_end(at):
    """Address of the first byte from `at` on that is a space or a control character."""
    while True:
        eight = load64(at)
        # The lowest byte that is marked is right: only what is marked borrows from above.
        low = ((eight - _ABOVE_SPACE) & MASK) & ~eight & HIGH_BITS
        if low != word(0):
            return at + (trailing_zeros(low) >> 3)
        at += 8


@inner
def _whole(at, room):
    """The number that up to `room` digits from `at` on spell, and where they end; no digit: -1."""
    eight = load64(at)
    others = no_digits(eight)
    count = trailing_zeros(others) >> 3 if others != word(0) else 8
    if count == 0 or count > room:
        return np.int64(-1), at
    few = (eight << word(64 - 8 * count)) & MASK
    few |= ASCII_ZEROS & ~(MASK << word(64 - 8 * count))
    value = np.int64(eight_digits(few))
    at += count
    while count >= 8:
        digit = load64(at) & BYTE ^ word(48)
        if digit > word(9):
            break
        count += 1
        if count > room:
            return np.int64(-1), at
        value = value * 10 + np.int64(digit)
        at += 1
    return value, at


@inner
def _behind_blanks(at):
    """Address of the first byte from `at` on that is no space, tab or carriage return."""
    while load64(at) & BYTE in (_SPACE, _TAB, _RETURN):
        at += 1
    return at


@kernel(fastmath=False)
def count_marks(text, begin, end):
    """Numbers of newlines and of colons, the most that there can be of rows and of entries.

    text  (n,) uint8, with `MARGIN` bytes around begin:end   in
    """
    stop = text.ctypes.data + end
    lines = colons = 0
    for base in range(text.ctypes.data + begin, stop, 64):
        keep = MASK if stop - base >= 64 else MASK >> word(64 - (stop - base))
        lines += ones(marks64(base, np.uint8(10), np.uint8(10)) & keep)
        colons += ones(marks64(base, np.uint8(58), np.uint8(58)) & keep)
    return lines, colons


@kernel(fastmath=False)
def find_indices(text, begin, end, labelled):
    """The least and the greatest index of rows without comments, as written; at a glance.

    text      (n,) uint8, with `MARGIN` bytes around begin:end   in
    labelled  bool, whether each row begins with a label         in
    Returns both, MOST_INDEX and -1 for no entry; and whether this can be relied on, given that the
    rows are right: otherwise they are to be parsed. Twin: `parse_rows`.
    """
    begin += text.ctypes.data  # from here on places are addresses
    end += text.ctypes.data
    least, most = np.int64(MOST_INDEX), np.int64(-1)
    for base in range(begin, end, 64):
        marks = marks64(base, np.uint8(58), np.uint8(58))
        if end - base < 64:
            marks &= MASK >> word(64 - (end - base))
        while marks != word(0):
            colon = base + trailing_zeros(marks)
            marks &= marks - word(1)
            eight = load64(colon - 8)
            others = no_digits(eight)
            count = leading_zeros(others) >> 3 if others != word(0) else 8
            if count == 0 and eight >> word(40) == _QID:
                continue
            if count == 0:
                return least, most, False
            keep = (MASK << word(64 - 8 * count)) & MASK
            index = np.int64(eight_digits((eight & keep) | (ASCII_ZEROS & ~keep)))
            start = colon - count
            scale = np.int64(10**8)
            while count >= 8 and start > begin and load64(start - 1) & BYTE ^ word(48) <= word(9):
                start -= 1
                count += 1
                if count > 10:
                    return least, most, False
                index += scale * np.int64(load64(start) & BYTE ^ word(48))
                scale *= 10
            before = load64(start - 1) & BYTE if start > begin else _NEWLINE
            if before in (_SPACE, _TAB):
                # Behind blanks alone there is a label, or what cannot be told from one.
                further = load64(start - 2) & BYTE if start - 1 > begin else _NEWLINE
                if further in (_SPACE, _TAB, _RETURN, _NEWLINE):
                    return least, most, False
            elif before == _RETURN:
                return least, most, False
            elif before != _NEWLINE or labelled:
                continue
            least = min(least, index)
            most = max(most, index)
    return least, most, True


@kernel(fastmath=False)
def parse_rows(
    text, begin, end, base, labelled, labels, weights, groups, offsets, indices, values, facts
):
    """Parse rows of ``label[:weight] [qid:n] index:value ...``; odd ones are left to the caller.

    text      (n,) uint8, with `MARGIN` bytes around begin:end; text[end - 1] ends a line        in
    base      int64, what the first column is called: 0 or 1                                     in
    labelled  bool, whether each row begins with a label; otherwise one is passed over           in
    labels    (lines,) float32, set where `labelled`                                            out
    weights   (lines,) float32, set where FORM says so                                          out
    groups    (lines,) int64, likewise                                                          out
    offsets   (lines + 1,) int64                                                                out
    indices   (colons,) int32, columns from 0 on                                                out
    values    (colons,) float32                                                                 out
    facts     (FACTS,) int64: numbers of rows and entries; least and greatest column (MOST_INDEX
              and -1 where there is no entry); which of weights and groups the rows have; whether
              columns ascend in each row                                                        out
    Returns whether all rows were plain; if not, nothing that is out counts. Twin:
    tests/reference/libsvm.py.
    """
    at = text.ctypes.data + begin  # from here on places are addresses
    end += text.ctypes.data
    row = entries = form = 0
    least, most, ascending = np.int64(MOST_INDEX), np.int64(-1), True
    offsets[0] = 0
    while at < end:
        at = _behind_blanks(at)
        byte = load64(at) & BYTE
        if byte == _NEWLINE:
            at += 1
            continue
        if byte != _COMMENT:
            # The label, and what stands with it.
            has = 0
            stop = _token_end(at)
            if labelled:
                value, status = number(at, stop)
                if status == UNKNOWN:
                    colon = at
                    while colon < stop and load64(colon) & BYTE != _COLON:
                        colon += 1
                    if colon == stop:
                        return False
                    value, status = number(at, colon)
                    weight, weight_status = number(colon + 1, stop)
                    if status == UNKNOWN or weight_status == UNKNOWN:
                        return False
                    weights[row] = weight
                    has = WEIGHTS
                labels[row] = value
                at = stop
            else:
                colon = at
                while colon < stop:
                    byte = load64(colon) & BYTE
                    if byte in (_COLON, _COMMENT):
                        break
                    colon += 1
                if colon == stop:
                    at = stop
                elif byte == _COMMENT:
                    return False
            at = _behind_blanks(at)
            if load64(at) & _HALF == _QID_COLON:
                group, at = _whole(at + 4, 18)
                if group < 0 or load64(at) & BYTE > _SPACE:
                    return False
                groups[row] = group
                has |= GROUPS
            if row == 0:
                form = has
            elif has != form:
                return False

            # The entries.
            before = np.int64(-1)
            while True:
                at = _behind_blanks(at)
                byte = load64(at) & BYTE
                if byte in (_NEWLINE, _COMMENT):
                    break
                index, at = _whole(at, 10)
                index -= base
                if index < 0 or index > MOST_INDEX or load64(at) & BYTE != _COLON:
                    return False
                at += 1
                stop = _token_end(at)
                value, status = number(at, stop)
                if status == UNKNOWN:
                    return False
                at = stop
                indices[entries] = index
                values[entries] = value
                entries += 1
                if index <= before:
                    ascending = False
                before = index
                least = min(least, index)
                most = max(most, index)
            row += 1
            offsets[row] = entries
        if byte == _COMMENT:
            marks = marks64(at, np.uint8(10), np.uint8(10))
            while marks == word(0):
                at += 64
                marks = marks64(at, np.uint8(10), np.uint8(10))
            at += trailing_zeros(marks)
        at += 1
    facts[ROWS], facts[ENTRIES], facts[LEAST], facts[MOST] = row, entries, least, most
    facts[FORM], facts[ASCENDING] = form, ascending
    return True
