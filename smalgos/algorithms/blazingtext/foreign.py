"""Models as files of fastText and word2vec, and back."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext import fasttext_file, vectors_file
from smalgos.algorithms.blazingtext.classifier_model import TextClassifierModel
from smalgos.algorithms.blazingtext.fasttext_file import Arguments, FastText
from smalgos.algorithms.blazingtext.model import BlazingTextModel
from smalgos.algorithms.blazingtext.parameters import SUPERVISED, BlazingTextParameters
from smalgos.algorithms.blazingtext.quantized import Quantized
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.algorithms.blazingtext.word_model import WordVectorsModel
from smalgos.errors import UserError

# fastText's name of a hyperparameter -> ours.
SETTINGS = {
    "ws": "window_size", "epoch": "epochs", "minCount": "min_count", "neg": "negative_samples",
    "t": "sampling_threshold",
}  # fmt: skip


def model_of(given: FastText, device: str) -> BlazingTextModel:
    """The model that a file of fastText holds.

    Quantised rows are decoded: predictions are those of the file.

    Raises
    ------
    UserError
        When it holds something that models of ours do not have.
    """
    a, words = given.arguments, given.vocabulary
    pruned = words.pruned
    ngrams = a.wordNgrams > 1 if given.classifies else False
    buckets = a.bucket if ngrams or a.maxn > 0 else 0
    m = len(pruned) if pruned is not None else buckets
    table, output = (
        t.dense() if isinstance(t, Quantized) else np.asarray(t)
        for t in (given.input, given.output)
    )
    learnt = {ours: getattr(a, theirs) for theirs, ours in SETTINGS.items()}
    shared: dict[str, Any] = {
        "vocabulary": words.arrays(),
        "rows": np.arange(m, dtype=np.int32),
        "input": table[: len(words) + m],
        "output": output,
        "buckets": buckets,
        "min_char": a.minn if a.maxn > 0 else 0,
        "max_char": a.maxn,
    }
    noted = {"mode": a.model, "vector_dim": a.dim, **learnt}
    made: BlazingTextModel
    if given.classifies:
        del noted["window_size"], noted["negative_samples"], noted["sampling_threshold"]
        noted["word_ngrams"] = max(a.wordNgrams, 1)
        if buckets:
            noted["buckets"] = buckets
        made = TextClassifierModel(
            device, {"hyperparameters": noted, "source": "fastText"}, mode=SUPERVISED,
            word_ngrams=max(a.wordNgrams, 1), label_prefix=words.label_prefix, loss=a.loss,
            **shared,
        )  # fmt: skip
    else:
        if a.loss != "ns":
            shared["output"] = None  # rows of a tree, or of other terms: of no use to go on with
        noted["subwords"] = a.maxn > 0
        if a.maxn > 0:
            noted |= {"buckets": buckets, "min_char": a.minn, "max_char": a.maxn}
        made = WordVectorsModel(
            device, {"hyperparameters": noted, "source": "fastText"}, mode=a.model, **shared
        )
    made.check()
    return made


class Spread:
    """An input table with a row for each bucket, made of one that lacks those nobody needs.

    Parameters
    ----------
    model : BlazingTextModel
    """

    def __init__(self, model: BlazingTextModel) -> None:
        self._model, self._n = model, len(model.words)
        self.shape = self._n + model.buckets, model.dim

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        first, last, _ = part.indices(self.shape[0])
        out = np.zeros((max(last - first, 0), self.shape[1]), np.float32)
        words = self._model.input[min(first, self._n) : min(last, self._n)]
        out[: len(words)] = words
        a, b = np.searchsorted(self._model.rows, [first - self._n, last - self._n])
        out[self._model.rows[a:b] + (self._n - first)] = self._model.input[
            self._n + a : self._n + b
        ]
        return out


def record_of(model: BlazingTextModel) -> FastText:
    """What a file of fastText is to hold.

    Raises
    ------
    UserError
        When the format has no place for the model.
    """
    if model.words.pruned is not None:
        raise UserError(
            "rows of n-grams were cut off this model: fastText has no .bin of such ones"
        )
    table = BlazingTextParameters.table
    told: dict[str, Any] = {
        theirs: table[ours].check(model.settings[ours])
        for theirs, ours in SETTINGS.items()
        if ours in model.settings
    }
    epochs = model.notes.get("epochs")
    if type(epochs) is int and 0 <= epochs < 2**31:
        told["epoch"] = epochs
    words = model.words
    if isinstance(model, TextClassifierModel):
        if any(not label.startswith("__label__") for label in model.labels):
            raise UserError(
                f"label_prefix={model.label_prefix!r}: files of fastText have labels with the "
                "prefix __label__"
            )
        a = Arguments(
            dim=model.dim, wordNgrams=model.word_ngrams, loss=model.loss, model=SUPERVISED,
            bucket=model.buckets, minn=model.min_char, maxn=model.max_char, **told,
        )  # fmt: skip
        return FastText(a, words, Spread(model), model.output)
    assert isinstance(model, WordVectorsModel)
    output = model.output if model.output is not None else np.zeros_like(model.input[: len(words)])
    kind = "cbow" if model.mode == "cbow" else "skipgram"
    a = Arguments(
        dim=model.dim, loss="ns", model=kind, bucket=model.buckets, minn=model.min_char,
        maxn=model.max_char, **told,
    )  # fmt: skip
    return FastText(a, words, Spread(model), output)


def write_fasttext(model: BlazingTextModel, path: str | Path) -> None:
    """Write fastText's ``.bin``.

    Raises
    ------
    UserError, PlatformError
        When the format has no place for the model, or the file cannot be written.
    """
    fasttext_file.write(path, record_of(model))


def write_vectors(model: WordVectorsModel, path: str | Path, *, binary: bool = False) -> None:
    """Write all words and their vectors in word2vec's format, as text or binary.

    Raises
    ------
    UserError, PlatformError
        When the file cannot be written.
    """
    words = model.words.strings[: len(model.words)]
    vectors_file.write(path, words, model.vectors, binary=binary)


def read_vectors(
    path: str | Path, *, binary: bool | None = None, device: str = "cpu"
) -> WordVectorsModel:
    """The model of a file in word2vec's format, text or binary.

    Such files tell no counts: words count as if each came once more often than the one behind it.

    Parameters
    ----------
    path : str or Path
    binary : bool, optional
        Default: a look at the file tells.
    device : str

    Raises
    ------
    UserError
        When the file is none of them, or damaged.
    """
    given = vectors_file.read(path, binary=binary)
    n, dim = given.values.shape
    counts = np.arange(n, 0, -1, dtype=np.int64)
    words = Vocabulary(given.strings, counts, n, int(counts.sum()), device=device)
    made = WordVectorsModel(
        device,
        {"hyperparameters": {"mode": "skipgram", "vector_dim": dim}, "source": "word2vec"},
        mode="skipgram",
        vocabulary=words.arrays(),
        rows=np.empty(0, np.int32),
        input=given.values,
        output=None,
        buckets=0,
        min_char=0,
        max_char=0,
    )
    made.check()
    return made
