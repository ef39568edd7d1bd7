"""Lloyd's iterations over all rows, which are held in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.kmeans import local
from smalgos.algorithms.kmeans.model import KMeansModel
from smalgos.algorithms.kmeans.state import TOO_LARGE, KMeansState, about, shift_of
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block
from smalgos.learning import Pass, Spec
from smalgos.learning.state import BLOCK


class LloydState(KMeansState):
    """Centres of one start after another; each iteration is a pass."""

    merging = "none"

    trial: int
    begun: int  # whether the trial has centres
    over: int  # whether the trial is over
    mass: NDArray[np.float64]  # (k,) weight of the rows nearest to each centre
    history: NDArray[np.float64]  # (iterations,) sum of squared distances, in this trial
    best: NDArray[np.float32]  # (k, d) centres of the best trial so far
    best_mass: NDArray[np.float64]  # (k,)
    best_history: NDArray[np.float64]
    attempts: NDArray[np.float64]  # (trials,) msd of those that are over
    weight: float  # of all rows

    @staticmethod
    def count(p: Any) -> int:
        """k."""
        return int(p.k)

    def begin(self, spec: Spec) -> None:
        """Hold no rows yet."""
        super().begin(spec)
        k, trials = self.p.k, self.p.local_lloyd_num_trials
        if self.given is not None and len(self.given[0]) < k:
            raise UserError(f"k={k}: there are {len(self.given[0])} centres to start from")
        self.trial = self.begun = self.over = 0
        self.mass, self.best_mass = np.zeros(k), np.zeros(k)
        self.best = np.zeros_like(self.centres)
        self.history, self.best_history = np.zeros(0), np.zeros(0)
        self.attempts, self.weight = np.zeros(trials), 0.0
        self.waiting: list[Block] = []
        self.rows: Any = None  # about the shift
        self.row_weights: Any = None
        self.run: Any = None
        self.labelled: tuple[Any, float] | None = None  # labels and loss of the best trial

    def check(self) -> None:
        """Raise `UserError` unless the numbers fit."""
        super().check()
        if not 0 <= self.trial <= len(self.attempts):
            raise UserError(f"trial={self.trial} of {len(self.attempts)}")

    def next_pass(self) -> Pass | None:
        """Hold the rows, then iterate."""
        if self.trial == len(self.attempts):
            return None
        if self.rows is None:
            size = self.spec.rows or BLOCK  # a whole block of an array is held without a copy
            return Pass(
                "collect", self.update, self.end_collect, prepare=self.ready, rows=size, hold=True
            )
        return Pass("iterate", self.iterate, self.end_iteration, channel=None, steps=1)

    def update(self, block: Block) -> None:
        """Hold some rows."""
        if block.start == 0:
            self.waiting = []
        self.waiting.append(block)

    def end_collect(self) -> None:
        """All rows are held."""
        block = Block.join(self.waiting)
        self.waiting = []
        self.check_rows(len(block), block.weights)
        w = block.weights
        self.weight = float(len(block) if w is None else w.sum(dtype=np.float64))
        self.shift = shift_of(block.features)
        self.rows, self.row_weights = about(block.features, self.shift), w

    def iterate(self, step: int) -> None:
        """Assign rows to centres, move these to the means of theirs."""
        p = self.p
        if not self.begun:
            self.begun, self.centres = 1, self.start()
        if self.run is None:
            try:
                self.run = self.k.Lloyd(self.rows, self.row_weights, self.centres)
            except ValueError:
                raise UserError(TOO_LARGE) from None
        self.run.assign()
        self.history = np.append(self.history, self.run.inertia)
        self.mass = np.array(self.run.counts)
        most = len(self.history) > p.local_lloyd_max_iter
        last = most or local.over(self.history, p.local_lloyd_tol)
        rows = self.rows, self.row_weights
        self.over = int(last or not local.refine(self.k, self.run, *rows))
        if not self.over:
            self.centres = np.array(self.run.centres)

    def start(self) -> Any:
        """Centres to start the trial from."""
        if self.given is not None and self.trial == 0:
            return self.given[0] - self.shift
        seed = self.spec.seed
        return local.start(self.k, self.rows, self.row_weights, self.p.k, self.p, seed, self.trial)

    def end_iteration(self) -> None:
        """Look whether the trial is over, and how well it did."""
        loss = float(self.history[-1])
        if not np.isfinite(loss):
            raise UserError(TOO_LARGE)
        if not self.over:
            return
        if self.trial == 0 or local.ALIKE * loss < self.best_history[-1]:
            self.best, self.best_mass, self.best_history = self.centres, self.mass, self.history
            self.labelled = None if self.run is None else (self.run.labels, loss)
        self.attempts[self.trial] = loss / self.weight
        self.trial += 1
        self.begun = self.over = 0
        self.history, self.run = np.zeros(0), None

    def progress(self) -> float:
        """Share of the starts."""
        return self.trial / len(self.attempts)

    def again(self, epochs: int = 1) -> None:
        """More rows cannot come: all are looked at over and over."""
        raise UserError("solver=lloyd needs all rows at once: call fit, or take solver=webscale")

    def finish(self) -> KMeansModel:
        """The best centres so far."""
        if self.trial:
            parts = self.best, self.best_mass, self.best_history
            attempts = self.attempts[: self.trial]
        elif len(self.history):
            parts = self.centres, self.mass, self.history
            attempts = self.history[-1:] / self.weight
        else:
            raise NotReady("K-Means has assigned no rows yet")
        centres, mass, history = parts
        steps = np.arange(len(history))
        curve = np.column_stack([steps, history / self.weight])
        return self.model_of(centres, mass, len(history) - 1, attempts, curve)
