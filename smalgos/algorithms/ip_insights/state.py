"""What IP Insights knows while it trains: weights with Adam's means, and how the epoch goes."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.ip_insights.model import IPInsightsModel, parsed
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block
from smalgos.learning import Mean, Pass, Spec, State, Sum
from smalgos.learning.accumulators import Ranking

PAIRS = 1 << 17  # of a block, about: enough to pay for handing it over
JUDGED = 1 << 15  # rows of a block of validation


class IPInsightsState(State):
    """Vectors that follow the pairs.

    Phases: "train" and, where there is a validation channel, "validate" in turn; then "done".
    """

    kernels = "ip_insights"
    merging = "statistical"

    phase: str
    tables: Mean[dict[str, Any]]  # of the kernels: weights with Adam's means
    marks: NDArray[np.uint8]  # (num_entity_vectors,) bits that entities seen have set
    step: int  # Adam's steps so far
    batches: int  # steps of this epoch
    sums: Sum[NDArray[np.float64]]  # (3,) of this epoch: losses, pairs told right, pairs
    judged: Ranking  # scores of the validation rows
    curves: NDArray[np.float64]  # (epochs, 3) loss, accuracy, AUC of validation or NaN

    # -- what is trained

    def begin(self, spec: Spec) -> None:
        """Allocate tables, or take those of an earlier model."""
        p = self.p
        self.phase, self.step, self.batches = "train", 0, 0
        self.sums, self.judged, self.curves = np.zeros(3), Ranking(), np.empty((0, 3))
        self.marks = np.zeros(p.num_entity_vectors, np.uint8)
        self.told: list[tuple[int, float, float]] = []  # (batch, accuracy, loss) for log lines
        self._trainer: Any = None
        self._judge: Any = None
        layers, seed = p.num_ip_encoder_layers, spec.seed
        self.tables = self.k.start(p.num_entity_vectors, p.vector_dim, layers, seed)
        if "model" in spec.side:
            self.start_from(spec.side["model"])

    def start_from(self, model: IPInsightsModel) -> None:
        """Take an earlier model's weights."""
        p = self.p
        wanted = {
            "num_entity_vectors": p.num_entity_vectors, "vector_dim": p.vector_dim,
            "num_ip_encoder_layers": p.num_ip_encoder_layers, "hash_seed": p.hash_seed,
        }  # fmt: skip
        found = len(model.entities), model.dim, len(model.layers), model.hash_seed
        for (name, mine), given in zip(wanted.items(), found, strict=True):
            if mine != given:
                raise UserError(f"{name}={mine}: the model to go on from has {given}")
        names = "entities", "prefixes", "layers", "biases"
        self.k.put(self.tables, {n: getattr(model, n) for n in names}, p.vector_dim)
        self.marks = np.array(model.marks)

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless a file holds a table as large as it tells of."""
        table = flat.get("tables.entities", ())
        p = parameters
        if np.size(table) < 3 * p.num_entity_vectors * p.vector_dim:
            raise UserError(f"it does not hold {p.num_entity_vectors} entities' vectors")
        layers = flat.get("tables.layers", ())
        if np.size(layers) < 3 * p.num_ip_encoder_layers * p.vector_dim**2:
            raise UserError(f"it does not hold {p.num_ip_encoder_layers} layers")

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if min(self.step, self.batches) < 0 or self.curves.shape[1:] != (3,):
            raise UserError("counts of steps or epochs are out of range")
        if self.phase not in ("train", "validate", "done"):
            raise UserError(f"there is no phase {self.phase!r}")

    def restore(self, flat: Mapping[str, Any], put: Any = lambda a: a) -> Self:
        """Set all fields from a snapshot."""
        super().restore(flat, put)
        self.tables = self.k.placed(self.tables)
        return self

    def merge(self, other: Any, base: Any) -> None:
        """Take in what `other` learnt since both were equal to `base`."""
        super().merge(other, base)
        self.marks |= other.marks

    @property
    def trainer(self) -> Any:
        """What changes the tables."""
        if self._trainer is None or self._trainer.tables is not self.tables:
            p = self.p
            self._trainer = self.k.Trainer(
                self.tables, p.num_entity_vectors, p.vector_dim, p.learning_rate, p.weight_decay
            )
        return self._trainer

    def sampling(self) -> Any:
        """The pairs that this epoch makes up."""
        p, seed = self.p, self.spec.seed
        return self.k.Sampling(
            p.mini_batch_size, p.random_negative_sampling_rate, p.shuffled_negative_sampling_rate,
            self.k.key(seed, "random pairs", self.epoch),
            self.k.key(seed, "shuffled pairs", self.epoch),
        )  # fmt: skip

    # -- passes

    def next_pass(self) -> Pass | None:
        """Train and validate in turn."""
        p = self.p
        made_up = p.random_negative_sampling_rate + p.shuffled_negative_sampling_rate
        if self.phase == "train":
            return Pass(
                "train", self.update, self.end_pass, prepare=self.ready,
                rows=max(PAIRS // (1 + made_up), 1), batch=p.mini_batch_size, epoch=True,
                shuffle=p.shuffle,
            )  # fmt: skip
        if self.phase == "validate":
            return Pass(
                "validate", self.judge, self.end_validation, prepare=self.ready,
                channel="validation", rows=JUDGED,
            )  # fmt: skip
        return None

    def ready(self, block: Block) -> Block:
        """Entities and addresses as numbers; an address that is none is found here."""
        entity = block["entity"]
        addresses = parsed(self.k, block["ip"], block.start)
        rows, marks = self.k.entity_rows(
            entity.values, entity.offsets, self.p.num_entity_vectors, self.p.hash_seed
        )
        return Block({"entity": rows, "mark": marks, "address": addresses}, block.start)

    def update(self, block: Block) -> None:
        """Adam's steps over the batches of a block."""
        marks: Any = block["mark"]
        np.bitwise_or.at(self.marks, marks >> 3, (1 << (marks & 7)).astype(np.uint8))
        found = self.trainer.learn(
            block["entity"], block["address"], block.start, self.step + 1, self.sampling()
        )
        sums = self.sums + np.cumsum(found, axis=0)
        numbers = np.arange(self.batches, self.batches + len(found))
        for i in np.flatnonzero(numbers % self.p.batch_metrics_publish_interval == 0):
            loss, right, pairs = sums[i]
            self.told.append((int(numbers[i]), right / pairs, loss / pairs))
        self.sums = sums[-1]
        self.step += len(found)
        self.batches += len(found)

    def end_pass(self) -> dict[str, float]:
        """Close an epoch of training."""
        loss, right, pairs = self.sums
        if not np.isfinite(loss):
            raise UserError(
                f"training diverged in epoch {self.epoch}: the loss is {loss}; lower learning_rate"
            )
        self.curves = np.vstack([self.curves, [loss / pairs, right / pairs, np.nan]])
        self.sums, self.batches = np.zeros(3), 0
        last = self.epoch + 1 >= self.budget
        self.phase = "validate" if self.validates else "done" if last else "train"
        if last:
            self.trainer.close()
        return {
            "train:binary_classification_accuracy": float(right / pairs),
            "train:binary_classification_cross_entropy": float(loss / pairs),
        }

    def judge(self, block: Block) -> None:
        """Score validation rows, and each entity with one random address, the same every time."""
        if self._judge is None or self._judge[0] != self.step:
            self._judge = self.step, self.k.encoders(self.tables, self.p.vector_dim)
        key = self.k.key(self.spec.seed, "validation pairs")
        pieces = self.k.pair_pieces(
            block["address"], np.empty((len(block), 0), np.int32), slice(0, len(block)),
            block.start, 1, key,
        )  # fmt: skip
        for i, half in enumerate(np.split(pieces, 2, axis=1)):
            scores, _ = self._judge[1].score(block["entity"], half)
            self.judged.add(np.full(len(block), i == 0), scores)

    def end_validation(self) -> dict[str, float]:
        """Close a look at the validation rows."""
        auc = self.judged.auc()
        self.judged.clear()
        self._judge = None
        self.curves[-1, 2] = auc
        self.phase = "done" if self.epoch >= self.budget else "train"
        return {"validation:discriminator_auc": auc}

    def again(self, epochs: int = 1) -> None:
        """More pairs come after the end."""
        super().again(epochs)
        self.phase = "train"
        self.sums, self.batches = np.zeros(3), 0
        self.judged.clear()

    def progress(self) -> float:
        """Share of the epochs."""
        return min(self.epoch / max(self.budget, 1), 1.0)

    # -- the model

    def finish(self) -> IPInsightsModel:
        """The vectors as they are."""
        if not self.step:
            raise NotReady("IP Insights has seen no pair yet")
        p = self.p
        loss, accuracy, auc = self.curves.T.tolist()
        notes = {
            "hyperparameters": p.as_dict(), "epochs": self.epoch, "loss_curve": loss,
            "accuracy_curve": accuracy,
        }  # fmt: skip
        if np.isfinite(self.curves[:, 2]).any():
            notes["auc_curve"] = [None if value != value else value for value in auc]
        weights = self.k.plain(self.tables, p.num_entity_vectors, p.vector_dim)
        return IPInsightsModel(
            self.k.device, notes=notes, **weights, marks=self.marks.copy(), hash=self.k.HASH,
            hash_seed=p.hash_seed, offset=0.0,
        )  # fmt: skip
