"""What Factorization Machines know while they train: the machine, the scores so far."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.factorization_machines.model import FactorizationMachine
from smalgos.algorithms.factorization_machines.parameters import GROUPS, fields_of
from smalgos.algorithms.factorization_machines.scores import CROSS_ENTROPY, from_sums, sums_of
from smalgos.algorithms.factorization_machines.start import anchored, in_units, shapes, start
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Taken
from smalgos.kernels import load
from smalgos.learning import Constant, MiniBatch, Pass, Spec, Sum, require_shaped
from smalgos.learning.minibatch import BLOCK_BYTES
from smalgos.learning.rows import blame_row, check_finite, check_labels, single_labels

SPARSE_ROWS = 32_768  # of a block
LABELS = 1_000_000  # that are looked at for their mean and deviation, at most
SUMS = 8  # that the kernels tell of a batch


class FactorizationMachinesState(MiniBatch):
    """One machine.

    Phases: "scale" (a look at labels for their mean and deviation), then "train" and "validate" in
    turn. Without a validation channel the parameters of the last epoch are kept, as the original
    keeps them; with one those of the best epoch.
    """

    kernels = "factorization_machine"
    by_number = True
    held = ("head",)

    label_mean: float
    label_std: float
    label_sums: NDArray[np.float64]  # (4,) rows, a first label, sum and squares of what is above
    judged: Sum[NDArray[np.float64]]  # (8,) of the validation rows so far
    loss_curve: NDArray[np.float64]  # (epochs,) mean training loss of each epoch
    validation_curve: NDArray[np.float64]  # (epochs,)
    head: Block | None  # the first rows, where they fill the last batch

    # -- what is trained

    def begin(self, spec: Spec) -> None:
        """Allocate the machine."""
        self.label_mean, self.label_std = 0.0, 1.0
        self.label_sums, self.judged = np.zeros(4), np.zeros(SUMS)
        self.loss_curve, self.validation_curve = np.empty(0), np.empty(0)
        self.head = None
        self.told: list[tuple[int, dict[str, float]]] = []  # scores of batches of the last block
        super().begin(spec)
        if self.p.normalize_label and self.p.predictor_type == "regressor":
            self.phase = "scale"

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless a file holds the factors of all the features it tells of."""
        p = parameters.resolved(spec)
        if np.size(flat.get("weights.factors", ())) < spec.width * p.num_factors:
            raise UserError("it does not hold the factors of all features")

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if min(self.step, self.loss_rows) < 0:
            raise UserError("counts of rows are out of range")
        if self.phase not in ("scale", "train", "validate", "done"):
            raise UserError(f"there is no phase {self.phase!r}")
        if not (np.isfinite(self.label_mean) and 0 < self.label_std < np.inf):
            raise UserError("the scale of the labels makes no sense")
        if self.best and self.best.keys() != self.shapes.keys():
            raise UserError(f"best holds {sorted(self.best)}, not {sorted(self.shapes)}")
        for name, kept in self.best.items():
            require_shaped(f"best.{name}", kept, self.shapes[name], np.float32)

    def compose(self, spec: Spec) -> Constant:
        """Make the machine; its rates are constant."""
        p, d = self.p, spec.width
        optimizers = load("optimizers", spec.device)
        self.field_of = fields_of(p, spec)
        count = 0 if self.field_of is None else int(self.field_of.max()) + 1
        self.shapes = shapes(p, d, count)
        clip = np.inf if p.clip_gradient is None else p.clip_gradient
        opt = optimizers.optimizer(
            getattr(optimizers, p.optimizer.upper()), epsilon=p.eps, beta=p.ftrl_beta, clip=clip
        )
        rates, decays = ([getattr(p, f"{g}_{what}") for g in GROUPS] for what in ("lr", "wd"))
        l1 = 0.0, p.linear_l1, p.factors_l1
        self.machine = self.k.Machine(
            d, p.num_factors, loss=p.loss, opt=opt, rates=tuple(rates), decays=tuple(decays),
            l1=l1, rescale=p.rescale_grad, use_bias=p.use_bias, use_linear=p.use_linear,
            interaction=p.interaction, fields=self.field_of, number_of_fields=count,
        )  # fmt: skip
        begun = self.begun(spec, count)
        if p.optimizer == "ftrl":
            for group, rate, decay, strength in zip(GROUPS, rates, decays, l1, strict=True):
                begun[f"{group}.0"] = anchored(p, opt, begun[group], rate, decay, strength)
            if "field_weights" in begun:
                begun["field_weights.0"] = anchored(
                    p, opt, begun["field_weights"], rates[2], 0.0, 0.0
                )
        self.machine.put(begun)
        self.loss_sum = np.zeros(SUMS)
        return Constant(np.ones(1, np.float32))

    def begun(self, spec: Spec, count: int) -> dict[str, Any]:
        """The parameters to start from: random ones, or an earlier model's."""
        if "model" not in spec.side:
            return start(self.k, self.p, spec.seed, spec.width, count)
        model = spec.side["model"]
        if (
            not isinstance(model, FactorizationMachine)
            or any(
                model.arrays[name].shape != shape
                for name, shape in self.shapes.items()
                if name in model.arrays
            )
            or model.arrays.keys() != self.shapes.keys()
        ):
            raise UserError(
                "the model channel does not hold a factorization-machines model of "
                f"{spec.width} features, {self.p.num_factors} factors and "
                f"{self.p.interaction} interactions"
            )
        return dict(model.arrays)

    # The machine keeps parameters and slots side by side: these are copies, for snapshots.

    def put(self, given: dict[str, Any]) -> None:
        """Set some of the machine's arrays."""
        try:
            self.machine.put(self.machine.plain() | given)
        except ValueError as e:
            raise UserError(f"the parameters do not make a machine: {e}") from None

    @property
    def weights(self) -> dict[str, Any]:  # type: ignore[override]
        """The parameters."""
        plain: dict[str, Any] = self.machine.plain(slots=False)
        return plain

    @weights.setter
    def weights(self, given: dict[str, Any]) -> None:
        self.put(given)

    @property
    def slots(self) -> dict[str, Any]:  # type: ignore[override]
        """The optimizer's."""
        return {name: a for name, a in self.machine.plain().items() if "." in name}

    @slots.setter
    def slots(self, given: dict[str, Any]) -> None:
        self.put(given)

    # -- the rows

    def block_rows(self) -> int:
        """Rows of a block; it changes no result."""
        sparse = self.spec.columns["features"][0] == "csr"
        return SPARSE_ROWS if sparse else max(BLOCK_BYTES // (4 * self.spec.width), 256)

    def labels_of(self, block: Block) -> Any:
        """The labels, checked."""
        labels = single_labels(block)
        if self.p.predictor_type == "regressor":
            check_labels(block, np.isfinite(labels), "must be a finite number")
        else:
            check_labels(block, (labels == 0) | (labels == 1), "binary_classifier takes 0 or 1")
        return labels

    def ready(self, block: Block) -> Block:
        """Labels checked, and features to be judged: learning finds a bad row."""
        self.labels_of(block)
        if self.phase == "validate":
            check_finite(block, self.k)
        return block

    def next_pass(self) -> Pass | None:
        """A look at labels, then epochs."""
        if self.phase == "scale":
            return Pass("scale", self.measure, self.choose_scale, limit=LABELS, look=True)
        if self.phase == "train" and self.p.pad_last and self.row and self.head is None:
            p = self.p  # training was resumed behind the first rows
            return Pass(
                "head", self.keep, rows=p.mini_batch_size, limit=p.mini_batch_size,
                shuffle=p.shuffle, look=True, hold=True,
            )  # fmt: skip
        return super().next_pass()

    def keep(self, block: Block) -> None:
        """Hold the first rows: they will fill the last batch."""
        self.head = copied(block[: self.p.mini_batch_size])

    def measure(self, block: Block) -> None:
        """Take in labels."""
        labels = self.labels_of(block).astype(np.float64)
        rows, first, *sums = self.label_sums
        first = first if rows else labels[0]
        above = labels - first
        added = rows + len(labels), first, sums[0] + above.sum(), sums[1] + (above**2).sum()
        self.label_sums = np.array(added)

    def choose_scale(self) -> None:
        """Settle the labels' scale; go on to train."""
        rows, first, total, squares = self.label_sums
        variance = squares / rows - (total / rows) ** 2
        if self.p.use_bias:
            self.label_mean = float(first + total / rows)
        if variance > 1e-12 * squares / rows:
            self.label_std = float(np.sqrt(variance))
        self.phase = "train"
        if "model" in self.spec.side:  # whose parameters are in units of the labels
            mean, std = self.label_mean, self.label_std
            self.weights = in_units(self.weights, -mean / std, 1 / std)

    # -- learning

    def learn(self, block: Block, rates: Any) -> NDArray[np.float64]:
        """One step per mini-batch; the sums of their scores before it."""
        batch, start = self.p.mini_batch_size, block.start
        if self.p.pad_last:
            if start == 0:
                self.keep(block)
            assert self.head is not None
            if short := -len(block) % batch:
                more = np.arange(short) % len(self.head)
                block = Block.join([copied(block), self.head[more]])
        labels = block.labels
        if (self.label_mean, self.label_std) != (0.0, 1.0):
            labels = ((labels - self.label_mean) / self.label_std).astype(np.float32)
        sums = self.machine.learn(block.features, labels, block.weights, batch, self.step + 1)
        bad = np.flatnonzero(~np.isfinite(sums[:, 0]))
        if len(bad):
            self.blame(block.at(start)[bad[0] * batch : (bad[0] + 1) * batch])
        self.in_label_units(sums)
        first, every = self.loss_rows // batch, self.p.batch_metrics_publish_interval
        self.told = [
            (first + i, from_sums(self.p.predictor_type, self.loss_sum + sums[: i + 1].sum(axis=0)))
            for i in range(-first % every, len(sums), every)
        ]
        return np.asarray(sums.sum(axis=0))

    def in_label_units(self, sums: NDArray[np.float64]) -> None:
        """Turn sums of errors into those of the labels as they were given."""
        if self.p.predictor_type == "regressor":
            sums[:, [0, 2]] *= self.label_std**2
            sums[:, 3] *= self.label_std

    def blame(self, block: Block) -> None:
        """Say why a batch has no finite loss."""
        for i in range(len(block)):
            blame_row(block, i)
        raise UserError(
            f"training diverged in epoch {self.epoch}: lower linear_lr, factors_lr and bias_lr, or "
            "scale the features"
        )

    # -- judging

    @property
    def watched(self) -> str:
        """The mean loss."""
        return "mse" if self.p.predictor_type == "regressor" else CROSS_ENTROPY

    def curve_and_metrics(self, split: str, sums: Any) -> tuple[float, dict[str, float]]:
        """(mean loss, metrics) of sums."""
        metrics = from_sums(self.p.predictor_type, sums)
        loss = metrics[self.watched]
        return loss, {f"{split}:{name}": value for name, value in metrics.items()}

    def epoch_losses(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """The mean training loss."""
        loss, metrics = self.curve_and_metrics("train", self.loss_sum)
        self.loss_curve = np.append(self.loss_curve, loss)
        return loss, metrics, {}

    def judge(self, block: Block) -> None:
        """Add up scores of validation rows."""
        margins = self.machine.margins(block.features)
        margins = margins * np.float32(self.label_std) + np.float32(self.label_mean)
        found = sums_of(self.p.predictor_type, margins, block.labels, block.weights)
        self.judged = self.judged + found

    def verdict(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """Judge by the validation rows."""
        loss, metrics = self.curve_and_metrics("validation", self.judged)
        self.judged = np.zeros(SUMS)
        self.validation_curve = np.append(self.validation_curve, loss)
        return loss, metrics, self.weights if loss < self.stopping.best else {}

    def again(self, epochs: int = 1) -> None:
        """More rows come after the end."""
        super().again(epochs)
        self.judged = np.zeros(SUMS)

    def decide(self, value: float, weights: dict[str, Any], epoch: int, *, last: bool) -> None:
        """Keep the best of what validation rows have judged; else just go on."""
        if self.validates:
            super().decide(value, weights, epoch, last=last)
        else:
            self.phase = "done" if last else "train"
        if self.phase == "done":
            self.machine.close()

    # -- the model

    def finish(self) -> FactorizationMachine:
        """The parameters of the best epoch, or as they are now."""
        if not self.step:
            raise NotReady("Factorization Machines have seen no mini-batch yet")
        arrays = in_units(self.best or self.weights, self.label_mean, self.label_std)
        return FactorizationMachine(
            self.k.device,
            notes={
                "hyperparameters": self.p.as_dict(),
                "epoch": self.stopping.at if self.best else self.epoch - 1,
                "epochs": self.epoch,
                "loss_curve": self.loss_curve.tolist(),
                "validation_curve": self.validation_curve.tolist(),
            },
            **{"field_weights": None, **arrays},
            field_of=self.field_of,
            interaction=self.p.interaction,
            predictor_type=self.p.predictor_type,
        )


def copied(block: Block) -> Block:
    """The block with features that are not taken by number."""
    features = block.features
    return block.replace(features=features.copied()) if isinstance(features, Taken) else block
