"""The kernel that turns the text of CSV rows into numbers."""

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
    marks64,
    no_digits,
    number,
    scaled,
)

_DOTS = word(0x2E2E2E2E2E2E2E2E)
_ONES = word(0x0101010101010101)
_NEWLINE, _RETURN, _SPACE, _QUOTE, _PLUS, _MINUS, _CAPITAL_E = (word(ord(c)) for c in '\n\r "+-E')

# Powers of ten and integers up to 2**53 are exact in float64, so that one division of them gives
# the float64 nearest to the quotient (Clinger, 1990).
_TENS = np.array([10.0**q for q in range(16)])
_EXACT = word(1 << 53)
_TEN_8 = word(10**8)


@inner
def _dot(eight):
    """The highest bit of the first byte that is a dot; 0 if none is."""
    rest = eight ^ _DOTS
    found = ((rest - _ONES) & MASK) & ~rest & HIGH_BITS
    return found & (~found + word(1))


@inner
def _close(eight, dot, before):
    """Move the bytes in front of the dot over it, and `before` into the gap they leave."""
    front = (dot >> word(7)) - word(1)
    behind = eight & ~(((dot << word(1)) - word(1)) & MASK)
    return behind | ((eight & front) << word(8)) | before


@inner
def _up_to_8(stop, length):
    """The digits in the 1 to 8 bytes before `stop`, if there is nothing else but one dot.

    They are loaded from the end, blanked with zeros and closed over the dot: "-12.5" without its
    sign is "....12.5", "000012.5", "00000125". Returns their number, 125, how many of them are
    behind the dot, and whether this was all.
    """
    keep = (MASK << word(64 - 8 * length)) & MASK
    tail = (load64(stop - 8) & keep) | (ASCII_ZEROS & ~keep)
    dot = _dot(tail)
    if dot == word(0):
        return eight_digits(tail), 0, no_digits(tail) == word(0)
    tail = _close(tail, dot, word(48))
    behind = 7 - (trailing_zeros(dot) >> 3)
    return eight_digits(tail), behind, no_digits(tail) == word(0) and length > 1


@inner
def _up_to_16(stop, length):
    """As `_up_to_8` for 9 to 16 bytes."""
    keep = (MASK << word(128 - 8 * length)) & MASK
    head = (load64(stop - 16) & keep) | (ASCII_ZEROS & ~keep)
    tail = load64(stop - 8)
    behind = 0
    dot = _dot(tail)
    if dot != word(0):
        behind = 7 - (trailing_zeros(dot) >> 3)
        tail = _close(tail, dot, head >> word(56))
        head = ((head << word(8)) & MASK) | word(48)
    else:
        dot = _dot(head)
        if dot != word(0):
            behind = 15 - (trailing_zeros(dot) >> 3)
            head = _close(head, dot, word(48))
    w = eight_digits(head) * _TEN_8 + eight_digits(tail)
    return w, behind, no_digits(head) | no_digits(tail) == word(0)


@inner
def _up_to_24(stop, length):
    """As `_up_to_8` for 17 to 24 bytes that have their dot near the front, and up to 19 digits."""
    head = load64(stop - length)
    dot = _dot(head)
    if dot == word(0):
        return word(0), 0, False
    # The last 16 digits fill two words. What precedes them, less the dot, goes to the end of a
    # third one: 0 to 7 digits, hence the shift in two steps.
    front = (dot >> word(7)) - word(1)
    head = (head & front) | ((head >> word(8)) & ~front)
    rest = word(56 - 8 * (length - 17))
    head = ((head << word(8) << rest) & MASK) | (ASCII_ZEROS & ~(MASK << word(8) << rest))
    middle = load64(stop - 16)
    tail = load64(stop - 8)
    first = eight_digits(head)
    w = (first * _TEN_8 + eight_digits(middle)) * _TEN_8 + eight_digits(tail)
    plain = no_digits(head) | no_digits(middle) | no_digits(tail) == word(0)
    return w, length - 1 - (trailing_zeros(dot) >> 3), plain and first < word(1000)


@inner
def _exponent(stop):
    """The power of ten that four bytes like "e-07" before `stop` spell, and 4; else 0, 0."""
    tail = load64(stop - 8)
    if (tail >> word(32)) & word(0xDF) != _CAPITAL_E:
        return 0, 0
    sign = (tail >> word(40)) & BYTE
    tens = ((tail >> word(48)) & BYTE) ^ word(48)
    units = (tail >> word(56)) ^ word(48)
    if tens > word(9) or units > word(9) or (sign != _MINUS and sign != _PLUS):
        return 0, 0
    power = np.int64(tens * word(10) + units)
    return -power if sign == _MINUS else power, 4


