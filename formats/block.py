"""Block: some rows as named columns.

A column is an array (rows first), a `Csr` or a `Ragged`; while rows are shuffled, maybe a `Taken`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of unequal length: row i is ``values[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    values : ndarray, shape (total,)
    offsets : ndarray of int64, shape (n_rows + 1,)
        Ascending, from ``offsets[0]``, which need not be 0.
    """

    values: Array
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, key: slice | NDArray[np.intp]) -> "Ragged":
        if isinstance(key, slice):
            a, b, step = key.indices(len(self))
            if step != 1:
                raise ValueError("ragged rows are sliced with step 1")
            return Ragged(self.values, self.offsets[a : max(a, b) + 1])
        lengths = np.diff(self.offsets)[key]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        at = np.repeat(self.offsets[:-1][key] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.values[at], offsets)

    def row(self, i: int) -> Array:
        """The values of row i."""
        values: Array = self.values[self.offsets[i] : self.offsets[i + 1]]
        return values

    def tight(self) -> "Ragged":
        """The same rows with offsets from 0 and no value outside them."""
        a, b = int(self.offsets[0]), int(self.offsets[-1])
        if a == 0 and b == len(self.values):
            return self
        return Ragged(self.values[a:b], self.offsets - a)

    def map(self, f: Callable[[Array], Array]) -> "Ragged":
        """The same rows with f applied to each array (say, to put them on a device)."""
        return Ragged(f(self.values), f(self.offsets))

    @staticmethod
    def of(rows: Sequence[Any], dtype: Any) -> "Ragged":
        """From a sequence of one-dimensional rows."""
        lengths = [len(r) for r in rows]
        parts = [np.asarray(r, dtype) for r in rows]
        values = np.concatenate(parts) if parts else np.empty(0, dtype)
        return Ragged(values, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))

    @staticmethod
    def join(parts: Sequence["Ragged"]) -> "Ragged":
        """One after another."""
        tight = [p.tight() for p in parts]
        ends = np.cumsum([0] + [int(p.offsets[-1]) for p in tight])
        offsets = [tight[0].offsets[:1]] + [
            p.offsets[1:] + e for p, e in zip(tight, ends, strict=False)
        ]
        return Ragged(np.concatenate([p.values for p in tight]), np.concatenate(offsets))


@dataclass(frozen=True, eq=False)
class Csr:
    """Sparse rows. Slicing shares memory: row i is at ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    values : ndarray of float32, shape (nnz,)
    indices : ndarray of int32, shape (nnz,)
        Columns, 0-based, below `width`; in a row in any order.
    offsets : ndarray of int64, shape (n_rows + 1,)
        From ``offsets[0]``, which need not be 0.
    width : int
        Number of columns.
    """

    values: Array
    indices: NDArray[np.int32]
    offsets: NDArray[np.int64]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return len(self), self.width

    @property
    def dtype(self) -> Any:
        """dtype of the values"""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, key: slice | NDArray[np.intp]) -> "Csr":
        if isinstance(key, slice):
            offsets = Ragged(self.values, self.offsets)[key].offsets
            return Csr(self.values, self.indices, offsets, self.width)
        values = Ragged(self.values, self.offsets)[key]
        indices = Ragged(self.indices, self.offsets)[key]
        return Csr(values.values, indices.values, values.offsets, self.width)

    def tight(self) -> "Csr":
        """The same rows with offsets from 0 and no entry outside them."""
        v, i = Ragged(self.values, self.offsets).tight(), Ragged(self.indices, self.offsets).tight()
        return Csr(v.values, i.values, v.offsets, self.width)

    def map(self, f: Callable[[Array], Array]) -> "Csr":
        """The same rows with f applied to each array."""
        return Csr(f(self.values), f(self.indices), f(self.offsets), self.width)

    def toarray(self, *, missing: bool = False) -> NDArray[np.float32]:
        """Dense rows, zeros where nothing is stored; entries of one column are added.

        With `missing`, NaN where nothing is stored; of entries of one column, the last counts.
        """
        tight = self.tight()
        places = np.repeat(np.arange(len(self)), np.diff(self.offsets)), tight.indices
        out = np.full(self.shape, np.nan if missing else 0, self.values.dtype)
        if missing:
            out[places] = tight.values
        else:
            np.add.at(out, places, tight.values)
        return out

    @staticmethod
    def of(dense: Array) -> "Csr":
        """The entries of dense rows that are not zero (NaN counts as an entry)."""
        row, column = np.nonzero(dense)
        offsets = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=len(dense)))))
        values = dense[row, column]
        return Csr(values, column.astype(np.int32), offsets.astype(np.int64), dense.shape[1])

    @staticmethod
    def join(parts: Sequence["Csr"]) -> "Csr":
        """One after another; all of one width."""
        if len({p.width for p in parts}) > 1:
            raise ValueError(f"rows of {sorted({p.width for p in parts})} columns cannot be joined")
        v = Ragged.join([Ragged(p.values, p.offsets) for p in parts])
        i = Ragged.join([Ragged(p.indices, p.offsets) for p in parts])
        return Csr(v.values, i.values, v.offsets, parts[0].width)


