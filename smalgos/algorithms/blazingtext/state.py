"""What all modes share: a look at all words, then epochs over the text as numbers."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.blazingtext.lexicon import Lexicon
from smalgos.algorithms.blazingtext.parameters import BlazingTextParameters
from smalgos.algorithms.blazingtext.tables import Places, Tables
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.shuffling import permutation
from smalgos.learning import Pass, Spec, State, Sum

ROWS = 8192  # lines of a block
# Of a text as numbers: as long as they fit, it is read and numbered only once for all epochs.
HELD_BYTES = 1 << 30


class BlazingTextState(State):
    """Base of the states of all modes; what is made is a `WordsState` or a `ClassifierState`."""

    merging = "statistical"  # counts are added, tables mixed in proportion to the rows

    phase: str  # what comes next: "vocabulary", "rows", "train", "validate", "judge", "done"
    lexicon: Lexicon
    tables: Tables
    lines: int  # of the text
    numbers: int  # of words in it, or of features of its lines
    rounds: int  # epochs over this text
    keeps: bool  # whether the text is held as numbers for all epochs
    work: int  # what there is to learn: words of all rounds, or lines
    done: Sum[int]  # of it, so far
    scores: dict[str, Any]  # {"split:metric": value} of the final model

    def __new__(cls, parameters: Any = None, spec: Any = None) -> "BlazingTextState":
        """A state of the kind that the mode needs."""
        kind: type[BlazingTextState] = cls
        if cls is BlazingTextState and parameters is not None:
            from smalgos.algorithms.blazingtext.classifier import ClassifierState
            from smalgos.algorithms.blazingtext.words import WordsState

            kind = ClassifierState if parameters.classifies else WordsState
        return super().__new__(kind)

    def begin(self, spec: Spec) -> None:
        """Nothing is known before the words are."""
        p: BlazingTextParameters = self.p
        self.phase = "vocabulary"
        self.lexicon = Lexicon(p.label_prefix if p.classifies else None, self.k.device)
        self.tables = Tables()
        self.lines = self.numbers = self.rounds = self.work = self.done = 0
        self.keeps = False
        self.scores = {}
        self._forget()
        earlier = spec.side.get("model") or spec.facts.get("model")
        if earlier is not None:
            self.go_on_from(earlier)

    def _forget(self) -> None:
        """Let go of what belongs to one text."""
        self._held: Block | None = None
        self._holding: list[Block] = []
        self._places: Places | None = None
        self._order: tuple[int, NDArray[np.int64]] | None = None

    # -- what a mode is

    @property
    @abstractmethod
    def buckets(self) -> int:
        """Rows that n-grams are hashed to."""

    @abstractmethod
    def go_on_from(self, earlier: Any) -> None:
        """Begin with what an earlier model has learnt."""

    @abstractmethod
    def ready(self, before: Vocabulary | None) -> None:
        """All words are known: say what comes next."""

    def needed(self) -> NDArray[np.int32]:
        """Rows of n-grams that the words need."""
        return np.empty(0, np.int32)

    def texts(self, block: Block) -> Block:
        """Pure: texts as they are counted and numbered."""
        return block

    @abstractmethod
    def encode(self, block: Block) -> Block:
        """Pure: texts as numbers."""

    @abstractmethod
    def learn(self, block: Block) -> None:
        """Learn from numbered texts."""

    @abstractmethod
    def outputs(self, vocabulary: Vocabulary) -> list[str]:
        """What has an output row."""

    @abstractmethod
    def after_epoch(self, epochs: int) -> str:
        """The phase behind so many epochs."""

    def judge_pass(self) -> Pass | None:
        """A look at how good the final model is; None: there is none (any more)."""
        return None

    @property
    def judges(self) -> bool:
        """Whether the final model is looked at: in jobs."""
        return bool(self.spec.facts.get("judge", True))

    # -- passes

    def next_pass(self) -> Pass | None:
        """Words first, then epochs; at the end, a judgement."""
        if self.phase == "vocabulary":
            return Pass("vocabulary", self.count, self.close, prepare=self.texts, rows=ROWS)
        if self.phase == "train":
            return self.over_text("train", self.learn, self.end_epoch, epoch=True)
        if self.phase == "judge":
            return self.judge_pass()
        return None

    def over_text(
        self, name: str, use: Callable[[Block], None], end: Any, *, epoch: bool = False
    ) -> Pass:
        """A pass over the training text as numbers, held ones where they fit into memory."""
        if not self.keeps:
            prepare, shuffle = self.encode, epoch and self.shuffles
            return Pass(name, use, end, prepare=prepare, rows=ROWS, epoch=epoch, shuffle=shuffle)
        if self._held is None:
            return Pass("hold", self.hold, self.end_hold, prepare=self.encode, rows=ROWS, hold=True)

        def step(i: int) -> None:
            block = self.held_rows(i, shuffled=epoch and self.shuffles)
            use(block)
            self.seen += len(block) if epoch else 0

        steps = -(-len(self._held) // ROWS)
        return Pass(name, step, end, channel=None, steps=steps, epoch=epoch)

    def settle(self, numbers: int, work: int) -> None:
        """All rows are there: train.

        Parameters
        ----------
        numbers : int
            Of words in the text, or of features.
        work : int
            What an epoch learns from: words, or lines.
        """
        self.rounds = self.budget - self.epoch
        self.numbers, self.done, self.work = numbers, 0, work * self.rounds
        fits = self.fits(numbers)
        self.keeps = fits and (self.rounds > 1 or self.shuffles or self.judges)
        self.phase = "train"

    def fits(self, numbers: int) -> bool:
        """Whether a text of so many numbers may be held."""
        return 4 * numbers + 16 * self.lines <= HELD_BYTES

    @property
    def shuffles(self) -> bool:
        """Whether each epoch takes the lines in another order."""
        return bool(self.p.classifies and self.p.shuffle)

    def count(self, block: Block) -> None:
        """Count words."""
        self.lexicon.count(block["text"])

    def close(self) -> None:
        """Number the words, give each of them a row."""
        self._forget()
        before = self.lexicon.close(self.p.min_count)
        self.lines, self.done = self.row, 0
        self.grow(before, self.needed())
        self.ready(before)

    def grow(self, before: Vocabulary | None, rows: NDArray[np.int32]) -> None:
        """Tables with a row for each word, output and n-gram; what was learnt stays.

        Parameters
        ----------
        before : Vocabulary or None
            Of the rows that there are.
        rows : ndarray of int32
            Numbers of the rows of n-grams that there must be, ascending.
        """
        now, width = self.lexicon.vocabulary, self.p.vector_dim
        old_rows = np.empty(0, np.int32) if self.tables.rows is None else self.tables.rows
        rows = np.union1d(old_rows, rows).astype(np.int32)
        n, m = len(now), len(rows)
        if n + self.buckets >= 2**31:
            raise UserError(f"{n} words and buckets={self.buckets}: more than 2**31 rows")
        count = Places.count(n, rows, self.buckets)
        given = self.k.starts(count, width, 1 / width, self.spec.seed, f"rows {self.passes}")
        given[n + m :] = 0
        output = np.zeros((len(self.outputs(now)), width), np.float32)
        if self.tables.ready:
            before = before or now
            old_given, old_output = self.tables.plain()
            to, at = np.asarray(now.find(before.words)), np.searchsorted(rows, old_rows)
            places = np.concatenate([to, n + at]).astype(np.int64)
            kept = places >= 0
            given[places[kept]] = old_given[: len(places)][kept]
            number = {name: i for i, name in enumerate(self.outputs(now))}
            for i, name in enumerate(self.outputs(before)):
                if name in number:
                    output[number[name]] = old_output[i]
        self.tables.put(rows, given, output)
        self._places = None

    @property
    def places(self) -> Places:
        """Where rows are in the input table."""
        if self._places is None:
            assert self.tables.rows is not None
            self._places = Places(len(self.lexicon.vocabulary), self.tables.rows, self.buckets)
        return self._places

    def hold(self, block: Block) -> None:
        """Keep numbered texts."""
        if block.start == 0:
            self._holding = []
        self._holding.append(block)

    def end_hold(self) -> None:
        """All of the text is at hand."""
        self._held, self._holding = Block.join(self._holding), []

    def held_rows(self, i: int, *, shuffled: bool) -> Block:
        """The lines of a step."""
        assert self._held is not None
        first, n = i * ROWS, len(self._held)
        rows: Any = slice(first, first + ROWS)
        if not shuffled:
            found: Block = self._held[rows]
            return found.at(first)
        if self._order is None or self._order[0] != self.epoch:
            order = permutation(n, (self.spec.seed, self.epoch), window=2**63)
            self._order = self.epoch, order
        found = self._held[self._order[1][rows]]
        return found.at(first)

    def update(self, block: Block) -> None:
        """Learn from numbered texts."""
        self.learn(block)

    def end_epoch(self) -> dict[str, float] | None:
        """Close an epoch."""
        self.phase = self.after_epoch(self.epoch + 1)
        return None

    def again(self, epochs: int = 1) -> None:
        """More text comes after the end: its new words, and as many epochs."""
        super().again(epochs)
        self.phase, self.row = "vocabulary", 0
        self._forget()

    def progress(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return min(self.done / max(self.work, 1), 1.0)

    def final_scores(self) -> dict[str, dict[str, float]]:
        """Of what the judgement found."""
        found: dict[str, dict[str, float]] = {}
        for key, value in self.scores.items():
            split, _, metric = key.partition(":")
            found.setdefault(split, {})[metric] = value
        return found

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if min(self.lines, self.numbers, self.rounds, self.work, self.done) < 0:
            raise UserError("the text has a negative length")
        if self.phase not in ("vocabulary", "rows", "train", "validate", "judge", "done"):
            raise UserError(f"phase {self.phase!r} is unknown")
        known = self.lexicon.known
        if self.phase == "vocabulary" and self.row and self.lexicon.counting is None:
            raise UserError("the counts of the words so far are missing")
        if known is None:
            if self.phase != "vocabulary" or self.tables.ready:
                raise UserError("the vocabulary is missing")
            return
        self.tables.require(len(known), len(self.outputs(known)), self.p.vector_dim, self.buckets)
        if not self.tables.ready:
            raise UserError("the tables are missing")
