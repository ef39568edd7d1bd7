"""The pass over the rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.pca.model import PCAModel
from smalgos.algorithms.pca.parameters import PCAParameters
from smalgos.algorithms.pca.sums import Exact, Sketch, Sums
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block
from smalgos.learning import Pass, Spec, State, require_shaped
from smalgos.learning.rows import blame_row

LOOK_ROWS = 1000  # the rows whose mean the sums are taken about
BLOCK_BYTES = 1 << 25  # of features in a block


def directions_of(p: PCAParameters, d: int, device: str) -> int | None:
    """How many directions a sketch works with; None where all is summed."""
    if p.algorithm_mode != "randomized":
        return None
    extra = max(10, int(p.num_components)) if p.extra_components < 0 else p.extra_components
    return Sketch.columns(d, int(p.num_components) + extra, device)


class PCAState(State):
    """Sums of products of the rows about a shift."""

    kernels = "moments"

    shift: NDArray[np.float32] | None  # (d,)
    sums: Sums
    found: int  # 1 behind a pass that another one follows: what it has found is where that looks

    def begin(self, spec: Spec) -> None:
        """Allocate the sums."""
        d, k = spec.width, self.p.num_components
        if k > d:
            raise UserError(f"num_components={k}: the rows have {d} features")
        if k < 1 and self.p.algorithm_mode == "randomized":
            raise UserError(
                f"num_components={k}: how many components have this share of the variance is not "
                "known from a sketch; take algorithm_mode=regular, or a number of components"
            )
        m = directions_of(self.p, d, self.k.device)
        if m is None:
            self.budget = 1
            self.sums = Exact(d, self.k.device, self.p.algorithm_mode == "stable")
        else:
            self.sums = Sketch(d, m, self.k.device, self.p.random_state)
        self.found = 0
        # Sparse rows are summed about zero: shifted ones would not be sparse.
        self.shift = self.k.xp.zeros(d, np.float32) if spec.sparse else None

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless the file's sums are as large as `begin` makes them."""
        p, d = parameters.resolved(spec), spec.width
        m = directions_of(p, d, spec.device) if p.num_components >= 1 else None
        name, columns = ("gram", d) if m is None else ("product", m)
        require_shaped(name, flat.get(f"sums.{name}"), (d, columns), np.float64)

    def next_pass(self) -> Pass | None:
        """A look at the first rows for the shift, then all rows once, or `epochs` times."""
        looks = not self.spec.sparse or isinstance(self.sums, Sketch)
        if self.passes == 0 and looks:
            return Pass("shift", self.look, rows=LOOK_ROWS, limit=LOOK_ROWS, look=True)
        if self.epoch < self.budget:
            return Pass("train", self.update, self.end_pass, rows=self.block_rows(), epoch=True)
        return None

    def block_rows(self) -> int:
        """Several chunks of the kernels, which are tasks for as many threads."""
        fitting = BLOCK_BYTES // (4 * max(self.spec.width, 1))
        return int(max(fitting // self.k.ROWS, 1) * self.k.ROWS)

    def look(self, block: Block) -> None:
        """The mean of the first rows, and what a sketch makes of them."""
        if not self.spec.sparse:
            shift = self.k.total(block.features) / len(block)
            self.shift = np.nan_to_num(shift, posinf=0, neginf=0).astype(np.float32)
        if isinstance(self.sums, Sketch) and self.shift is not None:
            self.sums.aim(block.features, self.shift, self.p.subtract_mean)

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        if self.shift is not None:
            require_shaped("shift", self.shift, (self.spec.width,), np.float32)
        if self.sums.count < 0:
            raise UserError("the number of rows is negative")

    def update(self, block: Block) -> None:
        """Add the rows' products."""
        assert self.shift is not None, "rows are looked at before they are summed"
        if self.found and isinstance(self.sums, Sketch):
            m = self.sums.directions.shape[1]
            self.sums.turn(self.sums.solve(self._centre(), m).vectors)
            self.found = 0
        bad = self.sums.add(block.features, self.shift)
        if bad >= 0:
            blame_row(block, bad)

    def end_pass(self) -> None:
        """Note whether another pass follows; until it begins, the model is that of this one."""
        self.found = int(self.epoch + 1 < self.budget)

    def _centre(self) -> NDArray[np.float64]:
        """What the components are taken about, less the shift."""
        if self.p.subtract_mean:
            return self.sums.total / self.sums.count
        return -np.asarray(self.shift, np.float64)

    def finish(self) -> PCAModel:
        """Solve the eigenproblem of the scatter matrix."""
        if self.shift is None or not self.sums.count:
            raise NotReady("PCA has seen no rows yet")
        centre = self._centre()
        found = self.sums.solve(centre, self.p.num_components)
        return PCAModel(
            self.k.device,
            notes={"hyperparameters": self.p.as_dict()},
            v=found.vectors.astype(np.float32),
            s=np.sqrt(np.maximum(found.values, 0)),
            mean=(self.shift + centre).astype(np.float32),
            trace=found.trace,
            n=self.sums.count,
            whiten=self.p.whiten,
        )
