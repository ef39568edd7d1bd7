"""Hyperparameters, declared once per algorithm as ``name: type = param(...)``.

One table serves the estimators' constructors, range checks, the container's strings, the rules
behind ``auto``, documentation and tuning.
"""

import ast
import difflib
import inspect
import json
import numbers
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from smalgos.errors import UserError

REQUIRED: Any = inspect.Parameter.empty
AUTO = "auto"
TRUE, FALSE = {"true", "1"}, {"false", "0"}
NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "a word", list: "a list"}


@dataclass(frozen=True)
class Field:
    """One row of a table of hyperparameters; made by `param`."""

    default: Any = REQUIRED
    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()
    auto: Any = None
    library: Any = REQUIRED
    wire: Any = False
    spelled: tuple[str, ...] = ()
    tune: tuple[Any, ...] | None = None
    scale: str = "linear"
    transient: bool = False
    doc: str = ""
    name: str = ""
    kind: type = str
    optional: bool = False

    @property
    def library_default(self) -> Any:
        """The default of the estimators' constructors."""
        return self.default if self.library is REQUIRED else self.library

    @property
    def allowed_words(self) -> tuple[str, ...]:
        """Words that stand for a value."""
        return self.words + ((AUTO,) if self.auto is not None else ())

    def parse(self, text: str) -> Any:
        """The value that a string of ``hyperparameters.json`` spells.

        Raises
        ------
        UserError
            When it spells none; range and choices are left to `check`.
        """
        s = text.strip()
        if s.startswith('"') and s.endswith('"') and len(s) > 1:
            s = s[1:-1]  # framework estimators of the original JSON-encode every value
        if s.lower() in self.allowed_words:
            return s.lower()
        if self.optional and s.lower() in ("", "none", "null"):
            return None
        try:
            return self._parse(s)
        except (ValueError, SyntaxError, OverflowError):
            raise UserError(f"{self.name}={text!r}: {self.expected()}") from None

    def _parse(self, s: str) -> Any:
        if self.kind is bool:
            if s.lower() not in TRUE | FALSE:
                raise ValueError
            return s.lower() in TRUE
        if self.kind is int:
            try:
                return int(s)
            except ValueError:
                value = float(s)  # "10.0" is a whole number too
                if value != int(value):
                    raise
                return int(value)
        if self.kind is float:
            return float(s)
        if self.kind is list:
            if not s.startswith(("[", "(")):
                return [part.strip() for part in s.split(",") if part.strip()]
            try:
                return list(json.loads(s))
            except ValueError:
                return list(ast.literal_eval(s))
        return s

    def check(self, value: Any) -> Any:
        """The value as a plain Python object, when type and range are right.

        Raises
        ------
        UserError
            When they are not.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value in self.allowed_words:
            return value
        if isinstance(value, str) and self.kind is list:  # one word, or several behind commas
            value = self.parse(value)
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
        fits = {
            bool: isinstance(plain, bool),
            int: isinstance(plain, numbers.Integral) and not isinstance(plain, bool),
            float: isinstance(plain, numbers.Real) and not isinstance(plain, bool),
            str: isinstance(plain, str),
            list: isinstance(plain, list | tuple),
        }[self.kind]
        if fits and self.kind is int and isinstance(plain, numbers.Integral):
            plain = int(plain)
        if fits and self.kind is float and isinstance(plain, numbers.Real):
            try:
                plain = float(plain)
            except OverflowError:  # of an integer
                fits = False
        if not fits or not self._in_range(plain):
            raise UserError(f"{self.name}={value!r}: {self.expected()}")
        return list(plain) if self.kind is list else plain

    def _in_range(self, value: Any) -> bool:
        if self.choices is not None:
            given = value if self.kind is list else [value]
            return all(item in self.choices for item in given)  # which need not be hashable
        if self.kind not in (int, float):
            return True
        if self.kind is int and not -(2**63) <= value < 2**63:  # kernels count in 64 bits
            return False
        return (
            value == value
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def expected(self) -> str:
        """What a value must be, in words."""
        limits = ((">=", self.low), (">", self.above), ("<=", self.high), ("<", self.below))
        if self.choices is not None:
            words = [*self.choices, *self.allowed_words]
            said = ("a list of " if self.kind is list else "one of ") + ", ".join(words)
            return f"must be {said}"
        bounds = " and ".join(f"{sign} {limit}" for sign, limit in limits if limit is not None)
        said = " ".join(part for part in (NOUNS[self.kind], bounds) if part)
        return "must be " + ", or ".join([said, *self.allowed_words])


def param(
    *,
    default: Any = REQUIRED,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
    words: tuple[str, ...] = (),
    auto: Any = None,
    library: Any = REQUIRED,
    wire: Any = False,
    spelled: tuple[str, ...] = (),
    tune: tuple[Any, ...] | None = None,
    scale: str = "linear",
    transient: bool = False,
    doc: str = "",
) -> Any:
    """One hyperparameter of a `Parameters` class.

    Parameters
    ----------
    default : object, optional
        Default on the wire. Without one the container requires the hyperparameter.
    low, above, high, below : float, optional
        Limits: value >= low, > above, <= high, < below.
    choices : iterable of str, optional
        The allowed words, for str and list.
    words : tuple of str, optional
        Words allowed in the place of a number ("balanced").
    auto : object, optional
        Allows "auto", and says what it stands for: a value, or ``rule(parameters, spec)``.
        ``AUTO`` itself leaves the word to the algorithm.
    library : object, optional
        Default of the estimators where it must differ from the wire's.
    wire : bool or callable, optional
        True: not in constructors, the estimator says. ``rule(spec)``: follows from the data.
    spelled : tuple of str, optional
        Other spellings on the wire ("lambda" cannot be a Python name).
    tune : tuple, optional
        Range, or values, worth searching; `scale` is "linear" or "log".
    transient : bool, optional
        How to run, not what to learn: kept out of models.
    doc : str
        One sentence.
    """
    chosen = None if choices is None else tuple(choices)
    return Field(
        default, low, above, high, below, chosen, words, auto, library, wire, spelled, tune, scale,
        transient, doc,
    )  # fmt: skip


@typing.dataclass_transform(kw_only_default=True, field_specifiers=(param,))
class Parameters:
    """Base of every table of hyperparameters: checked values as attributes.

    Raises
    ------
    UserError
        For an unknown or missing name, a wrong type, a value out of range.
    """

    table: ClassVar[dict[str, Field]] = {}

    random_state: int = param(
        default=0, low=0, high=2**63 - 1, spelled=("seed",), doc="seed of all random numbers"
    )
    n_jobs: int | None = param(
        default=None, low=-1, transient=True,
        doc="threads; None or -1: one per core; it never changes the result",
    )  # fmt: skip
    device: str = param(
        default="auto", choices=("auto", "cpu", "gpu"), transient=True, doc="where kernels run"
    )
    verbose: int = param(default=0, low=0, transient=True, doc="1 shows a progress bar")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._collect()

    @classmethod
    def _collect(cls) -> None:
        own = {}
        for name, annotation in inspect.get_annotations(cls).items():
            declared = cls.__dict__.get(name)
            if not isinstance(declared, Field):
                continue
            members = (
                typing.get_args(annotation)
                if isinstance(annotation, types.UnionType)
                else (annotation,)
            )
            kinds = [m for m in members if m is not types.NoneType]
            # "float | str" is a number or one of `words`
            kind = next((k for k in kinds if k is not str), str) if declared.words else kinds[0]
            kind = typing.get_origin(kind) or kind
            own[name] = replace(declared, name=name, kind=kind, optional=types.NoneType in members)
        common = {n: f for n, f in cls.table.items() if n in Parameters.__annotations__}
        rest = {n: f for n, f in cls.table.items() if n not in common}
        cls.table = {**rest, **own, **{n: f for n, f in common.items() if n not in own}}

    def __init__(self, **given: Any) -> None:
        self._known(given)
        for name, field in self.table.items():
            value = given.get(name, field.default)
            if value is REQUIRED:
                raise UserError(f"hyperparameter {name} is required: {field.expected()}")
            setattr(self, name, field.check(value))
        self.cross_check()

    @classmethod
    def _known(cls, given: Iterable[str]) -> None:
        for name in given:
            if name not in cls.table:
                near = difflib.get_close_matches(name, cls.table, 1)
                known = f"known are {', '.join(sorted(cls.table))}"
                hint = f"did you mean {near[0]}?" if near else known
                raise UserError(f"unknown hyperparameter {name!r}: {hint}")

    def cross_check(self) -> None:
        """Check rules between hyperparameters; raise `UserError`."""

    @classmethod
    def parse(cls, strings: Mapping[str, Any]) -> Self:
        """From the strings of ``hyperparameters.json``.

        Names that begin with ``_`` or ``sagemaker_`` belong to the platform and are passed over,
        unless the table spells them so.
        """
        spelled = {other: name for name, field in cls.table.items() for other in field.spelled}
        given: dict[str, Any] = {}
        for wire_name, text in strings.items():
            name = spelled.get(wire_name, wire_name)
            if name not in cls.table and wire_name.startswith(("_", "sagemaker_")):
                continue
            cls._known([name])
            if name in given:
                raise UserError(f"hyperparameter {name} is given twice, once as {wire_name}")
            plain = text if isinstance(text, str) else json.dumps(text)
            given[name] = cls.table[name].parse(plain)
        return cls(**given)

    def resolved(self, spec: Any) -> Self:
        """The same with every "auto" replaced by what it stands for.

        Rules see the hyperparameters declared before them already resolved.
        """
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__)
        for name, field in self.table.items():
            if getattr(result, name) == AUTO and field.auto is not None and field.auto != AUTO:
                rule = field.auto
                setattr(result, name, rule(result, spec) if callable(rule) else rule)
        return result

    def as_dict(self) -> dict[str, Any]:
        """{name: value} of all that decides what is learnt."""
        return {n: getattr(self, n) for n, f in self.table.items() if not f.transient}

    @classmethod
    def constructor(cls, hidden: Iterable[str] = ()) -> dict[str, Field]:
        """The rows that are arguments of estimators, without those that one of them hides."""
        return {n: f for n, f in cls.table.items() if not f.wire and n not in hidden}

    @classmethod
    def wired(cls, spec: Any) -> dict[str, Any]:
        """Values that follow from the data."""
        return {n: f.wire(spec) for n, f in cls.table.items() if callable(f.wire)}

    @classmethod
    def document(cls, hidden: Iterable[str] = ()) -> str:
        """The numpydoc section of an estimator's constructor."""
        lines = []
        for name, field in cls.constructor(hidden).items():
            lines.append(f"{name} : {type_name(field)}, default={field.library_default!r}")
            text = f"{sentence(field.doc)} It {field.expected()}."
            lines += textwrap.wrap(text, 95, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines)


Parameters._collect()


def type_name(field: Field) -> str:
    """The Python type of a field, as an annotation."""
    name = field.kind.__name__
    words = " | str" if field.allowed_words and field.kind is not str else ""
    return name + words + (" | None" if field.optional else "")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


Rule = Callable[[Any, Any], Any]
