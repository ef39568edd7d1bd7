"""The one loop over passes and blocks.

`fit`, `partial_fit` and the container all end here, so that exact blocks, reading ahead,
checkpoints, time limits, callbacks and the naming of bad rows are written once.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream, ahead, conform, cut
from smalgos.learning import files
from smalgos.learning.model import split
from smalgos.learning.rows import check_finite
from smalgos.learning.state import Pass, State

Report = Callable[..., Any]
Channels = Mapping[str, Stream]


def quiet(event: str, **facts: Any) -> None:
    """A reporter that says nothing.

    A reporter is called with ``"begin"`` (state), ``"batch"`` (state, p: after each block),
    ``"pass"`` (state, p, metrics, rows: after each pass) and ``"stop"`` (state, why). Returning
    True from "batch" or "pass" asks to stop.
    """


class Checkpoint:
    """Writes a state to one file, always whole, now and then.

    Parameters
    ----------
    path : str or Path
    seconds : float
        Least time between two writings.
    blocks : int, optional
        Instead: write behind every so many blocks.
    identity : dict, optional
        JSON values that must be equal for a resume: the channels' fingerprints.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seconds: float = 60.0,
        blocks: int | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.seconds, self.blocks = seconds, blocks
        self.identity = dict(identity or {})
        self._last, self._count = time.monotonic(), 0

    def _meta(self, state: State) -> dict[str, Any]:
        return {
            "checkpoint": type(state).__name__,
            "parameters": state.p.as_dict(),
            "identity": self.identity,
        }

    def offer(self, state: State, *, force: bool = False) -> None:
        """Write, when it is time."""
        self._count += 1
        if self.blocks is not None:
            due = self._count % self.blocks == 0
        else:
            due = time.monotonic() - self._last >= self.seconds
        if due or force:
            arrays, scalars = split(state.snapshot(state.k.to_host))
            files.write(self.path, arrays, self._meta(state) | {"scalars": scalars})
            self._last = time.monotonic()

    def resume(self, state: State) -> bool:
        """Bring a fresh state to where the file left off; False when there is no file.

        Raises
        ------
        UserError
            When the file belongs to other hyperparameters or other data, or is damaged.
        """
        if not self.path.exists():
            return False
        arrays, meta = files.read(self.path)
        for key, value in self._meta(state).items():
            if meta.get(key) != value:
                raise UserError(
                    f"{self.path}: this checkpoint was written with other {NAMES[key]}; "
                    "remove it to start afresh, or give the same again"
                )
        scalars = meta.get("scalars")
        try:
            state.admit(arrays | (scalars if isinstance(scalars, dict) else {}), state.k.asarray)
        except UserError as e:
            raise UserError(
                f"{self.path}: this checkpoint cannot be used: {e}; remove it"
            ) from None
        return True


NAMES = {"checkpoint": "code", "parameters": "hyperparameters", "identity": "data"}


