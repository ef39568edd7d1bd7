"""The text classifier for scikit-learn."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from smalgos.algorithms.blazingtext import fasttext_file, foreign
from smalgos.algorithms.blazingtext.classifier_model import TextClassifierModel
from smalgos.algorithms.blazingtext.parameters import OF_WORDS
from smalgos.algorithms.blazingtext.vocabulary import texts
from smalgos.errors import UserError
from smalgos.estimators.base import _noted
from smalgos.estimators.texts import WHITE, TextEstimator, is_path, lines_of, rows_of
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning.model import Model

INIT = """
init : Word2Vec, WordVectorsModel or path, default=None
    Word vectors to begin with, of `vector_dim` numbers: of a fitted estimator, or of a file."""


class TextClassifier(ClassifierMixin, TextEstimator, algorithm="blazingtext"):  # type: ignore[misc]
    """A linear classifier of words and n-grams of words, in the manner of fastText.

    Texts are lists of tokens, or strings that are split at white space. Those of several labels
    learn one of them in each epoch; probabilities of all labels sum to 1.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        All labels, sorted.
    """

    hidden = (*OF_WORDS, "mode")
    extra = {"init": None}  # noqa: RUF012
    extra_doc = INIT

    model_: TextClassifierModel
    classes_: NDArray[Any]

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Classifiers, not word vectors."""
        return isinstance(model, TextClassifierModel)

    def _settle(self) -> dict[str, Any]:
        return {"mode": "supervised"}

    # -- learning

    def fit(self, X: Any, y: Any = None, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn to tell labels.

        Parameters
        ----------
        X : sequence of lists of str or of str, or a path
            Texts. A path is a text file with one in each line, or a folder of those.
        y : sequence of labels, or of lists of labels; or None
            None: labels stand in the texts, as tokens that begin with `label_prefix`.
        X_val, y_val : like X and y, optional
            For early stopping.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For texts and labels that are not as many, a token with white space in it, labels that
            are missing, or when no word is frequent enough; a kind of ValueError.
        """
        return self._learn_from(X, y, X_val, y_val, again=False)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:
        """Go over more texts once: words and labels that are new join the others.

        Parameters
        ----------
        X, y : like those of `fit`
        classes : ignored
            Labels need not be told beforehand.
        """
        return self._learn_from(X, y, again=True)

    def _learn_from(
        self, X: Any, y: Any, X_val: Any = None, y_val: Any = None, *, again: bool
    ) -> Self:
        known = list(self.classes_) if again and hasattr(self, "classes_") else []
        channels = {"train": self._labelled(X, y)}
        if X_val is not None:
            if y is not None and y_val is None and not is_path(X_val):
                raise UserError("X_val is given without y_val")
            channels["validation"] = self._labelled(X_val, y_val)
        elif y_val is not None:
            raise UserError("y_val is given without X_val")
        given = known if y is None else [*known, *(label for row in _lists(y) for label in row)]
        self._named(np.array(given, object))
        self._classes = given
        self._follow(channels, again=again)
        return self

    def _labelled(self, X: Any, y: Any) -> Stream:
        """Texts with their labels before them."""
        if y is None:
            return rows_of(X, cut_lines=False)
        if is_path(X):
            raise UserError("y is given, but X is a path: its texts have their labels in them")
        lines, labels = lines_of(X), _lists(y)
        if len(lines) != len(labels):
            raise UserError(f"{len(lines)} texts, but {len(labels)} labels")
        if not lines:
            raise UserError("there are no texts: nothing can be learnt from none")
        for i, text in enumerate(lines):
            if self.label_prefix in text:
                for token in WHITE.split(text):
                    if token.startswith(self.label_prefix):
                        raise UserError(
                            f"row {i}, counted from 0: the token {token!r} looks like a label: "
                            "remove it, or choose another label_prefix"
                        )
        names = {label: self._token(label) for row in labels for label in row}
        told = (
            "".join(f"{names[label]} " for label in row) + text
            for row, text in zip(labels, lines, strict=True)
        )
        return Arrays(Block({"text": texts(told)}))

    def _token(self, label: Any, prefix: str | None = None) -> str:
        """A label as a token: without white space."""
        return str(self.label_prefix if prefix is None else prefix) + WHITE.sub("_", str(label))

    def _named(self, labels: NDArray[Any]) -> dict[str, Any]:
        """{token: label}, of labels that all have tokens of their own."""
        found: dict[str, Any] = {}
        for label in labels.tolist():
            token = self._token(label)
            if found.setdefault(token, label) != label:
                raise UserError(f"labels {found[token]!r} and {label!r} are the same as tokens")
        return found

    def _told(self, notes: dict[str, Any]) -> None:
        """Settle the classes, and note those that are not plain tokens."""
        labels = self.model_.labels
        named = self._named(np.array(self._classes, object))
        prefix = self.model_.label_prefix
        found = [named.get(label, label.removeprefix(prefix)) for label in labels]
        self.classes_ = _sorted(found)
        plain = self.classes_.tolist()
        if any(not isinstance(c, str) or self._token(c) != prefix + c for c in plain):
            notes["classes"] = plain

    # -- answers

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each text, (n,)."""
        found: NDArray[Any] = self.predict_top(X, 1)[0][:, 0]
        return found

    def predict_top(self, X: Any, k: int = 1) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The likeliest labels of each text.

        Parameters
        ----------
        X : sequence of lists of str or of str
        k : int
            How many; at most all there are.

        Returns
        -------
        labels : ndarray, shape (n, k)
            The likeliest first.
        probabilities : ndarray of float32, shape (n, k)
        """
        self._check_fitted()
        if k < 1:
            raise UserError(f"k={k}: must be >= 1")
        text = texts(lines_of(X))
        with self._working(self.model_.k):
            numbers, probabilities = self.model_.top(text, k)
        return self.classes_[self._columns[numbers]], probabilities

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities (n, n_classes) of all labels, in the order of `classes_`."""
        self._check_fitted()
        text = texts(lines_of(X))
        with self._working(self.model_.k):
            found = self.model_.probabilities(text)
        out = np.zeros((len(found), len(self.classes_)), np.float32)
        out[:, self._columns] = found
        return out

    @property
    def _columns(self) -> NDArray[np.intp]:
        """Where each label of the model is in `classes_`."""
        prefix = self.model_.label_prefix
        number = {self._token(label, prefix): i for i, label in enumerate(self.classes_.tolist())}
        return np.array([number[label] for label in self.model_.labels])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of texts whose likeliest label is theirs, or one of theirs."""
        found, labels = self.predict(X).tolist(), _lists(y)
        if len(found) != len(labels):
            raise UserError(f"{len(found)} texts, but {len(labels)} labels")
        hits = [label in row for label, row in zip(found, labels, strict=True)]
        return float(np.average(hits, weights=sample_weight))

    @property
    def loss_curve_(self) -> list[float]:
        """Mean cross-entropy of each epoch, of texts before they were learnt from."""
        return list(self.model_.notes.get("loss_curve", ()))

    @property
    def accuracy_curve_(self) -> list[float | None]:
        """Share of the validation texts that are told right after each epoch.

        None where nobody looked: without early stopping, and before `min_epochs`.
        """
        return list(self.model_.notes.get("validation_accuracy", ()))

    # -- files

    def quantize(
        self, path: str | Path, *, cutoff: int = 0, dsub: int = 2, qnorm: bool = False,
        qout: bool = False,
    ) -> "TextClassifier":  # fmt: skip
        """Write a small model in fastText's format ``.ftz``, whose rows are codes.

        Parameters
        ----------
        path : str or Path
        cutoff : int
            How many rows of words and n-grams are kept, those of the greatest norm; 0: all that
            were learnt. N-grams without a row are passed over.
        dsub : int
            Numbers of a row that share a byte.
        qnorm, qout : bool
            Code norms apart; code the labels' rows, too.

        Returns
        -------
        TextClassifier
            What the file holds, ready to predict.

        Raises
        ------
        UserError, PlatformError
            When the model has too few rows, or the file cannot be written.
        """
        self._check_fitted()
        model = self.model_
        record = foreign.record_of(model)
        record = replace(record, input=record.input[:])
        if len(model.rows) < model.buckets:
            cutoff = min(cutoff or 2**31, len(model.words) + len(model.rows))
        small = fasttext_file.shrunk(
            record, cutoff=cutoff, dsub=dsub, qnorm=qnorm, qout=qout, seed=self._seed()
        )
        fasttext_file.write(path, small)
        read = foreign.model_of(small, model.k.device)
        if "classes" in model.notes:
            read.notes["classes"] = model.notes["classes"]
        made = type(self)(**self.get_params())
        made._restore(read)
        return made

    def _restore(self, model: Model) -> None:
        super()._restore(model)
        labels, prefix = self.model_.labels, self.model_.label_prefix
        if "classes" in model.notes:
            classes = _sorted(_noted(model, "classes", len(labels), bool, int, float, str))
            if {self._token(label, prefix) for label in classes.tolist()} != set(labels):
                raise UserError("the classes in its notes are not those of the model")
            self.classes_ = classes
        else:
            self.classes_ = _sorted([label.removeprefix(prefix) for label in labels])
        self._classes = self.classes_.tolist()


def _lists(y: Any) -> list[list[Any]]:
    """The labels of each row."""
    if isinstance(y, str | bytes):
        raise UserError(f"y={y!r} is one label: give a list of them")
    rows: list[list[Any]] = []
    for row in y.tolist() if hasattr(y, "tolist") else y:
        several = isinstance(row, list | tuple | set | frozenset | np.ndarray)
        labels = list(row) if several else [row]
        rows.append([label.item() if hasattr(label, "item") else label for label in labels])
    for i, labels in enumerate(rows):
        if not labels:
            raise UserError(f"row {i} of y, counted from 0, has no label")
        for label in labels:
            if label is None or label != label:
                raise UserError(f"row {i} of y, counted from 0: {label} where a label should be")
    return rows


def _sorted(labels: Sequence[Any]) -> NDArray[Any]:
    try:
        return np.array(sorted(set(labels)))
    except TypeError:
        raise UserError("labels are of several kinds, which cannot be sorted") from None
