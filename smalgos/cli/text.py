"""Plain text for terminals: tables, lists of names and values, numbers, sizes."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

MOST_COLUMNS = 100  # longer lines are hard to read


def columns() -> int:
    """Width of the terminal, 100 at most; 100 where there is none."""
    return min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS)


def number(value: Any) -> str:
    """A value in a few characters: floats with six digits, true and false as on the wire."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """A number of bytes: ``12.3 kB``."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 3)
    return f"{count / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``"""
    return f" {last} ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """Rows below a header; columns of numbers stand to the right.

    A header that is too wide for the terminal is stacked: long names go on below, behind an
    underscore.
    """
    body = list(rows)
    columns_ = [[number(v) for v in column] for column in zip(*body, strict=True)]
    numeric = [
        all(isinstance(v, int | float) for v in column) for column in zip(*body, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns_]
    heads = [[name] for name in header]
    if sum(max(w, len(name)) + 2 for w, name in zip(widths, header, strict=True)) > columns() + 2:
        heads = [_stacked(name, w) for name, w in zip(header, widths, strict=True)]
    height = max(map(len, heads))
    heads = [[""] * (height - len(head)) + head for head in heads]
    cells = [head + column for head, column in zip(heads, columns_, strict=True)]
    padded = [
        [c.rjust(w) if right else c.ljust(w) for c in column]
        for column, right in zip(cells, numeric, strict=True)
        for w in [max(map(len, column))]
    ]
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def _stacked(name: str, width: int) -> list[str]:
    """A name in lines of at most `width` characters, where its words allow."""
    lines: list[str] = []
    for word in re.findall(r"[^_]*_?", name)[:-1]:
        if lines and len(lines[-1]) + len(word) <= width:
            lines[-1] += word
        else:
            lines.append(word)
    return lines


def pairs(items: Iterable[tuple[str, str]], *, indent: int = 0, least: int = 0) -> str:
    """Names, and beside them what is said of each, wrapped to the terminal.

    Parameters
    ----------
    items : iterable of (str, str)
    indent : int
        Columns left free before the names.
    least : int
        Columns that the names take at least, so that several lists align.
    """
    given = list(items)
    room = max([least, *(len(name) for name, _ in given)])
    hang = " " * (indent + room + 2)
    return "\n".join(
        textwrap.fill(
            said,
            columns(),
            initial_indent=f"{' ' * indent}{name.ljust(room)}  ",
            subsequent_indent=hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or f"{' ' * indent}{name}"
        for name, said in given
    )


def paragraph(said: str, *, indent: int = 0, hang: int | None = None) -> str:
    """Text wrapped to the terminal; later lines are indented by `hang`."""
    return textwrap.fill(
        said,
        columns(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hang is None else hang),
        break_long_words=False,
        break_on_hyphens=False,
    )
