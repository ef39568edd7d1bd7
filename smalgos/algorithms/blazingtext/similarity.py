"""How well word vectors agree with people about which words are alike."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError

FOLDER = "SMALGOS_WORD_SIMILARITY"  # names a folder, or a file, of sets
MOST_BYTES = 64 << 20

Vectors = Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of words, each with how similar people find the two.

    Parameters
    ----------
    first, second : list of str
    scores : ndarray of float64, shape (n,)
    """

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def of(rows: Sequence[Any]) -> "Pairs":
        """Of (word, word, score) triples."""
        scores = np.array([float(score) for _, _, score in rows], np.float64)
        return Pairs([str(a) for a, _, _ in rows], [str(b) for _, b, _ in rows], scores)

    @staticmethod
    def read(path: str | Path) -> "Pairs":
        """Of a file of ``word word score``, parted by tabs or commas.

        Lines that begin with ``#`` and a first line of titles are passed over.

        Raises
        ------
        UserError
            For a file that holds something else, naming file and row.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise UserError(f"{path}: more than {MOST_BYTES >> 20} MiB are no set of pairs")
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"{path}: this set of word pairs cannot be read: {e}") from None
        rows: list[Any] = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            cells = [cell.strip() for cell in line.split("\t" if "\t" in line else ",")]
            try:
                a, b, score = cells[:3]
                value = float(score)
            except ValueError:
                if number == 1:  # titles
                    continue
                raise UserError(
                    f"{path}, row {number}: {line[:60]!r} is not word, word and score, parted by "
                    "tabs or commas"
                ) from None
            if not np.isfinite(value):
                raise UserError(f"{path}, row {number}: the score {score} is not finite")
            rows.append((a, b, value))
        if not rows:
            raise UserError(f"{path}: no pairs of words in it")
        return Pairs.of(rows)


def sets_of(given: str | Path | None) -> dict[str, Pairs]:
    """{file name: pairs} of a folder or file, or of what the environment names; maybe none.

    Raises
    ------
    UserError
        For a file that is not such a set.
    """
    folder = given or os.environ.get(FOLDER)
    if not folder:
        return {}
    path = Path(folder)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if not files:
        raise UserError(f"{path}: there are no sets of word pairs")
    return {file.name: Pairs.read(file) for file in files if not file.name.startswith(".")}


def evaluated(sets: Mapping[str, Pairs], vectors: Vectors) -> dict[str, Any]:
    """What ``eval.json`` says: of each set its figures, and the mean of their correlations."""
    told: dict[str, Any] = {name: compared(pairs, vectors) for name, pairs in sets.items()}
    told["mean_rho"] = float(np.mean([told[name]["spearmans_rho"] for name in sets]))
    return told


def compared(pairs: Pairs, vectors: Vectors) -> dict[str, Any]:
    """``{"not_found": , "spearmans_rho": , "total_pairs": }`` of one set.

    Parameters
    ----------
    pairs : Pairs
    vectors : callable
        ``vectors(words)``: (vectors (n, d), which words are known (n,)).

    Returns
    -------
    dict
        Of pairs that are both known, Spearman's correlation of scores and cosines; 0 where fewer
        than two are.
    """
    a, known = vectors(pairs.first)
    b, also = vectors(pairs.second)
    both = known & also
    cosines = (unit(a[both]).astype(np.float64) * unit(b[both])).sum(axis=1)
    return {
        "not_found": int((~both).sum()),
        "spearmans_rho": spearman(pairs.scores[both], cosines),
        "total_pairs": len(pairs),
    }


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row over its length; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation of the ranks of two lists; 0 where one does not vary."""
    if len(a) < 2:
        return 0.0
    x, y = (_ranks(values) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[which]
    return ranks
