"""Batches of anomalies: smalgos, scikit-learn's isolation forest and rrcf.

rrcf is Python all over: of what it takes, a part is measured and scaled, as the settings say.
"""

import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import at_hand, covertype, kept, of
from benchmarks.measure import measured, threads

TREES, SAMPLES = 100, 256


# Speed --------------------------------------------------------------------------------------------


def make(folder: str, rows: int, width: int) -> dict[str, Any]:
    """Normal rows."""
    return kept(folder, X=np.random.default_rng(0).standard_normal((rows, width), np.float32))


def score_smalgos(folder: str, trees: int) -> dict[str, Any]:
    """anomaly_score."""
    from smalgos import RandomCutForest

    (X,) = of(folder, "X")
    model = RandomCutForest(num_trees=trees, num_samples_per_tree=SAMPLES, n_jobs=threads()).fit(X)

    def work() -> np.ndarray:
        return model.anomaly_score(X)

    return measured(work, warm=work, at_least=1, rows=len(X)) | {"version": version("smalgos")}


def score_sklearn(folder: str, trees: int) -> dict[str, Any]:
    """score_samples."""
    from sklearn.ensemble import IsolationForest

    (X,) = of(folder, "X")
    model = IsolationForest(n_estimators=trees, max_samples=SAMPLES, n_jobs=threads()).fit(X)
    told = measured(lambda: model.score_samples(X), at_least=1, rows=len(X))
    return told | {"version": version("scikit-learn")}


def score_rrcf(folder: str, trees: int, rows: int) -> dict[str, Any]:
    """Insert, codisp, forget; of so many rows, and scaled."""
    import rrcf

    (X,) = of(folder, "X")
    forest = [rrcf.RCTree(X[i * SAMPLES : (i + 1) * SAMPLES]) for i in range(trees)]

    def work() -> list[float]:
        said = []
        for x in X[-rows:]:
            for tree in forest:
                tree.insert_point(x, index="x")
                said.append(tree.codisp("x"))
                tree.forget_point("x")
        return said

    return _scaled(measured(work, rows=rows), len(X) / rows) | {"version": version("rrcf")}


def build_smalgos(folder: str) -> dict[str, Any]:
    """The kernels, from a sample that is there."""
    from smalgos.kernels import load

    k = load("random_cut_forest")
    samples, sizes = of(folder, "X")[0][: TREES * SAMPLES], np.full(TREES, SAMPLES)

    def work() -> Any:
        with k.threads(threads()):
            return k.CutTrees.grow(samples, sizes, 0)

    return measured(work, warm=work, at_least=0.5) | {"version": version("smalgos")}


def build_sklearn(folder: str) -> dict[str, Any]:
    """fit, with the sampling that is a part of it."""
    from sklearn.ensemble import IsolationForest

    X = of(folder, "X")[0][: TREES * SAMPLES]
    model = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, n_jobs=threads())
    return measured(lambda: model.fit(X), at_least=1) | {"version": version("scikit-learn")}


def build_rrcf(folder: str, trees: int) -> dict[str, Any]:
    """So many trees, and scaled."""
    import rrcf

    (X,) = of(folder, "X")

    def work() -> list[Any]:
        return [rrcf.RCTree(X[i * SAMPLES : (i + 1) * SAMPLES]) for i in range(trees)]

    return _scaled(measured(work), TREES / trees) | {"version": version("rrcf")}


def _scaled(told: dict[str, Any], factor: float) -> dict[str, Any]:
    return told | {"seconds": told["seconds"] * factor, "cpu": told["cpu"] * factor}


# A stream -----------------------------------------------------------------------------------------


def make_stream(folder: str, rows: int, width: int) -> dict[str, Any]:
    """Normal rows as a file of records."""
    from smalgos.formats import Block, write

    X = np.random.default_rng(0).standard_normal((rows, width), np.float32)
    write(Path(folder) / "rows.pbr", Block.of(X))
    return {}


