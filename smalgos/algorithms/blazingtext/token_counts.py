"""How often the tokens of a text come: one pass over a stream, in bounded memory."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.vocabulary import Arrays, Vocabulary, checked
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels import load as load_kernels

__all__ = ["TokenCounts"]

MOST = 22_500_000  # distinct tokens: where fastText begins to drop rare ones
MOST_BYTES = 1 << 30  # of all distinct tokens together
SMALL = 1 << 19  # bytes of text that are not worth a thread


class TokenCounts:
    """How often each token comes, over a stream of text of any length.

    Memory is bounded: when there are more than `most` distinct tokens, or more than `most_bytes`
    bytes of them, those that came least often so far are dropped, as many as it takes to halve
    both; labels stay. (fastText begins to drop at the same number of tokens, but drops only what
    is below a limit that rises by one each time.) What was dropped is counted from 0 if it comes
    again: each time a word is dropped, it loses fewer counts than `floor`. This happens at the very
    token that is one too many: results depend neither on cuts of the text nor on the number of
    threads.

    Parameters
    ----------
    label_prefix : str or None
        Tokens that begin with it are labels, not words. None: there are only words.
    most, most_bytes : int
    device : str

    Attributes
    ----------
    tokens : int
        Seen so far, those that were dropped included.
    floor : int
        Words that came less often were dropped, at some time.
    """

    def __init__(
        self,
        label_prefix: str | None = None,
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        device: str = "cpu",
    ) -> None:
        self.k = load_kernels("tokens", device)
        self.label_prefix, self.most, self.most_bytes = label_prefix, most, most_bytes
        self.device = device
        self.tokens, self.floor = 0, 1
        self.table = self.k.Table()
        self._lent = self.k.Lent(self.k.Table)

    def __len__(self) -> int:
        return int(self.table.size)

    def count(self, text: Ragged) -> None:
        """Count the tokens of some rows; no token crosses the border of two rows.

        Parameters
        ----------
        text : Ragged of uint8
        """
        many = self.k.jobs() if int(text.offsets[-1] - text.offsets[0]) >= SMALL else 1
        if many == 1:
            self._count_here(text)
            return
        rows = self.k.row_parts(text.offsets, 2 * many)
        parts = [text[a:b] for a, b in pairwise(rows)]

        def work(part: Ragged) -> tuple[Any, int]:
            table = self._lent.get()
            table.clear()
            seen = 0
            for values, starts, ends, _ in self.k.bounds(part.values, part.offsets):
                table.count(values, starts, ends)
                seen += len(starts)
            return table, seen

        for part, (table, seen) in zip(parts, self.k.run(work, parts), strict=True):
            # Where tokens might have to be dropped, it must be one after another.
            if self._room_for(table):
                self.table.merge(table)
                self.tokens += seen
            else:
                self._count_here(part)
            self._lent.put(table)

    def merge(self, other: "TokenCounts") -> None:
        """Add what was counted of the text that follows."""
        table = other.table
        self._add(table.values, table.offsets[:-1], table.offsets[1:], table.counts)
        self.tokens += other.tokens
        self.floor = max(self.floor, other.floor)

    def add(self, words: Vocabulary) -> None:
        """Add the counts of a vocabulary, say, to go on from it."""
        offsets = words.strings.offsets
        self._add(words.strings.values, offsets[:-1], offsets[1:], words.all_counts)
        self.tokens += words.tokens

    def close(self, min_count: int = 1, min_count_label: int = 1) -> Vocabulary:
        """Number what came often enough.

        Words by falling count, then labels by falling count; of those with equal counts, the one
        that came first is first. (fastText sorts by the same keys, but leaves open which of equal
        ones is first.)

        Raises
        ------
        UserError
            No word is left, or labels are to be found and there are none.
        """
        counts = self.table.counts
        is_label = self.table.begins_with(self._prefix)
        words = np.flatnonzero(~is_label & (counts >= min_count))
        labels = np.flatnonzero(is_label & (counts >= min_count_label))
        if len(words) == 0:
            raise UserError(
                f"no word comes {min_count} times (min_count) or more among {self.tokens} tokens: "
                "give a smaller min_count or more text"
            )
        if self.label_prefix is not None and len(labels) == 0:
            raise UserError(
                f"no token begins with {self.label_prefix!r}: put labels with this prefix into "
                "the lines"
            )
        order = np.concatenate([n[np.argsort(-counts[n], kind="stable")] for n in (words, labels)])
        return Vocabulary(
            self._strings(order), counts[order], len(words), self.tokens, self.label_prefix,
            device=self.device,
        )  # fmt: skip

    def arrays(self) -> Arrays:
        """Plain arrays for checkpoints; `of` is the inverse."""
        table = self.table
        numbers = np.array([self.tokens, self.floor], np.int64)
        return {
            "tokens": table.values.copy(),
            "offsets": table.offsets.copy(),
            "counts": table.counts.copy(),
            "numbers": numbers,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Any], label_prefix: str | None, **given: Any) -> "TokenCounts":
        """From what `arrays` gave.

        Raises
        ------
        UserError
            The arrays do not fit together.
        """
        made = cls(label_prefix, **given)
        strings, counts = checked(arrays, 2)
        made._add(strings.values, strings.offsets[:-1], strings.offsets[1:], counts)
        if len(made) != len(counts):
            raise UserError("a vocabulary has a token twice, or too many tokens")
        made.tokens, made.floor = (int(n) for n in arrays["numbers"])
        return made

    # -- counting

    @property
    def _prefix(self) -> bytes:
        # A token has one byte at least, so no prefix of NULs fits one.
        return b"\0" if self.label_prefix is None else self.label_prefix.encode()

    def _count_here(self, text: Ragged) -> None:
        for values, starts, ends, _ in self.k.bounds(text.values, text.offsets):
            self._add(values, starts, ends, None)
            self.tokens += len(starts)

    def _room_for(self, table: Any) -> bool:
        """Whether none is one too many, even if all are new."""
        fits = self.table.size + table.size <= self.most
        return bool(fits and self.table.used + table.used <= self.most_bytes)

    def _add(self, values: Any, starts: Any, ends: Any, weights: Any) -> None:
        done = 0
        while True:
            done = self.table.count(values, starts, ends, weights, done, self.most, self.most_bytes)
            if done == len(starts):
                return
            self._drop()

    def _drop(self) -> None:
        """Drop what came least often, so that at most half of what is allowed is left."""
        table = self.table
        counts, lengths = table.counts, np.diff(table.offsets)
        is_label = table.begins_with(self._prefix)
        room = self.most // 2 - int(is_label.sum())
        room_bytes = self.most_bytes // 2 - int(lengths[is_label].sum())
        words = np.flatnonzero(~is_label)
        if min(room, room_bytes) < 0 or len(words) == 0:
            raise UserError(
                f"{int(is_label.sum())} different labels and a word are too many, or too long: see "
                f"whether {self.label_prefix!r} is the prefix of labels alone"
            )
        order = words[np.argsort(-counts[words], kind="stable")]
        fit = int(np.searchsorted(np.cumsum(lengths[order]), room_bytes, "right"))
        fit = min(fit, room, len(order) - 1)
        self.floor = max(self.floor, int(counts[order[fit]]) + 1)
        keep = np.flatnonzero(is_label | (counts >= self.floor))
        strings = self._strings(keep)
        self.table = self.k.Table.of(strings.values, strings.offsets, counts[keep])

    def _strings(self, numbers: NDArray[np.intp]) -> Ragged:
        """Some tokens."""
        table = self.table
        starts, ends = table.offsets[:-1][numbers], table.offsets[1:][numbers]
        offsets = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        return Ragged(self.k.gathered(table.values, starts, ends), offsets)
