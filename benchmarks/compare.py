"""Compares two results.csv: ``python benchmarks/compare.py base.csv head.csv``.

Prints a table of our own rows that both have; exit code 1 when one of them became slower by more
than 15 % and by more than 50 ms.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

SHARE, SECONDS = 0.15, 0.05
KEY = ("problem", "case", "library", "settings")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when nothing became slower."""
    parser = argparse.ArgumentParser(description="Compares two results.csv.")
    parser.add_argument("base", type=Path)
    parser.add_argument("head", type=Path)
    given = parser.parse_args(argv)
    base, head = seconds(given.base), seconds(given.head)
    worse = 0
    print(f"{'base':>9}{'head':>9}{'change':>9}")
    for key in sorted(base.keys() & head.keys()):
        before, after = base[key], head[key]
        slow = slower(before, after)
        worse += slow
        mark = "  SLOWER" if slow else ""
        named = ": ".join(part for part in key if part)
        print(f"{before:9.3f}{after:9.3f}{after / before - 1:+9.1%}  {named}{mark}")
    for key in sorted(base.keys() - head.keys()):
        print(f"{base[key]:9.3f}{'gone':>9}           {': '.join(part for part in key if part)}")
    print(f"{worse} slower by more than {SHARE:.0%} and {1000 * SECONDS:.0f} ms")
    return int(worse > 0)


def seconds(path: Path) -> dict[tuple[str, ...], float]:
    """Of our own rows that went well."""
    with open(path, newline="", encoding="utf-8") as file:
        return {
            tuple(row[name] for name in KEY): float(row["seconds"])
            for row in csv.DictReader(file)
            if row["seconds"] and row["status"] == "ok" and row["library"].startswith("smalgos")
        }


def slower(before: float, after: float) -> bool:
    """Beyond what noise explains."""
    return after > before * (1 + SHARE) and after > before + SECONDS


if __name__ == "__main__":
    sys.exit(main())
