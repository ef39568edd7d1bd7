"""Word vectors for Python, in the manner of gensim and scikit-learn."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin

from smalgos.algorithms.blazingtext import foreign
from smalgos.algorithms.blazingtext.keyed_vectors import KeyedVectors
from smalgos.algorithms.blazingtext.parameters import OF_CLASSIFIER
from smalgos.algorithms.blazingtext.vocabulary import texts
from smalgos.algorithms.blazingtext.word_model import WordVectorsModel
from smalgos.errors import UserError
from smalgos.estimators.texts import TextEstimator, lines_of, rows_of
from smalgos.formats.block import Ragged
from smalgos.learning.model import Model

INIT = """
init : Word2Vec, WordVectorsModel or path, default=None
    Vectors to go on from: those of a fitted estimator, of a file that `save` or fastText wrote, or
    of one in word2vec's format. All of its words stay, words that are new join them."""


class Word2Vec(TransformerMixin, TextEstimator, algorithm="blazingtext"):  # type: ignore[misc]
    """Word vectors by skip-gram or CBOW with negative sampling, and of n-grams of characters.

    Sentences are lists of tokens, or texts that are split at white space; those of more than 1024
    words are cut. `partial_fit` learns from more sentences: words that are new, and frequent enough
    in them, join the others, and the learning rate starts anew.
    """

    hidden = OF_CLASSIFIER
    extra = {"init": None}  # noqa: RUF012
    extra_doc = INIT

    model_: WordVectorsModel

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Word vectors, not classifiers."""
        return isinstance(model, WordVectorsModel)

    # -- learning

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn vectors.

        Parameters
        ----------
        X : iterable of lists of str or of str, or a path
            Sentences. A path is a text file with a sentence in each line, or a folder of those; it
            is read as it is needed, like any object without a length that can be gone through
            again.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        UserError
            For a token with white space in it, hyperparameters that do not fit each other, or when
            no word is frequent enough; a kind of ValueError.
        """
        return self._learn_from(X, again=False)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go over more sentences once; parameters as those of `fit`."""
        return self._learn_from(X, again=True)

    def _learn_from(self, X: Any, *, again: bool) -> Self:
        if self.mode == "supervised":
            raise UserError("mode=supervised: that is TextClassifier")
        self._follow({"train": rows_of(X, cut_lines=True)}, again=again)
        self.__dict__.pop("wv", None)
        return self

    # -- the vectors

    @cached_property
    def wv(self) -> KeyedVectors:
        """The vectors by word: ``wv["cat"]``, ``"cat" in wv``, ``wv.most_similar("cat")``."""
        self._check_fitted()
        return KeyedVectors(self.model_)

    @property
    def vocabulary_(self) -> dict[str, int]:
        """How often each word came, the most frequent first."""
        return dict(zip(self.wv.words, self.wv.counts.tolist(), strict=True))

    @property
    def vectors_(self) -> NDArray[np.float32]:
        """The vectors (n_words, vector_dim), in the order of `vocabulary_`."""
        return self.wv.vectors

    def most_similar(
        self, positive: Any = (), negative: Any = (), topn: int = 10
    ) -> list[tuple[str, float]]:
        """See `KeyedVectors.most_similar`."""
        return self.wv.most_similar(positive, negative, topn)

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the vectors of two words."""
        return self.wv.similarity(a, b)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word that is the least similar to the mean of all of them."""
        return self.wv.doesnt_match(words)

    def evaluate_word_pairs(self, pairs: Any) -> dict[str, Any]:
        """See `KeyedVectors.evaluate_word_pairs`."""
        return self.wv.evaluate_word_pairs(pairs)

    def evaluate_word_analogies(
        self, questions: Any, **options: Any
    ) -> tuple[float, list[dict[str, Any]]]:
        """See `KeyedVectors.evaluate_word_analogies`."""
        return self.wv.evaluate_word_analogies(questions, **options)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The mean vector of each text's words.

        Parameters
        ----------
        X : sequence of lists of str or of str

        Returns
        -------
        ndarray of float32, shape (n, vector_dim)
            Words that are unknown are left out, even if they could be composed; zeros for a text of
            such words alone.
        """
        self._check_fitted()
        model = self.model_
        text = _without_ends(texts(lines_of(X)))
        with self._working(model.k):
            ids = model.words.ids(text).tight()
            sizes, out = np.diff(ids.offsets), np.zeros((len(ids), model.dim), np.float32)
            some = np.flatnonzero(sizes)
            if len(some):
                sums = np.add.reduceat(model.vectors[ids.values], ids.offsets[some], axis=0)
                out[some] = sums / sizes[some, None].astype(np.float32)
        return out

    @property
    def _n_features_out(self) -> int:
        return self.model_.dim

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """``word2vec0``, ``word2vec1``, ..."""
        self._check_fitted()
        return np.array([f"word2vec{i}" for i in range(self.model_.dim)], object)

    # -- files

    def save_word2vec_format(self, path: str | Path, *, binary: bool = False) -> None:
        """Write words and vectors as word2vec does: as text, or binary.

        Raises
        ------
        UserError, PlatformError
            When the file cannot be written.
        """
        self._check_fitted()
        foreign.write_vectors(self.model_, path, binary=binary)

    @classmethod
    def load_word2vec_format(cls, path: str | Path, *, binary: bool | None = None) -> "Word2Vec":
        """The estimator of a file in word2vec's format; fastText's are read by `smalgos.load`.

        Parameters
        ----------
        path : str or Path
        binary : bool, optional
            Default: a look at the file tells.

        Raises
        ------
        UserError
            When the file is none of them, or damaged.
        """
        model = foreign.read_vectors(path, binary=binary)
        made = cls(**{n: v for n, v in model.settings.items() if n in cls.constructor_defaults()})
        made._restore(model)
        return made

    def _restore(self, model: Model) -> None:
        super()._restore(model)
        self.__dict__.pop("wv", None)


def _without_ends(text: Ragged) -> Ragged:
    """Lines without their ends, which would be a word of their own."""
    return Ragged(np.where(text.values == ord("\n"), np.uint8(ord(" ")), text.values), text.offsets)