def train_on_stream(folder: str, partition: str = "shuffled") -> dict[str, Any]:
    """Read, sample, grow."""
    from smalgos.algorithms import algorithm
    from smalgos.formats.channel import stream
    from smalgos.learning import Spec
    from smalgos.learning.train import train

    a = algorithm("randomcutforest")
    parameters = a.parameters(partition=partition)

    def work() -> Any:
        source = stream(Path(folder) / "rows.pbr")
        state = a.state(parameters, Spec.of(source.peek()))
        train(state, {"train": source}, n_jobs=threads())
        return state.model()

    return measured(work, warm=work, at_least=1) | {"version": version("smalgos")}


def read_stream(folder: str) -> dict[str, Any]:
    """Read."""
    from smalgos.formats.channel import stream

    def work() -> int:
        return sum(len(block) for block in stream(Path(folder) / "rows.pbr").open())

    return measured(work, warm=work, at_least=1) | {"version": version("smalgos")}


# Labelled rows ------------------------------------------------------------------------------------


def spambase() -> tuple[np.ndarray, np.ndarray]:
    """All rows; spam is strange."""
    import pandas as pd

    with gzip.open(at_hand("spambase/spam.csv.gz")) as file:
        table = pd.read_csv(file)
    return table.drop(columns="type").to_numpy(), (table["type"] == "spam").to_numpy()


def skin() -> tuple[np.ndarray, np.ndarray]:
    """20 000 pixels of skin, 400 of anything else."""
    with lzma.open(at_hand("skin_segmentation/Skin_NonSkin.txt.xz")) as file:
        table = np.loadtxt(file)
    return _few(table[:, :3], table[:, 3] == 2, 20_000, 400)


def no_skin() -> tuple[np.ndarray, np.ndarray]:
    """The other way round."""
    with lzma.open(at_hand("skin_segmentation/Skin_NonSkin.txt.xz")) as file:
        table = np.loadtxt(file)
    return _few(table[:, :3], table[:, 3] == 1, 20_000, 400)


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """All zeros among the training images, 100 of other digits."""
    with np.load(at_hand("mnist/mnist.npz")) as data:
        images, digits = data["x_train"].reshape(-1, 784), data["y_train"]
    return _few(images, digits != 0, 6_000, 100)


def forest_cover() -> tuple[np.ndarray, np.ndarray]:
    """Class 4 of Covertype among class 2, the ten features that are numbers."""
    X, classes = covertype()
    rows = (classes == 2) | (classes == 4)
    return X[rows, :10], classes[rows] == 4


def _few(X: np.ndarray, strange: np.ndarray, usual: int, few: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    chosen = [
        rng.choice(np.flatnonzero(part), min(n, part.sum()), replace=False)
        for part, n in ((~strange, usual), (strange, few))
    ]
    rows = np.sort(np.concatenate(chosen))
    return X[rows], strange[rows]


LABELLED: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "spambase": spambase, "skin": skin, "no skin": no_skin, "mnist": mnist,
    "covertype": forest_cover,
}  # fmt: skip


def make_labelled(folder: str, name: str, scaled: bool) -> dict[str, Any]:
    """Rows of a set, perhaps with features of unit variance; labels."""
    X, y = LABELLED[name]()
    X = np.asarray(X, np.float64)
    if scaled:
        deviation = X.std(axis=0)
        X = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return kept(folder, X=np.ascontiguousarray(X, np.float32), y=y)


