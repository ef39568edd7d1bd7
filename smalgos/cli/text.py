"""Plain text for terminals: tables, lists of names and values, numbers, sizes."""

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


def size(count: float) -> str:
    """A number of bytes: ``12.3 kB``."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            break
        count /= 1000
    else:
        unit = "GB"
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``"""
    return f" {last} ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """Rows below a header, columns aligned, those of numbers to the right."""
    body = list(rows)
    cells = [list(header), *([number(v) for v in row] for row in body)]
    right = [
        bool(body) and all(isinstance(row[i], int | float) for row in body)
        for i in range(len(header))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


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
