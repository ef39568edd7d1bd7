"""Word vectors: words in a second, and what the vectors are worth."""

import os
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "Word vectors"
ABOUT = (
    "Novels, from a file of sentences to vectors: d = 100, window 5, 5 negatives, words of 5 and "
    "more, subsampling at 1e-3, learning rate 0.025, 5 epochs. *Deterministic* has the bytes of "
    "one thread for any number, *lock-free* uses all, as the peers do. Quality: Spearman's "
    "correlation on WordSim-353 (249 of its pairs are present) and the share of Google's analogies "
    "(7 420 present) by 3CosAdd; of one run to the next they differ by 0.02 and 0.01."
)
SKIPGRAM, CBOW, BATCHES = "skip-gram", "CBOW", "skip-gram in batches"
ALONE = "skip-gram, one thread"
OURS, FREE = "smalgos, deterministic", "smalgos, lock-free"
GENSIM, GENSIM_FILE, FASTTEXT = "gensim", "gensim, corpus_file", "fastText"
WORDS = {"quick": 20_000, "default": 10_000_000, "full": 10_000_000}
HERE = "benchmarks.peers.word_vectors:"
WORSE = -0.02  # of a correlation or a share


def cases(folder: Path, size: str) -> list[Case]:
    """The three modes, skip-gram also on one thread.

    fastText, which often ends in "Encountered NaN", has one round only.
    """
    python = os.environ.get("SMALGOS_ORACLE_TEXT")
    missing = "" if python else "name a Python that has gensim in SMALGOS_ORACLE_TEXT"
    found = []
    modes = (SKIPGRAM, "skipgram"), (CBOW, "cbow"), (BATCHES, "batch_skipgram")
    for title, mode in (*modes, (ALONE, "skipgram")):
        given = {"folder": str(folder), "epochs": 1 if size == "quick" else 5, "mode": mode}
        if title == ALONE:
            given["n_jobs"] = 1
        peer: dict[str, Any] = {"python": python, "missing": missing, "seeded": True}
        cells = [
            Cell(OURS, f"{HERE}ours", given | {"deterministic": True}, seeded=True),
            Cell(FREE, f"{HERE}ours", given | {"deterministic": False}, seeded=True),
        ]
        if title == ALONE:
            cells = [cells[0], Cell(GENSIM, f"{HERE}gensim", given | {"lists": True}, **peer)]
        elif mode != "batch_skipgram":
            cells += [
                Cell(GENSIM, f"{HERE}gensim", given | {"lists": True}, rounds=3, **peer),
                Cell(GENSIM_FILE, f"{HERE}gensim", given | {"lists": False}, rounds=3, **peer),
                Cell(FASTTEXT, f"{HERE}fasttext", given, rounds=1, **peer),
            ]
        made = {"folder": str(folder), "words": WORDS[size]}
        found.append(Case(title, cells, (f"{HERE}make", made)))
    return found


def times(case: str, ours: str) -> Any:
    """How often our time goes into that of the faster gensim."""

    def figure(r: Results) -> float | None:
        mine = r.seconds(case, ours)
        theirs = [s for s in (r.seconds(case, x) for x in (GENSIM, GENSIM_FILE)) if s is not None]
        return None if mine is None or not theirs else min(theirs) / mine

    return figure


def gain(case: str, what: str) -> Any:
    """How much better the quality of the deterministic vectors is."""

    def figure(r: Results) -> float | None:
        mine, theirs = r.quality(case, OURS, what), r.quality(case, GENSIM, what)
        return None if mine is None or theirs is None else mine - theirs

    return figure


GOALS = (
    Goal("skip-gram, one thread: times as fast as gensim", least(8), times(ALONE, OURS)),
    Goal("skip-gram, lock-free: times as fast as gensim", least(6), times(SKIPGRAM, FREE)),
    Goal("skip-gram, deterministic: times as fast as gensim", least(4), times(SKIPGRAM, OURS)),
    *(
        Goal(f"skip-gram: {what} against gensim's", least(WORSE), gain(SKIPGRAM, what), "")
        for what in ("word pairs", "analogies")
    ),
)
