"""Texts as users have them, as rows that algorithms learn from."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from smalgos.algorithms.blazingtext import foreign
from smalgos.algorithms.blazingtext.vocabulary import texts
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream, stream
from smalgos.formats.content_type import TEXT, ContentType
from smalgos.learning.model import Model

WHITE = re.compile(r"[ \t\n\v\f\r\0]")
NEWLINES = str.maketrans("\n\0", "  ")
ROWS = 8192


class Sentences(Stream):
    """Sentences of an object that can be gone through again and again, read as they are needed.

    Parameters
    ----------
    rows : iterable of str or of lists of str
        Each time it is asked for an iterator, it gives the same rows.
    """

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = rows

    def open(
        self, order: Any = None, *, limited: bool = False, rows: int | None = None
    ) -> Iterator[Block]:
        """Begin a reading."""
        if order is not None:
            raise UserError(
                "texts that are read one by one cannot be shuffled: give a list, or shuffle=False"
            )
        return self._blocks(rows or ROWS)

    def _blocks(self, size: int) -> Iterator[Block]:
        waiting: list[str] = []
        done = 0
        for row in self._rows:
            waiting.append(line(row, done + len(waiting)))
            if len(waiting) == size:
                yield Block({"text": texts(waiting)}, done)
                done, waiting = done + size, []
        if waiting:
            yield Block({"text": texts(waiting)}, done)

    def where(self, row: int) -> str:
        """Name a row."""
        return f"sentence {row}, counted from 0"

    def fingerprint(self) -> str:
        """What it is: nothing more is known beforehand."""
        return type(self._rows).__name__


def line(row: Any, number: int) -> str:
    """A text, or a list of tokens, as a line with its end.

    Raises
    ------
    UserError
        For what is neither, and for a token with white space in it.
    """
    if isinstance(row, bytes):
        row = row.decode("utf-8", "surrogateescape")
    if isinstance(row, str):
        return row.removesuffix("\n").translate(NEWLINES) + "\n"
    try:
        tokens = list(row)
        joined = " ".join(tokens)
    except TypeError:
        raise UserError(
            f"row {number}, counted from 0: {_shown(row)} is neither a text nor a list of tokens"
        ) from None
    if len(WHITE.findall(joined)) >= max(len(tokens), 1):
        token = next(token for token in tokens if WHITE.search(token))
        raise UserError(
            f"row {number}, counted from 0: the token {_shown(token)} has white space in it: split "
            "or replace it"
        )
    return joined + "\n"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def lines_of(X: Any) -> list[str]:
    """Rows of texts or tokens as lines.

    Raises
    ------
    UserError
        As `line`; for a single text in the place of several.
    """
    if isinstance(X, str | bytes):
        raise UserError(f"{_shown(X)} is one text: give a list of them")
    if hasattr(X, "ndim") and np.ndim(X) > 1:
        if np.ndim(X) == 2 and np.shape(X)[1] == 1:
            X = np.asarray(X).ravel()
        else:
            raise UserError(f"texts of shape {np.shape(X)}: give a list of them")
    _require_rows(X)
    return [line(row, i) for i, row in enumerate(X)]


def _require_rows(X: Any) -> None:
    """Raise `UserError` for what cannot be gone through."""
    if not hasattr(X, "__iter__"):
        raise UserError(f"{_shown(X)}: give a list of texts, or of lists of tokens")


def is_path(X: Any) -> bool:
    """Whether X names files, instead of being texts."""
    return isinstance(X, str | os.PathLike)


def rows_of(X: Any, *, cut_lines: bool) -> Stream:
    """Where rows of text come from.

    Parameters
    ----------
    X : path, sequence or iterable of texts or lists of tokens
        A path is a file of lines, or a folder of them, read as needed; so is an object without a
        length that can be gone through again. What can be gone through only once is kept in memory.
    cut_lines : bool
        Whether lines beyond any measure may be cut.
    """
    if is_path(X):
        if not Path(X).exists():
            raise UserError(f"{X}: no such file or folder; give texts as a list")
        return stream(X, ContentType.parse(TEXT), texts=("text",), cut_lines=cut_lines)
    _require_rows(X)
    if not isinstance(X, Sequence) and not hasattr(X, "__len__") and iter(X) is not X:
        return Sentences(X)
    lines = lines_of(X)
    if not lines:
        raise UserError("there are no texts: nothing can be learnt from none")
    return Arrays(Block({"text": texts(lines)}))


class TextEstimator(Estimator):
    """Base of the estimators that learn from texts."""

    _goes_on = False  # whether what is about to be learnt begins with `model_`

    def _follow(self, channels: dict[str, Stream], *, again: bool) -> None:
        """Learn from the channels, afresh or after what was learnt before."""
        if not again or not hasattr(self, "state_"):
            rows = channels["train"]
            first = rows.peek()
            if first is None:
                raise UserError("there are no texts: nothing can be learnt from none")
            self._goes_on = again and hasattr(self, "model_")
            self.state_ = self._begin(first, channels)
            self.state_.spec = replace(self.state_.spec, rows=rows.rows)
        if again:
            self._go_on(channels)
        self._train(channels)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"judge": False}
        if self._goes_on:
            facts["model"] = self.model_
        elif self.init is not None:
            facts["model"] = vectors_of(self.init, self.device)
        return facts

    def _restore(self, model: Model) -> None:
        self.model_ = model

    @property
    def n_iter_(self) -> int:
        """Epochs that were run; 0 of a model that another library learnt."""
        self._check_fitted()
        return int(self.model_.notes.get("epochs", 0))

    def save_fasttext(self, path: str | Path) -> None:
        """Write fastText's ``.bin``, with all that is needed to go on.

        Raises
        ------
        UserError, PlatformError
            When the format has no place for the model, or the file cannot be written.
        """
        self._check_fitted()
        model: Any = self.model_
        foreign.write_fasttext(model, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def vectors_of(given: Any, device: str) -> Any:
    """The model of word vectors that an argument names.

    Raises
    ------
    UserError
        When it names none.
    """
    from smalgos.algorithms import load_model
    from smalgos.algorithms.blazingtext.word_model import WordVectorsModel

    if isinstance(given, Estimator):
        given._check_fitted()
        given = given.model_
    if is_path(given):
        try:
            given = load_model(given, device)
        except UserError as e:
            try:
                given = foreign.read_vectors(given, device=device)
            except UserError:
                raise e from None
    if not isinstance(given, WordVectorsModel):
        raise UserError(f"init={_shown(given)}: give a fitted Word2Vec, or a file of word vectors")
    return given
