"""smalgos in the place of a peer."""

import io
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.boosting import held_out, repeated, rows_of, warm_rows
from benchmarks.data import classes_of_two, kept, of
from benchmarks.measure import measured, threads
from benchmarks.quality import digest, distance, log_loss, lost
from smalgos import formats
from smalgos.algorithms import algorithm
from smalgos.formats import Block, Csr
from smalgos.formats.channel import Arrays, Stream, ahead, stream
from smalgos.learning import Spec
from smalgos.learning.train import train

RECORDIO = "application/x-recordio-protobuf"
VERSION = {"version": version("smalgos")}
WARM_ROWS = 2_000
BLOCK_ROWS = 8_192

# RecordIO -----------------------------------------------------------------------------------------


def make_recordio(folder: str, rows: int, width: int = 100, columns: int = 10_000) -> dict:
    """Files of dense and of sparse rows, and the arrays that they are made of."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, rows).astype(np.float32)
    dense = rng.standard_normal((rows, width), np.float32)
    keys = np.sort(rng.random((rows, columns // 10)).argpartition(30)[:, :30], axis=1) * 10
    sparse = Csr(
        rng.standard_normal(30 * rows, np.float32),
        keys.ravel().astype(np.int32),
        np.arange(rows + 1, dtype=np.int64) * 30,
        columns,
    )
    formats.write(Path(folder) / "dense.pbr", Block.of(dense, labels))
    formats.write(Path(folder) / "sparse.pbr", Block({"features": sparse, "labels": labels}))
    kept(folder, dense_features=dense, dense_labels=labels)
    kept(
        folder, sparse_values=sparse.values, sparse_keys=sparse.indices,
        sparse_offsets=sparse.offsets, sparse_labels=labels, sparse_width=np.array(columns),
    )  # fmt: skip
    return {}


def read_recordio(path: str, kind: str) -> dict:
    """To arrays."""
    work = lambda: formats.read(path, RECORDIO)  # noqa: E731
    return VERSION | measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)


def stream_recordio(path: str, kind: str) -> dict:
    """To arrays, block by block, as training takes it: none is kept."""

    def work():
        for _ in formats.iter_blocks(path, RECORDIO, block_rows=BLOCK_ROWS):
            pass

    return VERSION | measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)


def write_recordio(folder: str, expected: str, kind: str) -> dict:
    """To memory."""
    if kind == "dense":
        features, labels = of(folder, "dense_features", "dense_labels")
    else:
        values, keys, offsets, labels, width = of(
            folder,
            "sparse_values",
            "sparse_keys",
            "sparse_offsets",
            "sparse_labels",
            "sparse_width",
        )
        features = Csr(values, keys, offsets, int(width))
    block = Block({"features": features, "labels": labels})

    def work():
        file = io.BytesIO()
        formats.write(file, block, content_type=RECORDIO)
        return file

    return VERSION | measured(work, warm=work, at_least=0.5, bytes=Path(expected).stat().st_size)


# CSV ----------------------------------------------------------------------------------------------


def make_csv(folder: str, rows: int, width: int) -> dict:
    """Three files: whole numbers, numbers of three decimals, float64 with all its digits."""
    rng = np.random.default_rng(0)
    kinds = {
        "integers": (rng.integers(-1000, 100_000, (rows, width)), "%d"),
        "decimals": (rng.normal(0, 100, (rows, width)), "%.3f"),
        "digits": (rng.normal(0, 100, (rows, width)), "%.17g"),
    }
    for name, (table, digits) in kinds.items():
        line = ",".join([digits] * width) + "\n"
        with open(Path(folder) / f"{name}.csv", "w", encoding="ascii") as file:
            file.writelines(line % tuple(row) for row in table.tolist())
    return {}


def read_csv(path: str) -> dict:
    """To a C-ordered float32 matrix."""
    work = lambda: formats.read(path, "text/csv; label_size=0").features  # noqa: E731
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return VERSION | told | {"quality": digest(told["value"])}


# libsvm, Parquet, conversion ----------------------------------------------------------------------


def make_files(folder: str, rows: int, width: int = 20, columns: int = 1_000) -> dict:
    """One table of decimals in each format, and sparse rows of as many values in libsvm."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, rows).astype(np.float32)
    dense = np.round(rng.normal(0, 100, (rows, width)), 3).astype(np.float32)
    for suffix in ("csv", "pbr", "svm", "parquet"):
        formats.write(Path(folder) / f"rows.{suffix}", Block.of(dense, labels))
    formats.write(Path(folder) / "rows.jsonl", Block.of(dense))
    step = columns // width
    keys = np.arange(0, columns, step) + rng.integers(0, step, (rows, width))
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    sparse = Csr(dense.ravel(), keys.ravel().astype(np.int32), offsets, columns)
    formats.write(Path(folder) / "sparse.svm", Block({"features": sparse, "labels": labels}))
    return {}


