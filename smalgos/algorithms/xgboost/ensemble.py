"""Models of cross-validation, which answer together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning.model import Model

VOTING = ("multi:softmax", "binary:hinge")  # their predictions are classes


class Ensemble(Model):
    """Several models: the mean of their predictions, or the class that most of them predict.

    Parameters
    ----------
    models : sequence of BoostedTreesModel
        At least one, all of one objective, width and number of outputs.
    """

    algorithm = "xgboost"
    kernels = "forest"

    def __init__(self, models: Sequence[BoostedTreesModel]) -> None:
        super().__init__(models[0].k.device, models[0].notes)
        self.models = tuple(models)
        self.check()

    @classmethod
    def of(cls, models: Sequence[Model], source: str) -> "Ensemble":
        """The ensemble of what a folder holds.

        Raises
        ------
        UserError
            When its models do not go together.
        """
        trees = [model for model in models if isinstance(model, BoostedTreesModel)]
        if len(trees) < len(models):
            raise UserError(f"{source}: the models are of several algorithms")
        try:
            return cls(trees)
        except UserError as e:
            raise UserError(f"{source}: {e}") from None

    @property
    def objective(self) -> str:
        """That of all of them."""
        return self.models[0].objective

    @property
    def outputs(self) -> int:
        """Number of margins of a row."""
        return self.models[0].outputs

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self.models[0].width

    @property
    def reading(self) -> dict[str, Any]:
        """Options of readers for its rows."""
        return self.models[0].reading

    def check(self) -> None:
        """Raise `UserError` unless they can answer together."""
        kinds = {(m.objective, m.width, m.outputs) for m in self.models}
        if len(kinds) > 1:
            raise UserError("its models differ in objective, features or classes")

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"score": (n,) or (n, outputs)}``"""
        found = np.stack([model.predict(block)["score"] for model in self.models])
        if self.objective in VOTING:
            return {"score": mode(found)}
        return {"score": found.mean(axis=0, dtype=np.float64).astype(np.float32)}


def mode(votes: NDArray[Any]) -> NDArray[Any]:
    """The most frequent value of each column of (models, n), the least of several."""
    values = np.unique(votes)
    counts = np.stack([(votes == value).sum(axis=0) for value in values])
    most: NDArray[Any] = values[counts.argmax(axis=0)]
    return most
