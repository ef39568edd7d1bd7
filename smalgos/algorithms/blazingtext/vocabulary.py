"""Words and labels of a text, numbered.

The rules are those of fastText (Joulin et al. 2016, arXiv:1607.01759; Bojanowski et al. 2016,
arXiv:1607.04606), so that its files and ours are the same: what a token is, which numbers words
and n-grams have. A token is what stands between white space (blank, ``\\n``, ``\\r``, ``\\t``,
``\\v``, ``\\f``, NUL); besides, each newline is the token ``</s>``. Bytes that are no UTF-8 count
like any others; in `str` they appear as Python's surrogate escapes and come back as they were.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels import load as load_kernels
from smalgos.learning import require_array

__all__ = ["EOS", "Vocabulary", "are_pairs", "checked", "decoded", "texts", "whole_lines"]

EOS = "</s>"
Arrays = dict[str, NDArray[Any]]
NO_PAIRS = np.empty((0, 2), np.int32)


def texts(rows: Iterable[str]) -> Ragged:
    """Strings as rows of UTF-8."""
    coded = [row.encode("utf-8", "surrogateescape") for row in rows]
    offsets = np.zeros(len(coded) + 1, np.int64)
    np.cumsum([len(row) for row in coded], out=offsets[1:])
    return Ragged(np.frombuffer(bytearray(b"".join(coded)), np.uint8), offsets)


def decoded(rows: Ragged) -> list[str]:
    """Rows of UTF-8 as strings; what is no UTF-8 as surrogate escapes: the inverse of `texts`."""
    data, ends = rows.values.tobytes(), rows.offsets.tolist()
    return [data[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(ends)]


def whole_lines(text: Ragged) -> Ragged:
    """The rows with a newline at the end of each, where there is none yet.

    A line of a file ends in one, which is the token ``</s>``; a text of a request that is to be
    classified must have it, too.
    """
    ends = text.offsets[1:]
    bare = text.offsets[:-1] == ends
    bare[~bare] = text.values[ends[~bare] - 1] != ord("\n")
    if not bare.any():
        return text
    values = np.insert(text.values, ends[bare], ord("\n"))
    return Ragged(values, text.offsets + np.concatenate(([0], np.cumsum(bare))))


class Vocabulary:
    """Words and labels with their numbers.

    Words are numbered from 0; behind the words' rows of an input table there are `buckets` rows
    that n-grams share by their hashes.

    Parameters
    ----------
    strings : Ragged of uint8
        All words, then all labels.
    all_counts : ndarray of int64
        How often each of them came.
    nwords : int
    tokens : int
        Tokens of the whole text, those that are not kept included.
    label_prefix : str or None
    pruned : ndarray of int32, shape (m, 2), optional
        Of a quantised model whose rows were cut down: the buckets that are left, and their rows
        behind those of the words. No other n-gram has a row.
    device : str

    Attributes
    ----------
    words, labels : list of str
    counts, label_counts : ndarray of int64
    """

    def __init__(
        self,
        strings: Ragged,
        all_counts: NDArray[np.int64],
        nwords: int,
        tokens: int,
        label_prefix: str | None = None,
        pruned: NDArray[np.int32] | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        self.k = load_kernels("tokens", device)
        self.strings, self.all_counts = strings.tight(), np.asarray(all_counts, np.int64)
        self.nwords, self.tokens, self.label_prefix = int(nwords), int(tokens), label_prefix
        self.pruned = pruned
        if pruned is not None:
            order = np.argsort(pruned[:, 0], kind="stable")
            self._pairs = np.ascontiguousarray(pruned[order])
        else:
            self._pairs = NO_PAIRS
        self._table = self.k.Table.of(self.strings.values, self.strings.offsets, self.all_counts)

    def __len__(self) -> int:
        return self.nwords

    @property
    def distinct(self) -> int:
        """Number of different tokens, which is that of all words and labels."""
        return int(self._table.size)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each word came."""
        return self.all_counts[: self.nwords]

    @property
    def label_counts(self) -> NDArray[np.int64]:
        """How often each label came."""
        return self.all_counts[self.nwords :]

    @cached_property
    def words(self) -> list[str]:
        """The words, by number."""
        return decoded(self.strings[: self.nwords])

    @cached_property
    def labels(self) -> list[str]:
        """The labels, with their prefix, by number."""
        return decoded(self.strings[self.nwords :])

    # -- numbers

    def find(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The number of each word; -1 for those that are none."""
        given = texts(words)
        found = self._table.find(given.values, given.offsets[:-1], given.offsets[1:])
        found[found >= self.nwords] = -1
        if (given.values == 0).any():  # no word has a NUL, but keys of tokens end in some
            found[["\0" in word for word in words]] = -1
        return np.asarray(found)

    def ids(self, text: Ragged) -> Ragged:
        """The numbers of each row's words; what is no word of ours is left out.

        Parameters
        ----------
        text : Ragged of uint8

        Returns
        -------
        Ragged of int32
        """
        k = self.k

        def work(part: Ragged) -> list[tuple[Any, Any]]:
            return [
                k.only_words(self._table.find(values, starts, ends), rows, self.nwords)
                for values, starts, ends, rows in k.bounds(part.values, part.offsets)
            ]

        return self._joined(work, text)[0]

    def features(
        self,
        text: Ragged,
        word_ngrams: int = 1,
        buckets: int = 0,
        min_char: int = 0,
        max_char: int = 0,
    ) -> tuple[Ragged, Ragged]:
        """What a classifier sees of each row, and the row's labels.

        A row ends at its first ``</s>``. Tokens with the prefix of labels are never words.

        Parameters
        ----------
        text : Ragged of uint8
        word_ngrams : int
            Longest n-gram of words; all tokens but labels take part, unknown ones, too.
        buckets : int
            Rows that n-grams share; 0: there are no n-grams.
        min_char, max_char : int
            Lengths of n-grams of characters; a `max_char` of 0: none.

        Returns
        -------
        rows : Ragged of int32
            Numbers of input rows: words (and their n-grams of characters), then n-grams of words.
        labels : Ragged of int32
            Numbers of known labels, from 0.
        """
        k, prefix = self.k, b"\0" if self.label_prefix is None else self.label_prefix.encode()
        grams = k.NGrams(self.nwords, word_ngrams, buckets, min_char, max_char, self._pruned_to)

        def work(part: Ragged) -> list[tuple[Any, ...]]:
            return [
                k.features(
                    values, starts, ends, rows, self._table.find(values, starts, ends),
                    self.hashes, prefix, grams, self._pairs,
                )
                for values, starts, ends, rows in k.bounds(part.values, part.offsets)
            ]  # fmt: skip

        rows, labels = self._joined(work, text, 2)
        return rows, labels

    def pieces(self, min_char: int, max_char: int, buckets: int) -> Ragged:
        """The input rows of each word: its own, then those of its n-grams of characters.

        Returns
        -------
        Ragged of int32
        """
        strings = Ragged(self.strings.values, self.strings.offsets[: self.nwords + 1])
        return self._pieces(strings, np.arange(self.nwords), min_char, max_char, buckets)

    def pieces_of(self, words: Sequence[str], min_char: int, max_char: int, buckets: int) -> Ragged:
        """As `pieces`, for any words: unknown ones have no row of their own."""
        return self._pieces(texts(words), self.find(words), min_char, max_char, buckets)

    @cached_property
    def hashes(self) -> NDArray[np.uint32]:
        """fastText's 32-bit hash of each word and label."""
        return np.asarray(self.k.hashes(self.strings.values, self.strings.offsets))

    # -- plain arrays

    def arrays(self) -> Arrays:
        """Plain arrays for models and checkpoints; `of` is the inverse."""
        numbers = np.array([self.tokens, self.nwords], np.int64)
        arrays: Arrays = {
            "tokens": self.strings.values,
            "offsets": self.strings.offsets,
            "counts": self.all_counts,
            "numbers": numbers,
        }
        return arrays if self.pruned is None else {**arrays, "pruned": self.pruned}

    @classmethod
    def of(
        cls, arrays: Mapping[str, Any], label_prefix: str | None = None, *, device: str = "cpu"
    ) -> "Vocabulary":
        """From what `arrays` gave.

        Raises
        ------
        UserError
            The arrays do not fit together.
        """
        strings, counts = checked(arrays, 2)
        tokens, nwords = (int(n) for n in arrays["numbers"])
        if not 0 <= nwords <= len(counts):
            raise UserError(f"a vocabulary of {len(counts)} tokens cannot have {nwords} words")
        pruned = arrays.get("pruned")
        if pruned is not None:
            require_array("pruned", pruned, (None, 2), "i")
            pruned = pruned.astype(np.int32)
            if not are_pairs(pruned):
                raise UserError("the list of n-grams that are left is damaged")
        made = cls(strings, counts, nwords, tokens, label_prefix, pruned, device=device)
        if made.distinct != len(counts):
            raise UserError("a vocabulary has a token twice")
        return made

    # -- work

    @property
    def _pruned_to(self) -> int:
        return -1 if self.pruned is None else len(self.pruned)

    def _pieces(
        self, strings: Ragged, own: NDArray[Any], min_char: int, max_char: int, buckets: int
    ) -> Ragged:
        k = self.k
        grams = k.NGrams(self.nwords, 1, buckets, min_char, max_char, self._pruned_to)
        own = own.astype(np.int32)

        def work(part: slice) -> tuple[Any, Any]:
            rows = strings[part]
            out: tuple[Any, Any] = k.pieces(
                rows.values, rows.offsets, own[part], grams, self._pairs
            )
            return out

        parts = k.run(work, k.chunks(len(strings)))
        return _glued(parts)

    def _joined(self, work: Any, text: Ragged, results: int = 1) -> list[Ragged]:
        """Results of the work on parts of the text, one after another."""
        rows = self.k.row_parts(text.offsets, 4 * self.k.jobs())
        parts = [text[a:b] for a, b in pairwise(rows)]
        done = [piece for pieces in self.k.run(work, parts) for piece in pieces]
        return [_glued([p[2 * i : 2 * i + 2] for p in done]) for i in range(results)]


def are_pairs(pruned: NDArray[np.int32]) -> bool:
    """Whether a list of buckets and their rows has each bucket once, and rows from 0 on."""
    buckets, rows = np.sort(pruned, axis=0).T
    once = (buckets[1:] != buckets[:-1]).all() and (rows == np.arange(len(rows))).all()
    return bool(once and (buckets >= 0).all())


def _glued(parts: Sequence[tuple[Any, ...]]) -> Ragged:
    """Parts (values, numbers of values by row) as one column."""
    if not parts:
        return Ragged(np.empty(0, np.int32), np.zeros(1, np.int64))
    lengths = np.concatenate([p[1] for p in parts])
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = parts[0][0] if len(parts) == 1 else np.concatenate([p[0] for p in parts])
    return Ragged(values, offsets)


def checked(arrays: Mapping[str, Any], numbers: int) -> tuple[Ragged, NDArray[np.int64]]:
    """Strings and counts of plain arrays that someone else may have written."""
    values, offsets, counts = arrays["tokens"], arrays["offsets"], arrays["counts"]
    for name, shape, dtype in (
        ("counts", (None,), np.int64),
        ("tokens", (None,), np.uint8),
        ("offsets", (len(counts) + 1,), np.int64),
        ("numbers", (numbers,), np.int64),
    ):
        require_array(name, arrays[name], shape, "iu")
        if arrays[name].dtype != dtype:
            raise UserError(f"{name} of a vocabulary is of {arrays[name].dtype}, not {dtype}")
    lengths = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(values) or (lengths < 1).any():
        raise UserError("offsets of a vocabulary do not rise from 0 to the end of its tokens")
    if (values == 0).any():
        raise UserError("a token of a vocabulary has a NUL in it")
    if len(counts) and counts.min() < 0:
        raise UserError("a token of a vocabulary comes less than 0 times")
    return Ragged(values, offsets), counts
