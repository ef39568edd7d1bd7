"""What Linear Learner knows while it trains: all models' weights, the scaler, the scores so far."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.linear_learner.model import LinearModel, kernel_loss
from smalgos.algorithms.linear_learner.parameters import grid
from smalgos.algorithms.linear_learner.scaler import Scaler
from smalgos.errors import NotReady, RowError, UserError
from smalgos.formats.block import Block, Csr, Taken
from smalgos.kernels import load
from smalgos.learning import Constant, Factor, MiniBatch, Pass, Spec, Sum, require_shaped
from smalgos.learning.losses import LOSSES
from smalgos.learning.metrics import best_threshold
from smalgos.learning.rows import blame_row, check_finite, check_labels, single_labels

START = 1  # purpose of the random numbers that weights start from


class LinearLearnerState(MiniBatch):
    """All candidate models, side by side.

    Phases: "scale" (a look at the first rows for means and deviations), then "train" and
    "validate" in turn, and "calibrate" where a threshold is to be chosen without a validation
    channel.
    """

    kernels = "linear"
    first_phase = "scale"
    by_number = True

    scaler: Scaler

    # What judging has found in this reading.
    judged_loss: Sum[NDArray[np.float64]]  # (models,)
    judged_rows: Sum[int]
    counts: Sum[NDArray[np.int64] | None]  # (models, 2, bins) scores by label

    loss_curve: NDArray[np.float64]  # (epochs, models) mean training loss of each epoch
    validation_curve: NDArray[np.float64]  # (epochs, models)
    criterion_curve: NDArray[np.float64]  # (epochs,) what early stopping looked at
    scores: NDArray[np.float64]  # (models,) each one's best value of the criterion
    best_model: int
    threshold: float

    # -- what is trained

    def begin(self, spec: Spec) -> None:
        """Allocate the sums of the scaler and all weights."""
        d, models = spec.width, self.p.num_models
        self.loss = LOSSES[self.p.loss]
        self.scaler = Scaler(d, self.p.classes)
        self.forget()
        self.loss_curve, self.validation_curve = np.empty((0, models)), np.empty((0, models))
        self.criterion_curve, self.scores = np.empty(0), np.full(models, np.nan)
        self.best_model, self.threshold = 0, self.loss.threshold
        super().begin(spec)

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless a file holds weights for all the models that it tells of."""
        p = parameters.resolved(spec)
        weights = flat.get("weights.w", ())
        if np.size(weights) < (spec.width + 1) * p.num_models * p.classes:
            raise UserError(f"it does not hold the weights of {p.num_models} models")

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        d, p = self.spec.width, self.p
        self.scaler.check()
        counted = self.judged_rows, self.step, self.loss_rows, self.best_model
        if min(counted) < 0 or self.best_model >= p.num_models:
            raise UserError("counts of rows or models are out of range")
        if self.phase not in ("scale", "train", "validate", "calibrate", "done"):
            raise UserError(f"there is no phase {self.phase!r}")
        if self.counts is not None:
            models = 1 if self.phase == "calibrate" else p.num_models
            shape = models, 2, len(self.k.bin_edges())
            require_shaped("counts", self.counts, shape, np.int64)
        for name, kept in self.best.items():
            if name != "w":
                raise UserError(f"best.{name} is unknown")
            require_shaped("best.w", kept, (d + 1, p.classes), np.float32)
        if self.phase == "calibrate" and not self.best:
            raise UserError("the weights to calibrate are missing")

    def compose(self, spec: Spec) -> Constant | Factor:
        """Set weights and optimizer; return the schedule."""
        p, d = self.p, spec.width
        settings = self.settings()

        def of_models(name: str, dtype: Any) -> Any:
            return np.array([s[name] for s in settings], dtype)

        rate = of_models("learning_rate", np.float32)
        schedule: Constant | Factor = Constant(rate)
        if p.use_lr_scheduler:
            schedule = Factor(
                rate,
                of_models("lr_scheduler_step", np.int64),
                p.lr_scheduler_factor,
                of_models("lr_scheduler_minimum_lr", np.float32),
            )
        self.plan = self.k.groups(p.num_models, p.classes)
        code = "momentum" if p.optimizer == "sgd" and p.momentum else p.optimizer
        self.method = self.k.Method(
            loss=kernel_loss(p),
            optimizer=self.k.optimizer(
                getattr(load("optimizers", spec.device), code.upper()),
                momentum=p.momentum,
                beta_1=p.beta_1,
                beta_2=p.beta_2,
            ),
            classes=p.classes,
            bias_rate=p.bias_lr_mult if p.use_bias else 0.0,
            bias_decay=p.bias_wd_mult,
        )
        self.shares = None  # what `positive` says, in panels
        first = self.start(d).reshape(d + 1, -1)
        models = self.k.start(first, self.method, self.plan, decay=of_models("wd", float), l1=p.l1)
        self.decay, self.l1 = models.decay, models.l1
        self.weights, self.slots = {"w": models.W}, {"w": models.slots}
        self.loss_sum = np.zeros(p.num_models)
        return schedule

    def start(self, d: int) -> NDArray[np.float32]:
        """Weights (d + 1, models, classes) to start from; the last row is the bias.

        Models of different settings start alike, as each would alone; those that only repeat a
        setting start elsewhere.
        """
        p = self.p
        distinct = len(grid(p, 1.0))
        weights = np.empty((d + 1, p.num_models, p.classes), np.float32)
        weights[d] = p.init_bias
        starts = []
        for repeat in range(-(-p.num_models // distinct)):
            u = self.k.uniforms(self.spec.seed, START, repeat, 0, d, 2 * p.classes)
            if p.init_method == "uniform":
                w = p.init_scale * (2 * u[:, : p.classes] - 1)
            else:  # Box and Muller's transform
                radius = np.sqrt(-2 * np.log1p(-u[:, : p.classes]))
                w = p.init_sigma * radius * np.cos(2 * np.pi * u[:, p.classes :])
            starts.append(w)
        for model in range(p.num_models):
            weights[:d, model] = starts[model // distinct]
        return weights

    def settings(self) -> list[dict[str, Any]]:
        """What each model varies."""
        tried = grid(self.p, self.scaler.balanced)
        return [tried[model % len(tried)] for model in range(self.p.num_models)]

    # -- the rows

    def labels_of(self, block: Block) -> Any:
        """The labels, checked."""
        labels = single_labels(block)
        if self.p.predictor_type == "regressor":
            check_labels(block, np.isfinite(labels), "must be a finite number")
        elif self.p.predictor_type == "binary_classifier":
            check_labels(block, (labels == 0) | (labels == 1), "binary_classifier takes 0 or 1")
        else:
            good = (labels >= 0) & (labels < self.p.num_classes) & (labels == np.floor(labels))
            check_labels(
                block, good, f"must be a whole number below num_classes={self.p.num_classes}"
            )
        return labels

    def ready(self, block: Block) -> Block:
        """Labels checked, and features but for dense ones to learn from: learning finds a bad row.

        The kernels standardise rows on the way, shuffled ones by their numbers.
        """
        self.labels_of(block)
        if isinstance(block.features, Taken) and block.features.sparse:
            block = block.replace(features=block.features.copied())
        if self.phase == "train" and not isinstance(block.features, Csr):
            return block
        check_finite(block, self.k)
        return block

    # -- the scaler

    def next_pass(self) -> Pass | None:
        """The scaler's look, then epochs, then maybe the choice of a threshold."""
        p = self.p
        if self.phase == "scale":
            return Pass(
                "scale", self.measure, self.choose_scale, rows=self.block_rows(),
                batch=p.mini_batch_size, limit=p.num_point_for_scaler, shuffle=p.shuffle,
                tail="drop" if p.drop_last else "keep", look=True,
            )  # fmt: skip
        if self.phase == "calibrate":
            return Pass(
                "calibrate", self.count, self.calibrate, prepare=self.ready,
                rows=self.block_rows(), limit=p.num_calibration_samples,
            )  # fmt: skip
        return super().next_pass()

    def measure(self, block: Block) -> None:
        """Give rows to the scaler."""
        labels = self.labels_of(block)
        check_finite(block, self.k)
        classified = self.p.predictor_type != "regressor"
        self.scaler.add(block.features, labels, classified=classified)

    def choose_scale(self) -> None:
        """Settle the scaler; go on to train."""
        p, n = self.p, self.scaler.rows
        if p.drop_last and n < p.mini_batch_size:
            raise UserError(
                f"the train channel has {n} rows, which do not fill one batch of mini_batch_size="
                f"{p.mini_batch_size}: lower it to {n} or less, or set drop_last=false"
            )
        self.scaler.settle(p)
        if "model" in self.spec.side:
            self.weights["w"] = self.packed(self.start_from(self.spec.side["model"]))
        self.phase = "train"

    def start_from(self, model: LinearModel) -> NDArray[np.float32]:
        """An earlier model's weights, in the terms of this run's scaler, for all models."""
        d, p = self.spec.width, self.p
        if not isinstance(model, LinearModel) or model.coef.shape != (d, p.classes):
            raise UserError(
                f"the model channel does not hold a linear-learner model of {d} features and "
                f"{p.classes} outputs"
            )
        coef = model.coef.astype(np.float64)
        w = coef * self.scaler.std[:, None] / self.scaler.label_std
        b = (
            model.intercept + self.scaler.mean @ coef - self.scaler.label_mean
        ) / self.scaler.label_std
        one = np.concatenate([w, b[None]])
        return np.repeat(one[:, None], p.num_models, axis=1).astype(np.float32)

    # -- learning

    def learn(self, block: Block, rates: Any) -> NDArray[np.float64]:
        """One step per mini-batch for all models; the sums of their losses."""
        p = self.p
        labels = ((block.labels - self.scaler.label_mean) / self.scaler.label_std).astype(
            np.float32
        )
        weights = block.weights
        if self.shares is None:
            self.shares = self.packed(self.positive()[None])[:, 0].copy()
        models = self.k.Models(
            self.weights["w"], self.slots["w"], self.decay, self.l1, self.shares,
            np.zeros(self.decay.shape),
        )  # fmt: skip
        rates = self.k.spread(rates, self.plan, p.classes)
        rest = p.mini_batch_size, models, rates, self.step + 1, self.method, self.plan
        if isinstance(block.features, Csr):
            x = block.features
            self.k.train_csr(
                x.values,
                x.indices,
                x.offsets,
                self.scaler.mean,
                self.scaler.scale,
                labels,
                weights,
                *rest,
            )
        else:
            x = block.features
            given = (x.array, x.rows) if isinstance(x, Taken) else (x, None)
            mean, scale = self.scaler.mean, self.scaler.scale
            bad = self.k.train_dense(*given, mean, scale, labels, weights, *rest)
            if bad >= 0:
                blame_row(block, bad)
                raise RowError(
                    block.start + bad, "standardised features beyond float32: scale the column"
                )
        sums = self.unpacked(models.sums[:, None])[0]
        return np.asarray(sums.sum(axis=1), np.float64)

    def packed(self, w: Any) -> Any:
        """Panels of (k, models, classes)."""
        return self.k.pack(w.reshape(len(w), -1), self.plan, self.p.classes)

    def unpacked(self, panels: Any) -> Any:
        """(k, models, classes) of panels."""
        flat = self.k.unpack(panels, self.plan, self.p.classes)
        return flat.reshape(len(flat), self.p.num_models, self.p.classes)

    def positive(self) -> NDArray[np.float32]:
        """Weight (models, classes) of label-1 rows in each model, of each class for softmax."""
        if self.p.predictor_type == "multiclass_classifier":
            shape = self.p.num_models, self.p.classes
            balanced = self.p.balance_multiclass_weights
            weights = self.scaler.balanced_weights if balanced else np.ones(self.p.classes)
            return np.broadcast_to(weights.astype(np.float32), shape)
        weights = np.array([s["positive_example_weight_mult"] for s in self.settings()])
        return weights.astype(np.float32)[:, None]

    # -- judging

    @property
    def objective(self) -> str:
        """Name of the mean loss in log lines."""
        return self.loss.metric

    @property
    def criterion_name(self) -> str:
        """Name of what early stopping looks at."""
        by_score = self.p.selects_by_score and self.validates
        return f"sampled_{self.p.criterion}" if by_score else self.objective

    @property
    def goal(self) -> str:  # type: ignore[override]
        """Of the criterion."""
        return "max" if self.p.selects_by_score and self.validates else "min"

    def epoch_losses(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """Judge by the mean training loss."""
        losses = self.loss_sum / max(self.loss_rows, 1)
        self.loss_curve = np.vstack([self.loss_curve, losses])
        metrics = {f"train:{self.objective}": float(losses[0])}
        finite = np.where(np.isfinite(losses), losses, np.inf)
        if self.validates:
            return float(finite.min()), metrics, {}
        return float(finite.min()), metrics, self.elect(finite)

    def elect(
        self, values: NDArray[np.float64], thresholds: NDArray[np.float64] | None = None
    ) -> dict[str, Any]:
        """Note every model's value of the criterion; the weights of the best one."""
        sign = 1 if thresholds is None else -1  # losses are minimised, scores maximised
        self.scores = sign * np.fmin(sign * self.scores, sign * values)
        model = int((sign * values).argmin())
        self.criterion_curve = np.append(self.criterion_curve, values[model])
        if not sign * values[model] < self.stopping.best:
            return {}
        self.best_model = model
        if thresholds is not None:
            self.threshold = float(thresholds[model])
        return {"w": self.unpacked(self.weights["w"])[:, model]}

    def judge(self, block: Block) -> None:
        """Add all models' losses on the rows, in the label's own units, and their scores."""
        p = self.p
        raw = self.scored(block.features, self.weights["w"], self.plan)
        if p.predictor_type == "regressor":
            raw = raw * np.float32(self.scaler.label_std) + np.float32(self.scaler.label_mean)
        if p.selects_by_score and self.judged_rows < p.num_calibration_samples:
            self.count_scores(raw, block.labels)
        self.k.judge(
            self.method.loss, block.labels, raw, block.weights, self.positive().reshape(-1),
            p.classes, self.judged_loss,
        )  # fmt: skip
        self.judged_rows += len(block)

    def scored(self, x: Any, W: Any, plan: Any) -> NDArray[np.float32]:
        """Raw scores (n, models * classes) of rows by the models in W."""
        by = self.p.classes, self.scaler.mean, self.scaler.scale
        if isinstance(x, Csr):
            found = self.k.score_csr(x.values, x.indices, x.offsets, W, plan, *by)
        else:
            found = self.k.score_dense(x, W, plan, *by)
        return found  # type: ignore[no-any-return]

    def count_scores(self, raw: NDArray[np.float32], labels: Any) -> None:
        """Add to the histograms that thresholds are chosen from."""
        if self.counts is None:
            self.counts = np.zeros((raw.shape[1], 2, len(self.k.bin_edges())), np.int64)
        self.k.histogram(raw, labels, self.counts)

    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """(mean losses, values of the criterion, thresholds or None) of all models."""
        losses = self.judged_loss / max(self.judged_rows, 1)
        values, thresholds = np.where(np.isfinite(losses), losses, np.inf), None
        if self.counts is not None:
            values, thresholds = self.best_thresholds()
        self.forget()
        return losses, values, thresholds

    def forget(self) -> None:
        """Clear what a reading has found."""
        self.judged_loss, self.judged_rows, self.counts = np.zeros(self.p.num_models), 0, None

    def best_thresholds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(values of the criterion, thresholds) at best, of all models that were counted."""
        p, default = self.p, 0.0 if self.loss.name == "logistic" else self.loss.threshold
        assert self.counts is not None
        found, values = best_threshold(
            self.counts, self.k.bin_edges(), p.criterion, default=default, f_beta=p.f_beta,
            target_precision=p.target_precision, target_recall=p.target_recall,
        )  # fmt: skip
        thresholds = found.astype(np.float64)
        if self.loss.name == "logistic":
            thresholds = np.array([_sigmoid(t) for t in thresholds])
        return values, thresholds

    def verdict(self) -> tuple[float, dict[str, float], dict[str, Any]]:
        """Judge by the validation rows."""
        losses, values, thresholds = self.judged()
        self.validation_curve = np.vstack([self.validation_curve, losses])
        weights = self.elect(values, thresholds)
        value = float(self.criterion_curve[-1])
        return value, {f"validation:{self.objective}": float(losses[0]), "criteria": value}, weights

    @property
    def calibrates(self) -> bool:
        """Whether a threshold is chosen on the training rows after the last epoch."""
        return self.p.selects_by_score and not self.validates and self.spec.replayable

    def decide(self, value: float, weights: dict[str, Any], epoch: int, *, last: bool) -> None:
        """Keep the best; when training is over, maybe choose a threshold."""
        super().decide(value, weights, epoch, last=last)
        if self.phase == "done" and self.calibrates:
            self.phase = "calibrate"

    def count(self, block: Block) -> None:
        """Count the scores of rows by the model that is kept."""
        one = self.k.groups(1, 1)
        raw = self.scored(block.features, self.k.pack(self.best["w"], one), one)
        self.count_scores(raw, block.labels)

    def calibrate(self) -> None:
        """Choose the threshold of the model that is kept, the one of the least training loss."""
        _, thresholds = self.best_thresholds()
        self.forget()
        self.threshold = float(thresholds[0])
        self.phase = "done"

    def again(self, epochs: int = 1) -> None:
        """More rows come after the end: scores of other rows cannot be compared."""
        super().again(epochs)
        self.forget()
        self.scores = np.full(self.p.num_models, np.nan)

    # -- the model

    def finish(self) -> LinearModel:
        """The best model so far, for raw features."""
        if not self.step:
            raise NotReady("Linear Learner has seen no mini-batch yet")
        p, d = self.p, self.spec.width
        if "w" in self.best:
            w = self.best["w"].astype(np.float64)
        else:  # before the end of the first epoch
            w = self.unpacked(self.weights["w"])[:, self.best_model].astype(np.float64)
        coef = w[:d] / self.scaler.std[:, None] * self.scaler.label_std
        intercept = w[d] * self.scaler.label_std + self.scaler.label_mean - self.scaler.mean @ coef
        settings = self.settings()
        fixed = {"optimizer": p.optimizer, "lr_scheduler_factor": p.lr_scheduler_factor, "l1": p.l1}
        table = [
            {**setting, "score": float(score)}
            for setting, score in zip(settings, self.scores, strict=True)
        ]
        return LinearModel(
            self.k.device,
            notes={
                "hyperparameters": p.as_dict(),
                "model": self.best_model,
                "setting": {**settings[self.best_model], **fixed},
                "epoch": self.stopping.at,
                "epochs": self.epoch,
                "models": table,
                "loss_curve": self.loss_curve[:, self.best_model].tolist(),
                "validation_curve": self.validation_curve[:, self.best_model].tolist(),
            },
            coef=coef.astype(np.float32),
            intercept=intercept,
            shift=self.scaler.mean,
            threshold=self.threshold,
            loss=p.loss,
            predictor_type=p.predictor_type,
        )


def _sigmoid(raw: float) -> float:
    """The response of a raw threshold; infinite ones stay infinite: they are never, always met."""
    if math.isinf(raw):
        return raw
    return 1 / (1 + math.exp(-raw)) if raw > -700 else 0.0
