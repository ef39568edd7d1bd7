"""Where the columns of several models lie in panels of sixteen lanes (see `tile`).

Whole models share a *group*, a run of panels: model m of a group has the columns ``m * classes`` up
to ``(m + 1) * classes`` of the run, and the last lanes of a group may hold nothing. Groups are
independent of each other; a plan is the list of them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.kernels.cpu.tile import PANEL, aligned, panels


class Group(NamedTuple):
    """A run of panels that holds whole models.

    Parameters
    ----------
    first, models : int
        Number of the first model, and of models.
    panels : int
    """

    first: int
    models: int
    panels: int


def groups(models: int, classes: int = 1) -> list[Group]:
    """Lay models out: as few panels as can be, then as many groups as can be.

    Parameters
    ----------
    models, classes : int

    Returns
    -------
    list of Group
    """

    def needed(size: int) -> int:
        whole, rest = divmod(models, size)
        return whole * panels(size * classes) + panels(rest * classes)

    size = min(range(1, min(models, PANEL) + 1), key=lambda size: (needed(size), size))
    firsts = range(0, models, size)
    counts = [min(size, models - first) for first in firsts]
    return [Group(f, n, panels(n * classes)) for f, n in zip(firsts, counts, strict=True)]


def lanes(plan: Sequence[Group], classes: int = 1) -> NDArray[np.int64]:
    """The column that each lane holds, -1 where it holds none; shape (P, 16), read-only."""
    return _lanes(tuple(plan), classes)


@lru_cache(maxsize=16)
def _lanes(plan: tuple[Group, ...], classes: int) -> NDArray[np.int64]:
    parts = []
    for group in plan:
        part = np.full(group.panels * PANEL, -1)
        columns = group.models * classes
        part[:columns] = group.first * classes + np.arange(columns)
        parts.append(part)
    found = np.concatenate(parts).reshape(-1, PANEL)
    found.flags.writeable = False
    return found


def pack(w: NDArray[Any], plan: Sequence[Group], classes: int = 1) -> NDArray[np.float32]:
    """Columns as panels, zeros in lanes that hold none.

    Parameters
    ----------
    w : ndarray, shape (k, models * classes)
    plan : list of Group
    classes : int

    Returns
    -------
    ndarray of float32, shape (P, k, 16)
        Starts at a multiple of 64 bytes.
    """
    columns = lanes(plan, classes)
    out = aligned(len(columns), len(w), PANEL)
    out[:] = np.where(columns[:, None] < 0, 0, np.asarray(w)[:, columns].transpose(1, 0, 2))
    return out


def unpack(W: NDArray[Any], plan: Sequence[Group], classes: int = 1) -> NDArray[Any]:
    """The columns that panels hold.

    Parameters
    ----------
    W : ndarray, shape (P, k, 16)
    plan : list of Group
    classes : int

    Returns
    -------
    ndarray, shape (k, models * classes)
    """
    columns = lanes(plan, classes)
    out = np.empty((W.shape[1], columns.max() + 1), W.dtype)
    live = columns >= 0
    out[:, columns[live]] = W.transpose(1, 0, 2)[:, live]
    return out


def spread(values: Any, plan: Sequence[Group], classes: int = 1) -> NDArray[np.float32]:
    """What each model has as what each lane has; lanes of no model take after their neighbour.

    Parameters
    ----------
    values : array_like, shape (models,) or (k, models)
    plan : list of Group
    classes : int

    Returns
    -------
    ndarray of float32, shape (P, 16) or (P, k, 16)
    """
    columns = lanes(plan, classes)
    model = np.maximum.accumulate(columns.reshape(-1)).reshape(columns.shape) // classes
    each = np.asarray(values, np.float32)[..., model]
    return np.ascontiguousarray(np.moveaxis(each, -2, 0))
