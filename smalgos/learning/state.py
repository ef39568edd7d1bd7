"""What every algorithm is: a state that says what it wants to read next and takes blocks.

After the streaming model of Liberty et al., "Elastic Machine Learning Algorithms in Amazon
SageMaker" (SIGMOD 2020, doi 10.1145/3318464.3386126), section 2: a small state, updated from
a stream of blocks, mergeable, from which a model can be made at any time.
"""

import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import kinds
from smalgos.kernels import load
from smalgos.learning.parameters import Parameters

T = TypeVar("T")
Sum = Annotated[T, "sum"]  # merging adds what each side learnt
Mean = Annotated[T, "mean"]  # merging mixes in proportion to the rows each side learnt from

Flat = dict[str, Any]  # dotted name -> array or scalar

# Rows of a block where the algorithm does not care: fixed, so that sums do not depend on the source
BLOCK = 8192


class Part:
    """An object whose annotated attributes are all that persists of it.

    Attributes are arrays, numbers, strings, None, other Parts, or dicts of arrays and numbers.
    Those named in `held` stay out of snapshots: rows that another pass over the data brings back.
    """

    held: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fields(cls) -> dict[str, str | None]:
        """{name: "sum", "mean" or None}"""
        roles: dict[str, str | None] = {}
        for base in reversed(cls.__mro__):
            for name, kind in inspect.get_annotations(base).items():
                if typing.get_origin(kind) is not ClassVar:  # type: ignore[comparison-overlap]
                    roles[name] = (getattr(kind, "__metadata__", None) or (None,))[0]
        return {name: role for name, role in roles.items() if name not in cls.held}

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> Flat:
        """All fields as {dotted name: array or scalar}; what is None is left out."""
        flat: Flat = {}
        for name in self.fields():
            value = getattr(self, name, None)
            if isinstance(value, Part):
                inner = value.snapshot(to_host)
                flat |= {f"{name}.{key}": v for key, v in inner.items()}
            elif isinstance(value, dict):
                flat |= {f"{name}.{key}": to_host(v) for key, v in value.items()}
            elif value is not None:
                flat[name] = to_host(value)
        return flat

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """Set all fields from a snapshot; those it lacks become None, or an empty dict.

        `put` is applied to arrays alone.
        """

        def placed(value: Any) -> Any:
            return put(value) if isinstance(value, np.ndarray) else value

        for name in self.fields():
            cut = len(name) + 1
            inner = {key[cut:]: v for key, v in flat.items() if key.startswith(name + ".")}
            now = getattr(self, name, None)
            if isinstance(now, Part):
                now.restore(inner, put)
            elif isinstance(now, dict):
                setattr(self, name, {key: placed(v) for key, v in inner.items()})
            else:
                setattr(self, name, placed(flat[name]) if name in flat else None)
        return self

    def admit(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """`restore` what a file holds, which may be anything.

        Each field must be of the type, dtype and shape that it has now; what is None or an empty
        dict now is left to `check`. Arrays without rows now may have any number of them.

        Raises
        ------
        UserError
            When a field is missing, unknown or unlike what it is now, or `check` fails.
        """
        self._compare(flat)
        self.restore(flat, put)
        self.check()
        return self

    def check(self) -> None:
        """Raise `UserError` unless the fields fit each other, where their kinds do not tell."""

    def _compare(self, flat: Mapping[str, Any]) -> None:
        left = dict(flat)
        for name in self.fields():
            cut = len(name) + 1
            inner = {k[cut:]: left.pop(k) for k in flat if k.startswith(name + ".")}
            now = getattr(self, name, None)
            if isinstance(now, Part):
                now._compare(inner)
            elif isinstance(now, dict):
                if now and now.keys() != inner.keys():
                    raise UserError(f"{name} holds {sorted(inner)}, not {sorted(now)}")
                for key in now:
                    _require_like(f"{name}.{key}", inner[key], now[key])
            elif now is None:
                left.pop(name, None)
            elif name not in left:
                raise UserError(f"{name} is missing")
            else:
                _require_like(name, left.pop(name), now)
        if left:
            raise UserError(f"{min(left)} is unknown")

    def merge(self, other: Any, base: Any) -> None:
        """Take in what `other` learnt since both were equal to `base`, by the fields' roles.

        ``Sum``: self + other - base. ``Mean``: self moves towards other by other's share of the
        rows that both learnt from. The rest stays.
        """
        rows = [getattr(part, "seen", 0) - getattr(base, "seen", 0) for part in (self, other)]
        share = rows[1] / max(sum(rows), 1)

        def one(role: str, a: Any, b: Any, c: Any) -> Any:
            if isinstance(a, dict):
                return {key: one(role, a[key], b[key], c.get(key)) for key in a}
            if role == "sum":
                return b if a is None else a if b is None else a + b if c is None else a + b - c
            mixed = a + share * (b - a)
            return mixed.astype(a.dtype) if hasattr(a, "astype") else mixed

        for name, role in self.fields().items():
            a, b, c = (getattr(part, name) for part in (self, other, base))
            if role is not None:
                setattr(self, name, one(role, a, b, c))
            elif isinstance(a, Part):
                a.merge(b, c)


def _require_like(name: str, given: Any, now: Any) -> None:
    """Raise `UserError` unless given can take the place of now."""
    if getattr(now, "ndim", 0) == 0:
        plain = now.item() if hasattr(now, "item") else now
        fits = type(given) is type(plain)
        fits = fits and (type(given) is not int or -(2**62) < given < 2**62)
    else:
        # A dtype equals None if it is float64.
        fits = hasattr(given, "dtype") and given.dtype == now.dtype and given.ndim == now.ndim
        fits = fits and given.shape[1:] == now.shape[1:] and len(now) in (0, len(given))
    if not fits:
        raise UserError(f"{name} is not of the kind or shape that it must have here")


def require_shaped(name: str, given: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise `UserError` unless given is an array of that shape and dtype; any numbers will do."""
    if not hasattr(given, "dtype") or given.dtype != dtype or given.shape != shape:
        raise UserError(f"{name} is not an array of shape {shape} and dtype {np.dtype(dtype)}")


@dataclass(frozen=True)
class Spec:
    """What is known before the first row.

    Parameters
    ----------
    columns : dict
        name -> (kind, dtype, width); kind is "dense", "csr" or "ragged".
    rows : int or None
        Rows of the train channel, when known.
    replayable : bool
        Whether the train channel can be read more than once.
    channels : frozenset of str
    side : dict
        Channels that are no rows: ``model``, an earlier model to go on from; paths of others.
    seed : int
    device : str
    facts : dict
        What the caller knows: under tuning or not.
    """

    columns: dict[str, tuple[str, str, int]]
    rows: int | None = None
    replayable: bool = True
    channels: frozenset[str] = frozenset({"train"})
    side: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of features; 0, where rows are texts."""
        return self.columns["features"][2] if "features" in self.columns else 0

    @property
    def sparse(self) -> bool:
        """Whether features come as `Csr`."""
        return "features" in self.columns and self.columns["features"][0] == "csr"

    def kept(self) -> dict[str, Any]:
        """As JSON, for a model file."""
        return {
            "columns": {name: list(kind) for name, kind in self.columns.items()},
            "rows": self.rows,
            "channels": sorted(self.channels),
            "seed": self.seed,
        }

    @staticmethod
    def read(kept: Any, **more: Any) -> "Spec":
        """The inverse of `kept`, which may be given any JSON.

        Raises
        ------
        UserError
        """
        try:
            columns = {name: tuple(kind) for name, kind in kept["columns"].items()}
            rows, seed, channels = kept["rows"], kept["seed"], kept["channels"]
            fits = bool(columns)
            for kind, dtype, width in columns.values():
                fits = fits and kind in ("dense", "csr", "ragged")
                fits = fits and np.dtype(dtype).kind in "biuf" and _is_count(width)
            fits = fits and (rows is None or _is_count(rows)) and _is_count(seed)
            fits = fits and all(isinstance(channel, str) for channel in channels)
        except (AttributeError, KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise UserError("what is told of the training data makes no sense")
        return Spec(columns, rows, channels=frozenset(channels), seed=seed, **more)

    @staticmethod
    def of(block: Block, **more: Any) -> "Spec":
        """The spec of streams that look like `block`."""

        return Spec(kinds(block), **more)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


@dataclass(frozen=True)
class Pass:
    """One reading that a state asks for.

    Blocks go through `prepare` (pure, ahead on another thread) to `update` (in order, one at a
    time); `end` closes the reading and returns metrics as ``{"split:metric": value}``.

    Parameters
    ----------
    name : str
    update : callable
        ``update(block)``; of a pass of steps, ``update(0) ... update(steps - 1)``.
    end : callable, optional
    prepare : callable, optional
        ``prepare(block) -> block``. Default: put the block on the device.
    channel : str or None
        None: no reading, a pass of `steps`.
    rows : int
        Rows of a block: exact, rounded to whole batches, so that sums do not depend on the source.
    batch : int
        Rows of a mini-batch; `update` walks through those of its block in order.
    limit : int, optional
        Read only so many rows.
    tail : {"keep", "drop"}
        "drop": leave out a last short batch, unless it is the only one.
    steps : int
    epoch : bool
        One time over what there is to learn: counts for progress, throughput, `seen`.
    shuffle : bool
    by_number : bool
        `prepare` takes shuffled rows by their numbers: features that are a `Taken`.
    look : bool
        A look at the first rows before they are learnt from: a source that can be read only once
        gives them again.
    hold : bool
        Only refills `held` fields: repeated after a resume, not counted, not checkpointed.
    """

    name: str
    update: Callable[[Any], None]
    end: Callable[[], dict[str, float] | None] | None = None
    prepare: Callable[[Block], Block] | None = None
    channel: str | None = "train"
    rows: int = BLOCK
    batch: int = 1
    limit: int | None = None
    tail: Literal["keep", "drop"] = "keep"
    steps: int = 0
    epoch: bool = False
    shuffle: bool = False
    by_number: bool = False
    look: bool = False
    hold: bool = False


class State(Part, ABC):
    """begin, next_pass, update, merge, finish: an algorithm, written once.

    The rules: `next_pass` is a pure function of the fields, and what it looks at changes only in
    the `end` of a pass; randomness is a function of (seed, purpose, epoch, row); `finish` changes
    nothing.

    Parameters
    ----------
    parameters : Parameters
        As given; kept with every "auto" resolved.
    spec : Spec
    """

    kernels: ClassVar[str] = ""
    merging: ClassVar[str] = "exact"  # "exact", "statistical" or "none"

    passes: int  # passes ended so far            } the position in the data,
    row: int  # rows (or steps) of this pass   } kept by the driver
    epoch: int  # epochs ended
    budget: int  # epochs to do in all
    seen: Sum[int]  # rows learnt from

    def __init__(self, parameters: Parameters, spec: Spec) -> None:
        asked = getattr(parameters, "feature_dim", "auto")
        if asked not in ("auto", spec.width):
            raise UserError(f"feature_dim={asked}: the train channel has {spec.width} features")
        self.spec = spec
        self.channels = spec.channels  # that are read from now on; others may be when more comes
        self.k: Any = load(self.kernels, spec.device)
        self.p: Any = parameters.resolved(spec)
        self.passes = self.row = self.epoch = self.seen = 0
        self.budget = getattr(self.p, "epochs", 1)
        self._made: tuple[Any, Any] = (None, None)
        self.begin(spec)

    def begin(self, spec: Spec) -> None:
        """Allocate. No row is known yet."""

    @property
    def watched(self) -> str:
        """The metric that says best how training goes; default: the last one of a pass."""
        return ""

    @property
    def validates(self) -> bool:
        """Whether there is a validation channel."""
        return "validation" in self.channels

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` if `begin` would take more memory than a file's snapshot justifies.

        Only for states that are much larger than a model of the spec's width.
        """

    def check(self) -> None:
        """Raise `UserError` unless the position in the data is one."""
        if min(self.passes, self.row, self.epoch, self.budget, self.seen) < 0:
            raise UserError("the position in the data is negative")

    def next_pass(self) -> Pass | None:
        """What to read next, or None when done. Default: the train channel, `epochs` times."""
        if self.epoch < self.budget:
            return Pass("train", self.update, self.end_pass, epoch=True)
        return None

    @abstractmethod
    def update(self, block: Block) -> None:
        """Learn from a block."""

    def end_pass(self) -> dict[str, float] | None:
        """Close an epoch; return its metrics."""
        return None

    def again(self, epochs: int = 1) -> None:
        """More data comes after the end: allow so many epochs more.

        The end may have come in the middle of a pass, which is given up.
        """
        self.budget, self.row = self.epoch + epochs, 0

    def progress(self) -> float:
        """Share of the work that is done, 0 to 1."""
        return min(self.epoch / max(self.budget, 1), 1.0)

    def final_scores(self) -> dict[str, dict[str, float]]:
        """{split: {metric: value}} of the final model, where its passes have judged it."""
        return {}

    @abstractmethod
    def finish(self) -> Any:
        """A `Model` of what was learnt so far; `NotReady` before that. Changes nothing."""

    def model(self) -> Any:
        """finish(), remembered until more is learnt."""
        now = self.passes, self.row, self.seen, self.epoch
        if self._made[0] != now:
            self._made = now, self.finish()
        return self._made[1]

    def __getstate__(self) -> dict[str, Any]:
        # joblib and copy.deepcopy carry fields and what begin() needs, never kernels or scratch
        return {"p": self.p, "spec": self.spec, "flat": self.snapshot(self.k.to_host)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__init__(kept["p"], kept["spec"])  # type: ignore[misc]
        self.restore(kept["flat"], self.k.asarray)
