"""Word vectors: skip-gram and continuous bag of words with noise words as negatives."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.similarity import evaluated, sets_of
from smalgos.algorithms.blazingtext.state import BlazingTextState
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.algorithms.blazingtext.word_model import WordVectorsModel
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Ragged
from smalgos.learning import Pass, Spec


class WordsState(BlazingTextState):
    """Vectors of words, and of n-grams of their characters."""

    kernels = "word_vectors"

    def begin(self, spec: Spec) -> None:
        """Look at the sets that vectors are to be compared with: not after hours of training."""
        super().begin(spec)
        self.evaluation: dict[str, Any] | None = None
        self.sets = {}
        if self.p.evaluation and self.judges:
            self.sets = sets_of(spec.side.get("evaluation"))

    @property
    def buckets(self) -> int:
        """Rows that n-grams of characters are hashed to."""
        return int(self.p.buckets) if self.p.subwords else 0

    def go_on_from(self, earlier: Any) -> None:
        """Begin with an earlier model's words and vectors."""
        p = self.p
        if not isinstance(earlier, WordVectorsModel):
            raise UserError(f"the earlier model holds no word vectors, which mode={p.mode} is for")
        given = earlier.input.shape[1], earlier.buckets
        if given != (p.vector_dim, self.buckets) or earlier.subwords != self.subwords:
            raise UserError(
                f"the earlier model has vector_dim={given[0]} and subwords of {earlier.subwords} "
                f"in {given[1]} buckets: it must be {p.vector_dim}, {self.subwords} and "
                f"{self.buckets}"
            )
        self.lexicon.known = earlier.words
        n, output = len(earlier.words), earlier.output
        output = np.zeros((n, p.vector_dim), np.float32) if output is None else np.array(output)
        self.tables.put(earlier.rows, np.array(earlier.input), output)

    @property
    def subwords(self) -> tuple[int, int]:
        """Lengths of n-grams of characters, from and to; (0, 0): there are none."""
        return (self.p.min_char, self.p.max_char) if self.p.subwords else (0, 0)

    def outputs(self, vocabulary: Vocabulary) -> list[str]:
        """Words have output rows."""
        return vocabulary.words

    def needed(self) -> NDArray[np.int32]:
        """Rows of the n-grams of all words."""
        if not self.p.subwords:
            return super().needed()
        ids = self.pieces().values
        n = len(self.lexicon.vocabulary)
        return np.unique(ids[ids >= n]) - np.int32(n)

    def pieces(self) -> Ragged:
        """Numbers of each word's rows: its own, then those of its n-grams."""
        return self.lexicon.vocabulary.pieces(*self.subwords, self.buckets)

    def ready(self, before: Vocabulary | None) -> None:
        """Train on the words that are known."""
        now = self.lexicon.vocabulary
        numbers = int(now.counts.sum())
        if before is not None:  # of which the text at hand has nothing
            kept = now.find(before.words) >= 0
            numbers -= int(before.counts[kept].sum())
        if not numbers:
            raise UserError("no word of the text is known, or frequent enough to be learnt")
        self.settle(numbers, numbers)

    def encode(self, block: Block) -> Block:
        """The words of each line by number."""
        return Block({"words": self.lexicon.vocabulary.ids(block["text"])}, block.start)

    def learn(self, block: Block) -> None:
        """Learn from the words of some lines."""
        p, ids = self.p, block["words"]
        self.tables.learner(self.make).learn(
            ids, block.start, self.epoch, self.done, self.work, p.learning_rate, p.deterministic
        )
        self.done += int(ids.offsets[-1] - ids.offsets[0])

    def make(self, given: Any, output: Any) -> Any:
        """What trains the tables."""
        p, words = self.p, self.lexicon.vocabulary
        counts = np.maximum(words.counts, 1).astype(np.float64)
        share = p.sampling_threshold * words.tokens / counts
        keep = np.minimum(np.sqrt(share) + share, 1).astype(np.float32)
        pieces = self.places.of(self.pieces()) if p.subwords else None
        return self.k.Words(
            given, output, keep=keep, noise=counts**p.noise_exponent, pieces=pieces, mode=p.mode,
            window=p.window_size, negatives=p.negative_samples, batch_size=p.batch_size,
            seed=self.spec.seed,
        )  # fmt: skip

    def after_epoch(self, epochs: int) -> str:
        """Train on, or compare the vectors with what people find alike."""
        if epochs < self.budget:
            return "train"
        return "judge" if self.sets else "done"

    def judge_pass(self) -> Pass | None:
        """One step: the sets of pairs."""
        return Pass("evaluate", self.evaluate, self.end_evaluation, channel=None, steps=1)

    def evaluate(self, step: int) -> None:
        """Compare the vectors with each set."""
        self.evaluation = evaluated(self.sets, self.finish().lookup)

    def end_evaluation(self) -> dict[str, float]:
        """Say how well they agree."""
        assert self.evaluation is not None
        self.scores = {"train:mean_rho": self.evaluation["mean_rho"]}
        self.phase = "done"
        return dict(self.scores)

    def finish(self) -> WordVectorsModel:
        """The vectors so far."""
        if not self.done or not self.tables.ready:
            raise NotReady("BlazingText has learnt from no word yet")
        given, output = self.tables.plain()
        min_char, max_char = self.subwords
        model = WordVectorsModel(
            self.k.device,
            notes={"hyperparameters": self.p.as_dict(), "epochs": self.epoch},
            mode=self.p.mode,
            vocabulary=self.lexicon.vocabulary.arrays(),
            rows=self.tables.rows,
            input=given,
            output=output,
            buckets=self.buckets,
            min_char=min_char,
            max_char=max_char,
        )
        model.evaluation = self.evaluation
        return model