@dataclass(frozen=True, eq=False)
class Taken:
    """Rows of an array or `Csr`, in any order, that are not copied until someone needs them to be.

    What works through rows by number spares the copy; all else takes it for an array.

    Parameters
    ----------
    array : ndarray, shape (n, d), C-ordered; or Csr
    rows : ndarray of int64
        Numbers of rows of the array.
    """

    array: Array | Csr
    rows: NDArray[np.int64]
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return len(self.rows), self.array.shape[1]

    @property
    def dtype(self) -> Any:
        """dtype of the array"""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: slice | NDArray[np.intp]) -> "Taken":
        return Taken(self.array, self.rows[key])

    @property
    def sparse(self) -> bool:
        """Whether they are rows of a `Csr`."""
        return isinstance(self.array, Csr)

    def copied(self) -> Any:
        """The rows themselves: an array, or a `Csr`."""
        if isinstance(self.array, Csr):
            return self.array[self.rows]
        return self.array.take(self.rows, axis=0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        rows = self.copied()
        return np.asarray(rows.toarray() if isinstance(rows, Csr) else rows, dtype)

    @staticmethod
    def join(parts: Sequence["Taken"]) -> Any:
        """One after another: copied, where they are rows of several."""
        array = parts[0].array
        if all(p.array is array for p in parts):
            return Taken(array, np.concatenate([p.rows for p in parts]))
        if parts[0].sparse:
            return Csr.join([p.copied() for p in parts])
        return np.concatenate([p.copied() for p in parts])


Column: TypeAlias = Array | Csr | Ragged | Taken


def _take(column: Column, rows: NDArray[np.intp]) -> Column:
    # numpy.take copies whole rows, at three times the speed of an index in brackets
    return column.take(rows, axis=0) if isinstance(column, np.ndarray) else column[rows]


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows as named columns.

    Parameters
    ----------
    columns : mapping of str to ndarray, Csr, Ragged or Taken
        All of one length. The usual ones are ``features`` (n, d), ``labels`` (n,) or (n, m) and
        ``weights`` (n,), float32.
    start : int
        Number of the first row within the pass (or file) that the block belongs to.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    start: int = 0

    @property
    def features(self) -> Any:
        """The features column: (n, d) array or Csr."""
        return self.columns["features"]

    @property
    def labels(self) -> Any:
        """The labels column, or None."""
        return self.columns.get("labels")

    @property
    def weights(self) -> Any:
        """The weights column, or None."""
        return self.columns.get("weights")

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        if isinstance(key, slice):
            first = key.indices(len(self))[0]
            return Block({n: c[key] for n, c in self.columns.items()}, self.start + first)
        return Block({n: _take(c, key) for n, c in self.columns.items()}, self.start)

    def __len__(self) -> int:
        return next((len(c) for c in self.columns.values()), 0)

    def replace(self, **columns: Column) -> "Block":
        """The same rows with some columns put in or exchanged."""
        return Block({**self.columns, **columns}, self.start)

    def at(self, start: int) -> "Block":
        """The same rows, numbered from `start`."""
        return Block(self.columns, start)

    def pick(self, rows: NDArray[np.int64]) -> "Block":
        """As ``[rows]``, but that features are not copied yet (`Taken`)."""
        columns = dict(self.columns)
        features = columns.get("features")
        if isinstance(features, np.ndarray):
            if features.ndim == 2 and features.flags.c_contiguous:
                columns["features"] = Taken(features, rows)
        elif isinstance(features, Csr):
            columns["features"] = Taken(features, rows)
        return Block(
            {n: c if isinstance(c, Taken) else _take(c, rows) for n, c in columns.items()},
            self.start,
        )

    def batches(self, size: int) -> Iterator["Block"]:
        """Consecutive parts of `size` rows, the last one maybe shorter."""
        return (self[i : i + size] for i in range(0, len(self), size))

    def on(self, k: Any) -> "Block":
        """The same block with its arrays on the device of the kernels `k`."""
        columns: dict[str, Column] = {}
        for name, c in self.columns.items():
            columns[name] = c.map(k.asarray) if isinstance(c, Csr | Ragged) else k.asarray(c)
        return Block(columns, self.start)

    @staticmethod
    def of(features: Any, labels: Any = None, weights: Any = None) -> "Block":
        """A block of ordinary rows; SciPy's sparse rows become a `Csr`."""
        if hasattr(features, "tocsr"):
            m = features.tocsr()
            # Not copied, as values are not; yet a view: what was looked through is known by it.
            indices = m.indices.astype(np.int32, copy=False).view()
            features = Csr(m.data, indices, m.indptr.astype(np.int64), m.shape[1])
        given = {"features": features, "labels": labels, "weights": weights}
        return Block({n: c for n, c in given.items() if c is not None})

    @staticmethod
    def join(blocks: Sequence["Block"]) -> "Block":
        """One after another; numbered from the start of the first."""
        if len(blocks) == 1:
            return blocks[0]
        columns: dict[str, Column] = {}
        for name, first in blocks[0].columns.items():
            parts: list[Any] = [b.columns[name] for b in blocks]
            joined = np.concatenate if isinstance(first, np.ndarray) else type(first).join
            columns[name] = joined(parts)
        return Block(columns, blocks[0].start)