def read_libsvm(path: str) -> dict:
    """To sparse rows."""
    work = lambda: formats.read(path, "text/libsvm").features  # noqa: E731
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    total = {"sum": float(told["value"].values.sum(dtype=np.float64))}
    return VERSION | told | {"quality": total}


def read_parquet(path: str) -> dict:
    """To a matrix of labels and features."""

    def work():
        block = formats.read(path)
        return np.column_stack([block.labels, block.features])

    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return VERSION | told | {"quality": digest(told["value"])}


def convert(source: str, target: str, rows: int) -> dict:
    """From file to file, read ahead on another thread as the command does it."""

    def work():
        blocks = stream(source).open()
        if target.endswith(".jsonl"):  # which has no place for labels
            blocks = (Block({"features": b.features}, b.start) for b in blocks)
        formats.write(target, ahead(blocks))

    told = measured(work, warm=work, at_least=0.5, rows=rows)
    rate = Path(source).stat().st_size / told["seconds"] / 1e6
    return VERSION | told | {"quality": {"MB/s": rate}}


# Linear Learner and PCA ---------------------------------------------------------------------------


def fit_linear_learner(folder: str, **settings: float) -> dict:
    """The whole fit of all models; the log loss of the one that is kept."""
    from smalgos import LinearLearnerClassifier

    X, y, X_val, y_val = of(folder, "X", "y", "X_val", "y_val")
    settings = {"random_state": 0, "n_jobs": threads(), **settings}
    small = classes_of_two(4_000, X.shape[1])
    told = measured(
        lambda: LinearLearnerClassifier(**settings).fit(X, y),
        warm=lambda: LinearLearnerClassifier(**settings).fit(*small),
    )
    fitted = told["value"]
    loss = log_loss(y_val, fitted.predict_proba(X_val)[:, 1])
    quality = {"log loss": loss, "models": len(fitted.models_), "epochs": fitted.n_iter_}
    return VERSION | told | {"quality": quality}


def curve_linear_learner(folder: str, **settings: float) -> dict:
    """Log loss of the best model after each epoch, on rows that choose it, against time."""
    from smalgos import LinearLearnerClassifier

    X, y, X_val, y_val = of(folder, "X", "y", "X_val", "y_val")
    settings = {"random_state": 0, "n_jobs": threads(), "early_stopping_patience": 100, **settings}
    x, y_small = classes_of_two(4_000, X.shape[1])
    LinearLearnerClassifier(**settings).fit(x, y_small, X_val=x, y_val=y_small)
    curve: list[tuple[float, float]] = []
    began = time.perf_counter()

    def watch(event, **facts):
        if event == "pass" and "criteria" in facts["metrics"]:
            curve.append((time.perf_counter() - began, facts["metrics"]["criteria"]))

    told = measured(
        lambda: (
            LinearLearnerClassifier(**settings)
            .set_callbacks(watch)
            .fit(X, y, X_val=X_val, y_val=y_val)
        )
    )
    return VERSION | told | {"curve": curve, "quality": {"log loss": min(v for _, v in curve)}}


