"""A progress bar as a reporter of the driver."""

import re
import sys
from typing import Any

from smalgos.learning.state import Pass, State

STARTING = "{desc} starting; the first time, its kernels are compiled"
# Short enough for a bar and the latest metric in eighty columns.
KNOWN = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
UNKNOWN = "{desc} {n_fmt} rows, {elapsed}, {rate_fmt}{postfix}"
LONG = re.compile("binary_classification_|multiclass_|_objective")  # of the original's metrics


class Progress:
    """One bar on stderr: rows of all epochs, with the latest metric behind it.

    Parameters
    ----------
    name : str
        What stands before the bar.
    rows : int, optional
        Rows of the train channel, when known: the bar then knows its end.
    """

    def __init__(self, name: str, rows: int | None = None) -> None:
        self.name, self.rows = name, rows
        self._bar: Any = None
        self._seen = self._before = 0  # rows so far; those before this pass
        self._unit, self._told = "epoch", ""

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.learning.train`."""
        state: State = facts["state"]
        if event == "begin":
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self.name, unit="row", unit_scale=True, dynamic_ncols=True, file=sys.stderr,
                bar_format=STARTING,
            )  # fmt: skip
            rows = self.rows or state.spec.rows
            self._bar.total = rows * (state.budget - state.epoch) if rows else None
            self._seen = self._before = state.seen
        elif event == "batch":
            if state.seen > self._seen:
                self._bar.bar_format = UNKNOWN if self._bar.total is None else KNOWN
            self._bar.update(state.seen - self._seen)
            self._seen = state.seen
        elif event == "pass":
            p: Pass = facts["p"]
            rows, self._before = state.seen - self._before, state.seen
            if p.epoch and not rows:  # without rows, rounds are what is counted
                self._bar.bar_format, self._bar.unit = KNOWN, "round"
                self._bar.total, self._bar.n = state.budget, state.epoch
                self._bar.refresh()
            elif p.epoch and self._bar.total is None:  # after the first epoch the end is known
                self._bar.total = rows * (state.budget - state.epoch) + self._bar.n
            if p.epoch:
                self._unit = "epoch" if rows else "round"
            self._tell(state, p, facts["metrics"])
        elif event == "stop":
            if facts["why"] == "done":  # stopped early: what is left will not be read
                self._bar.total = self._bar.n
            self.close()

    def close(self) -> None:
        """Leave the bar as it is; for training that failed."""
        if self._bar is not None:
            self._bar.close()

    def _tell(self, state: State, p: Pass, metrics: dict[str, float]) -> None:
        """The metric behind the bar: of the validation rows, where there are some."""
        split = "validation:" if state.validates else "train:"
        names = [name for name in metrics if name.startswith(split)]
        if names:
            name = split + state.watched if split + state.watched in names else names[-1]
            split = "val" if state.validates else "train"
            metric = LONG.sub("", name.partition(":")[2])
            self._told = f", {split} {metric} {metrics[name]:.4g}"
        if names or p.epoch:
            at = f"{self._unit} {state.epoch}/{state.budget}"
            self._bar.set_postfix_str(at + self._told)
