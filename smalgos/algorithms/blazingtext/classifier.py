"""The text classifier: the mean of a line's rows, then a softmax over the labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.classifier_model import TextClassifierModel, one_line
from smalgos.algorithms.blazingtext.state import ROWS, BlazingTextState
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.algorithms.blazingtext.word_model import WordVectorsModel
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Ragged
from smalgos.learning import Pass, Spec, Stopping

GAIN = 1e-12  # of accuracy, relative: an equal one is no gain


class ClassifierState(BlazingTextState):
    """Rows of words and of n-grams of words, and a row for each label."""

    kernels = "text_classifier"

    needs: NDArray[np.bool_] | None  # (buckets,) whether a row of n-grams is needed
    found: int  # features of the lines, so far
    loss: float  # of this epoch: sum, and over how many lines
    loss_lines: int
    right: int  # of the lines that were judged
    judged: int
    examples: dict[str, Any]  # {split: lines that were judged}
    curves: NDArray[np.float64]  # (epochs, 2) mean loss, accuracy of the validation rows or NaN
    stopping: Stopping
    best: dict[str, Any]  # tables of the best look

    def begin(self, spec: Spec) -> None:
        """Early stopping needs rows to look at."""
        p = self.p
        if p.early_stopping and not self.validates:
            raise UserError(
                "early_stopping=True: there is no validation channel to look at; give one"
            )
        self.needs, self.found = None, 0
        self.loss, self.loss_lines, self.right, self.judged = 0.0, 0, 0, 0
        self.examples, self.best = {}, {}
        self.curves = np.empty((0, 2))
        self.stopping = Stopping(p.patience - 1, GAIN, "max")
        super().begin(spec)

    @property
    def buckets(self) -> int:
        """Rows that n-grams of words are hashed to."""
        return int(self.p.buckets) if self.p.word_ngrams > 1 else 0

    def go_on_from(self, earlier: Any) -> None:
        """Begin with an earlier classifier, or give words the vectors of an earlier model."""
        p = self.p
        if earlier.input.shape[1] != p.vector_dim:
            raise UserError(
                f"the earlier model has vector_dim={earlier.input.shape[1]}, not {p.vector_dim}"
            )
        if isinstance(earlier, WordVectorsModel):
            return  # `ready` looks words up
        if earlier.loss != "softmax" or earlier.max_char or earlier.words.pruned is not None:
            raise UserError(
                f"the earlier model has loss={earlier.loss}, or n-grams of characters, or lacks "
                "rows that were cut off: such models of fastText predict, but cannot be trained on"
            )
        if (earlier.word_ngrams, earlier.buckets) != (p.word_ngrams, self.buckets):
            raise UserError(
                f"the earlier model has word_ngrams={earlier.word_ngrams} and "
                f"buckets={earlier.buckets}, not {p.word_ngrams} and {self.buckets}"
            )
        if earlier.label_prefix != p.label_prefix:
            raise UserError(
                f"the earlier model has label_prefix={earlier.label_prefix!r}, not "
                f"{p.label_prefix!r}"
            )
        self.lexicon.known = earlier.words
        self.tables.put(earlier.rows, *(np.array(a) for a in (earlier.input, earlier.output)))

    def outputs(self, vocabulary: Vocabulary) -> list[str]:
        """Labels have output rows."""
        return vocabulary.labels

    # -- the rows that are needed

    def ready(self, before: Vocabulary | None) -> None:
        """Look which n-grams there are."""
        earlier = self.spec.side.get("model") or self.spec.facts.get("model")
        if before is None and isinstance(earlier, WordVectorsModel):
            vectors, known = earlier.lookup(self.lexicon.vocabulary.words)
            given, output = self.tables.plain()
            given[: len(known)][known] = vectors[known]
            self.tables.put(self.tables.rows, given, output)
        self.needs, self.found = np.zeros(self.buckets, np.bool_), 0
        self.phase = "rows"

    def mark(self, block: Block) -> None:
        """Note which rows of n-grams a text needs; keep it, as long as it fits."""
        assert self.needs is not None
        n = len(self.lexicon.vocabulary)
        ids = block["rows"].values
        self.needs[ids[ids >= n] - n] = True
        self.found += len(ids)
        if self.fits(self.found):
            self.hold(block)

    def end_mark(self) -> None:
        """Give each of them a row."""
        assert self.needs is not None
        held = self._holding if sum(map(len, self._holding)) == self.row else []
        self.grow(None, np.flatnonzero(self.needs).astype(np.int32))
        self.needs = None
        self.settle(self.found, self.lines)
        self._holding = [self.placed(block) for block in held]
        if held and self.keeps:
            self.end_hold()

    def texts(self, block: Block) -> Block:
        """A text is a line with its end, whatever format it comes from."""
        return block.replace(text=one_line(block["text"]))

    def encode(self, block: Block) -> Block:
        """The features of each line, and its labels, by number."""
        p = self.p
        text = self.texts(block)["text"]
        rows, labels = self.lexicon.vocabulary.features(text, p.word_ngrams, self.buckets)
        found = Block({"rows": rows, "labels": labels}, block.start)
        return found if self.phase == "rows" else self.placed(found)

    def placed(self, block: Block) -> Block:
        """The same, with places in the input table."""
        return block.replace(rows=self.places.of(block["rows"]))

    # -- passes

    def next_pass(self) -> Pass | None:
        """Words, rows of n-grams, then epochs, some of which are followed by a look."""
        if self.phase == "rows":
            return Pass("rows", self.mark, self.end_mark, prepare=self.encode, rows=ROWS)
        if self.phase == "validate":
            return self.over_validation("validate", self.end_look)
        return super().next_pass()

    def over_validation(self, name: str, end: Any) -> Pass:
        """A look at the validation channel."""
        return Pass(name, self.look, end, prepare=self.encode, channel="validation", rows=ROWS)

    def learn(self, block: Block) -> None:
        """Learn from the features of some lines."""
        p = self.p
        loss, lines, _ = self.tables.learner(self.make).learn(
            block["rows"], block["labels"], block.start, self.epoch, self.done, self.work,
            p.learning_rate, p.deterministic,
        )  # fmt: skip
        self.loss += float(loss)
        self.loss_lines += int(lines)
        self.done += len(block)

    def make(self, given: Any, output: Any) -> Any:
        """What trains the tables."""
        return self.k.Classifier(given, output, self.spec.seed)

    def end_epoch(self) -> dict[str, float] | None:
        """Close an epoch."""
        if not self.loss_lines:
            raise UserError("no line of the text has both a label and a word that is known")
        mean, self.loss, self.loss_lines = self.loss / self.loss_lines, 0.0, 0
        if not np.isfinite(mean):
            raise UserError(
                f"training diverged in epoch {self.epoch}: the loss is {mean}; lower "
                f"learning_rate={self.p.learning_rate:g}"
            )
        self.curves = np.vstack([self.curves, [mean, np.nan]])
        super().end_epoch()
        return {"train:cross_entropy": mean}

    def after_epoch(self, epochs: int) -> str:
        """Look at the validation channel, train on, or judge."""
        if self.p.early_stopping and self.validates and epochs >= self.p.min_epochs:
            return "validate"
        return "train" if epochs < self.budget else self.last_phase

    @property
    def last_phase(self) -> str:
        """What comes behind the last epoch."""
        return "judge" if self.judges else "done"

    def look(self, block: Block) -> None:
        """Count the lines whose likeliest label is one of theirs."""
        labels, rows = block["labels"], block["rows"]
        counts = np.diff(labels.offsets)
        given = np.flatnonzero((counts > 0) & (np.diff(rows.offsets) > 0))
        if not len(given):
            return
        found, _ = self.tables.learner(self.make).top(rows[given].tight(), 1)
        likely = np.repeat(found[:, 0], counts[given])
        hits: Ragged = labels[given].tight()
        self.right += int(np.logical_or.reduceat(hits.values == likely, hits.offsets[:-1]).sum())
        self.judged += len(given)

    def accuracy(self) -> float:
        """Of the lines that were looked at; clears them."""
        found = self.right / self.judged if self.judged else 0.0
        self.right = self.judged = 0
        return found

    def end_look(self) -> dict[str, float]:
        """Keep the best tables; go on, or stop."""
        accuracy = self.accuracy()
        self.curves[-1, 1] = accuracy
        better = self.stopping.offer(accuracy, self.epoch - 1)
        over = self.stopping.over or self.epoch >= self.budget
        if better and not over:
            given, output = self.tables.plain()
            self.best = {"input": given, "output": output}
        if over:
            if self.best and not better:
                self.tables.put(self.tables.rows, self.best["input"], self.best["output"])
            self.best, self.phase = {}, self.last_phase
        else:
            self.phase = "train"
        return {"validation:accuracy": accuracy}

    def judge_pass(self) -> Pass | None:
        """The final model on the train channel, then on the validation channel."""
        if "train" not in self.examples:
            return self.over_text("judge", self.look, self.end_judgement)
        return self.over_validation("judge", self.end_judgement)

    def end_judgement(self) -> dict[str, float]:
        """Note the accuracy."""
        split = "validation" if "train" in self.examples else "train"
        self.examples[split] = self.judged
        told = {f"{split}:accuracy": self.accuracy()}
        self.scores |= told
        if split == "validation" or not self.validates:
            self.phase = "done"
        return told

    def again(self, epochs: int = 1) -> None:
        """More text comes after the end."""
        super().again(epochs)
        self.stopping.clear()
        self.loss, self.loss_lines, self.right, self.judged = 0.0, 0, 0, 0
        self.examples, self.scores, self.best = {}, {}, {}

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if min(self.found, self.loss_lines, self.right, self.judged) < 0:
            raise UserError("a count of lines is negative")
        if (self.phase == "rows") != (self.needs is not None):
            raise UserError("the rows that are needed are missing")
        if self.needs is not None and self.needs.shape != (self.buckets,):
            raise UserError("the rows that are needed are not those of the buckets")

    # -- the model

    def finish(self) -> TextClassifierModel:
        """The best classifier so far."""
        if not self.done or self.phase in ("vocabulary", "rows") or not self.tables.ready:
            raise NotReady("BlazingText has learnt from no line yet")
        given, output = self.tables.plain()
        if self.best:
            given, output = (self.best[name].copy() for name in ("input", "output"))
        losses, accuracies = self.curves.T.tolist()
        return TextClassifierModel(
            self.k.device,
            notes={
                "hyperparameters": self.p.as_dict(),
                "epochs": self.epoch,
                "loss_curve": losses,
                "validation_accuracy": [None if a != a else a for a in accuracies],
            },
            mode=self.p.mode,
            vocabulary=self.lexicon.vocabulary.arrays(),
            rows=self.tables.rows,
            input=given,
            output=output,
            buckets=self.buckets,
            min_char=0,
            max_char=0,
            word_ngrams=self.p.word_ngrams,
            label_prefix=self.p.label_prefix,
            loss="softmax",
        )
