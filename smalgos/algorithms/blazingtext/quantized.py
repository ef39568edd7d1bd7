"""Rows of a table as codes: a byte for each few numbers, as fastText's ``.ftz`` files have them.

Product quantisation (Jegou, Douze and Schmid, IEEE TPAMI 33, 2011), with norms apart if asked for
(Joulin et al. 2016, "FastText.zip", arXiv:1612.03651, section 3).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.kernels import load as load_kernels

__all__ = ["CODES", "Quantized", "codes_per_row", "quantize"]

CODES = 256  # of a part: what a byte tells apart
ITERATIONS = 25  # of Lloyd's, as in fastText
SAMPLE = 256 * CODES  # rows that codes are learnt from, as in fastText
ROWS = 1 << 16  # decoded together


def codes_per_row(dim: int, dsub: int) -> int:
    """How many bytes a row of `dim` numbers takes, `dsub` of which share one; the last fewer."""
    return -(-dim // dsub)


@dataclass(frozen=True, eq=False)
class Quantized:
    """Rows that are kept as codes.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, parts)
    centroids : ndarray of float32, shape (256 * dim,)
        Part after part, of each code after code: `dsub` numbers, the last part maybe fewer.
    dim, dsub : int
    norms : ndarray of uint8, shape (n,), optional
        Codes of what rows are multiplied by.
    norm_centroids : ndarray of float32, shape (256,), optional
    """

    codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    dim: int
    dsub: int
    norms: NDArray[np.uint8] | None = None
    norm_centroids: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, dim)"""
        return len(self.codes), self.dim

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, numbers: NDArray[Any] | slice) -> NDArray[np.float32]:
        """The rows of these numbers, decoded.

        Returns
        -------
        ndarray of float32, shape (m, dim)
        """
        codes = self.codes[numbers]
        out = np.empty((len(codes), self.dim), np.float32)
        for part in range(self.codes.shape[1]):
            first = part * self.dsub
            width = min(self.dsub, self.dim - first)
            book = self.centroids[first * CODES : (first + width) * CODES].reshape(CODES, width)
            out[:, first : first + width] = book[codes[:, part]]
        if self.norms is not None and self.norm_centroids is not None:
            out *= self.norm_centroids[self.norms[numbers]][:, None]
        return out

    def dense(self) -> NDArray[np.float32]:
        """All rows, decoded."""
        out = np.empty(self.shape, np.float32)
        for first in range(0, len(self), ROWS):
            out[first : first + ROWS] = self.rows(slice(first, first + ROWS))
        return out


def quantize(
    matrix: NDArray[np.float32], dsub: int = 2, qnorm: bool = False, seed: int = 0
) -> Quantized:
    """Learn codes for the rows of a table, and take them.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, dim)
        n >= 256.
    dsub : int
        Numbers that share a code.
    qnorm : bool
        Code the norms by themselves, the directions apart.
    seed : int
        For the choice of rows to learn from, and to begin with.

    Raises
    ------
    UserError
        There are too few rows, or `dsub` is out of range.
    """
    n, dim = matrix.shape
    if n < CODES:
        raise UserError(f"{n} rows are too few to be quantised: at least {CODES} are needed")
    if not 1 <= dsub <= dim:
        raise UserError(f"dsub={dsub}: must be from 1 to the {dim} numbers of a row")
    matrix = np.ascontiguousarray(matrix, np.float32)
    norms = norm_centroids = None
    if qnorm:
        lengths = np.sqrt((matrix.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        matrix = (matrix / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
        book = _book(lengths[:, None], seed, -1)
        norms, norm_centroids = _nearest(lengths[:, None], book), book.reshape(-1)
    codes = np.empty((n, codes_per_row(dim, dsub)), np.uint8)
    books = []
    for part, first in enumerate(range(0, dim, dsub)):
        given = np.ascontiguousarray(matrix[:, first : first + dsub])
        book = _book(given, seed, part)
        codes[:, part] = _nearest(given, book)
        books.append(book.reshape(-1))
    return Quantized(codes, np.concatenate(books), dim, dsub, norms, norm_centroids)


def _nearest(rows: NDArray[np.float32], book: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The nearest of the centroids to each row."""
    k = load_kernels("nearest")
    return np.asarray(k.assign(rows, k.Points(book))[0].astype(np.uint8))


def _book(rows: NDArray[np.float32], seed: int, part: int) -> NDArray[np.float32]:
    """Centroids (256, width) by Lloyd's iterations over some rows."""
    k = load_kernels("lloyd")
    keys = k.uniforms(seed, "quantize", part + 1, 0, len(rows))[:, 0]
    order = np.argsort(keys, kind="stable")[:SAMPLE]
    some = np.ascontiguousarray(rows[order])
    lloyd = k.Lloyd(some, None, some[:CODES])
    for _ in range(ITERATIONS):
        lloyd.assign()
        empty = np.flatnonzero(lloyd.counts == 0)
        far = np.argsort(-lloyd.distances(), kind="stable")[: len(empty)] if len(empty) else empty
        lloyd.update()
        if len(empty):  # to the rows that are farthest from theirs
            centres = lloyd.centres.copy()
            centres[empty] = some[far]
            lloyd.move(centres)
    return np.array(lloyd.centres, np.float32)
