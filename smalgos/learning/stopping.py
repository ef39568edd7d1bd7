"""When to stop: a small part of a state."""

import math

from smalgos.learning.state import Part


class Stopping(Part):
    """Stops after more than `patience` offers in a row that gained less than `tolerance`.

    Parameters
    ----------
    patience : int
    tolerance : float
        Least gain that counts, relative to the best value so far.
    goal : {"min", "max"}
    """

    best: float  # in the sense of min: negated where the goal is max
    bad: int
    at: int  # when the best came
    over: bool

    def __init__(self, patience: int, tolerance: float, goal: str = "min") -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.sign = 1 if goal == "min" else -1
        self.clear()

    def clear(self) -> None:
        """Forget: values on other data cannot be compared."""
        self.best, self.bad, self.at, self.over = math.inf, 0, -1, False

    def offer(self, value: float, at: int) -> bool:
        """Take a value.

        Returns
        -------
        bool
            True when it is the best so far.
        """
        signed = self.sign * value
        better = signed < self.best
        if math.isinf(self.best) or self.best == 0:
            gains = better
        else:
            gains = (self.best - signed) / abs(self.best) >= self.tolerance
        self.bad = 0 if gains else self.bad + 1
        if better:
            self.best, self.at = signed, at
        self.over = self.bad > self.patience
        return better
