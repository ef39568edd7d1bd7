"""scikit-learn-intelex (oneDAL)."""

from importlib.metadata import version

from sklearnex.decomposition import PCA

from benchmarks.peers import sklearn


def fit_pca(folder: str, components: int) -> dict:
    """As scikit-learn's."""
    told = sklearn.fit_pca(folder, components, cls=PCA)
    return told | {"version": version("scikit-learn-intelex")}
