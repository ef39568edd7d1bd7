"""IP Insights, ours and as one would write it in PyTorch: two towers, sparse embeddings.

The same model and made-up pairs (see `smalgos.kernels.cpu.ip_insights`), and steps as large. Of the
embeddings, only the rows of a batch get gradients, and SparseAdam moves those alone; dense ones,
with Adam over the whole tables, take several times as long.
"""

from typing import Any

import numpy as np

from benchmarks.data import kept, of
from benchmarks.logins import dotted, logins
from benchmarks.measure import measured, threads

DIM, RANDOM, SHUFFLED, BATCH, RATE, DECAY = 128, 5, 1, 1000, 0.01, 1e-5
PAIRS = 1 + RANDOM + SHUFFLED
EXACT, HASHED = 256 + 4096, 1 << 13
JUDGED = 100_000


def make(folder: str, users: int, rows: int) -> dict[str, Any]:
    """The tutorial's log-ins: at most so many rows of the first seven days, and later ones."""
    found = logins(users)
    train = min(rows, found.train)
    later = slice(found.train, found.train + JUDGED)
    return kept(
        folder, users=found.users[:train], addresses=found.addresses[:train],
        later=found.users[later], later_addresses=found.addresses[later],
    )  # fmt: skip


def texts(users: np.ndarray, addresses: np.ndarray) -> list[tuple[str, str]]:
    """Pairs as a user has them."""
    return [
        (f"user_{u}", dotted(a)) for u, a in zip(users.tolist(), addresses.tolist(), strict=True)
    ]


def judged(usual: np.ndarray, unusual: np.ndarray) -> dict[str, float]:
    """How scores tell pairs: the unusual ones are to be found, at a threshold of 0."""
    order = np.argsort(np.concatenate([usual, unusual]), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order))
    n, m = len(usual), len(unusual)
    called, wrong = (unusual < 0).sum(), (usual < 0).sum()
    return {
        "AUC": float((rank[:n].sum() - n * (n - 1) / 2) / (n * m)),
        "recall": float(called / m),
        "precision": float(called / (called + wrong)),
    }


def ours(folder: str, epochs: int = 1) -> dict[str, Any]:
    """`fit` on texts, hashing and parsing included."""
    from importlib.metadata import version

    from smalgos import IPInsights

    users, addresses, later, later_addresses = of(
        folder, "users", "addresses", "later", "later_addresses"
    )
    X = texts(users, addresses)
    given: dict[str, Any] = {
        "num_entity_vectors": 2 * (int(users.max()) + 1), "vector_dim": DIM, "epochs": epochs,
        "random_negative_sampling_rate": RANDOM, "shuffled_negative_sampling_rate": SHUFFLED,
        "mini_batch_size": BATCH, "learning_rate": RATE, "n_jobs": threads(),
    }  # fmt: skip
    told = measured(
        lambda: IPInsights(**given).fit(X),
        warm=lambda: IPInsights(**given | {"epochs": 1}).fit(X[: 5 * BATCH]),
        rows=PAIRS * epochs * len(X),
    )
    model, rng = told["value"], np.random.default_rng(0)
    random = rng.integers(0, 1 << 32, len(later))
    usual = model.score_samples(texts(later, later_addresses))
    unusual = model.score_samples(texts(later, random))
    return told | {"quality": judged(usual, unusual), "version": version("smalgos")}


def torch(folder: str, step: int = BATCH) -> dict[str, Any]:
    """Users and addresses given as numbers; `step` pairs of a batch at a time."""
    import torch as t
    from torch import nn

    t.set_num_threads(threads())
    t.manual_seed(0)
    users, addresses, later, later_addresses = of(
        folder, "users", "addresses", "later", "later_addresses"
    )
    rows = 2 * (int(users.max()) + 1)

    def prefixes(x: Any) -> Any:
        hashed = ((x >> 16) * 0x9E3779B1 >> 7) % HASHED
        return t.stack([x >> 24, 256 + (x >> 20), EXACT + hashed], 1)

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.entity = nn.Embedding(rows, DIM, sparse=True)
            self.prefix = nn.EmbeddingBag(EXACT + HASHED, DIM, mode="sum", sparse=True)
            self.layer = nn.Linear(DIM, DIM)
            for table in (self.entity, self.prefix):
                nn.init.uniform_(table.weight, -0.07, 0.07)
            nn.init.zeros_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)

        def forward(self, entity: Any, address: Any) -> Any:
            x = self.prefix(prefixes(address))
            x = x + self.layer(t.relu(x))
            return (self.entity(entity) * x).sum(1)

    def fit(who: Any, where: Any) -> Any:
        model, loss = Towers(), nn.BCEWithLogitsLoss()
        sparse = t.optim.SparseAdam([model.entity.weight, model.prefix.weight], lr=RATE)
        dense = t.optim.Adam(model.layer.parameters(), lr=RATE / DIM**0.5, weight_decay=DECAY)
        for first in range(0, len(who), BATCH):
            entity, address = who[first : first + BATCH], where[first : first + BATCH]
            n = len(entity)
            entities = entity.repeat(PAIRS)
            others = [address[t.randperm(n)] for _ in range(SHUFFLED)]
            pairs = t.cat([address, t.randint(0, 1 << 32, (RANDOM * n,)), *others])
            labels = t.zeros(PAIRS * n)
            labels[:n] = 1
            order = t.randperm(PAIRS * n)
            for at in order.split(step):
                sparse.zero_grad()
                dense.zero_grad()
                loss(model(entities[at], pairs[at]), labels[at]).backward()
                sparse.step()
                dense.step()
        return model

    who, where = t.from_numpy(users.astype(np.int64)), t.from_numpy(addresses.astype(np.int64))
    told = measured(
        lambda: fit(who, where), warm=lambda: fit(who[: 2 * BATCH], where[: 2 * BATCH]),
        rows=PAIRS * len(who),
    )  # fmt: skip
    model, known = told["value"], t.from_numpy(later.astype(np.int64))
    with t.no_grad():
        usual = model(known, t.from_numpy(later_addresses.astype(np.int64))).numpy()
        unusual = model(known, t.randint(0, 1 << 32, (len(later),))).numpy()
    return told | {"quality": judged(usual, unusual), "version": t.__version__}
