"""Checks of rows that most algorithms need; the driver names file and row of what they find."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.kernels import load


def host() -> Any:
    """What the kernels of all subjects share, for rows that are not on a device yet."""
    return load("shared", "cpu")


def check_finite(block: Block, k: Any) -> None:
    """Raise `RowError` for the first feature that is NaN or infinite; k are the kernels."""
    features = block.features
    if k.all_finite(features.tight().values if isinstance(features, Csr) else features):
        return
    for i in range(len(block)):
        blame_row(block, i)


def blame_row(block: Block, i: int) -> None:
    """Raise `RowError` if row i holds a feature that is NaN or infinite, naming its column."""
    row = block.features[i : i + 1]
    values = row.tight().values if isinstance(row, Csr) else np.asarray(row)[0]
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        column = int(row.tight().indices[bad[0]]) if isinstance(row, Csr) else int(bad[0])
        raise RowError(
            block.start + i,
            f"feature {column} is {_said(values[bad[0]])}; fill or remove what is missing",
        )


def _said(x: Any) -> str:
    return "NaN" if np.isnan(x) else "infinite"


def check_labels(block: Block, good: NDArray[np.bool_], allowed: str) -> None:
    """Raise `RowError` for the first label that is not good."""
    if not good.all():
        i = int(np.argmin(good))
        raise RowError(block.start + i, f"label {block.labels[i]:g}: {allowed}")


def single_labels(block: Block) -> Any:
    """The labels (n,) of a block.

    Raises
    ------
    UserError
        When there are none, or several per row.
    """
    labels = block.labels
    if labels is None:
        raise UserError(
            "the rows have no labels: this algorithm learns from labelled ones (CSV: the first "
            "column, label_size=1; RecordIO: label['values'])"
        )
    if labels.ndim > 1:
        raise UserError(f"the rows have {labels.shape[1]} labels each: this algorithm takes one")
    return labels