def fit_pca(folder: str, components: int, **settings: Any) -> dict:
    """Components of X, and how far they are from exact ones."""
    from smalgos import PCA

    (X,) = of(folder, "X")
    settings = {"num_components": components, "n_jobs": threads(), "random_state": 0, **settings}
    told = measured(lambda: PCA(**settings).fit(X), warm=lambda: PCA(**settings).fit(X[:WARM_ROWS]))
    judge = lost if settings.get("algorithm_mode") == "randomized" else distance
    return VERSION | told | {"quality": judge(folder, told["value"])}


def fit_sparse_pca(folder: str, components: int) -> dict:
    """Components of sparse rows, from a sketch, and the share of the variance that they explain."""
    from benchmarks.peers.sklearn import sparse_rows
    from smalgos import PCA

    X = sparse_rows(folder)
    settings = {
        "num_components": components, "n_jobs": threads(), "random_state": 0,
        "algorithm_mode": "randomized",
    }  # fmt: skip
    told = measured(lambda: PCA(**settings).fit(X), warm=lambda: PCA(**settings).fit(X[:WARM_ROWS]))
    share = float(told["value"].explained_variance_ratio_.sum())
    return VERSION | told | {"quality": {"explained": share}}


def stream_pca(folder: str, components: int, part: str) -> dict:
    """Components of the rows of a RecordIO file; or reading it alone; or of the rows in memory.

    Parameters
    ----------
    part : {"both", "reading", "fitting"}
    """
    (X,) = of(folder, "X")
    path = Path(folder) / "X.pbr"
    if not path.exists():
        formats.write(path, Block.of(X))
    a = algorithm("pca")
    given = a.parameters(num_components=components)

    def fit(rows: Stream) -> None:
        state = a.state(given, Spec.of(Block.of(X[:1])))
        train(state, {"train": rows}, n_jobs=threads())
        state.model()

    def read() -> None:
        for _ in formats.iter_blocks(path, RECORDIO, block_rows=BLOCK_ROWS):
            pass

    work = {
        "reading": read,
        "fitting": lambda: fit(Arrays(Block.of(X))),
        "both": lambda: fit(stream(path)),
    }[part]
    return VERSION | measured(work, warm=work, rows=len(X))


# Boosted trees ------------------------------------------------------------------------------------


def fit_boosted_trees(
    folder: str, kind: str, rounds: int, depth: int, leaves: int = 0, steps: int = 0,
    seed: int = 0,
) -> dict:  # fmt: skip
    """Binning and training."""
    from smalgos import BoostedTreesClassifier

    X, y, X_val, y_val, _ = rows_of(folder, kind)
    settings = {
        "eta": 0.1, "max_depth": depth, "max_leaves": leaves, "num_grad_quant_bins": steps,
        "grow_policy": "lossguide" if leaves else "depthwise", "n_jobs": threads(),
        "random_state": seed,
        "categorical_features": list(range(10)) if kind == "categories" else None,
    }  # fmt: skip
    told = measured(
        lambda: BoostedTreesClassifier(num_round=rounds, **settings).fit(X, y),
        warm=lambda: BoostedTreesClassifier(num_round=2, **settings).fit(*warm_rows(X, y)),
        at_least=0.5,
    )
    p = told["value"].predict_proba(X_val)
    return VERSION | told | held_out(y_val, p if p.shape[1] > 2 else p[:, 1])


def predict_boosted_trees(folder: str, rows: int) -> dict:
    """From an array to an array."""
    from smalgos import BoostedTreesClassifier

    X, y, _, _, _ = rows_of(folder, "dense")
    model = BoostedTreesClassifier(num_round=100, eta=0.1).fit(X[:100_000], y[:100_000]).model_
    asked = X if rows == 0 else np.ascontiguousarray(X[:rows])
    with model.k.threads(threads()):
        return VERSION | repeated(lambda: model.predict_margin(asked), len(asked))
