"""Hyperparameters of the streaming Random Cut Forest."""

from smalgos.errors import UserError
from smalgos.learning import AUTO, Parameters, param


class StreamingRandomCutForestParameters(Parameters):
    """Hyperparameters of the streaming Random Cut Forest, as AWS's open library has them."""

    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features of a row of the stream",
    )  # fmt: skip
    num_trees: int = param(
        default=50, low=1, tune=(10, 200),
        doc="trees of the forest: the more, the less noise is in the scores",
    )  # fmt: skip
    num_samples_per_tree: int = param(
        default=256, low=1, high=1 << 20, tune=(32, 2048), scale="log",
        doc="points that each tree holds; its inverse is about the share of anomalies to expect",
    )  # fmt: skip
    time_decay: float = param(
        default=AUTO, auto=lambda p, spec: 0.1 / p.num_samples_per_tree, low=0, high=1,
        tune=(1e-6, 1e-2), scale="log",
        doc="how fast old points leave the samples: those of age t weigh exp(-time_decay t), so "
        "that its inverse is about the mean life of a point; 0: uniform samples of all that came; "
        "auto: 0.1 / num_samples_per_tree",
    )  # fmt: skip
    output_after: int = param(
        default=AUTO, auto=lambda p, spec: max(1, p.num_samples_per_tree // 4), low=1,
        doc="points that are learnt before scores differ from 0; auto: a quarter of "
        "num_samples_per_tree",
    )  # fmt: skip
    shingle_size: int = param(
        default=1, low=1, tune=(1, 64),
        doc="consecutive rows that make a point, so that a forest sees the shape of a series; "
        "without internal_shingling, rows are such points already",
    )  # fmt: skip
    shingle_lag: int = param(
        default=1, low=1, doc="rows from one row of a point to the next, of internal shingles"
    )
    internal_shingling: bool = param(
        default=False,
        doc="make points of shingle_size rows, the last of which is the newest, as rows come",
    )
    internal_rotation: bool = param(
        default=False,
        doc="let a new row take the place of the oldest one in the point, in place of moving all "
        "rows on by one: what a row means then depends on its place in a period of shingle_size",
    )
    initial_accept_fraction: float = param(
        default=1.0, above=0, high=1,
        doc="share of its sample that a tree takes whole from the first points; beyond it, fewer "
        "and fewer of them are taken, so that trees differ earlier",
    )  # fmt: skip
    impute_missing: bool = param(
        default=False,
        doc="fill NaN with what the forest expects, in the place of raising an error; until it "
        "gives scores, with the value of the row before, or 0",
    )
    use_imputed_fraction: float = param(
        default=0.5, low=0, high=1,
        doc="points of which this share or more was imputed are scored, but not learnt",
    )  # fmt: skip
    interval: float | None = param(
        default=None, above=0,
        doc="usual time between rows, which timestamps are held against: where rows are missing, "
        "internal shingles begin anew or, with impute_missing, the missing rows are imputed",
    )  # fmt: skip
    contamination: float = param(
        default=AUTO, auto=AUTO, above=0, high=0.5,
        doc="share of the points that count as anomalies; auto: those of a score more than three "
        "standard deviations above the mean",
    )  # fmt: skip

    def cross_check(self) -> None:
        """Check rules between hyperparameters; raise `UserError`."""
        if not self.internal_shingling and (self.internal_rotation or self.shingle_lag > 1):
            name = "internal_rotation" if self.internal_rotation else "shingle_lag"
            raise UserError(
                f"{name}={getattr(self, name)}: only internal shingles have it; take "
                "internal_shingling=True"
            )

    def point_width(self, width: int) -> int:
        """Coordinates of a point that is made of rows of so many features.

        Raises
        ------
        UserError
            When rows cannot be points of `shingle_size` rows of a series.
        """
        if self.internal_shingling:
            return width * self.shingle_size
        if width % self.shingle_size:
            raise UserError(
                f"shingle_size={self.shingle_size}: rows of {width} features are not points of as "
                "many rows; take internal_shingling=True to have them made"
            )
        return width
