"""K-Means of all libraries: the same iterations from the same start, or the best of a stream."""

import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import at_hand, kept, of
from benchmarks.measure import measured, threads

OURS = {"version": version("smalgos")}
WARM_ROWS = 5_000
BEST_OF = 10


def make(folder: str, rows: int, width: int, k: int, deviation: float, best: bool = False) -> dict:
    """Unit Gaussians around k centres (deviation 0: MNIST), a start, maybe the best of ten fits."""
    if deviation:
        rng = np.random.default_rng(0)
        centres = (deviation * rng.standard_normal((k, width))).astype(np.float32)
        X = rng.standard_normal((rows, width), np.float32)
        X += centres[rng.integers(0, k, rows)]
    else:
        with np.load(at_hand("mnist/mnist.npz")) as digits:
            X = digits["x_train"][:rows].reshape(-1, 784) / np.float32(255)
    start = X[np.random.default_rng(1).choice(len(X), k, replace=False)]
    made = {"X": X, "start": start}
    if best:
        from sklearn.cluster import KMeans

        fitted = KMeans(k, n_init=BEST_OF, random_state=0).fit(X)
        made["best"] = np.array(inertia(X, fitted.cluster_centers_))
    return kept(folder, **made)


def inertia(X: np.ndarray, centres: np.ndarray) -> float:
    """Sum of the squared distances to the nearest centres, by float64 products."""
    centres, total = centres.astype(np.float64), 0.0
    norms = (centres**2).sum(axis=1)
    for a in range(0, len(X), 20_000):
        x = X[a : a + 20_000].astype(np.float64)
        total += ((norms - 2 * x @ centres.T).min(axis=1) + (x**2).sum(axis=1)).sum()
    return float(total)


def told(folder: str, answer: dict[str, Any], centres: Any) -> dict[str, Any]:
    """The answer of a cell, with the inertia that its centres reach."""
    X, *best = of(folder, "X", *(["best"] if (Path(folder) / "best.npy").exists() else []))
    found = inertia(X, centres(answer["value"]))
    quality = {"inertia": found}
    if best:
        quality["of best"] = found / float(best[0])
    return answer | {"quality": quality}


# Lloyd's iterations -------------------------------------------------------------------------------


def fit_ours(folder: str, iterations: int) -> dict:
    """The estimator: labels and inertia included."""
    from smalgos import KMeans

    X, start = of(folder, "X", "start")
    given = {"k": len(start), "solver": "lloyd", "local_lloyd_tol": 0.0, "n_jobs": threads()}

    def work(X: Any = X, most: int = iterations) -> Any:
        return KMeans(**given, init=start, local_lloyd_max_iter=most).fit(X)

    answer = measured(work, warm=lambda: work(X[: max(WARM_ROWS, len(start))], 3))
    return OURS | told(folder, answer, lambda m: m.cluster_centers_)


def fit_plain(folder: str, iterations: int) -> dict:
    """The same without bounds."""
    from smalgos.kernels.cpu import lloyd

    lloyd.choose = lambda k, d, n: "plain"
    return fit_ours(folder, iterations)


def fit_sklearn(folder: str, iterations: int, cls: Any = None) -> dict:
    """scikit-learn's KMeans, algorithm="lloyd"; or a class like it."""
    if cls is None:
        from sklearn.cluster import KMeans as cls  # noqa: N813
    X, start = of(folder, "X", "start")

    def work(X: Any = X, most: int = iterations) -> Any:
        given = {"init": start, "n_init": 1, "max_iter": most, "tol": 0, "algorithm": "lloyd"}
        return cls(len(start), **given).fit(X)

    answer = measured(work, warm=lambda: work(X[: max(WARM_ROWS, len(start))], 3))
    named = {"version": version("scikit-learn")}
    return named | told(folder, answer, lambda m: m.cluster_centers_)


def fit_intelex(folder: str, iterations: int) -> dict:
    """scikit-learn-intelex (oneDAL)."""
    from sklearnex.cluster import KMeans

    answer = fit_sklearn(folder, iterations, KMeans)
    return answer | {"version": version("scikit-learn-intelex")}