@inner
def _trim(begin, end):
    """Where a cell begins and ends without a pair of quotes, and spaces around and inside it."""
    quoted = False
    while True:
        while begin < end and load64(begin) & BYTE == _SPACE:
            begin += 1
        while begin < end and load64(end - 1) & BYTE == _SPACE:
            end -= 1
        if quoted or end - begin < 2:
            return begin, end
        if load64(begin) & BYTE != _QUOTE or load64(end - 1) & BYTE != _QUOTE:
            return begin, end
        quoted = True
        begin += 1
        end -= 1


@kernel(fastmath=False)
def count_lines(text, begin, end):
    """Number of newlines.

    text  (n,) uint8, with `MARGIN` bytes around begin:end   in
    """
    stop = text.ctypes.data + end
    lines = 0
    for base in range(text.ctypes.data + begin, stop, 64):
        marks = marks64(base, np.uint8(10), np.uint8(10))
        if stop - base < 64:
            marks &= MASK >> word(64 - (stop - base))
        lines += ones(marks)
    return lines


@kernel(fastmath=False)
def parse_rows(text, begin, end, delimiter, empty_is_nan, lead, features):
    """Parse rows of numbers; whatever is not quite plain is left to the caller.

    text          (n,) uint8, with `MARGIN` bytes around begin:end; text[end - 1] ends a line   in
    delimiter     uint8                                                                       in
    empty_is_nan  bool, take an empty cell for NaN instead of giving up                       in
    lead          (lines, k) float32, the first k columns of each row                         out
    features      (lines, d) float32, the others                                              out
    Returns the number of rows, fewer than lines if the text ends in blank ones; -1 for a text
    that has anything else than rows of k + d numbers as `floats.number` knows them, and so must be
    looked at with more patience. Twin: tests/reference/csv.py.

    Where cells end is read off a bit mask of 64 bytes at a time, so that the cells do not have to
    wait for each other: plain ones are converted whole from their last byte backwards.
    """
    begin += text.ctypes.data  # from here on places are addresses
    end += text.ctypes.data
    leading = lead.shape[1]
    last = leading + features.shape[1] - 1
    row = 0
    column = 0
    blank = False
    start = begin
    base = begin
    newline = np.uint8(10)
    while base < end:
        marks = marks64(base, delimiter, newline)
        if end - base < 64:
            marks &= MASK >> word(64 - (end - base))
        while marks != word(0):
            stop = base + trailing_zeros(marks)
            marks &= marks - word(1)
            cell_end = stop
            is_last = load64(stop) & BYTE == _NEWLINE
            if is_last:
                if load64(stop - 1) & BYTE == _RETURN:
                    cell_end -= 1
                if column == 0 and cell_end <= start:
                    blank = True
                    start = stop + 1
                    continue
                if blank:
                    return -1
            if is_last != (column == last):
                return -1

            first = load64(start) & BYTE
            if first <= _QUOTE:  # a quote, a space or something odder
                start, cell_end = _trim(start, cell_end)
                first = load64(start) & BYTE
            negative = first == _MINUS
            length = cell_end - start - np.int64(negative)
            power = taken = 0
            while True:  # at most twice, the second time in front of an exponent
                if 1 <= length <= 8:
                    w, behind, plain = _up_to_8(cell_end - taken, length)
                elif 9 <= length <= 16:
                    w, behind, plain = _up_to_16(cell_end - taken, length)
                elif 17 <= length <= 24:
                    w, behind, plain = _up_to_24(cell_end - taken, length)
                else:
                    w, behind, plain = word(0), 0, False
                if plain or taken > 0 or length < 5:
                    break
                power, taken = _exponent(cell_end)
                if taken == 0:
                    break
                length -= taken
            if plain:
                if taken > 0 or length > 16 or w > _EXACT:
                    value = scaled(w, power - behind)
                elif behind > 0:
                    value = np.float64(w) / _TENS[behind]
                else:
                    value = np.float64(w)
                value = -value if negative else value
            elif start < cell_end:
                while load64(cell_end - 1) & BYTE == _SPACE:
                    cell_end -= 1
                spelt, status = number(start, cell_end)
                if status == UNKNOWN:
                    return -1
                value = np.float64(spelt)
            elif empty_is_nan:
                value = np.nan
            else:
                return -1

            if column < leading:
                lead[row, column] = value
            else:
                features[row, column - leading] = value
            column += 1
            if is_last:
                row += 1
                column = 0
            start = stop + 1
        base += 64
    return row