def judged(
    folder: str, seeds: int, score: Callable[[np.ndarray, int], np.ndarray], library: str
) -> dict[str, Any]:
    """Seconds of fitting and scoring, and how well scores part strange rows from usual ones.

    Medians over the seeds.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    X, y = of(folder, "X", "y")
    score(X[:1000], 0)  # compiles, loads
    told, roc, precision = [], [], []
    for seed in range(seeds):
        told.append(measured(lambda seed=seed: score(X, seed)))
        said = told[-1].pop("value")
        roc.append(roc_auc_score(y, said))
        precision.append(average_precision_score(y, said))
    middle = {name: float(np.median([one[name] for one in told])) for name in told[0]}
    quality = {"roc_auc": np.median(roc), "average_precision": np.median(precision)}
    return middle | {
        "quality": {name: float(value) for name, value in quality.items()},
        "version": version(library),
    }


def find_smalgos(folder: str, seeds: int) -> dict[str, Any]:
    """RandomCutForest."""
    from smalgos import RandomCutForest

    def score(X: np.ndarray, seed: int) -> np.ndarray:
        return RandomCutForest(random_state=seed, n_jobs=threads()).fit(X).anomaly_score(X)

    return judged(folder, seeds, score, "smalgos")


def find_sklearn(folder: str, seeds: int) -> dict[str, Any]:
    """IsolationForest."""
    from sklearn.ensemble import IsolationForest

    def score(X: np.ndarray, seed: int) -> np.ndarray:
        model = IsolationForest(n_estimators=TREES, random_state=seed, n_jobs=threads())
        return -model.fit(X).score_samples(X)

    return judged(folder, seeds, score, "scikit-learn")


def find_rrcf(folder: str, seeds: int) -> dict[str, Any]:
    """Trees of disjoint samples; the mean codisp of each row, until each was in one.

    That is the batch recipe of its documentation.
    """
    import rrcf

    def score(X: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        total, count = np.zeros(len(X)), np.zeros(len(X))
        made = 0
        while made < TREES or not count.all():
            order = rng.permutation(len(X))
            for rows in np.split(order, range(SAMPLES, len(X), SAMPLES)):
                if len(rows) < SAMPLES and count[rows].all():
                    continue
                tree = rrcf.RCTree(X[rows], index_labels=rows)
                for row, leaf in tree.leaves.items():
                    total[row] += tree.codisp(leaf)
                    count[row] += 1
                made += 1
        return total / count

    return judged(folder, seeds, score, "rrcf")


# Published figures --------------------------------------------------------------------------------

REQUESTS = "nab/realAWSCloudWatch/elb_request_count_8c0756.csv"
NODES = (
    107, 129, 125, 119, 109, 117, 135, 123, 103, 127, 119, 89, 93, 123, 105, 101, 137, 125, 119,
    129, 123, 123, 113, 123, 139, 127, 119, 121, 105, 113, 105, 121, 95, 93, 107, 97, 87, 93, 111,
    107, 103, 121, 119, 121, 101, 121, 123, 113, 121, 123,
)  # fmt: skip
DEPTH = 12.82  # mean over the trees
SERVED = {
    51: .770862, 94: .865573, 187: 1.613852, 203: 1.910654, 210: 2.011637, 223: 2.163553,
    237: 2.381542, 259: 2.653464, 284: 2.951369, 313: 3.342713, 335: 3.586372, 381: 3.951076,
    656: 5.102451,
}  # fmt: skip
ABOVE = 101  # rows beyond three deviations
SEEDS = 10


def requests(folder: str) -> dict[str, Any]:
    """Requests to a load balancer (NAB): nodes and depth of trees, scores that were served."""
    from benchmarks.published import about, told
    from smalgos import RandomCutForest

    path = at_hand(REQUESTS)
    x = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1, dtype=np.float32)[:, None]
    asked = np.array(list(SERVED), np.float32)[:, None]
    said, above, depths, nodes = [], [], [], None
    for seed in range(SEEDS):
        model = RandomCutForest(
            num_trees=50, num_samples_per_tree=512, partition="consecutive", random_state=seed
        ).fit(x)
        said.append(model.anomaly_score(asked))
        scores = model.anomaly_score(x)
        above.append((scores > scores.mean() + 3 * scores.std()).sum())
        nodes, depth = model.model_.forest.shape()
        depths.append(depth.mean())
    same = float((nodes == np.array(NODES)).mean())
    figures = [
        about("share of trees with the same number of nodes", 1, same, 0, "no chance in it"),
        about("depth", DEPTH, np.mean(depths), 4 * np.std(depths), "four deviations of a forest"),
        about("rows above three deviations", ABOVE, np.mean(above), 10, "by chance 90 to 107"),
    ]
    rooms = 4 * np.std(said, axis=0, ddof=1)
    for value, ours, room in zip(SERVED, np.mean(said, axis=0), rooms, strict=True):
        figures.append(
            about(f"score of {value}", SERVED[value], ours, room, "four deviations of a forest")
        )
    return told(figures)


def clusters(folder: str) -> dict[str, Any]:
    """Two clusters of 0.01 about (+-5, 0, 0) and some points between (rcf-paper.csv, made anew)."""
    from benchmarks.published import about, told
    from smalgos.kernels import load

    rng = np.random.default_rng(0)
    x = 0.01 * rng.standard_normal((2010, 3))
    x[:, 0] += rng.choice([-5, 5], 2010)
    x[::200, 0] -= np.sign(x[::200, 0]) * 5
    asked = np.array([[0.0158, 0.0061, 0.0091]], np.float32)
    k = load("random_cut_forest")
    scores = []
    for seed in range(SEEDS):
        stream = k.CutStream(100, 256, 3, 0.1 / 256, 1.0, seed)
        usual = stream.score_update(x.astype(np.float32))
        scores.append([stream.score(asked)[0], np.median(usual[256:])])
    between, usual = np.mean(scores, axis=0)
    return told(
        [
            about(
                "score of a point between", 2.83, between, 0.25, "one forest; the points made anew"
            ),
            about("median of the others", 0.785, usual, 0.125, "published: inliers 0.66 to 0.91"),
        ]
    )


def taxi(folder: str) -> dict[str, Any]:
    """Taxi rides in New York (NAB), a day of shingles: do peaks lie where the labels do?"""
    import pandas as pd

    from benchmarks.published import told
    from smalgos import RandomCutForest, StreamingRandomCutForest

    with gzip.open(at_hand("nab/realKnownCause/nyc_taxi.csv.gz")) as file:
        table = pd.read_csv(file, parse_dates=["timestamp"])
    labelled = json.loads(at_hand("nab/windows.json").read_text())["realKnownCause/nyc_taxi.csv"]
    times, x = table["timestamp"], table[["value"]].to_numpy(np.float32)
    windows = [
        (np.searchsorted(times, pd.Timestamp(a)), np.searchsorted(times, pd.Timestamp(b), "right"))
        for a, b in labelled
    ]

    def static(seed: int) -> np.ndarray:
        return RandomCutForest(shingle_size=48, random_state=seed).fit(x).anomaly_score(x)

    def following(seed: int, **more: Any) -> np.ndarray:
        forest = StreamingRandomCutForest(
            shingle_size=48, internal_shingling=True, random_state=seed, **more
        )
        return np.concatenate([[0.0], forest.fit(x[:1]).score_update(x[1:])])

    def patient(seed: int) -> np.ndarray:
        return following(seed, num_trees=200, num_samples_per_tree=2048, time_decay=1 / 2048)

    names = ("marathon", "Thanksgiving", "Christmas", "New Year", "snowstorm")
    figures = []
    for title, scored in (
        ("static", static),
        ("following the stream, by default", following),
        ("following, 200 trees of 2048 samples, six weeks of memory", patient),
    ):
        found = np.zeros(len(windows))
        for seed in range(SEEDS):
            places = list(peaks(scored(seed), 10, 48))
            found += [any(a <= place < b for place in places) for a, b in windows]
        figures += [
            [f"{name}: seeds with one of the ten highest peaks", float(SEEDS), float(seeds),
             0.9 * SEEDS, float(SEEDS), title]
            for name, seeds in zip(names, found, strict=True)
        ]  # fmt: skip
    return told(figures)


def peaks(scores: np.ndarray, count: int, apart: int) -> Iterator[int]:
    """Rows of the highest scores, so far from each other."""
    left = scores.copy()
    for _ in range(count):
        place = int(left.argmax())
        yield place
        left[max(place - apart + 1, 0) : place + apart] = -np.inf
