"""What random cut forests can be asked beside the score."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest import queries
from smalgos.algorithms.random_cut_forest.queries import (
    Attribution,
    Completions,
    Density,
    Imputation,
    Neighbours,
)  # fmt: skip
from smalgos.algorithms.random_cut_forest.typical import Typical


class ForestQueries:
    """Questions that estimators of random cut forests answer.

    Everywhere X is what `anomaly_score` takes, and answers are of its rows; of rows that make
    shingles, of the full shingles alone: one fewer for each row that a shingle has beyond the
    first. Bad rows are a `UserError`.
    """

    _leaf: ClassVar[str]  # how a row scores that is in a tree itself
    random_state: Any

    def _trees_and_points(self, X: Any, missing: Any = None) -> tuple[Any, Any, Any]:
        """The trees, rows as their points, and where these are missing, if that was said."""
        raise NotImplementedError

    def _answering(self) -> Any:
        """A context of so many threads as asked for."""
        raise NotImplementedError

    def attribution(self, X: Any, *, ignore_leaf_mass: int = 0) -> Attribution:
        """Which features are to blame for the score, and in which direction.

        Parameters
        ----------
        X : array-like or sparse matrix
        ignore_leaf_mass : int
            Take equal rows in the trees for absent where they are no more than this.

        Returns
        -------
        Attribution
            ``high`` and ``low``, (n, d) each: because a feature is large, because it is small. They
            add up to the score.
        """
        trees, points, _ = self._trees_and_points(X)
        with self._answering():
            return queries.attribution(trees, points, self._leaf, ignore_leaf_mass)

    def codisp(self, X: Any) -> NDArray[np.float64]:
        """Collusive displacement, the score of the paper (Guha et al. 2016).

        By how much the trees would grow simpler, at most, for each row of a group with this one
        that left them; for rows not in the trees, as if they were.

        Parameters
        ----------
        X : array-like or sparse matrix

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        trees, points, _ = self._trees_and_points(X)
        with self._answering():
            return queries.codisplacements(trees, points)

    def density(self, X: Any) -> Density:
        """How many of the trees' rows are near.

        Parameters
        ----------
        X : array-like or sparse matrix

        Returns
        -------
        Density
            ``.density()`` (n,), ``.directional()``, ``.distances``.
        """
        trees, points, _ = self._trees_and_points(X)
        with self._answering():
            return queries.density(trees, points)

    def neighbours(self, X: Any, within: float = np.inf) -> Neighbours:
        """Rows of the trees that come to lie beside rows of X.

        Parameters
        ----------
        X : array-like or sparse matrix
        within : float
            Only rows whose Euclidean distance is smaller.

        Returns
        -------
        Neighbours
            For each row ``points``, ``distances`` and ``counts``, the number of trees that answered
            with the point, the nearest first.
        """
        trees, points, _ = self._trees_and_points(X)
        with self._answering():
            return queries.neighbours(trees, points, within)

    def impute(
        self, X: Any, missing: Any = None, *, centrality: float = 1.0, percentile: float = 0.9
    ) -> Imputation:
        """Fill what is missing by what rows of the trees have there.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
        missing : array-like of bool, shape (n, n_features), optional
            Default: where X is NaN.
        centrality : float
            1: each tree answers with what fits best; 0: by chance.
        percentile : float
            What ``upper`` is; ``lower`` is its opposite.

        Returns
        -------
        Imputation
            ``median``, ``mean``, ``deviation``, ``lower`` and ``upper`` of the trees' answers,
            (n, d) each, with the known values as they are.
        """
        trees, points, gaps = self._trees_and_points(X, missing)
        with self._answering():
            return queries.impute(
                trees, points, gaps, centrality=centrality, percentile=percentile,
                seed=self._query_seed(),
            )  # fmt: skip

    def completions(self, X: Any, missing: Any = None, *, centrality: float = 1.0) -> Completions:
        """Rows as each tree fills them; parameters as those of `impute`.

        Returns
        -------
        Completions
            ``points`` (n, trees, d), and how far and how likely they are: ``distances`` and
            ``ranks``, (n, trees) each.
        """
        trees, points, gaps = self._trees_and_points(X, missing)
        with self._answering():
            return queries.completions(
                trees, points, gaps, centrality=centrality, seed=self._query_seed()
            )

    def typical(self, X: Any, missing: Any = None, *, centrality: float = 1.0) -> list[Typical]:
        """A few ways to fill each row, with their shares; parameters as those of `impute`."""
        trees, points, gaps = self._trees_and_points(X, missing)
        with self._answering():
            return queries.typical(
                trees, points, gaps, centrality=centrality, seed=self._query_seed()
            )

    def _query_seed(self) -> int:
        return int(self.random_state) if isinstance(self.random_state, int | np.integer) else 0
