"""The model that is kept: trees, or a linear function, and what turns margins into predictions."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost import exchange, objectives
from smalgos.algorithms.xgboost.checks import check_trees
from smalgos.algorithms.xgboost.importance import importance
from smalgos.algorithms.xgboost.objective_parameters import GROUPS, write_text
from smalgos.algorithms.xgboost.trees import Trees
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.kernels import load
from smalgos.learning import Model, State, files, require_array

BOOSTERS = ("gbtree", "dart", "gblinear")
LOGISTIC = ("reg:logistic", "binary:logistic")  # logitraw starts from a margin
LOGARITHMIC = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
ROWS = 4096  # sparse rows that are made dense at a time
Rounds = tuple[int, int] | None


class BoostedTreesModel(Model):
    """Margins ``base[k] + sum of weight * leaf`` over the trees of output k, and their link.

    A model of the booster gblinear has no trees: its margins are ``base + X @ linear[:-1] +
    linear[-1]``, where what is missing counts 0.

    Rows are float32 (n, width), NaN for what is missing, or a `Csr`, in which what is absent is
    missing; it may be narrower than the model.
    """

    algorithm = "xgboost"
    kernels = "forest"
    optional = ("linear",)

    trees: Trees
    linear: NDArray[np.float32] | None = None  # (width + 1, outputs), the bias last
    base: NDArray[np.float32]  # (outputs,)
    columns: int
    objective: str
    booster: str
    parallel: int = 1  # trees of an output and round: num_parallel_tree
    best_iteration: int = -1  # the round after which predictions end; -1: the last

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Set all fields from a snapshot."""
        self.trees = Trees()
        return super().restore(flat, put)

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return self.columns

    @property
    def outputs(self) -> int:
        """Number of margins of a row."""
        return len(self.base)

    @property
    def trees_per_round(self) -> int:
        """Trees that a round adds."""
        return self.outputs * self.parallel

    @property
    def rounds(self) -> int:
        """Number of boosting rounds that the trees are of; 0 for gblinear."""
        return len(self.trees) // self.trees_per_round

    @cached_property
    def _forest(self) -> Any:
        return self.k.Forest(self.trees, self.columns, self.outputs)

    @cached_property
    def _objective(self) -> Any:
        given = self.notes.get("hyperparameters", {})
        known = {option.name for option in dataclasses.fields(objectives.Options)}
        options = {
            name: given[name]
            for group in GROUPS.get(self.objective, {}).values()
            for name, default in group.items()
            if name in known
            and write_text(name, given.get(name, default)) != write_text(name, default)
        }
        return objectives.objective(self.objective, outputs=self.outputs, **options)

    @property
    def reading(self) -> dict[str, Any]:
        """Options of readers for its rows: empty cells of CSV are missing, any delimiter does."""
        return {**super().reading, "missing": "nan", "delimiter": None}

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"score": (n,) or (n, outputs)}``, what the objective makes of margins."""
        return {"score": self.transform(self.predict_margin(block.features))}

    def transform(self, margin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predictions (n,) or (n, outputs) of margins (n, outputs)."""
        made = self._objective.transform
        if self._objective.outputs == self.outputs:
            return made(margin)  # type: ignore[no-any-return]
        # Several targets, each predicted by itself.
        return np.stack([made(margin[:, i : i + 1]) for i in range(self.outputs)], axis=1)

    def predict_margin(self, X: Any, rounds: Rounds = None) -> NDArray[np.float32]:
        """Margins of rows.

        Parameters
        ----------
        X : ndarray of float32 or Csr, shape (n, width)
        rounds : (int, int), optional
            The first round and the one behind the last. Default: all up to `best_iteration`.

        Returns
        -------
        ndarray of float32, shape (n, outputs)

        Raises
        ------
        UserError
            For rows of another width, or rounds that there are not.
        """
        X = self._rows(X)
        if self.linear is not None:
            return self._linear_margin(X)
        return self._add(X, self.base, *self._trees_of(rounds))

    def cut(self) -> "BoostedTreesModel":
        """The model without trees behind `best_iteration`, and what the rounds did to train rows.

        Estimators, which do not look at train rows after each round, leave the same notes.
        """
        notes = dict(self.notes)
        kept = {name: getattr(self, name) for name in self.fields()}
        beyond = 0
        if self.best_iteration >= 0:
            beyond = self.rounds - self.best_iteration - 1
            kept["trees"] = self.trees.upto((self.best_iteration + 1) * self.trees_per_round)
        if isinstance(notes.get("evals"), dict):
            notes["evals"] = {
                name: values[: len(values) - beyond]
                for name, values in notes["evals"].items()
                if not name.startswith("train:")
            }
        return BoostedTreesModel(self.k.device, notes=notes, **kept)

    def staged(self, X: Any) -> Iterator[NDArray[np.float32]]:
        """The margins after each round; each is made from the one before it."""
        X = self._rows(X)
        step = self.trees_per_round
        margin = self.base
        for i in range(self.rounds):
            margin = self._add(X, margin, i * step, (i + 1) * step)
            yield margin

    def predict_leaf(self, X: Any, rounds: Rounds = None) -> NDArray[np.int32]:
        """The number of the leaf that each row reaches in each tree, within the tree.

        Raises
        ------
        UserError
            As `predict_margin`; for gblinear.
        """
        begin, end = self._trees_of(rounds)
        if self.linear is not None:
            raise UserError("booster=gblinear has no leaves")
        made = [self._forest.leaves(x, begin, end) for x in self._dense(self._rows(X))]
        return np.concatenate(made)

    def contributions(
        self, X: Any, rounds: Rounds = None, *, approximate: bool = False
    ) -> NDArray[np.float32]:
        """What each feature adds to the margins: SHAP values (Lundberg et al., 2020).

        Parameters
        ----------
        X : ndarray of float32 or Csr, shape (n, width)
        rounds : (int, int), optional
        approximate : bool
            Saabas' values instead: faster, and not fair to features near the root.

        Returns
        -------
        ndarray of float32, shape (n, outputs, width + 1)
            The bias last; they sum to the margins.
        """
        begin, end = self._trees_of(rounds)
        parts = []
        for x in self._dense(self._rows(X)):
            if self.linear is not None:
                parts.append(self._linear_contributions(x))
            elif approximate:
                parts.append(self._forest.contributions_approx(x, self.base, begin, end))
            else:
                parts.append(self._forest.contributions(x, self.base, begin, end))
        return np.concatenate(parts)

    def interactions(self, X: Any, rounds: Rounds = None) -> NDArray[np.float32]:
        """What pairs of features add to the margins beyond what each does: SHAP interactions.

        Returns
        -------
        ndarray of float32, shape (n, outputs, width + 1, width + 1)
            Rows sum to `contributions`.
        """
        begin, end = self._trees_of(rounds)
        parts = []
        for x in self._dense(self._rows(X)):
            if self.linear is None:
                parts.append(self._forest.interactions(x, self.base, begin, end))
            else:  # a linear function has none
                alone = self._linear_contributions(x)
                parts.append(alone[..., None] * np.eye(self.columns + 1, dtype=np.float32))
        return np.concatenate(parts)

    def importance(self, kind: str = "gain") -> NDArray[np.float64]:
        """Importance (width,) of each feature; see `importance.importance` for the kinds.

        Raises
        ------
        UserError
            For another kind; for gblinear, whose coefficients are in `linear`.
        """
        if self.linear is not None:
            raise UserError("booster=gblinear has no splits to count: look at its coefficients")
        return importance(self.trees, self.columns, kind)

    def to_margin(self, base_score: Any) -> NDArray[np.float32]:
        """The margins (outputs,) of a prediction to start from."""
        scores = np.broadcast_to(base_score, self.outputs)
        if self._objective.outputs == self.outputs:
            return self._objective.to_margin(scores)  # type: ignore[no-any-return]
        return np.concatenate([self._objective.to_margin(score) for score in scores])

    def from_margin(self) -> NDArray[np.float64]:
        """`base` as the prediction to start from: the inverse of `to_margin`."""
        base = self.base.astype(np.float64)
        # Within what is a prediction, also when it is rounded to float32.
        if self.objective in LOGISTIC:
            return np.clip(1 / (1 + np.exp(-np.clip(base, -80, 80))), 1e-30, 1 - 2**-24)
        if self.objective in LOGARITHMIC:
            return np.exp(np.clip(base, -80, 80))
        return base

    def _rows(self, X: Any) -> Any:
        """The rows as kernels take them."""
        given = X.width if isinstance(X, Csr) else X.shape[1]
        if given > self.columns or (given < self.columns and not isinstance(X, Csr)):
            raise UserError(f"rows of {given} features: the model was trained on {self.columns}")
        return X if isinstance(X, Csr) else self.k.asarray(X, np.float32)

    def _trees_of(self, rounds: Rounds) -> tuple[int, int]:
        """The first tree of these rounds and the one behind the last."""
        last = self.best_iteration + 1 if self.best_iteration >= 0 else self.rounds
        begin, end = (0, last) if rounds is None else rounds
        if not 0 <= begin <= end <= self.rounds:
            raise UserError(f"rounds ({begin}, {end}): the model has {self.rounds}")
        return begin * self.trees_per_round, end * self.trees_per_round

    def _add(self, X: Any, base: Any, begin: int, end: int) -> NDArray[np.float32]:
        """`base`, (outputs,) or (n, outputs), and what trees add to it."""
        if isinstance(X, Csr):
            given = X.values, X.indices, X.offsets
            return self._forest.margins_csr(*given, base, begin, end)  # type: ignore[no-any-return]
        return self._forest.margins(X, base, begin, end)  # type: ignore[no-any-return]

    def _dense(self, X: Any) -> Iterator[NDArray[np.float32]]:
        """Dense rows, some at a time where they are sparse; one block at least."""
        if not isinstance(X, Csr):
            yield X
            return
        for start in range(0, max(len(X), 1), ROWS):
            some = X[start : start + ROWS]
            wide = Csr(some.values, some.indices, some.offsets, self.columns)
            yield wide.toarray(missing=True)

    def _linear_margin(self, X: Any) -> NDArray[np.float32]:
        assert self.linear is not None
        k = load("linear", self.k.device)
        plan = k.groups(1, self.outputs)
        biased = np.concatenate([self.linear[:-1], self.linear[-1:] + self.base])
        W = k.pack(biased, plan, self.outputs)
        if isinstance(X, Csr):
            values = np.where(np.isnan(X.values), np.float32(0), X.values)
            indices, offsets = X.indices, X.offsets
            return k.score_csr(values, indices, offsets, W, plan, self.outputs)  # type: ignore[no-any-return]
        filled = np.where(np.isnan(X), np.float32(0), X)
        return k.score_dense(filled, W, plan, self.outputs)  # type: ignore[no-any-return]

    def _linear_contributions(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.linear is not None
        filled = np.where(np.isnan(X), np.float32(0), X)
        made = np.empty((len(X), self.outputs, self.columns + 1), np.float32)
        np.multiply(filled[:, None], self.linear[:-1].T, out=made[..., :-1])
        made[..., -1] = self.linear[-1] + self.base
        return made

    def check(self) -> None:
        """Raise `UserError` unless trees, shapes and names are what prediction relies on."""
        for name in ("columns", "parallel", "best_iteration"):
            if type(getattr(self, name)) is not int:
                raise UserError(f"{name} is not a whole number")
        if not 1 <= self.columns <= exchange.MAX_FEATURES:
            raise UserError(f"{self.columns} features: 1 to {exchange.MAX_FEATURES} can be used")
        if not 1 <= self.parallel < 1 << 31:
            raise UserError(f"num_parallel_tree={self.parallel}: must be at least 1")
        if self.booster not in BOOSTERS:
            raise UserError(f"booster {self.booster!r}: known are {', '.join(BOOSTERS)}")
        require_array("base", self.base, (None,))
        if not 1 <= self.outputs <= exchange.MAX_OUTPUTS:
            raise UserError(f"{self.outputs} outputs: 1 to {exchange.MAX_OUTPUTS} can be used")
        if (self.linear is not None) != (self.booster == "gblinear"):
            raise UserError(f"coefficients do not go with booster {self.booster!r}")
        if self.linear is not None:
            require_array("linear", self.linear, (self.columns + 1, self.outputs))
        check_trees(self.trees, self.columns, self.outputs)
        if len(self.trees) % self.trees_per_round:
            raise UserError(
                f"{len(self.trees)} trees are no rounds of {self.trees_per_round} trees each"
            )
        if not -1 <= self.best_iteration < max(self.rounds, 1):
            raise UserError(f"best_iteration={self.best_iteration}: it has {self.rounds} rounds")
        if not isinstance(self.objective, str):
            raise UserError("the objective is no text")
        if not isinstance(self.notes.get("hyperparameters", {}), dict):
            raise UserError("the hyperparameters in its notes are no object")
        try:
            told = self._objective.outputs
        except (TypeError, ValueError) as error:
            raise UserError(str(error)) from None
        if told not in (1, self.outputs):
            raise UserError(f"{self.outputs} outputs: {self.objective} has {told}")

    def save(self, path: str | Path, *, state: State | None = None) -> None:
        """Write a file of the kind that its name says.

        ``.json`` and ``.ubj`` are XGBoost's own formats, and so is what the original calls its
        files, ``xgboost-model`` (UBJSON); any other name gets our safetensors file.

        Raises
        ------
        UserError, PlatformError
            When the file cannot be written, or could not keep `state`; nothing is left under its
            name then.
        """
        form = form_of(path)
        if form is None:
            super().save(path, state=state)
            return
        if state is not None:
            raise UserError(f"{path}: only a .safetensors file keeps the training state")
        data = exchange.encode(self, form)
        with files.replacing(path) as file:
            file.write(data)


def form_of(path: str | Path) -> str | None:
    """ "json" or "ubj" for names of XGBoost's model files, None for others."""
    name = Path(path).name
    if re.fullmatch(r"xgboost-(model(-\d+)?|checkpoint\.\d+)", name):
        return "ubj"
    return {".json": "json", ".ubj": "ubj"}.get(Path(path).suffix.lower())
