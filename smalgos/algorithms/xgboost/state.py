"""What boosting trees learns: cuts of bins from a sample, then a round of trees after another."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost import objectives
from smalgos.algorithms.xgboost.checks import check_trees
from smalgos.algorithms.xgboost.dart import Dart, with_thresholds
from smalgos.algorithms.xgboost.metrics import Own, metric
from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.algorithms.xgboost.rows import DENSE, Rows, constraint_bits, signs
from smalgos.algorithms.xgboost.sample import Sample, cuts
from smalgos.algorithms.xgboost.trees import Trees
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning.parameters import AUTO
from smalgos.learning.state import Pass, Spec, State

BLOCK_BYTES = 1 << 24  # of features in a block
# Metrics that the original's container computes, not XGBoost.
CONTAINER = (
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "mae", "mse", "precision",
    "precision_macro", "precision_micro", "r2", "recall", "recall_macro", "recall_micro", "rmse",
)  # fmt: skip
COARSE = 1024  # steps of gradients below which leaves say what gradients do before rounding
LEVELS = 32  # of which features are drawn anew, over and over


class BoostedTreesState(State):
    """Cuts, trees, and how they did; the rows themselves are held as bins and read again."""

    kernels = "boosting"
    merging = "none"

    rows: int  # of the train channel; 0: not counted yet
    edges: NDArray[np.float32] | None  # cuts of all features behind one another
    counts: NDArray[np.int64] | None  # how many a feature has
    categories: NDArray[np.int64] | None  # (d,) how many categories a feature has; 0: numbers
    sparse: bool
    base: NDArray[np.float32] | None  # (outputs,) margins to start from
    trees: Trees
    history: NDArray[np.float64]  # (rounds, metrics of all channels)
    best_round: int
    best_value: float
    over: bool

    def __new__(cls, parameters: Any = None, spec: Any = None) -> "BoostedTreesState":
        """A state of the kind that the booster needs."""
        kind: type[BoostedTreesState] = cls
        if cls is BoostedTreesState and parameters is not None:
            if parameters.booster == "gblinear":
                from smalgos.algorithms.xgboost.gblinear import LinearBoosterState

                kind = LinearBoosterState
            elif parameters.process_type == "update":
                from smalgos.algorithms.xgboost.updating import UpdatingState

                kind = UpdatingState
        return super().__new__(kind)

    def begin(self, spec: Spec) -> None:
        """Check what can be checked before the first row."""
        p = self.p
        if "labels" not in spec.columns:
            raise UserError("the rows have no labels: boosting learns from labels")
        self.budget = p.num_round
        self.objective = self.learnt = objective_of(p)
        if "objective" in spec.facts:  # gradients of the user's own; the rest is as usual
            self.learnt = objectives.Custom(spec.facts["objective"], self.objective.outputs)
        self.metrics, self.judge = metrics_of(p, self.objective, spec.facts.get("tuning_metric"))
        if "metric" in spec.facts:
            self.metrics, self.judge = [Own(spec.facts["metric"], self.objective)], 0
        self.outputs = self.objective.outputs
        self.monotone = signs(p.monotone_constraints, spec.width)
        self.constraints = constraint_bits(p.interaction_constraints, spec.width)
        self.splits = [("train", "train")] if spec.facts.get("watch_train", True) else []
        if "validation" in spec.channels:
            self.splits.append(("validation", "validation"))
        elif p.early_stopping_rounds:
            raise UserError("early_stopping_rounds: there are no validation rows to look at")
        self.rows, self.edges, self.counts, self.base = 0, None, None, None
        self.sparse = False
        self.categories = np.zeros(spec.width, np.int64)
        self.categorical = np.zeros(spec.width, np.bool_)
        for f in p.categorical_features or ():
            if not 0 <= f < spec.width:
                raise UserError(f"categorical_features: {f} is not from 0 to {spec.width - 1}")
            self.categorical[f] = True
        for f in np.flatnonzero(self.categorical & (self.monotone != 0)):
            raise UserError(
                f"monotone_constraints: feature {f} is categorical, its values have no order"
            )
        self.trees, self.before = Trees(), 0
        self.history = np.empty((0, len(self.splits) * len(self.metrics)))
        self.best_round, self.best_value, self.over = -1, 0.0, False
        self._sample: Sample | None = None
        self._train: Rows | None = None
        self._validation: Rows | None = None
        self._grown: list[tuple[Any, NDArray[np.float32], int]] = []
        self._grower: Any = None
        self.dart = Dart(self) if p.booster == "dart" else None
        earlier = spec.side.get("model")
        if earlier is not None:
            self._go_on_from(earlier)

    def _go_on_from(self, earlier: BoostedTreesModel) -> None:
        if earlier.booster != self.p.booster or len(earlier.base) != self.outputs:
            raise UserError(
                f"the earlier model is a {earlier.booster} of {len(earlier.base)} outputs: "
                f"{self.p.booster} of {self.outputs} cannot go on from it"
            )
        if earlier.columns != self.spec.width:
            raise UserError(
                f"the earlier model takes {earlier.columns} features, the rows have "
                f"{self.spec.width}"
            )
        if earlier.parallel != self.p.num_parallel_tree:
            raise UserError(
                f"the earlier model has num_parallel_tree={earlier.parallel}: "
                f"{self.p.num_parallel_tree} cannot go on from it"
            )
        kept = earlier.rounds if earlier.best_iteration < 0 else earlier.best_iteration + 1
        self.trees = earlier.trees.upto(kept * earlier.trees_per_round)
        self.base = np.array(earlier.base)
        if self.p.process_type == "default":
            self.before = kept

    # -- passes

    def next_pass(self) -> Pass | None:
        """A look at all rows for cuts, another to bin them, then rounds."""
        rows = max(BLOCK_BYTES // (4 * max(self.spec.width, 1)), 1024)
        if not self.rows:
            return Pass("sketch", self.sketch, self.end_sketch, rows=rows, hold=True)
        if self._train is None or self._train.binned.filled < self._train.n:
            return Pass("bin", self.bin, self.end_bin, rows=rows, hold=True)
        if "validation" in self.spec.channels and self._validation is None:
            return Pass(
                "bin validation", self.take_validation, self.end_validation, rows=rows,
                channel="validation", hold=True,
            )  # fmt: skip
        return self.next_round()

    def next_round(self) -> Pass | None:
        """A round, unless all are over."""
        if self.epoch < self.budget and not self.over:
            return Pass("round", self.round, self.end_round, channel=None, steps=1, epoch=True)
        return None

    def update(self, block: Block) -> None:
        """Rows are taken in by the passes' own methods."""
        raise AssertionError("boosting has no such pass")

    def sketch(self, block: Block) -> None:
        """Count rows, and keep a sample of them."""
        if self._sample is None or block.start == 0:
            known = self.spec.rows
            self._sample = Sample(self.k, self.spec.seed, known, self.spec.width)
            self._entries = self._counted = 0
            self._most = np.zeros(self.spec.width)
        self._sample.add(block)
        self._counted += len(block)
        if isinstance(block.features, Csr):
            self._entries += len(block.features.tight().values)
        for f in np.flatnonzero(self.categorical):
            self._most[f] = max(self._most[f], _greatest(block, int(f)))

    def end_sketch(self) -> None:
        """Cut bins, unless rows of an earlier fit did."""
        assert self._sample is not None
        self.rows = self._counted
        if self.edges is not None:
            self._sample = None
            return
        self.categories = np.where(self.categorical, self._most.astype(np.int64) + 1, 0)
        if self.categories.max(initial=0) > 65535:
            f = int(np.argmax(self.categories))
            raise UserError(
                f"feature {f} has categories up to {self.categories[f] - 1}: 65534 is the greatest "
                "that can be used"
            )
        found = cuts(self._sample, self.p.max_bin - 1, self.categories)
        self._sample = None
        if self.dart is not None:
            found = with_thresholds(found, self.categories, self.trees)
        self.sparse = self.spec.sparse and self._entries < DENSE * self.rows * self.spec.width
        self.counts = np.array([len(c) for c in found], np.int64)
        self.edges = np.concatenate(found)

    def bins(self) -> Any:
        """The cuts as kernels take them."""
        assert self.edges is not None
        assert self.counts is not None
        ends = np.cumsum(self.counts)[:-1]
        assert self.categories is not None
        return self.k.Bins(np.split(self.edges, ends), self.categories > 0)

    def _hold(self, rows: Rows, block: Block) -> None:
        """Take in rows, and what the trees so far say of them."""
        self.objective.check(block.labels, block.weights, None, block.start)
        place = rows.add(block)
        if len(self.trees):
            rows.margin[:, place] = (
                self._model(self.trees, self.base).predict_margin(block.features).T
            )

    def bin(self, block: Block) -> None:
        """Bin the rows of the train channel."""
        if self._train is None or block.start == 0:
            self._train = Rows(self.k, self.bins(), self.rows, self.outputs, sparse=self.sparse)
        if self._train.binned.filled + len(block) > self.rows:
            raise UserError(f"the train channel had {self.rows} rows before, and now has more")
        self._hold(self._train, block)

    def end_bin(self) -> None:
        """Settle where margins start."""
        rows = self._train
        assert rows is not None
        if rows.binned.filled < self.rows:
            raise UserError(
                f"the train channel had {self.rows} rows before, and now has {rows.binned.filled}"
            )
        rows.done()
        self.objective.check(rows.labels, rows.weights, rows.groups)
        self.settle_base(rows)
        assert self.base is not None
        if not len(self.trees):
            rows.margin[:] = self.base[:, None]
        self._g, self._h = np.empty_like(rows.margin), np.empty_like(rows.margin)
        if self.dart is not None:
            self.dart.ready()

    def settle_base(self, rows: Any) -> None:
        """The margins to start from, as asked for or estimated."""
        if self.base is not None:
            return
        given = self.p.base_score
        if given is None:
            scores = self.objective.estimate(rows.labels, rows.weights, rows.groups)
        else:
            scores = np.full(self.outputs, given)
        self.base = self.objective.to_margin(scores).astype(np.float32)

    def side(self, split: str) -> Any:
        """The rows of a channel."""
        return self._train if split == "train" else self._validation

    def take_validation(self, block: Block) -> None:
        """Collect the rows of the validation channel."""
        if block.start == 0:
            self._waiting: list[Block] = []
        self._waiting.append(block)

    def end_validation(self) -> None:
        """Bin them."""
        assert self._train is not None
        assert self.base is not None
        n = sum(map(len, self._waiting))
        rows = Rows(self.k, self._train.bins, n, self.outputs, sparse=self.sparse)
        for block in self._waiting:
            self._hold(rows, block)
        self._waiting = []
        rows.done()
        if not len(self.trees):
            rows.margin[:] = self.base[:, None]
        self._leaf = np.empty(n, np.uint32)
        self._validation = rows
        if self.dart is not None:
            self.dart.ready()

    # -- a round

    def round(self, step: int) -> None:
        """Grow the trees of a round."""
        rows = self._train
        assert rows is not None
        p = self.p
        if self._grower is None:
            self._grower = self.k.Grower(rows.binned, shape_of(self))
        dropped = self.dart.drop(self.before + self.epoch) if self.dart is not None else []
        self.differentiate(rows)
        added: list[tuple[Any, NDArray[np.float32], int]] = []
        jobs = [(o, fellow) for o in range(self.outputs) for fellow in range(p.num_parallel_tree)]
        before = rows.margin.copy() if self.learnt.adaptive else None
        for first in range(0, len(jobs), self.k.EIGHT):
            for output, tree in self._trees(jobs[first : first + self.k.EIGHT]):
                weight = tree.weight
                if before is not None:
                    weight = self._adapted(tree, rows.labels - before[output], rows.weights, output)
                values = (weight * (p.eta / p.num_parallel_tree)).astype(np.float32)
                self._grown.append((tree, values, output))
                added.append((tree, values, output))
                if self.dart is None:
                    self.k.add_margins(self._grower.leaf, values, rows.margin[output])
                    if self._validation is not None:
                        self.k.walk(self._validation.binned, tree.splits, self._leaf)
                        self.k.add_margins(self._leaf, values, self._validation.margin[output])
        if self.dart is not None:
            self.dart.add(added, dropped)

    def differentiate(self, rows: Any) -> None:
        """Set the gradients and hessians of the rows learnt from."""
        self.learnt.gradients(
            rows.margin, rows.labels, rows.weights, rows.groups, self._g, self._h,
            self.before + self.epoch, self.spec.seed,
        )  # fmt: skip

    def _trees(self, jobs: list[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        """Trees of outputs, each with its output, one after another."""
        p, steps = self.p, self.p.num_grad_quant_bins
        keys = [self._key("tree", *job) for job in jobs]
        pairs = [(self._g[output], self._h[output]) for output, _ in jobs]
        if p.subsample < 1:
            way = p.reg_lambda if p.sampling_method == "gradient_based" else None
            pairs = [
                self.k.sampled(g, h, p.subsample, key, way)
                for (g, h), key in zip(pairs, keys, strict=True)
            ]
        roots = self._grower.roots(pairs, keys, steps=steps)
        for (output, _), root, key, (g, h) in zip(jobs, roots, keys, pairs, strict=True):
            tree = self._grower.grow(root, key, levels=self._levels(key))
            if 0 < steps < COARSE:
                tree = self._grower.refit(tree, g, h)
            yield output, tree

    def _adapted(self, tree: Any, residuals: Any, weights: Any, output: int) -> Any:
        """Leaves that say a quantile of their rows' residuals."""
        assert self.learnt.adaptive is not None
        level = self.learnt.adaptive[output]
        leaf = self._grower.leaf.astype(np.int32)
        said = objectives.refit_leaves(leaf, len(tree.child), residuals, weights, level)
        return np.where(tree.child < 0, said, tree.weight)

    def _levels(self, key: int) -> NDArray[np.uint8] | None:
        """Features that trees may be split by, on each level."""
        p, d = self.p, self.spec.width
        if p.colsample_bytree == 1 and p.colsample_bylevel == 1:
            return None
        levels = min(p.max_depth or LEVELS, LEVELS) if p.colsample_bylevel < 1 else 1
        draws = self.k.uniforms(key, "features", 0, 0, d, levels + 1)
        tree = np.argsort(draws[:, 0], kind="stable")[: max(int(p.colsample_bytree * d), 1)]
        out = np.zeros((levels, d), np.uint8)
        for i in range(levels):
            own = tree[np.argsort(draws[tree, i + 1], kind="stable")]
            out[i, own[: max(int(p.colsample_bylevel * len(tree)), 1)]] = 1
        return out

    def _key(self, purpose: str, *numbers: int) -> int:
        """64 bits that depend on the seed, the round and what they are for."""
        text = f"{self.spec.seed} {purpose} {self.before + self.epoch} {numbers}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    def end_round(self) -> dict[str, float]:
        """Look how well it went."""
        found = {}
        for split, name in self.splits:
            rows = self.side(split)
            for m in self.metrics:
                found[f"{name}:{m.name}"] = float(
                    m(rows.margin, rows.labels, rows.weights, rows.groups)
                )
        if found:
            self.history = np.vstack([self.history, list(found.values())])
        patience = self.p.early_stopping_rounds
        if "validation" in self.spec.channels:
            value = self.history[-1, self.judge - len(self.metrics)]
            better = self.best_round < 0 or (
                value > self.best_value
                if self.metrics[self.judge].maximize
                else value < self.best_value
            )
            if better:
                self.best_round, self.best_value = self.epoch, float(value)
            if patience and self.epoch - self.best_round >= patience:
                self.over = True
        return found

    def progress(self) -> float:
        """Share of the rounds."""
        return 1.0 if self.over else super().progress()

    def again(self, epochs: int = 1) -> None:
        """So many rounds more, on other rows."""
        super().again(epochs)
        self.over, self.rows = False, 0
        self._pack()
        self._train = self._validation = self._grower = None

    # -- what comes of it

    def check(self) -> None:
        """Raise `UserError` unless a checkpoint's trees are trees."""
        super().check()
        check_trees(self.trees, self.spec.width, self.outputs)

    def snapshot(self, to_host: Any = lambda a: a) -> dict[str, Any]:
        """All fields; see `Part.snapshot`."""
        self._pack()
        return super().snapshot(to_host)

    def _pack(self) -> None:
        """Put the trees that were grown behind the others."""
        if self._grown:
            self.trees = Trees.join([self.trees, Trees.grown(self._grown)])
            self._grown = []

    def finish(self) -> BoostedTreesModel:
        """The trees so far."""
        if self.base is None or not self.epoch:
            raise NotReady("no round of boosting is over yet")
        self._pack()
        # Whole rounds alone: an interrupt may come in the middle of one.
        whole = (self.before + self.epoch) * self.outputs * self.p.num_parallel_tree
        model = self._model(self.trees.upto(min(whole, len(self.trees))), self.base)
        if self.p.early_stopping_rounds and len(self.trees):
            model.best_iteration = self.best_round + self.before
        names = [f"{split}:{m.name}" for _, split in self.splits for m in self.metrics]
        model.notes["evals"] = {
            name: [float(v) for v in self.history[:, i]] for i, name in enumerate(names)
        }
        return model

    def _model(self, trees: Trees, base: Any) -> BoostedTreesModel:
        return BoostedTreesModel(
            self.k.device, notes={"hyperparameters": self.p.as_dict()}, trees=trees, base=base,
            columns=self.spec.width, objective=self.objective.name, booster=self.p.booster,
            parallel=self.p.num_parallel_tree,
        )  # fmt: skip


def objective_of(p: Any) -> Any:
    """The objective that hyperparameters name."""
    known = {option.name for option in dataclasses.fields(objectives.Options)}
    options = {name: getattr(p, name) for name in known if hasattr(p, name)}
    return objectives.objective(p.objective, outputs=max(p.num_class, 1), **options)


def metrics_of(p: Any, objective: Any, tuning: str | None = None) -> tuple[list[Any], int]:
    """The eval metrics that hyperparameters name, and the number of the one that stops early.

    That is a tuning job's, else the last of `eval_metric`. XGBoost's come before the container's
    own, each in alphabetical order.

    Parameters
    ----------
    p : XGBoostParameters
    objective : Objective
    tuning : str, optional
        What a tuning job looks at, such as ``validation:rmse``.
    """
    asked = [] if p.eval_metric == AUTO else list(p.eval_metric)
    if tuning:
        asked.append(tuning.rpartition(":")[2])
    asked = asked or [objective.metric]
    names = sorted(set(asked), key=lambda name: (name in CONTAINER, name))
    return [metric(name, objective) for name in names], names.index(asked[-1])


def shape_of(state: BoostedTreesState) -> Any:
    """How its trees may look."""
    p = state.p
    # XGBoost bounds steps of this objective where the user does not.
    step = p.max_delta_step
    if step is None:
        step = 0.7 if p.objective == "count:poisson" else 0.0
    return state.k.Shape(
        p.max_depth, p.max_leaves, p.grow_policy == "lossguide", p.min_child_weight, p.reg_lambda,
        p.reg_alpha, step, p.gamma, p.max_cat_to_onehot, p.colsample_bynode, state.monotone,
        state.constraints,
    )  # fmt: skip


def _greatest(block: Block, f: int) -> float:
    """The greatest value of a feature; 0 if there is none."""
    x = block.features
    values = x.values[x.indices == f] if isinstance(x, Csr) else x[:, f]
    finite = values[np.isfinite(values)]
    return float(finite.max(initial=0))
