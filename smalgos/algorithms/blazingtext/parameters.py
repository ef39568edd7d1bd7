"""Hyperparameters of BlazingText."""

from typing import Any

from smalgos.errors import UserError
from smalgos.learning import Parameters, param

SUPERVISED = "supervised"
MODES = (SUPERVISED, "batch_skipgram", "skipgram", "cbow")
MOST = 2**31 - 1  # rows of a table are numbered in 32 bits

# Hyperparameters of one kind of modes alone; the others are passed over there.
OF_WORDS = (
    "batch_size", "evaluation", "max_char", "min_char", "negative_samples", "noise_exponent",
    "sampling_threshold", "subwords", "window_size",
)  # fmt: skip
OF_CLASSIFIER = (
    "early_stopping", "label_prefix", "min_epochs", "patience", "shuffle", "word_ngrams",
)  # fmt: skip


class BlazingTextParameters(Parameters):
    """Hyperparameters of BlazingText, as the original spells them."""

    mode: str = param(
        choices=MODES,
        library="skipgram",
        doc="cbow, skipgram and batch_skipgram learn word vectors, supervised a text classifier",
    )
    vector_dim: int = param(
        default=100, low=1, high=65536, tune=(32, 300),
        doc="length of the vectors that are learnt",
    )  # fmt: skip
    epochs: int = param(default=5, low=1, tune=(5, 15), doc="passes over the training texts")
    learning_rate: float = param(
        default=0.05, above=0, tune=(0.005, 0.01), scale="log",
        doc="step size at the start, from which it falls to 0 in proportion to the words read",
    )  # fmt: skip
    min_count: int = param(
        default=5, low=0, tune=(0, 100), doc="words that are rarer than this are left out"
    )
    buckets: int = param(
        default=2_000_000, low=1, high=MOST, tune=(1_000_000, 10_000_000),
        doc="rows that n-grams are hashed to: of characters with subwords, of words in mode "
        "supervised",
    )  # fmt: skip
    window_size: int = param(
        default=5, low=1, high=1000, tune=(1, 10),
        doc="farthest word on either side that is learnt from; each word draws how far it looks",
    )  # fmt: skip
    negative_samples: int = param(
        default=5, low=1, high=1000, tune=(5, 25),
        doc="words drawn as noise for each pair, or in batch_skipgram for each batch",
    )  # fmt: skip
    sampling_threshold: float = param(
        default=0.0001, above=0, below=1, tune=(0.0001, 0.001),
        doc="words whose share of the text is larger are passed over at random",
    )  # fmt: skip
    batch_size: int = param(
        default=11, low=1, high=4096, tune=(8, 32),
        doc="pairs that share their noise words in batch_skipgram, best 2 * window_size + 1",
    )  # fmt: skip
    subwords: bool = param(
        default=False,
        doc="learn vectors of n-grams of characters, too, of which unknown words are composed",
    )
    min_char: int = param(default=3, low=1, high=64, doc="shortest n-gram of characters")
    max_char: int = param(default=6, low=1, high=64, doc="longest n-gram of characters")
    evaluation: bool = param(
        default=True, transient=True, wire=True,
        doc="compare the vectors with sets of word similarities, where there are some",
    )  # fmt: skip
    noise_exponent: float = param(
        default=0.75, low=0, high=1,
        doc="noise words are drawn in proportion to this power of their counts",
    )  # fmt: skip
    word_ngrams: int = param(
        default=2, low=1, high=64, tune=(1, 3), doc="longest n-gram of words that is a feature"
    )
    early_stopping: bool = param(
        default=False, doc="stop when the validation accuracy does not rise any more"
    )
    min_epochs: int = param(
        default=5, low=1, doc="epochs before the first look at the validation accuracy"
    )
    patience: int = param(
        default=4, low=1, doc="looks without a gain behind which early stopping ends training"
    )
    shuffle: bool = param(
        default=False, library=True,
        doc="take the lines in another order in each epoch; false: those of the classes must be "
        "mixed in the text already",
    )  # fmt: skip
    label_prefix: str = param(default="__label__", doc="what a label begins with, as a token")
    deterministic: bool = param(
        default=True,
        doc="the same result for any number of threads; false: threads learn side by side without "
        "locks, which is faster, and no two runs are alike",
    )  # fmt: skip

    @property
    def classifies(self) -> bool:
        """Whether a text classifier is learnt."""
        return bool(self.mode == SUPERVISED)

    def unused(self) -> tuple[str, ...]:
        """Hyperparameters that the mode passes over."""
        if self.classifies:
            return OF_WORDS
        idle: tuple[str, ...] = OF_CLASSIFIER
        if self.mode != "batch_skipgram":
            idle += ("batch_size",)
        if not self.subwords:
            idle += ("buckets", "max_char", "min_char")
        return idle

    def cross_check(self) -> None:
        """Check rules between hyperparameters."""
        if self.classifies:
            self._check_prefix()
        elif self.subwords:
            if self.mode == "batch_skipgram":
                raise UserError(
                    "subwords=True: batch_skipgram learns none; take mode=skipgram or cbow"
                )
            if self.min_char > self.max_char:
                raise UserError(f"min_char={self.min_char}: must be <= max_char={self.max_char}")

    def _check_prefix(self) -> None:
        white: Any = set(" \t\n\v\f\r\0")
        if not self.label_prefix or white & set(self.label_prefix):
            raise UserError(
                f"label_prefix={self.label_prefix!r}: must be a word without white space"
            )
