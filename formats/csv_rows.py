"""The kernel that turns the text of CSV rows into numbers."""

import numpy as np

from smalgos._jit import kernel
from smalgos.formats.floats import (
    ASCII_ZEROS,
    BYTE,
    HIGH_BITS,
    MASK,
    NUMBER,
    UNKNOWN,
    eight_digits,
    load64,
    marks64,
    nearest,
    no_digits,
    number,
    trailing_zeros,
    word,
)

_DOTS = word(0x2E2E2E2E2E2E2E2E)
_ONES = word(0x0101010101010101)
_NEWLINE, _RETURN, _SPACE, _QUOTE, _MINUS = (word(ord(c)) for c in '\n\r "-')

# Powers of ten and integers up to 2**53 are exact in float64, so that one division of them gives
# the float64 nearest to the quotient (Clinger, 1990).
_TENS = np.array([10.0**q for q in range(16)])
_EXACT = word(1 << 53)
_TEN_8 = word(10**8)


@kernel(fastmath=False)
def _dot(eight):
    """The highest bit of the first byte that is a dot; 0 if none is."""
    rest = eight ^ _DOTS
    found = ((rest - _ONES) & MASK) & ~rest & HIGH_BITS
    return found & (~found + word(1))


@kernel(fastmath=False)
def _close(eight, dot, before):
    """Move the bytes in front of the dot over it, and `before` into the gap they leave."""
    front = (dot >> word(7)) - word(1)
    behind = eight & ~(((dot << word(1)) - word(1)) & MASK)
    return behind | ((eight & front) << word(8)) | before


@kernel(fastmath=False)
def _up_to_8(stop, length):
    """The number in the 1 to 8 bytes before `stop`, if it is digits with at most one dot.

    They are loaded from the end, blanked with zeros and closed over the dot: "-12.5" without its
    sign is "....12.5", "000012.5", "00000125", and 125 is divided by 10.
    """
    keep = (MASK << word(64 - 8 * length)) & MASK
    tail = (load64(stop - 8) & keep) | (ASCII_ZEROS & ~keep)
    dot = _dot(tail)
    if dot == word(0):
        return np.float64(eight_digits(tail)), no_digits(tail) == word(0)
    tail = _close(tail, dot, word(48))
    value = np.float64(eight_digits(tail)) / _TENS[7 - (trailing_zeros(dot) >> 3)]
    return value, no_digits(tail) == word(0) and length > 1


@kernel(fastmath=False)
def _up_to_16(stop, length):
    """The number in the 9 to 16 bytes before `stop`, if it is digits with at most one dot."""
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
    if no_digits(head) | no_digits(tail) != word(0):
        return 0.0, False
    w = eight_digits(head) * _TEN_8 + eight_digits(tail)
    return np.float64(w) / _TENS[behind] if w <= _EXACT else nearest(w, -behind), True


@kernel(fastmath=False)
def _up_to_24(stop, length):
    """The number in the 17 to 24 bytes before `stop`, if it is digits with a dot near the front."""
    head = load64(stop - length)
    dot = _dot(head)
    if dot == word(0):
        return 0.0, False
    # The last 16 digits fill two words. What precedes them, less the dot, goes to the end of a
    # third one: 0 to 7 digits, hence the shift in two steps.
    front = (dot >> word(7)) - word(1)
    head = (head & front) | ((head >> word(8)) & ~front)
    rest = word(56 - 8 * (length - 17))
    head = ((head << word(8) << rest) & MASK) | (ASCII_ZEROS & ~(MASK << word(8) << rest))
    middle = load64(stop - 16)
    tail = load64(stop - 8)
    first = eight_digits(head)
    if no_digits(head) | no_digits(middle) | no_digits(tail) != word(0) or first > word(999):
        return 0.0, False
    w = (first * _TEN_8 + eight_digits(middle)) * _TEN_8 + eight_digits(tail)
    if w == word(0):
        return 0.0, True
    return nearest(w, (trailing_zeros(dot) >> 3) + 1 - length), True


@kernel(fastmath=False)
def _odd_number(begin, end, empty_is_nan):
    """A number in any spelling, maybe between spaces or quotes; as `floats.number`."""
    quoted = False
    while True:
        while begin < end and load64(begin) & BYTE == _SPACE:
            begin += 1
        while begin < end and load64(end - 1) & BYTE == _SPACE:
            end -= 1
        if quoted or end - begin < 2:
            break
        if load64(begin) & BYTE != _QUOTE or load64(end - 1) & BYTE != _QUOTE:
            break
        quoted = True
        begin += 1
        end -= 1
    if begin == end:
        return np.float32(np.nan), NUMBER if empty_is_nan else UNKNOWN
    return number(begin, end)


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

            negative = load64(start) & BYTE == _MINUS
            length = cell_end - start - np.int64(negative)
            if 1 <= length <= 8:
                value, plain = _up_to_8(cell_end, length)
            elif 9 <= length <= 16:
                value, plain = _up_to_16(cell_end, length)
            elif 17 <= length <= 24:
                value, plain = _up_to_24(cell_end, length)
            else:
                value, plain = 0.0, False
            if plain:
                value = -value if negative else value
            else:
                odd, status = _odd_number(start, cell_end, empty_is_nan)
                if status == UNKNOWN:
                    return -1
                value = np.float64(odd)

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
