"""A progress bar as a reporter of the driver."""

import sys
from typing import Any

from smalgos.learning.state import Pass, State


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
        self._seen = 0

    def __call__(self, event: str, **facts: Any) -> None:
        """Take an event of `smalgos.learning.train`."""
        state: State = facts["state"]
        if event == "begin":
            from tqdm import tqdm

            rows = self.rows or state.spec.rows
            total = rows * (state.budget - state.epoch) if rows else None
            self._bar = tqdm(
                total=total, desc=self.name, unit="row", unit_scale=True, dynamic_ncols=True,
                file=sys.stderr, leave=True,
            )  # fmt: skip
            self._seen = state.seen
        elif event == "batch":
            self._bar.update(state.seen - self._seen)
            self._seen = state.seen
        elif event == "pass":
            p: Pass = facts["p"]
            if p.epoch and self._bar.total is None and facts["rows"]:
                # after the first epoch the end is known
                self._bar.total = facts["rows"] * state.budget
            if facts["metrics"]:
                told = {name.split(":")[0]: f"{v:.4g}" for name, v in facts["metrics"].items()}
                self._bar.set_postfix(epoch=f"{state.epoch}/{state.budget}", **told)
        elif event == "stop":
            if facts["why"] == "done":  # stopped early: what is left will not be read
                self._bar.total = self._bar.n
            self._bar.close()
