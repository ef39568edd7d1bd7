"""Boosters of the real package: trains small ones of every kind, or answers with files of ours.

Runs by itself, under any version of xgboost from 1.7:

    python booster_oracle.py train FOLDER     X.npy, NAME.json, NAME.ubj, NAME.npz of each case
    python booster_oracle.py predict FOLDER   NAME.npz of each booster file in a folder with X.npy
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import xgboost

ROWS, FEATURES = 120, 6
VERSION = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
SMALL = {"max_depth": 3, "eta": 0.4, "nthread": 1, "seed": 7, "verbosity": 0}

# name: (what is trained on, rounds, parameters)
CASES = {
    "squarederror": ("real", 5, {"objective": "reg:squarederror"}),
    "logistic": ("binary", 5, {"objective": "binary:logistic", "scale_pos_weight": 2.5}),
    "base_score": ("binary", 3, {"objective": "binary:logistic", "base_score": 0.8}),
    "reg_logistic": ("binary", 3, {"objective": "reg:logistic"}),
    "logitraw": ("binary", 3, {"objective": "binary:logitraw"}),
    "hinge": ("binary", 3, {"objective": "binary:hinge"}),
    "squaredlogerror": ("positive", 3, {"objective": "reg:squaredlogerror"}),
    "pseudohuber": ("real", 3, {"objective": "reg:pseudohubererror", "huber_slope": 2.0}),
    "absoluteerror": ("real", 3, {"objective": "reg:absoluteerror"}),
    "poisson": ("positive", 3, {"objective": "count:poisson", "max_delta_step": 0.6}),
    "gamma": ("positive", 3, {"objective": "reg:gamma"}),
    "tweedie": ("positive", 3, {"objective": "reg:tweedie", "tweedie_variance_power": 1.2}),
    "softprob": ("classes", 3, {"objective": "multi:softprob", "num_class": 3}),
    "softmax": ("classes", 3, {"objective": "multi:softmax", "num_class": 3}),
    "pairwise": ("groups", 3, {"objective": "rank:pairwise"}),
    "ndcg": ("groups", 3, {"objective": "rank:ndcg"}),
    "map": ("binary groups", 3, {"objective": "rank:map"}),
    "cox": ("positive", 3, {"objective": "survival:cox"}),
    "aft": ("bounds", 3, {
        "objective": "survival:aft", "aft_loss_distribution": "logistic",
        "aft_loss_distribution_scale": 0.8,
    }),
    "dart": ("binary", 6, {"booster": "dart", "rate_drop": 0.5, "objective": "binary:logistic"}),
    "dart_softprob": ("classes", 4, {
        "booster": "dart", "rate_drop": 0.5, "objective": "multi:softprob", "num_class": 3,
    }),
    "gblinear": ("real", 6, {"booster": "gblinear", "objective": "reg:squarederror"}),
    "gblinear_softprob": ("classes", 6, {
        "booster": "gblinear", "objective": "multi:softprob", "num_class": 3,
    }),
    "parallel": ("classes", 3, {
        "objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.5,
    }),
    "pruned": ("real", 4, {"tree_method": "exact", "gamma": 6.0, "max_depth": 5}),
    "lossguide": ("real", 3, {
        "tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 40, "max_depth": 0,
        "min_child_weight": 0,
    }),
    "onehot": ("categories", 3, {"tree_method": "hist", "max_cat_to_onehot": 100}),
    "partition": ("categories", 3, {"tree_method": "hist", "max_cat_to_onehot": 1}),
    "early": ("binary", 60, {"objective": "binary:logistic", "eta": 1.0, "max_depth": 6}),
    "named": ("named", 2, {"objective": "reg:squarederror"}),
    "targets": ("targets", 3, {"objective": "reg:squarederror", "tree_method": "hist"}),
}  # fmt: skip
LATER = {  # version from which on it is known
    "quantile": ((2, 0), "real", 3, {
        "objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.5, 0.9], "tree_method": "hist",
    }),
    "intercepts": ((3, 1), "real", 2, {
        "objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.9], "base_score": [-1.0, 2.0],
    }),
}  # fmt: skip


def table() -> np.ndarray:
    """Rows with missing values; the last two columns are categories."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1])
    X[:, 4] = rng.integers(0, 5, ROWS)
    X[:, 5] = rng.integers(0, 40, ROWS)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def matrix(kind: str, X: np.ndarray) -> xgboost.DMatrix:
    """What a case is trained on, or answers."""
    full = np.nan_to_num(X)
    real = full[:, 0] + full[:, 1] * full[:, 2] + np.sin(full[:, 5]) + full[:, 4] % 3
    made = {}
    if kind == "categories":
        made = {"enable_categorical": True, "feature_types": ["q"] * 4 + ["c"] * 2}
    if kind == "named":
        made = {
            "feature_names": ["a", "b|c", "d e", "é", "f", "g"],
            "feature_types": ["float", "int", "q", "float", "int", "int"],
        }
    data = xgboost.DMatrix(X, nthread=1, **made)
    labels = {
        "binary": real > 1, "binary groups": real > 1, "positive": np.exp(real / 4),
        "classes": np.digitize(real, [0, 2]), "groups": np.digitize(real, [0, 1, 2]),
        "bounds": None, "targets": np.stack([real, -real + full[:, 3]], axis=1),
    }.get(kind, real)  # fmt: skip
    if labels is not None:
        data.set_label(labels.astype(np.float32))
    if "groups" in kind:
        data.set_group([30] * (ROWS // 30))
    if kind == "bounds":
        low = np.exp(real / 4)
        data.set_float_info("label_lower_bound", low)
        data.set_float_info("label_upper_bound", np.where(full[:, 0] > 1, np.inf, low * 1.5))
    return data


def answers(booster: xgboost.Booster, data: xgboost.DMatrix) -> dict[str, np.ndarray]:
    """All that it says of the rows, and of itself."""
    best = booster.attr("best_iteration")
    end = int(best) + 1 if best is not None else 0
    said = {
        "predict": booster.predict(data, iteration_range=(0, end)),
        "margin": booster.predict(data, output_margin=True, iteration_range=(0, end)),
    }
    if '"gblinear"' not in booster.save_config():
        said["leaf"] = booster.predict(data, pred_leaf=True)
    return said


def train(folder: Path) -> None:
    """Train and save all cases."""
    X = table()
    np.save(folder / "X.npy", X)
    cases = dict(CASES)
    cases |= {name: case for name, (since, *case) in LATER.items() if since <= VERSION}
    for name, (kind, rounds, given) in cases.items():
        parameters = SMALL | given
        if name == "gblinear" and VERSION >= (2, 0):
            parameters["updater"] = "coord_descent"
        data = matrix(kind, X)
        more = {}
        if name == "early":
            half = data.slice(np.arange(ROWS // 2))
            rest = data.slice(np.arange(ROWS // 2, ROWS))
            more = {"evals": [(rest, "rest")], "early_stopping_rounds": 2, "verbose_eval": False}
            booster = xgboost.train(parameters, half, rounds, **more)
        else:
            booster = xgboost.train(parameters, data, rounds)
        booster.set_attr(note="kept")
        for form in ("json", "ubj"):
            booster.save_model(folder / f"{name}.{form}")
        np.savez(folder / f"{name}.npz", **answers(booster, data))


def predict(folder: Path) -> None:
    """Load the boosters of files named by a case and a form, and write what they answer."""
    X = np.load(folder / "X.npy")
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.ubj")]):
        booster = xgboost.Booster({"nthread": 1}, model_file=str(path))
        name = path.stem
        kind = CASES[name][0] if name in CASES else LATER[name][1]
        np.savez(f"{path}.npz", **answers(booster, matrix(kind, X)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"train": train, "predict": predict}[sys.argv[1]](Path(sys.argv[2]))
