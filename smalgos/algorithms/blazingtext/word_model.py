"""Word vectors, those of unknown words composed of the n-grams of their characters."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.model import BlazingTextModel
from smalgos.algorithms.blazingtext.parameters import SUPERVISED
from smalgos.algorithms.blazingtext.similarity import unit
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning.files import replacing

WHITE = " \t\n\v\f\r\0"


class WordVectorsModel(BlazingTextModel):
    """A vector for each word: its row, or the mean of its row and those of its n-grams."""

    kernels = "word_vectors"
    optional = ("output",)  # files of vectors alone

    evaluation = None  # type: Any  # what eval.json is to say; no field

    @property
    def named(self) -> list[str]:
        """Words have output rows."""
        return self.words.words

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """Of all words (words, d), the most frequent first."""
        n = len(self.words)
        if not self.max_char:
            return self.input[:n]
        return self.means(self.words.pieces(*self.subwords, self.buckets))

    @cached_property
    def units(self) -> NDArray[np.float32]:
        """The same, of length 1; those of length 0 stay so."""
        return unit(self.vectors)

    def lookup(self, words: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of any words.

        Parameters
        ----------
        words : sequence of str

        Returns
        -------
        vectors : ndarray of float32, shape (n, d)
            Of unknown words, the mean of their n-grams' rows; zeros where there are none.
        known : ndarray of bool, shape (n,)
            Which words are in the vocabulary.
        """
        ids = self.words.find(words)
        known = ids >= 0
        if self.max_char:
            pieces = self.words.pieces_of(words, *self.subwords, self.buckets)
            return self.means(pieces), known
        return np.where(known[:, None], self.input[np.maximum(ids, 0)], np.float32(0)), known

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"vector": (n, d), "word": [...]}`` of texts that are a word each."""
        text = block["text"]
        words = [
            text.row(i).tobytes().decode("utf-8", "surrogateescape").strip(WHITE)
            for i in range(len(text))
        ]
        shown = [word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                 for word in words]  # fmt: skip
        return {"vector": self.lookup(words)[0], "word": shown}

    def beside(self, folder: Path) -> None:
        """Write the original's files: vectors.txt, vectors.bin and eval.json."""
        from smalgos.algorithms.blazingtext import foreign

        foreign.write_vectors(self, folder / "vectors.txt")
        foreign.write_fasttext(self, folder / "vectors.bin")
        if self.evaluation is not None:
            with replacing(folder / "eval.json") as file:
                file.write(json.dumps(self.evaluation, indent=4, sort_keys=True).encode())

    def check(self) -> None:
        """Raise `UserError` unless the tables are those of the vocabulary."""
        super().check()
        if self.mode == SUPERVISED or (self.max_char > 0) != (self.buckets > 0):
            raise UserError("lengths of n-grams and buckets do not fit each other")
