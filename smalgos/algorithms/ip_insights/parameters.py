"""Hyperparameters of IP Insights."""

from smalgos.errors import UserError
from smalgos.learning import Parameters, param

MODEL_BYTES = 8 << 30  # of a table of entities, at most
PAIRS = 500  # that are made up for a row, at most


class IPInsightsParameters(Parameters):
    """Hyperparameters of IP Insights, as the original spells them."""

    num_entity_vectors: int = param(
        default=100_000, low=1, high=250_000_000, tune=(10_000, 1_000_000), scale="log",
        doc="rows of the table that entities are hashed to: twice as many as there are entities "
        "leave four in ten with a row that another one has, too",
    )  # fmt: skip
    vector_dim: int = param(default=128, low=4, high=4096, tune=(8, 256), doc="numbers of a vector")
    batch_metrics_publish_interval: int = param(
        default=1000, low=1, doc="batches from one log line of metrics to the next"
    )
    epochs: int = param(default=10, low=1, tune=(1, 100), doc="passes over the pairs")
    learning_rate: float = param(
        default=0.001, low=1e-6, high=10, tune=(1e-4, 0.1), scale="log", doc="of Adam"
    )
    mini_batch_size: int = param(
        default=5000, low=1, high=500_000, tune=(100, 50_000),
        doc="pairs of a step, made-up ones included, and rows that exchange addresses",
    )  # fmt: skip
    num_ip_encoder_layers: int = param(
        default=1, low=0, high=100, tune=(1, 10),
        doc="dense layers between the sum of an address's prefixes and its vector",
    )  # fmt: skip
    random_negative_sampling_rate: int = param(
        default=1, low=0, high=PAIRS, tune=(0, 10),
        doc="pairs with a random address for each row",
    )  # fmt: skip
    shuffled_negative_sampling_rate: int = param(
        default=1, low=0, high=PAIRS, tune=(0, 10),
        doc="pairs with the address of another row for each row; these learn what sets entities "
        "apart; rows of one entity in a batch are told apart wrongly, so shuffle sorted rows",
    )  # fmt: skip
    weight_decay: float = param(
        default=1e-5, low=0, high=10, tune=(0.0, 1.0),
        doc="what of a weight is added to its gradient, in rows that a step touches",
    )  # fmt: skip
    shuffle: bool = param(
        default=False, library=True,
        doc="a new order of the rows for each epoch, of files within a window",
    )  # fmt: skip
    hash_seed: int = param(
        default=0, low=0, high=2**63 - 1, doc="of the hash that finds an entity's row"
    )

    def cross_check(self) -> None:
        """Check that there are pairs to learn from, and that the table is not too large."""
        made_up = self.random_negative_sampling_rate + self.shuffled_negative_sampling_rate
        if not 1 <= made_up <= PAIRS:
            raise UserError(
                f"random_negative_sampling_rate + shuffled_negative_sampling_rate = {made_up}: "
                f"must be >= 1 and <= {PAIRS}"
            )
        size = 4 * self.num_entity_vectors * self.vector_dim
        if size > MODEL_BYTES:
            raise UserError(
                f"num_entity_vectors={self.num_entity_vectors} of vector_dim={self.vector_dim} "
                f"take {size / (1 << 30):.1f} GiB: a model has {MODEL_BYTES >> 30} GiB at most; "
                "lower one of them"
            )
