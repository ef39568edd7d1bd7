"""Hyperparameters of Random Cut Forest, as the original spells them."""

from typing import Any

from smalgos.learning import AUTO, Parameters, param

SHUFFLED, CONSECUTIVE = PARTITIONS = ("shuffled", "consecutive")
ACCURACY, PRECISION_RECALL = METRICS = ("accuracy", "precision_recall_fscore")


class RandomCutForestParameters(Parameters):
    """Hyperparameters of Random Cut Forest."""

    feature_dim: int = param(
        default=AUTO, auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        high=10_000, doc="number of features",
    )  # fmt: skip
    num_trees: int = param(
        default=100, low=50, high=1000, tune=(50, 1000), doc="trees; more of them score more evenly"
    )
    num_samples_per_tree: int = param(
        default=256, low=1, high=2048, tune=(1, 2048),
        doc="rows of each tree; a share of anomalies of about its inverse is looked for",
    )  # fmt: skip
    partition: str = param(
        default=CONSECUTIVE, library=SHUFFLED, choices=PARTITIONS,
        doc="how the rows of the sample become those of trees: shuffled deals them out, and deals "
        "anew where there are too few for all trees; consecutive gives each tree the next ones, "
        "as many to each, and drops the rest",
    )  # fmt: skip
    shingle_size: int = param(
        default=1, low=1, high=10_000,
        doc="rows that are joined to one point, each with those before it, where the rows are a "
        "series; requests to the model are such points",
    )  # fmt: skip
    time_decay: float = param(
        default=0.0, low=0, below=1,
        doc="by how much a row is likelier to be in the sample than the one before it: the chance "
        "falls like exp(-time_decay * age), age counted in rows; 0: all are alike",
    )  # fmt: skip
    contamination: float = param(
        default=AUTO, auto=AUTO, above=0, high=0.5,
        doc="share of the rows that are taken for anomalies; auto: those that score more than "
        "three standard deviations above the mean",
    )  # fmt: skip
    eval_metrics: list[str] = param(
        default=list(METRICS), choices=METRICS, wire=lambda spec: list(METRICS),
        doc="what the test channel is judged by",
    )  # fmt: skip
    mini_batch_size: int = param(
        default=1000, wire=lambda spec: 1000, low=1,
        doc="rows per batch; the result does not depend on it",
    )  # fmt: skip
    force_dense: bool = param(
        default=True, wire=lambda spec: True,
        doc="taken for the original's sake: trees are made of dense rows in any case",
    )  # fmt: skip
    epochs: int = param(
        default=1, wire=lambda spec: 1, low=1, high=1, doc="the sample is drawn in one pass"
    )
    random_state: int = param(
        default=0, low=0, high=2**63 - 1, spelled=("seed", "random_seed"),
        doc="seed of all random numbers",
    )  # fmt: skip

    @property
    def capacity(self) -> int:
        """Rows of the sample."""
        return int(self.num_trees) * int(self.num_samples_per_tree)

    @property
    def share(self) -> float | None:
        """The contamination, if it is a number."""
        given: Any = self.contamination
        return None if given == AUTO else float(given)
