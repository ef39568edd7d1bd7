"""Windows of a series."""

import numpy as np
import pytest

from smalgos import shingle
from smalgos.errors import UserError


def test_windows():
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert shingle(rows, 3).tolist() == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9]]
    assert shingle(rows, 3).dtype == np.float32
    assert shingle(range(4), 2).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert shingle(range(4), 2).dtype == np.float64
    assert np.array_equal(shingle(rows, 1), rows)
    assert shingle(rows, 5).shape == (1, 10)
    assert np.isnan(shingle([1.0, np.nan, 3.0], 2)).sum() == 2


@pytest.mark.parametrize(("series", "width", "match"), [
    ([1, 2, 3], 4, "width=4: must be a whole number from 1 to the 3 rows"),
    ([1, 2, 3], 0, "width=0"),
    ([1, 2, 3], 1.5, "width=1.5"),
    ([1, 2, 3], True, "width=True"),
    (np.zeros((2, 2, 2)), 1, r"shape \(2, 2, 2\)"),
    (5.0, 1, r"shape \(\)"),
    (["a", "b"], 1, "numbers"),
])  # fmt: skip
def test_what_is_no_series(series, width, match):
    with pytest.raises(UserError, match=match):
        shingle(series, width)
