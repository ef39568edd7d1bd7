"""What both kinds of models share: words, rows, and the file that they are saved in."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.parameters import MODES, SUPERVISED
from smalgos.algorithms.blazingtext.tables import Places, require_numbers
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.learning import TextModel, require_array
from smalgos.learning.state import Flat


class BlazingTextModel(TextModel):
    """Base of the models of all modes: a `WordVectorsModel` or a `TextClassifierModel`."""

    algorithm = "blazingtext"

    mode: str
    vocabulary: dict[str, Any]  # plain arrays of a `Vocabulary`
    rows: NDArray[np.int32]  # (m,) numbers of n-grams that have a row, ascending
    input: NDArray[np.float32]  # (words + m, d), and a row of zeros unless m = buckets
    output: NDArray[np.float32]  # (words, d) or (labels, d)
    buckets: int  # that n-grams are hashed to; 0: there are no n-grams
    min_char: int  # shortest n-gram of characters
    max_char: int  # longest; 0: there are none

    @classmethod
    def from_parts(cls, arrays: Flat, meta: Mapping[str, Any], device: str, source: str) -> Self:
        """The model, of its own kind, that a file's arrays and header describe, checked."""
        if cls is BlazingTextModel:
            from smalgos.algorithms.blazingtext.classifier_model import TextClassifierModel
            from smalgos.algorithms.blazingtext.word_model import WordVectorsModel

            scalars = meta.get("scalars")
            mode = scalars.get("mode") if isinstance(scalars, dict) else None
            kind: Any = TextClassifierModel if mode == SUPERVISED else WordVectorsModel
            return kind.from_parts(arrays, meta, device, source)  # type: ignore[no-any-return]
        return super().from_parts(arrays, meta, device, source)

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Set all fields from a snapshot."""
        self.vocabulary = {}
        return super().restore(flat, put)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.input.shape[1])

    @cached_property
    def words(self) -> Vocabulary:
        """The vocabulary."""
        return Vocabulary.of(self.vocabulary, self.prefix, device=self.k.device)

    @property
    def prefix(self) -> str | None:
        """What labels begin with; None: there are none."""
        return None

    @cached_property
    def places(self) -> Places:
        """Where rows are in the input table."""
        return Places(len(self.words), self.rows, self.hashed)

    @property
    def hashed(self) -> int:
        """Rows that n-grams may have: of a model that some were cut off, those that are left."""
        return self.buckets if self.words.pruned is None else len(self.words.pruned)

    @property
    def subwords(self) -> tuple[int, int]:
        """Lengths of n-grams of characters; (0, 0): there are none."""
        return self.min_char, self.max_char

    def means(self, pieces: Ragged) -> NDArray[np.float32]:
        """Of the rows that each text is made of (n, d); zeros where there are none.

        Parameters
        ----------
        pieces : Ragged of int32
            Numbers of words, and of words + buckets.
        """
        found: NDArray[np.float32] = self.k.means(self.input, self.places.of(pieces))
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters of the training, as far as they are known."""
        found = self.notes.get("hyperparameters")
        return found if isinstance(found, dict) else {}

    def check(self) -> None:
        """Raise `UserError` unless the tables are those of the vocabulary."""
        if self.mode not in MODES:
            raise UserError(f"mode {self.mode!r} is unknown")
        if type(self.buckets) is not int or not 0 <= self.buckets < 2**31:
            raise UserError("the number of buckets is none")
        require_array("rows", self.rows, (None,), "i")
        if not isinstance(self.vocabulary, dict) or not self.vocabulary:
            raise UserError("the vocabulary is missing")
        low, high = self.subwords
        if type(low) is not int or type(high) is not int or not 0 <= low <= high <= 1 << 16:
            raise UserError("the lengths of n-grams of characters are none")
        n = len(self.words)
        require_numbers(self.rows, self.hashed)
        if not n:
            raise UserError("there is no word in the vocabulary")
        count = Places.count(n, self.rows, self.hashed)
        require_array("input", self.input, (count, None))
        if self.input.dtype != np.float32 or not self.dim:
            raise UserError("input is not a table of float32")
        if self.output is not None or "output" not in self.optional:
            require_array("output", self.output, (len(self.named), self.dim))
            if self.output.dtype != np.float32:
                raise UserError("output is not a table of float32")

    @property
    @abstractmethod
    def named(self) -> list[str]:
        """What has an output row."""
