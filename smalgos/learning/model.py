"""Models: arrays and scalars that predict, saved as one safe file."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.content_type import JSON, RECORDIO, ContentType
from smalgos.kernels import load as load_kernels
from smalgos.learning import files
from smalgos.learning.parameters import Parameters
from smalgos.learning.state import Flat, Part, Spec, State


@dataclass(frozen=True)
class Algorithm:
    """What the outside needs to know of an algorithm; each algorithm's module has one.

    Parameters
    ----------
    name : str
        The original's image name.
    label : str
        What the original's ``#metrics`` lines call it.
    parameters, state, model : type
    channels : tuple of str
        Optional ones in brackets: ``"[validation]"``.
    side : tuple of str
        Of the channels, those that are no rows: the state finds their paths in ``spec.side``.
    texts : tuple of str
        Columns of text that its rows have in the place of features; each is a `Ragged` of UTF-8.
    envelope : str
        Top key of a JSON response; empty: a bare list.
    fields : tuple of str
        Response fields, in the order of CSV columns.
    label_size : int
        Label columns of training CSV when the content type does not say.
    content_type : str
        Of channels that do not say.
    reading : callable, optional
        ``reading(parameters, content_type)``: options of the readers of training rows, where the
        content type, None if it is not known yet, does not say; `UserError` where it is of no use.
    accept : str
        Media type of answers to who takes anything.
    answers_in_kind : bool
        Whether a request of JSON is answered with JSON, and any other with JSON Lines, whatever
        it accepts: answers that other types have no place for.
    ends_csv : bool
        Whether a newline is behind the last row of CSV outside of batch transform jobs, too.
    bare_batches : bool
        Whether batch transform jobs get the first response field alone, a line for each row,
        whatever they accept.
    selected : callable, optional
        ``selected(model, names)``: a function of blocks that answers with these fields in the
        place of the usual ones; `UserError` where the model has none to choose from.
    verbose : bool
        Whether models have more fields for an accepted type with ``verbose=true``: then they take
        the option ``verbose``.
    file : str
        What a model is called in the folder of a training job.
    estimators : str
        Module of its estimators, if it is called otherwise than the algorithm's; several parted
        by blanks.
    metrics : callable, optional
        ``metrics(model)``: an accumulator with ``add(labels, outputs)`` and ``result()``.
    scores : tuple of str
        What `metrics` may give a final model, over all tasks.
    judged_on_train : bool
        Whether a job scores the final model on its train channel, too, if nothing validates it.
    summary : str
        What it is, in a few words.
    """

    name: str
    label: str
    parameters: type[Parameters]
    state: type[State]
    model: type["Model"]
    channels: tuple[str, ...] = ("train",)
    side: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    envelope: str = "predictions"
    fields: tuple[str, ...] = ()
    label_size: int = 1
    content_type: str = RECORDIO
    reading: Callable[[Any, ContentType | None], dict[str, Any]] | None = None
    accept: str = JSON
    answers_in_kind: bool = False
    ends_csv: bool = False
    bare_batches: bool = False
    selected: Callable[[Any, Sequence[str]], Callable[[Block], dict[str, Any]]] | None = None
    verbose: bool = False
    file: str = "model.safetensors"
    estimators: str = ""
    metrics: Any = None
    scores: tuple[str, ...] = ()
    judged_on_train: bool = True
    summary: str = ""

    @property
    def known_channels(self) -> dict[str, bool]:
        """{channel: whether it is required}"""
        return {c.strip("[]"): not c.startswith("[") for c in self.channels}

    def asked(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Options of `Model.predict` that the parameters of an accepted type ask for."""
        verbose = self.verbose and parameters.get("verbose", "").lower() == "true"
        return {"verbose": True} if verbose else {}