def train(
    state: State,
    channels: Channels,
    *,
    report: Report = quiet,
    checkpoint: Checkpoint | None = None,
    time_limit: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    n_jobs: int | None = None,
) -> str:
    """Run passes until the state wants none.

    Parameters
    ----------
    state : State
    channels : mapping of str to Stream
    report : callable
        See `quiet`.
    checkpoint : Checkpoint, optional
        Resumed from at the start, offered the state behind each block and pass.
    time_limit : float, optional
        Seconds.
    stop : callable
        Asked behind each block; True stops.
    n_jobs : int, optional
        Threads; None or -1: one per core.

    Returns
    -------
    {"done", "time", "stopped"}

    Raises
    ------
    UserError
        For bad data, named by file and row.
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit

    def why() -> str | None:
        if deadline is not None and time.monotonic() > deadline:
            return "time"
        return "stopped" if stop() else None

    if checkpoint is not None:
        checkpoint.resume(state)
    report("begin", state=state)
    ended: str | None = None
    with state.k.threads(n_jobs):
        while ended is None and (p := state.next_pass()) is not None:
            ended = run_pass(state, p, channels, report, checkpoint, why)
            with naming(p, channels):
                if ended is None and end_pass(state, p, report):
                    ended = "stopped"
            if checkpoint is not None and not p.hold:
                checkpoint.offer(state, force=ended is not None)
    report("stop", state=state, why=ended or "done")
    return ended or "done"


def run_pass(
    state: State,
    p: Pass,
    channels: Channels,
    report: Report = quiet,
    checkpoint: Checkpoint | None = None,
    why: Callable[[], str | None] = lambda: None,
) -> str | None:
    """Feed one pass; the reason, when it was left early.

    Apart from `end_pass`, so that several states can share a pass and be merged before it ends.
    """
    row = 0 if p.hold else state.row
    with naming(p, channels):
        for item, n in _items(state, p, channels, row):
            p.update(item)
            row += n
            if not p.hold:
                state.row = row
            if p.epoch and p.channel is not None:
                state.seen += n
            asked = report("batch", state=state, p=p)
            if checkpoint is not None and not p.hold:
                checkpoint.offer(state)
            if reason := "stopped" if asked else why():
                return reason
    if row == 0 and p.channel is not None:
        raise UserError(f"no rows in the {p.channel} channel: there is nothing to learn from")
    return None


@contextmanager
def naming(p: Pass, channels: Channels) -> Iterator[None]:
    """Name what is wrong with a row of a pass's channel."""
    try:
        yield
    except RowError as e:
        if p.channel is None:
            raise
        where = channels[p.channel].where(e.row)
        raise UserError(f"{p.channel} channel, {where}: {e.what}") from e


def end_pass(state: State, p: Pass, report: Report = quiet) -> bool:
    """Close a pass; True when the reporter asks to stop."""
    metrics = (p.end() if p.end is not None else None) or {}
    rows = state.row
    if not p.hold:  # a refill leaves the position alone: it may stand inside the next pass
        state.row = 0
        state.passes += 1
        state.epoch += int(p.epoch)
    return bool(report("pass", state=state, p=p, metrics=metrics, rows=rows))


def _items(state: State, p: Pass, channels: Channels, skip: int) -> Iterator[tuple[Any, int]]:
    """(block or step, rows) of a pass, from row `skip` on."""
    if p.channel is None:
        yield from ((i, 1) for i in range(skip, p.steps))
        return
    stream = channels[p.channel]
    rows = p.rows * (HELD if p.by_number and isinstance(stream, Arrays) else 1)
    size = max(rows // p.batch, 1) * p.batch
    order = (state.spec.seed, state.epoch) if p.shuffle else None
    prepare = p.prepare or (lambda block: block.on(state.k))

    def fit(block: Block) -> Block:
        # Weights are the only column that may be absent where train has it.
        columns = state.spec.columns
        like = {n: k for n, k in columns.items() if n != "weights" or n in block}
        return conform(block, like, by_number=p.by_number)

    def prepared(block: Block) -> tuple[Block, int]:
        return prepare(block), len(block)

    blocks = stream.open(order, limited=p.look, rows=size)
    exact = cut(blocks, size, batch=p.batch, limit=p.limit, tail=p.tail, skip=skip, like=fit)
    yield from ahead(exact, prepared)


def evaluate(model: Any, accumulator: Any, stream: Stream, *, limit: int | None = None) -> Any:
    """The accumulator, after the model's answers on all rows of a stream.

    Raises
    ------
    UserError
        For bad data, named by file and row.
    """

    def checked(block: Block) -> Block:
        if "features" in block:
            check_finite(block, model.k)
        return block

    try:
        for block in ahead(cut(stream.open(), EVALUATE_ROWS, limit=limit), checked):
            accumulator.add(block.labels, model.predict(block.on(model.k)), block.weights)
    except RowError as e:
        raise UserError(f"{stream.where(e.row)}: {e.what}") from e
    return accumulator


HELD = 4  # times as many rows as are read from files make a block where only numbers of rows do
EVALUATE_ROWS = 16384  # a few megabytes at a hundred features
