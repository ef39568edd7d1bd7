"""Objectives of boosted trees, by the names XGBoost gives them, and those of the user.

Formulas are in `smalgos.kernels.cpu.objectives`, `ranking` and `survival`; all are those of
XGBoost 3.2.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.base import Floats, Groups, Objective, Options, Weights
from smalgos.algorithms.xgboost.pointwise import POINTWISE, Softmax
from smalgos.algorithms.xgboost.quantiles import refit_leaves
from smalgos.algorithms.xgboost.ranking import KINDS, Ranking
from smalgos.algorithms.xgboost.survival import AFT, Cox
from smalgos.errors import RowError, UserError

__all__ = ["OBJECTIVES", "Custom", "Objective", "Options", "objective", "refit_leaves"]

OBJECTIVES = (
    *POINTWISE, "multi:softmax", "multi:softprob", *KINDS, "survival:cox", "survival:aft",
)  # fmt: skip


def objective(name: str, *, outputs: int = 1, **options: Any) -> Objective:
    """An objective by its name.

    Parameters
    ----------
    name : str
        As XGBoost spells it.
    outputs : int
        Classes of the multi objectives. The others know how many they have: one for each
        quantile of reg:quantileerror, else 1.
    **options
        Hyperparameters, see `Options`; those that are None, and those that the objective does not
        look at, make no difference.

    Returns
    -------
    Objective

    Raises
    ------
    UserError
        For an unknown name, or a hyperparameter out of range.
    """
    if name not in OBJECTIVES:
        near = difflib.get_close_matches(name, OBJECTIVES, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(OBJECTIVES)}"
        raise UserError(f"objective={name}: there is none of this name; {hint}")
    given = Options(**options)
    if name in POINTWISE:
        return POINTWISE[name](name, given)
    if name in KINDS:
        return Ranking(name, given)
    if name == "survival:cox":
        return Cox()
    return AFT(given) if name == "survival:aft" else Softmax(name, outputs)


class Custom(Objective):
    """An objective of the user. Predictions are margins.

    Parameters
    ----------
    function : callable
        Of margins and labels, or margins, labels and weights, float32; gives gradients and
        hessians. Margins, gradients and hessians are (n,), of several outputs (n, K). A function
        of three arguments is given weights of 1 where there are none; with one of two, weights
        multiply what it gives. One that numba compiled is called as it is.
    outputs : int
    name, metric : str
    """

    def __init__(
        self,
        function: Callable[..., Any],
        outputs: int = 1,
        name: str = "custom",
        metric: str = "rmse",
    ) -> None:
        super().__init__()
        self.name, self.outputs, self.metric = name, outputs, metric
        self.function = function
        signature = inspect.signature(getattr(function, "py_func", function))
        needed = [p for p in signature.parameters.values() if p.default is p.empty]
        if len(needed) not in (2, 3):
            raise UserError(
                f"the objective {name} takes {len(needed)} arguments: it must take margins and "
                "labels, or margins, labels and weights"
            )
        self.weighs = len(needed) == 3

    def _estimate(self, labels: NDArray[Any], weights: Weights, groups: Groups) -> Any:
        return np.full(self.outputs, 0.5)  # XGBoost's, whatever the objective

    def gradients(
        self, margin: Floats, labels: NDArray[Any], weights: Weights, groups: Groups,
        g: Floats, h: Floats, iteration: int = 0, seed: int = 0,
    ) -> None:  # fmt: skip
        """What the function gives.

        Raises
        ------
        UserError
            For arrays of another shape, NaN or infinity.
        """
        n = len(labels)
        given = margin[0] if self.outputs == 1 else np.ascontiguousarray(margin.T)
        # A copy: the function may write to its argument.
        arguments = [given.copy(), labels]
        if self.weighs:
            arguments.append(np.ones(n, np.float32) if weights is None else weights)
        try:
            slope, curve = self.function(*arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"the objective {self.name}: {error}") from error
        for what, x, out in (("gradients", slope, g), ("hessians", curve, h)):
            x = np.asarray(x)
            if x.shape not in (given.shape, (n, self.outputs)):
                raise UserError(
                    f"the objective {self.name} gives {what} of shape {x.shape} for margins of "
                    f"shape {given.shape}"
                )
            out[:] = x.reshape(n, self.outputs).T
            if not self.weighs and weights is not None:
                out *= weights
            good = np.isfinite(out).all(axis=0)
            if not good.all():
                raise RowError(
                    int(np.argmin(good)), f"the objective {self.name} gives {what} not finite here"
                )
