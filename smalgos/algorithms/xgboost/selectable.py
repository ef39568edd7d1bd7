"""Other response fields than the score, as the original's server lets its users choose them."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block

RAW = ("predicted_label", "labels", "raw_score", "raw_scores")
SHARES = (*RAW, "probability", "probabilities")
KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("reg:squarederror", "reg:logistic", "reg:gamma", "reg:absoluteerror", "reg:tweedie"),
        ("predicted_score",),
    ),
    **dict.fromkeys(("binary:logistic", "multi:softprob"), SHARES),
    **dict.fromkeys(("binary:logitraw", "binary:hinge", "multi:softmax"), RAW),
}


def selected(model: Any, names: Sequence[str]) -> Callable[[Block], dict[str, Any]]:
    """A function of blocks that answers with chosen fields.

    Parameters
    ----------
    model : BoostedTreesModel or Ensemble
    names : sequence of str
        Of `KEYS`; one that the model's objective lacks is answered with NaN, and a warning.

    Returns
    -------
    callable
        ``f(block) -> {name: one entry per row}``, names in the order given.

    Raises
    ------
    UserError
        For an objective without such fields.

    Notes
    -----
    The original's ``raw_scores`` of a score s of two classes are 1 - s and s, whatever s is; so are
    these.
    """
    if model.objective not in KEYS:
        raise UserError(
            f"SAGEMAKER_INFERENCE_OUTPUT: {model.objective} has no fields to choose from; unset it"
        )
    for name in names:
        if name not in KEYS[model.objective]:
            warnings.warn(
                f"SAGEMAKER_INFERENCE_OUTPUT: {model.objective} has no {name}, which is answered "
                f"with NaN; it has {', '.join(KEYS[model.objective])}",
                UserWarning,
                stacklevel=2,
            )

    def answer(block: Block) -> dict[str, Any]:
        known = fields(model, model.predict(block)["score"])
        return {name: known.get(name, np.full(len(block), np.nan, np.float32)) for name in names}

    return answer


def fields(model: Any, score: Any) -> dict[str, Any]:
    """All fields of the model's objective, of predictions (n,) or (n, classes)."""
    n, objective = len(score), model.objective
    if KEYS[objective] == ("predicted_score",):
        return {"predicted_score": score}
    classes = model.outputs if objective.startswith("multi:") else 2
    if score.ndim == 1:
        best, each = score, np.stack([1 - score, score], axis=1)
    else:
        best, each = score.max(axis=1), score
    if objective == "multi:softprob":
        label = score.argmax(axis=1)
    elif objective in ("binary:logistic", "binary:logitraw"):
        label = (score > (0.5 if objective == "binary:logistic" else 0)).astype(np.int64)
    else:
        label = score
    known = {
        "predicted_label": label,
        "labels": np.tile(np.arange(classes), (n, 1)),
        "raw_score": best,
        "raw_scores": each,
    }
    if KEYS[objective] == SHARES:
        known |= {"probability": best, "probabilities": each}
    return known
