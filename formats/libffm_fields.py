"""The kernel that takes the fields out of the text of libffm."""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

from smalgos._jit import kernel

MOST_FIELD = 65_535

_TAB, _NEWLINE, _RETURN, _SPACE, _COMMENT, _ZERO, _NINE, _COLON, _Q = b"\t\n\r #09:q"


@kernel(fastmath=False)
def take_fields(text, begin, end, labelled, fields):
    """Note the field of each entry and put blanks in its place, so that rows of libsvm are left.

    text      (n,) uint8; text[end - 1] ends a line           in, out
    labelled  bool, whether each row begins with a label      in
    fields    (m,) int32, m >= half of the colons             out
    Returns the number of entries, and where the first line begins that has a token which is no
    ``field:index:value``, and that token: end and end if there is none.
    """
    count, at = 0, begin
    while at < end:
        line, first = at, True
        while text[at] != _NEWLINE:
            byte = text[at]
            if byte in (_SPACE, _TAB, _RETURN):
                at += 1
                continue
            if byte == _COMMENT:
                while text[at] != _NEWLINE:
                    at += 1
                break
            start, colon, colons = at, at, 0
            while True:
                byte = text[at]
                if byte == _COLON:
                    if colons == 0:
                        colon = at
                    colons += 1
                elif byte in (_SPACE, _TAB, _RETURN, _NEWLINE, _COMMENT):
                    break
                at += 1
            lead, first = first, False
            # A label; or the qid behind it, which is left to the parser of libsvm.
            if (lead and (labelled or colons == 0)) or text[start] == _Q:
                continue
            if colons != 2 or colon == start or colon - start > 5:
                return count, line, start
            field = 0
            for i in range(start, colon):
                digit = text[i]
                if digit < _ZERO or digit > _NINE:
                    return count, line, start
                field = 10 * field + (digit - _ZERO)
            if field > MOST_FIELD:
                return count, line, start
            fields[count] = field
            count += 1
            for i in range(start, colon + 1):
                text[i] = _SPACE
        at += 1
    return count, end, end