class Model(Part, ABC):
    """Arrays and scalars that predict.

    Annotated attributes are fields, as in `Part`: all that `predict` needs. Arrays are read-only.

    Parameters
    ----------
    device : str
    notes : dict, optional
        How it came about: JSON values, saved in the header.
    **values
        The fields.
    """

    algorithm: ClassVar[str] = ""
    kernels: ClassVar[str] = ""

    def __init__(self, device: str = "cpu", notes: Mapping[str, Any] | None = None, **values: Any):
        self.notes: dict[str, Any] = dict(notes or {})
        self.k: Any = load_kernels(self.kernels, device)
        for name, value in values.items():
            is_array = isinstance(value, np.ndarray) and value.ndim > 0
            setattr(self, name, self._kept(value) if is_array else value)

    def _kept(self, array: Any) -> Any:
        """The array on the device, read-only: what is made of it once stays right."""
        kept = self.k.asarray(array).view()
        kept.flags.writeable = False
        return kept

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features of a row; 0, where rows are texts."""

    @property
    def reading(self) -> dict[str, Any]:
        """Options of readers for its rows, where a format leaves them open (libsvm)."""
        return {"width": self.width, "base": int(self.notes.get("libsvm_base") == 1)}

    @abstractmethod
    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """{response field: one entry per row}, on the host, in the original's names."""

    @abstractmethod
    def check(self) -> None:
        """Raise `UserError` unless every shape and offset is what `predict` relies on."""

    def beside(self, folder: Path) -> None:
        """Write what else a training job leaves beside the model's own file."""

    def cut(self) -> "Model":
        """The model without what predictions do not need, as a training job leaves it."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {
            "device": self.k.device,
            "notes": self.notes,
            "flat": self.snapshot(self.k.to_host),
        }

    def __setstate__(self, kept: dict[str, Any]) -> None:
        Model.__init__(self, kept["device"], kept["notes"])
        self.restore(kept["flat"], self._kept)

    def save(self, path: str | Path, *, state: State | None = None) -> None:
        """Write one safetensors file; with `state`, what training needs to go on is kept in it too.

        Raises
        ------
        UserError, PlatformError
            When the file cannot be written; nothing is left under its name then.
        """
        arrays, scalars = split(self.snapshot(self.k.to_host))
        meta: dict[str, Any] = {
            "algorithm": self.algorithm,
            "library": library_version(),
            "notes": self.notes,
            "scalars": scalars,
        }
        if state is not None:
            more, state_scalars = split(state.snapshot(state.k.to_host))
            arrays |= {f"state.{name}": a for name, a in more.items()}
            meta["state"] = {
                "parameters": state.p.as_dict(),
                "scalars": state_scalars,
                "spec": state.spec.kept(),
            }
        files.write(path, arrays, meta)

    @classmethod
    def from_parts(cls, arrays: Flat, meta: Mapping[str, Any], device: str, source: str) -> Self:
        """The model that a file's arrays and header describe, checked.

        Raises
        ------
        UserError
            When a field is missing or does not fit the others.
        """
        flat = arrays | dict(_mapping(meta.get("scalars")))
        expected = {name for name in cls.fields() if name not in cls.optional}
        missing = sorted(n for n in expected if not any(k.split(".")[0] == n for k in flat))
        surplus = sorted(n for n in flat if n.split(".")[0] not in cls.fields())
        if missing or surplus:
            said = f"lacks {missing[0]}" if missing else f"has a field {surplus[0]} that is unknown"
            raise UserError(f"{source}: the {cls.algorithm} model {said}; the file is not usable")
        model = cls(device, _mapping(meta.get("notes")))
        model.restore(flat, model._kept)
        try:
            model.check()
        except UserError as e:
            raise UserError(f"{source}: {e}") from None
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as e:
            raise UserError(f"{source}: a field has a wrong type ({e})") from None
        return model

    optional: ClassVar[tuple[str, ...]] = ()  # fields that may be None


class TextModel(Model):
    """A model whose rows are texts."""

    @property
    def width(self) -> int:
        """There are no features."""
        return 0

    @property
    def reading(self) -> dict[str, Any]:
        """Texts leave no question open."""
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


P = TypeVar("P", bound=Parameters)


def as_trained(model: Model, table: type[P], width: Any) -> tuple[P, Spec]:
    """The hyperparameters in a model's notes, and what there is to know to go on from it.

    Raises
    ------
    UserError
        When they, or the number of features of its rows, are none.
    """
    given = model.notes.get("hyperparameters")
    if type(width) is not int or not 0 < width < 2**31 or not isinstance(given, dict):
        raise UserError("the number of features or the hyperparameters make no sense")
    p = table(**given)
    columns = {"features": ("dense", "float32", width)}
    return p, Spec(columns, seed=p.random_state, device=model.k.device)


def split(flat: Flat) -> tuple[Flat, Flat]:
    """(arrays, scalars) of a snapshot."""
    arrays = {n: v for n, v in flat.items() if isinstance(v, np.ndarray) and v.ndim > 0}
    scalars = {n: _plain(v) for n, v in flat.items() if n not in arrays}
    return arrays, scalars


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def library_version() -> str:
    """Version of the installed package."""
    try:
        return version("smalgos")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"


def require_array(name: str, value: Any, shape: tuple[int | None, ...], kind: str = "f") -> None:
    """Raise `UserError` unless value is a finite array of that shape (None: any length).

    Parameters
    ----------
    kind : str
        NumPy's kinds of dtype that are allowed.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kind:
        raise UserError(f"{name} is not an array of numbers")
    fits = value.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        raise UserError(f"{name} has shape {value.shape}, not {shape}")
    if not np.isfinite(value).all():
        raise UserError(f"{name} holds values that are not finite")


def require_number(name: str, value: Any) -> None:
    """Raise `UserError` unless value is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise UserError(f"{name} is not a finite number")
