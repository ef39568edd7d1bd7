"""Learning rates as functions of the step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    Parameters
    ----------
    rate : ndarray, shape (columns,)
    """

    rate: NDArray[np.float32]

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rates (len(steps), columns) of the steps, which count from 1."""
        return np.repeat(self.rate[None], len(steps), axis=0)


@dataclass(frozen=True)
class Factor:
    """``max(rate * factor ** decays, minimum)``, one decay after every `every` steps.

    As MXNet's FactorScheduler: step t has seen ``(t - 1) // every`` decays.

    Parameters
    ----------
    rate, every, minimum : ndarray, shape (columns,)
    factor : float or ndarray, shape (columns,)
    """

    rate: NDArray[np.float32]
    every: NDArray[np.int64]
    factor: Any
    minimum: NDArray[np.float32]

    def __call__(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rates (len(steps), columns) of the steps, which count from 1."""
        decays = (steps[:, None] - 1) // self.every[None]
        decayed = self.rate.astype(np.float64) * np.power(self.factor, decays, dtype=np.float64)
        rates: NDArray[np.float32] = np.maximum(decayed, self.minimum).astype(np.float32)
        return rates
