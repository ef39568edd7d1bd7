"""Vectors on a map: words among the nearest ones, entities, addresses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smalgos.errors import UserError
from smalgos.estimators.ip_insights import IPInsights
from smalgos.estimators.word2vec import Word2Vec
from smalgos.plot.figures import BLUE, VERMILION, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import FigureBase
    from matplotlib.text import Annotation

# Where a name may stand beside its point: (right, up), each -1, 0 or 1.
BESIDE = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
GAP = 5.0  # points between both


class VectorMapDisplay:
    """Vectors by their first two principal components; `from_estimator` makes it.

    Names that would lie on others are left out.

    Parameters
    ----------
    vectors : array-like of float, shape (n, d)
    names : sequence of str
    marked : int
        So many of the first stand out, and are named in any case.
    title : str

    Attributes
    ----------
    positions : ndarray of float64, shape (n, 2)
    shares : ndarray of float64, shape (2,)
        Of the variance, which both axes show.
    ax_, figure_
        Where it was drawn last.
    points_ : matplotlib PathCollection
    labels_ : dict
        {name: matplotlib Annotation}, of those that are shown.

    Raises
    ------
    UserError
        Of fewer than two vectors, or with another number of names.
    """

    ax_: "Axes"
    figure_: "FigureBase"
    points_: "PathCollection"
    labels_: "dict[str, Annotation]"

    def __init__(
        self, vectors: ArrayLike, names: Sequence[str], marked: int = 0, title: str = ""
    ) -> None:
        given: NDArray[np.float64] = np.asarray(vectors, np.float64)
        self.names, self.marked, self.title = [str(name) for name in names], marked, title
        if given.ndim != 2 or len(given) != len(self.names) or min(given.shape) < 2:
            raise UserError(
                f"vectors of shape {given.shape} with {len(self.names)} names: a map needs two "
                "vectors or more, of two numbers or more, each with a name"
            )
        left, sizes, _ = np.linalg.svd(given - given.mean(axis=0), full_matrices=False)
        self.positions: NDArray[np.float64] = left[:, :2] * sizes[:2]
        self.shares = sizes[:2] ** 2 / max((sizes**2).sum(), np.finfo(float).tiny)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        names: Any,
        *,
        topn: int = 15,
        of: str = "entities",
        ax: "Axes | None" = None,
        **scatter_kw: Any,
    ) -> Self:
        """Draw what an estimator knows of words, entities or addresses.

        Parameters
        ----------
        estimator : Word2Vec or IPInsights
            Fitted.
        names : str or sequence of str
            Words, of which the nearest ones are shown, too; entities or addresses.
        topn : int
            How many nearest words of each word.
        of : {"entities", "addresses"}
            What `names` are, for IPInsights.
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **scatter_kw
            For matplotlib's ``scatter``.

        Returns
        -------
        VectorMapDisplay

        Raises
        ------
        UserError
            For another estimator, or too few names; without matplotlib.
        KeyError
            For a word that is unknown.
        """
        asked = [names] if isinstance(names, str) else list(names)
        if isinstance(estimator, Word2Vec):
            words = dict.fromkeys(asked)
            for word in asked:
                words |= dict.fromkeys(near for near, _ in estimator.most_similar(word, topn=topn))
            vectors = estimator.wv[list(words)]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
            title = f"words near {', '.join(asked)}" if topn else ""
            return cls(vectors, list(words), len(asked), title).plot(ax, **scatter_kw)
        if not isinstance(estimator, IPInsights):
            raise UserError(f"{type(estimator).__name__} is not smalgos' Word2Vec or IPInsights")
        if of not in ("entities", "addresses"):
            raise UserError(f"of={of!r}: must be entities or addresses")
        found = estimator.entity_vectors if of == "entities" else estimator.ip_vectors
        return cls(found(asked), asked, 0, of).plot(ax, **scatter_kw)

    def plot(self, ax: "Axes | None" = None, **scatter_kw: Any) -> Self:
        """Draw it; parameters as those of `from_estimator`.

        Raises
        ------
        UserError
            Without matplotlib.
        """
        ax = axes(ax, height=5.6)
        n = len(self.names)
        colours = [VERMILION] * self.marked + [BLUE] * (n - self.marked)
        options: dict[str, Any] = {"c": colours, "s": 18, **scatter_kw}
        self.points_ = ax.scatter(*self.positions.T, **options)
        for axis, share, nth in zip((ax.xaxis, ax.yaxis), self.shares, ("1st", "2nd"), strict=True):
            axis.set_label_text(f"{nth} principal component ({share:.0%} of the variance)")
        ax.set_title(self.title, fontsize="medium")
        ax.margins(0.12)  # for names
        ax.set_aspect("equal", adjustable="datalim")
        ax.spines[["top", "right"]].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        self.labels_ = self._named(ax)
        return self

    def _named(self, ax: "Axes") -> "dict[str, Annotation]":
        """Names beside points, where there is room, those that are marked first."""
        root = ax.figure.canvas.figure
        root.draw_without_rendering()  # settles where the axes are
        at = ax.transData.transform(self.positions)
        pixels = root.dpi / 72
        room = np.array(ax.get_window_extent().extents)
        taken = [np.concatenate([p - 3 * pixels, p + 3 * pixels]) for p in at]
        labels = {}
        for i, name in enumerate(self.names):
            text = ax.annotate(
                name, self.positions[i], (0, 0), textcoords="offset points", fontsize="small",
                fontweight="bold" if i < self.marked else "normal",
            )  # fmt: skip
            size = np.array(text.get_window_extent().size)
            boxes = [_box(at[i], size, side, GAP * pixels) for side in BESIDE]
            free = [
                j for j, box in enumerate(boxes)
                if _inside(box, room) and not any(_overlap(box, other) for other in taken)
            ]  # fmt: skip
            if not free and i >= self.marked:
                text.remove()
                continue
            side = free[0] if free else 0
            taken.append(boxes[side])
            right, up = BESIDE[side]
            text.set_position((GAP * right, GAP * up))
            text.set_horizontalalignment(("right", "center", "left")[right + 1])
            text.set_verticalalignment(("top", "center", "bottom")[up + 1])
            labels[name] = text
        return labels


def _box(
    point: NDArray[Any], size: NDArray[Any], side: tuple[int, int], gap: float
) -> NDArray[Any]:
    """(left, bottom, right, top) of a text of that size beside a point, in pixels."""
    toward = np.array(side)
    low = point + gap * toward + size * (toward - 1) / 2
    return np.concatenate([low, low + size])


def _overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool((a[:2] < b[2:]).all() and (b[:2] < a[2:]).all())


def _inside(box: NDArray[Any], room: NDArray[Any]) -> bool:
    return bool((box[:2] >= room[:2]).all() and (box[2:] <= room[2:]).all())


def plot_vectors(
    estimator: Any,
    names: Any,
    topn: int = 15,
    of: str = "entities",
    ax: "Axes | None" = None,
    **scatter_kw: Any,
) -> "Axes":
    """Draw vectors on a map; parameters as those of `VectorMapDisplay.from_estimator`.

    Returns
    -------
    matplotlib Axes
    """
    made = VectorMapDisplay.from_estimator(estimator, names, topn=topn, of=of, ax=ax, **scatter_kw)
    return made.ax_
