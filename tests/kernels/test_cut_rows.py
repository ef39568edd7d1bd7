"""One row's score has the bits that it has among others."""

import numpy as np
import pytest

from smalgos.kernels import load


@pytest.mark.parametrize(("trees", "width"), [(1, 1), (3, 4), (70, 20)])
def test_as_among_others(trees, width):
    forests, rows = load("random_cut_forest"), load("cut_rows")
    rng = np.random.default_rng(width)
    X = rng.standard_normal((60, width)).astype(np.float32).round(1)
    stream = forests.CutStream(trees, 16, width, 0.01)
    for i in (0, 1, 2, 20, 60):  # no point, a leaf alone, and more
        stream.update(X[stream.seen : i])
        queries = np.concatenate([X[:4], 5 * X[4:8]])
        one = [rows.score_of_row(stream.trees, x) for x in queries]
        assert one == stream.trees.scores(queries, "library").tolist()
