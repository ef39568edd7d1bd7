"""Mini-batch learning: epochs, each followed by a look at the validation rows; the best is kept."""

from abc import abstractmethod
from typing import Any

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning.schedules import Constant, Factor
from smalgos.learning.state import Mean, Pass, Spec, State, Sum
from smalgos.learning.stopping import Stopping

# Bytes of features in a block: large enough to pay for handing it from thread to thread, small
# enough to be in the processor's caches still when it is learnt from.
BLOCK_BYTES = 1 << 22


class MiniBatch(State):
    """Base of the states that learn by mini-batch gradient steps.

    A subclass says what is learnt (`compose`, `learn`) and how it is judged (`judge`, `verdict`).
    Without a validation channel the training loss of each epoch decides.
    """

    merging = "statistical"  # weights are mixed in proportion to rows

    phase: str  # what comes next: "train", "validate", "done", or a phase of the subclass
    weights: Mean[dict[str, Any]]
    slots: Mean[dict[str, Any]]  # of the optimizer
    step: int  # optimizer steps so far
    loss_sum: Sum[Any]  # of this epoch, float64, one per model
    loss_rows: Sum[int]
    best: dict[str, Any]  # weights of the best epoch
    stopping: Stopping

    def begin(self, spec: Spec) -> None:
        """Allocate weights and optimizer state."""
        self.stopping = self.patience()
        self.phase, self.step, self.best = self.first_phase, 0, {}
        self.loss_rows = 0
        self.schedule = self.compose(spec)

    goal = "min"  # of the value that early stopping looks at
    by_number = False  # whether `ready` and `learn` take shuffled rows by their numbers
    first_phase = "train"

    def patience(self) -> Stopping:
        """What stops training early, with nothing seen yet."""
        p = self.p
        return Stopping(p.early_stopping_patience, p.early_stopping_tolerance, self.goal)

    @abstractmethod
    def compose(self, spec: Spec) -> Constant | Factor:
        """Set weights, slots and loss_sum; return the schedule of the rates."""

    @abstractmethod
    def learn(self, block: Block, rates: Any) -> Any:
        """One step per mini-batch of the block; rates (steps, columns). Returns loss sums."""

    @abstractmethod
    def judge(self, block: Block) -> None:
        """Take in validation rows."""

    @abstractmethod
    def verdict(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """(value to compare, metrics, weights to keep if best); clears what `judge` took."""

    @abstractmethod
    def epoch_losses(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """The same from the training loss of the epoch that ends."""

    def ready(self, block: Block) -> Block:
        """Pure: what `learn` and `judge` get of a block, checked."""
        return block.on(self.k)

    # -- passes

    def block_rows(self) -> int:
        """Rows of a block; it changes no result."""
        return max(BLOCK_BYTES // (4 * max(self.spec.width, 1)), 256)

    def next_pass(self) -> Pass | None:
        """Train and validate in turn."""
        if self.phase == "train":
            return Pass(
                "train", self.update, self.end_epoch, prepare=self.ready,
                rows=self.block_rows(), batch=self.p.mini_batch_size,
                tail="drop" if self.p.drop_last else "keep", epoch=True, shuffle=self.p.shuffle,
                by_number=self.by_number,
            )  # fmt: skip
        if self.phase == "validate":
            return Pass(
                "validate", self.judge, self.end_validation, prepare=self.ready,
                channel="validation", rows=self.block_rows(),
            )  # fmt: skip
        return None

    def update(self, block: Block) -> None:
        """One optimizer step per mini-batch."""
        steps = -(-len(block) // self.p.mini_batch_size)
        rates = self.schedule(np.arange(self.step + 1, self.step + steps + 1))
        self.loss_sum = self.loss_sum + self.learn(block, rates)
        self.loss_rows += len(block)
        self.step += steps

    def end_epoch(self) -> dict[str, float]:
        """Close an epoch of training."""
        value, metrics, weights = self.epoch_losses()
        if not np.isfinite(value):
            raise UserError(
                f"training diverged in epoch {self.epoch}: the loss is {value}; "
                "lower learning_rate, or scale the data (normalize_data=True)"
            )
        self.loss_sum, self.loss_rows = 0 * self.loss_sum, 0
        if self.validates:
            self.phase = "validate"
        else:
            self.decide(value, weights, self.epoch, last=self.epoch + 1 >= self.budget)
        return metrics

    def end_validation(self) -> dict[str, float]:
        """Close a look at the validation rows."""
        value, metrics, weights = self.verdict()
        self.decide(value, weights, self.epoch - 1, last=self.epoch >= self.budget)
        return metrics

    def decide(self, value: float, weights: dict[str, Any], epoch: int, *, last: bool) -> None:
        """Keep the best weights; go on, or stop."""
        if self.stopping.offer(value, epoch):
            self.best = {name: w.copy() for name, w in weights.items()}
        self.phase = "done" if last or self.stopping.over else "train"

    def again(self, epochs: int = 1) -> None:
        """More data comes after the end: what was judged by other data cannot be compared."""
        super().again(epochs)
        self.stopping, self.best = self.patience(), {}
        self.loss_sum, self.loss_rows = 0 * self.loss_sum, 0
        if self.step:
            self.phase = "train"