def fit_faiss(folder: str, iterations: int) -> dict:
    """faiss.Kmeans on all rows, not on a sample of them."""
    import faiss

    X, start = of(folder, "X", "start")
    faiss.omp_set_num_threads(threads())

    def work(X: Any = X, most: int = iterations) -> Any:
        model = faiss.Kmeans(
            X.shape[1], len(start), niter=most, min_points_per_centroid=1,
            max_points_per_centroid=len(X),
        )  # fmt: skip
        model.train(X, init_centroids=start)
        model.index.search(X, 1)  # labels and inertia, which the others have, too
        return model

    answer = measured(work, warm=lambda: work(X[: max(WARM_ROWS, len(start))], 3))
    return {"version": faiss.__version__} | told(folder, answer, lambda m: m.centroids)


# Streams ------------------------------------------------------------------------------------------


def stream_ours(folder: str, **settings: Any) -> dict:
    """One pass, with labels and inertia at its end."""
    from smalgos import KMeans

    X, start = of(folder, "X", "start")
    given = {"k": len(start), "n_jobs": threads(), **settings}
    answer = measured(
        lambda: KMeans(**given).fit(X),
        warm=lambda: KMeans(**given | {"k": 8}).fit(X[:WARM_ROWS]),
    )
    return OURS | told(folder, answer, lambda m: m.cluster_centers_)


def stream_sklearn(folder: str) -> dict:
    """MiniBatchKMeans as it comes."""
    from sklearn.cluster import MiniBatchKMeans

    X, start = of(folder, "X", "start")

    def work(X: Any = X, k: int = len(start)) -> Any:
        return MiniBatchKMeans(k, random_state=0).fit(X)

    answer = measured(work, warm=lambda: work(X[:WARM_ROWS], 8))
    named = {"version": version("scikit-learn")}
    return named | told(folder, answer, lambda m: m.cluster_centers_)


# Published figures --------------------------------------------------------------------------------


def movies(folder: str) -> dict:
    """Two models of the original: the 100 centres of its stream, and the 10 it shrank them to."""
    from benchmarks.published import mxnet_arrays
    from smalgos.algorithms.kmeans import KMeansParameters, local
    from smalgos.kernels import load

    figures = []
    for i in (1, 2):
        with tarfile.open(at_hand(f"sagemaker_artifacts/kmeans_movies/model_{i}.tar.gz")) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        state = next(data for name, data in files.items() if "state" in name)
        arrays = mxnet_arrays(state)
        points, mass = arrays["0"], arrays["1"].reshape(-1).astype(np.float64)
        (k, d), model = (10, 10), next(d for n, d in files.items() if "model" in n)
        centres = np.frombuffer(model[-8 - 4 * k * d : -8], "<f4").reshape(k, d)  # it has no names
        used = mass > 0
        points, mass = np.ascontiguousarray(points[used], np.float32), mass[used]
        square = ((points[:, None].astype(np.float64) - centres) ** 2).sum(axis=2).min(axis=1)
        theirs = float((mass * square).sum() / mass.sum())
        parameters = KMeansParameters(k=k, local_lloyd_num_trials=BEST_OF)
        _, attempts = local.best(load("kmeans"), points, mass, k, parameters, 0)
        why = "ours may be better: candidates of kmeans++ are compared"
        what = f"msd over the 100 centres of model {i}"
        figures.append([what, theirs, float(attempts.min()), 0.0, 1.03 * theirs, why])
    return OURS | {"figures": figures}


def mnist(folder: str) -> dict:
    """50 000 digits, 10 clusters: the msd of the original's example, as recalled."""
    from smalgos import KMeans

    with np.load(at_hand("mnist/mnist.npz")) as digits:
        X = digits["x_train"][:50_000].reshape(-1, 784) / np.float32(255)
    fitted = KMeans(k=10, n_jobs=threads()).fit(X)
    msd = fitted.inertia_ / len(X)
    return OURS | {"figures": [["MNIST, msd", 39.5, msd, 38.7, 40.7, "3 %; it is recalled"]]}
