"""Labels of texts."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.model import BlazingTextModel
from smalgos.algorithms.blazingtext.outputs import Outputs
from smalgos.algorithms.blazingtext.parameters import SUPERVISED
from smalgos.algorithms.blazingtext.vocabulary import whole_lines
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Ragged

LOSSES = ("softmax", "hs", "ns", "ova")  # all but the first only of fastText's files
NEWLINE, BLANK = ord("\n"), ord(" ")
CELLS = 1 << 24  # labels times texts that are scored at once


class TextClassifierModel(BlazingTextModel):
    """Probabilities of labels: the softmax of output rows times the mean of a text's rows."""

    kernels = "text_classifier"

    word_ngrams: int
    label_prefix: str
    loss: str

    @property
    def prefix(self) -> str | None:
        """What labels begin with."""
        return self.label_prefix

    @property
    def named(self) -> list[str]:
        """Labels have output rows."""
        return self.words.labels

    @property
    def labels(self) -> list[str]:
        """All labels with their prefix, the most frequent first."""
        return self.words.labels

    @cached_property
    def outputs(self) -> Outputs:
        """What other losses make of a text's mean."""
        return Outputs(self.output, self.loss, self.words.label_counts)

    def rows_of(self, text: Ragged) -> Ragged:
        """Numbers of the words and n-grams of texts, each taken as one line."""
        return self.words.features(one_line(text), self.word_ngrams, self.buckets, *self.subwords)[
            0
        ]

    def probabilities(self, text: Ragged) -> NDArray[np.float32]:
        """Of all labels (n, labels), in the order of `labels`.

        They sum to 1, but for models of fastText whose loss is "ns" or "ova".
        """
        rows = self.rows_of(text)
        out = np.empty((len(rows), len(self.labels)), np.float32)
        for part in self.parts(len(rows)):
            if self.loss == "softmax":
                placed = self.places.of(rows[part])
                out[part] = self.k.probabilities(self.input, self.output, placed)
            else:
                out[part] = self.outputs.probabilities(self.means(rows[part]))
        return out

    def top(self, text: Ragged, k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The k likeliest labels (n, k) by number, the likeliest first, and their probabilities."""
        k = min(k, len(self.labels))
        if self.loss == "softmax":
            placed = self.places.of(self.rows_of(text))
            found: tuple[NDArray[np.int32], NDArray[np.float32]]
            found = self.k.top(self.input, self.output, placed, k)
            return found
        p = self.probabilities(text)
        order = np.argsort(-p, axis=1, kind="stable")[:, :k]
        return order.astype(np.int32), np.take_along_axis(p, order, axis=1)

    def parts(self, n: int) -> list[slice]:
        """Texts whose scores fit into memory together."""
        size = max(CELLS // max(len(self.labels), 1), 1)
        return [slice(a, min(a + size, n)) for a in range(0, n, size)]

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"label": [[...]], "prob": [[...]]}``: as many as the column ``k`` asks for, or one."""
        text = block["text"]
        asked = np.ones(len(text), np.int64)
        if "k" in block:
            asked = np.asarray(block["k"], np.int64)
            if (asked < 1).any():
                row = int(np.argmax(asked < 1))
                raise RowError(block.start + row, f"k={asked[row]}: must be >= 1")
        labels, probabilities = self.top(text, int(asked.max(initial=1)))
        names = self.labels
        shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                 for name in names]  # fmt: skip
        counts = np.minimum(asked, labels.shape[1]).tolist()
        return {
            "label": [
                [shown[i] for i in row[:n]] for row, n in zip(labels.tolist(), counts, strict=True)
            ],
            "prob": [row[:n] for row, n in zip(probabilities, counts, strict=True)],
        }

    def beside(self, folder: Path) -> None:
        """Write the original's file: model.bin."""
        from smalgos.algorithms.blazingtext import foreign

        foreign.write_fasttext(self, folder / "model.bin")

    def check(self) -> None:
        """Raise `UserError` unless the tables are those of the vocabulary."""
        if not isinstance(self.label_prefix, str) or not self.label_prefix:
            raise UserError("the prefix of labels is none")
        super().check()
        if type(self.word_ngrams) is not int or not 1 <= self.word_ngrams <= 64:
            raise UserError(f"word_ngrams={self.word_ngrams!r}: must be from 1 to 64")
        if not all(label.startswith(self.label_prefix) for label in self.labels):
            raise UserError(f"a label does not begin with {self.label_prefix!r}")
        if self.mode != SUPERVISED or self.loss not in LOSSES or not self.labels:
            raise UserError("this is no classifier with labels")


def one_line(text: Ragged) -> Ragged:
    """Each text as a line: newlines within it are blanks, and one is at its end."""
    text = whole_lines(text.tight())
    inner = text.values == NEWLINE
    inner[text.offsets[1:] - 1] = False
    if inner.any():
        return Ragged(np.where(inner, np.uint8(BLANK), text.values), text.offsets)
    return text
