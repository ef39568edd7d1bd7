"""A model of fastText as it is in its files: what it makes of text, and a smaller one of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.outputs import Outputs
from smalgos.algorithms.blazingtext.quantized import Quantized, quantize
from smalgos.algorithms.blazingtext.vocabulary import EOS, Vocabulary, whole_lines
from smalgos.errors import UserError
from smalgos.formats.block import Ragged

__all__ = ["Arguments", "FastText", "shrunk"]

ROWS = 1 << 16  # that are looked up together


@dataclass(frozen=True)
class Arguments:
    """The settings that a file begins with, by fastText's names and with its defaults."""

    dim: int = 100
    ws: int = 5
    epoch: int = 5
    minCount: int = 5  # noqa: N815 (fastText's name)
    neg: int = 5
    wordNgrams: int = 1  # noqa: N815
    loss: str = "ns"
    model: str = "skipgram"
    bucket: int = 2_000_000
    minn: int = 3
    maxn: int = 6
    lrUpdateRate: int = 100  # noqa: N815
    t: float = 1e-4


@dataclass(frozen=True, eq=False)
class FastText:
    """What a file of fastText holds.

    Parameters
    ----------
    arguments : Arguments
    vocabulary : Vocabulary
        With `pruned`, where the input rows of a quantised classifier were cut down.
    input : ndarray of float32, shape (words + buckets, dim), or Quantized
        When it is written, anything that has a `shape` and gives rows for a slice.
    output : ndarray of float32, shape (labels, or words, dim), or Quantized
    """

    arguments: Arguments
    vocabulary: Vocabulary
    input: Any
    output: Any

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier, not word vectors."""
        return self.arguments.model == "supervised"

    @property
    def outputs(self) -> Outputs:
        """What it makes of a line's hidden vector."""
        counts = self.vocabulary.label_counts
        return Outputs(_dense(self.output), self.arguments.loss, counts)

    def features(self, text: Ragged) -> Ragged:
        """The numbers of input rows for each line; a newline is put where one is missing."""
        a = self.arguments
        rows, _ = self.vocabulary.features(
            whole_lines(text), a.wordNgrams, a.bucket, a.minn, a.maxn
        )
        return rows

    def hidden(self, rows: Ragged) -> NDArray[np.float32]:
        """Means of input rows; zeros where there are none.

        Returns
        -------
        ndarray of float32, shape (n, dim)
        """
        out = np.zeros((len(rows), self.arguments.dim), np.float32)
        sizes = np.diff(rows.offsets)
        at = 0
        while at < len(rows):  # as many at a time as take little memory
            last = int(np.searchsorted(rows.offsets, rows.offsets[at] + ROWS, "right")) - 1
            last = max(last, at + 1)
            part = rows[at:last].tight()
            some = np.flatnonzero(sizes[at:last])
            if len(some):
                given = self._rows(part.values)
                sums = np.add.reduceat(given, part.offsets[some], axis=0, dtype=np.float64)
                out[at + some] = sums / sizes[at:last][some][:, None]
            at = last
        return out

    def probabilities(self, text: Ragged) -> NDArray[np.float32]:
        """How likely each label is for each line.

        Returns
        -------
        ndarray of float32, shape (n, labels)
            Of a softmax (or its tree) they sum to 1; of "ns" and "ova" each stands for itself.
            The ``fasttext`` package adds 1e-5 to each. Zeros for a line of which it knows nothing.
        """
        rows = self.features(text)
        found = self.outputs.probabilities(self.hidden(rows))
        found[np.diff(rows.offsets) == 0] = 0
        return found

    def vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The vector of each word: the mean of its own row and those of its n-grams.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Zeros for a word of which nothing is known.
        """
        a = self.arguments
        return self.hidden(self.vocabulary.pieces_of(words, a.minn, a.maxn, a.bucket))

    def _rows(self, numbers: NDArray[np.int32]) -> NDArray[np.float32]:
        if isinstance(self.input, Quantized):
            return self.input.rows(numbers)
        return np.asarray(self.input.take(numbers, axis=0))


def shrunk(
    model: FastText,
    *,
    cutoff: int = 0,
    dsub: int = 2,
    qnorm: bool = False,
    qout: bool = False,
    seed: int = 0,
) -> FastText:
    """A quantised classifier, as ``fasttext quantize`` makes it (without ``-retrain``).

    Joulin et al. 2016, "FastText.zip: Compressing text classification models", arXiv:1612.03651.

    Parameters
    ----------
    model : FastText
        A classifier that is not quantised.
    cutoff : int
        How many input rows stay, those of the greatest norm and ``</s>``; 0: all.
    dsub : int
        Numbers that share a code.
    qnorm : bool
        Quantise norms apart from directions.
    qout : bool
        Quantise the output rows, too.
    seed : int

    Raises
    ------
    UserError
        It is no classifier, is quantised already, or has less than 256 rows.
    """
    if not model.classifies or isinstance(model.input, Quantized):
        raise UserError("only a text classifier that is not quantised yet can be quantised")
    given, vocabulary = np.asarray(model.input), model.vocabulary
    if 0 < cutoff < len(given):
        vocabulary, kept = _cut_down(vocabulary, given, cutoff)
        given = given[kept]
    output = model.output
    if qout:
        output = quantize(np.asarray(output), 2, qnorm, seed)
    return replace(
        model, vocabulary=vocabulary, input=quantize(given, dsub, qnorm, seed), output=output
    )


def _cut_down(
    vocabulary: Vocabulary, given: NDArray[np.float32], cutoff: int
) -> tuple[Vocabulary, NDArray[np.intp]]:
    """The vocabulary of the rows of the greatest norm, and which ones they are."""
    norms = np.sqrt((given.astype(np.float64) ** 2).sum(axis=1))
    norms[vocabulary.find([EOS])[vocabulary.find([EOS]) >= 0]] = np.inf
    kept = np.argsort(-norms, kind="stable")[:cutoff]
    n = vocabulary.nwords
    words, grams = np.sort(kept[kept < n]), kept[kept >= n]
    if len(words) == 0:
        raise UserError(f"cutoff={cutoff}: no word would be left; give a greater one")
    tokens = np.concatenate([words, np.arange(n, len(vocabulary.all_counts))])
    pruned = np.stack([grams - n, np.arange(len(grams))], axis=1).astype(np.int32)
    cut = Vocabulary(
        vocabulary.strings[tokens],
        vocabulary.all_counts[tokens],
        len(words),
        vocabulary.tokens,
        vocabulary.label_prefix,
        pruned,
        device=vocabulary.k.device,
    )
    return cut, np.concatenate([words, grams])


def _dense(matrix: Any) -> NDArray[np.float32]:
    return matrix.dense() if isinstance(matrix, Quantized) else np.asarray(matrix, np.float32)
