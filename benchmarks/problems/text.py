"""Text to the numbers of its words."""

from pathlib import Path

from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell

TITLE = "Text"
ABOUT = (
    "Novels in one file: its tokens are found and counted, the words that come five times or more "
    "are numbered by falling count, and the text becomes their numbers. The text is in memory "
    "(gensim's is in the page cache). Ours has newlines as words, so it has one word and as many "
    "numbers more as there are lines."
)
BYTES = {"quick": 300_000, "default": 30_000_000, "full": 30_000_000}
CASE = "tokens, counts and numbers"
HERE = "benchmarks.peers.texts:"


def cases(folder: Path, size: str) -> list[Case]:
    """One case."""
    given = {"folder": str(folder)}
    cells = [
        Cell("smalgos", f"{HERE}ours", given),
        Cell("Python", f"{HERE}python", given),
        Cell("gensim", f"{HERE}gensim", given),
    ]
    return [Case(CASE, cells, (f"{HERE}make", given | {"size": BYTES[size]}))]


def seconds(results: Results) -> float | None:
    """Ours, for 30 MB."""
    rate = results.rate(CASE)
    return 0.03 / rate if rate else None


GOALS = (
    Goal("30 MB to numbers of words", most(0.6), seconds, " s"),
    Goal("times as fast as the fastest peer", least(5), lambda results: results.times(CASE)),
)
