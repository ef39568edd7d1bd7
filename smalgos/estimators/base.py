"""What all estimators share: constructors made from the tables, fit, partial_fit, save."""

import difflib
import inspect
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import smalgos
from smalgos.algorithms import algorithm as algorithm_named
from smalgos.algorithms import read_model
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning.model import Algorithm, Model
from smalgos.learning.progress import Progress
from smalgos.learning.rows import check_finite, host
from smalgos.learning.state import Spec, State
from smalgos.learning.train import train


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of all estimators.

    A subclass names its algorithm, ``class PCA(Estimator, algorithm="pca")``, and gets a
    constructor with the hyperparameters of that algorithm's table, without those that are
    ``hidden``. ``extra`` adds arguments that only the estimator knows.
    """

    algorithm: ClassVar[Algorithm]
    hidden: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[dict[str, Any]] = {}
    extra_doc: ClassVar[str] = ""

    state_: State
    model_: Model

    def __init_subclass__(cls, algorithm: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if algorithm is None:
            return
        cls.algorithm = algorithm_named(algorithm)
        shown = cls.constructor_defaults()

        def __init__(self: Any, **given: Any) -> None:  # noqa: N807
            for name in given:
                if name not in shown:
                    near = difflib.get_close_matches(name, shown, 1)
                    hint = f"; did you mean {near[0]}?" if near else ""
                    raise TypeError(
                        f"{type(self).__name__}() got an unexpected keyword argument {name!r}{hint}"
                    )
            self.__dict__.update(shown | given)

        parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in shown.items()
        ]
        __init__.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        __init__.__qualname__ = f"{cls.__name__}.__init__"
        cls.__init__ = __init__  # type: ignore[method-assign]
        table = cls.algorithm.parameters.document(cls.hidden) + cls.extra_doc
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nParameters\n----------\n{table}\n"

    @classmethod
    def constructor_defaults(cls) -> dict[str, Any]:
        """{argument: default}"""
        table = cls.algorithm.parameters.constructor(cls.hidden)
        return {name: field.library_default for name, field in table.items()} | cls.extra

    # -- what a subclass may change

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether a loaded model of the algorithm is this class's."""
        return True

    def _settle(self) -> dict[str, Any]:
        """Hyperparameters that the class and y decide."""
        return {}

    def _targets(self, y: Any, *, reset: bool) -> Any:
        """y as the algorithm wants it; with `reset`, learn what there is to learn of it."""
        return None

    def _row_weights(self, y: Any, sample_weight: Any) -> Any:
        """One weight per row, or None."""
        return sample_weight

    # -- the data

    def _block(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, reset: bool = False
    ) -> Block:
        options: dict[str, Any] = {
            "accept_sparse": "csr", "dtype": np.float32, "order": "C", "reset": reset,
            "ensure_all_finite": False,
        }  # fmt: skip
        if y is None and reset and self.__sklearn_tags__().target_tags.required:
            raise UserError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        if y is not None:
            numeric = isinstance(self, RegressorMixin)
            X, y = validate_data(self, X, y, y_numeric=numeric, **options)
        else:
            X = validate_data(self, X, **options)
        labels = None if y is None else self._targets(y, reset=reset)
        weights = self._row_weights(y, sample_weight)
        if weights is not None:
            weights = _check_sample_weight(weights, X, dtype=np.float32, ensure_non_negative=True)
        return Block.of(X, labels, weights)

    @contextmanager
    def _working(self, k: Any, name: str = "X") -> Iterator[None]:
        """Work on rows by so many threads as asked for, and name those that are bad."""
        try:
            with k.threads(self.n_jobs):
                yield
        except RowError as e:
            raise UserError(f"{name}, row {e.row}, counted from 0: {e.what}") from None

    def _finite_block(self, *given: Any, reset: bool = False, name: str = "X") -> Block:
        """As `_block`, without rows that are not finite.

        With `reset`, learning will find those, and there is nothing yet that they could spoil.
        """
        block, k = self._block(*given, reset=reset), host()
        if reset:
            return block
        with self._working(k, name):
            check_finite(block, k)
        return block

    def _channels(self, block: Block, X_val: Any = None, y_val: Any = None) -> dict[str, Stream]:
        channels: dict[str, Stream] = {"train": Arrays(block)}
        if X_val is not None:
            if y_val is None and "labels" in block:
                raise UserError("X_val is given without y_val")
            channels["validation"] = Arrays(self._finite_block(X_val, y_val, name="X_val"))
        elif y_val is not None:
            raise UserError("y_val is given without X_val")
        return channels

    # -- training

    def _seed(self) -> int:
        state = self.random_state
        if state is None:  # scikit-learn's "new numbers each time"
            return int(np.random.SeedSequence().generate_state(1)[0])
        if isinstance(state, np.random.RandomState):
            return int(state.randint(2**31))
        if isinstance(state, np.random.Generator):
            return int(state.integers(2**31))
        return int(state)

    def _facts(self) -> dict[str, Any]:
        """What the state is told of the circumstances."""
        return {}

    def _given(self) -> dict[str, Any]:
        """The hyperparameters that the constructor was given."""
        table = self.algorithm.parameters.constructor(self.hidden)
        given = {name: getattr(self, name) for name in table}
        if isinstance(self.verbose, bool):  # as well as a number, as everywhere in scikit-learn
            given["verbose"] = int(self.verbose)
        return given

    def _more_rounds(self) -> int:
        """How many epochs more a warm start is good for."""
        return int(getattr(self, "epochs", 1))

    def _begin(self, block: Block, channels: dict[str, Stream]) -> State:
        seed = self._seed()
        spec = Spec.of(
            block,
            rows=len(block),
            channels=frozenset(channels),
            seed=seed,
            device=self.device,
            facts=self._facts(),
        )
        table = self.algorithm.parameters
        parameters = table(
            **self._given() | table.wired(spec) | self._settle() | {"random_state": seed}
        )
        return self.algorithm.state(parameters, spec)

    def _learn(self, channels: dict[str, Stream]) -> None:
        """Let the state run to its end."""
        reporters: list[Callable[..., Any]] = list(getattr(self, "_callbacks", ()))
        bar = Progress(type(self).__name__)
        if self.verbose:
            reporters.append(bar)

        def report(event: str, **facts: Any) -> bool:
            return any([bool(r(event, **facts)) for r in reporters])

        with closing(bar):  # however training ends
            train(self.state_, channels, report=report, n_jobs=self.n_jobs)

    def _train(self, channels: dict[str, Stream]) -> Self:
        self._learn(channels)
        self.model_ = self.state_.model()
        if hasattr(self, "feature_names_in_"):
            self.model_.notes["feature_names"] = [str(n) for n in self.feature_names_in_]
        self._told(self.model_.notes)
        return self

    def _told(self, notes: dict[str, Any]) -> None:
        """Add to the model's notes what loading it as an estimator needs."""

    def set_callbacks(self, *callbacks: Callable[..., Any]) -> Self:
        """Call these during training.

        Parameters
        ----------
        *callbacks : callable
            Called as ``callback(event, **facts)``: event "begin" (state), "batch" (state, p),
            "pass" (state, p, metrics, rows) or "stop" (state, why). One that returns True from
            "batch" or "pass" stops training.
        """
        self._callbacks = callbacks
        return self

    def _fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        again = bool(getattr(self, "warm_start", False)) and hasattr(self, "state_")
        block = self._finite_block(X, y, sample_weight, reset=not again)
        channels = self._channels(block, X_val, y_val)
        if again and self.state_.spec.channels == frozenset(channels):
            self._go_on(channels, self._more_rounds())
        else:
            self.state_ = self._begin(block, channels)
        return self._train(channels)

    def _partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        fresh = not hasattr(self, "state_")
        block = self._finite_block(X, y, sample_weight, reset=fresh)
        channels = self._channels(block)
        if fresh:
            self.state_ = self._begin(block, channels)
        self._go_on(channels)
        return self._train(channels)

    def _go_on(self, channels: dict[str, Stream], epochs: int = 1) -> None:
        """Let the state take up to so many epochs more, of what may be other channels."""
        self.state_.channels = frozenset(channels)
        self.state_.again(epochs)

    # -- prediction and files

    def _check_fitted(self) -> None:
        check_is_fitted(self, "model_")

    def _predict(self, X: Any) -> dict[str, Any]:
        self._check_fitted()
        block = self._block(X).on(self.model_.k)
        with self._working(self.model_.k):
            return self.model_.predict(block)

    def save(self, path: str | Path, *, state: bool = False) -> None:
        """Write the model as one safetensors file.

        Parameters
        ----------
        path : str or Path
        state : bool
            Keep what `partial_fit` needs to go on, too.

        Raises
        ------
        UserError, PlatformError
            When the file cannot be written.
        """
        self._check_fitted()
        self.model_.save(path, state=self.state_ if state else None)

    def _restore(self, model: Model) -> None:
        """Become the estimator of a loaded model."""
        self.model_ = model
        self.n_features_in_ = self._row_width(model)
        if "feature_names" in model.notes:
            names = _noted(model, "feature_names", self.n_features_in_, str)
            self.feature_names_in_ = np.array(names, dtype=object)

    def _row_width(self, model: Any) -> int:
        """Features of the rows that a loaded model was fitted to."""
        return int(model.width)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Base of classifiers: labels of any kind become 0, 1, 2, ... and back."""

    classes_: Any
    _announced = False  # whether partial_fit was told all classes

    def _announce(self, classes: Any) -> None:
        """Take the classes that `partial_fit` was told, if any: all that there will be."""
        if classes is None:
            return
        classes = np.unique(classes)
        if not hasattr(self, "state_"):
            self.classes_, self._announced = classes, True
        elif not np.array_equal(classes, self.classes_):
            raise UserError(
                f"classes={classes.tolist()} differ from those of the first call, "
                f"{self.classes_.tolist()}"
            )

    def _targets(self, y: Any, *, reset: bool) -> Any:
        check_classification_targets(y)
        y = np.asarray(y)
        if reset and not self._announced:
            self.classes_ = np.unique(y)
            if len(self.classes_) < 2:
                raise UserError(
                    f"y holds only one class, {self.classes_.tolist()[0]!r}: "
                    "a classifier needs samples of at least 2 classes"
                )
            if y.dtype.kind in "biuf" and np.array_equal(self.classes_, range(len(self.classes_))):
                return y.astype(np.float32)  # such labels are their own codes
        codes = np.searchsorted(self.classes_, y)
        known = self.classes_[np.minimum(codes, len(self.classes_) - 1)] == y
        if not np.all(known):
            raise UserError(
                f"label {y[~known].tolist()[0]!r} is not among the classes {self.classes_.tolist()}"
            )
        return codes.astype(np.float32)

    def _told(self, notes: dict[str, Any]) -> None:
        plain = self.classes_.tolist()
        if plain != list(range(len(plain))):
            notes["classes"] = plain

    def _restore(self, model: Model) -> None:
        super()._restore(model)
        count = self._class_count(model)
        self.classes_ = np.arange(count)
        if "classes" in model.notes:
            self.classes_ = np.array(_noted(model, "classes", count, bool, int, float, str))

    def _class_count(self, model: Model) -> int:
        raise AssertionError(f"{type(self).__name__} does not count the classes of {model}")


def weights_of_classes(class_weight: Any, classes: Any, y: Any, sample_weight: Any) -> Any:
    """One weight per row, that of its class times its own; None: all are 1."""
    if class_weight is None or y is None:
        return sample_weight
    weights = compute_class_weight(class_weight, classes=classes, y=np.asarray(y))
    per_row = weights[np.searchsorted(classes, y)]
    return per_row if sample_weight is None else per_row * np.asarray(sample_weight)


def _noted(model: Model, name: str, count: int, *kinds: type) -> list[Any]:
    """A list in a model's notes, of so many different values, all of one of the kinds."""
    values = model.notes[name]
    fits = isinstance(values, list) and any(all(type(v) is k for v in values) for k in kinds)
    if not fits or len(values) != count or len(set(values)) != count:
        raise UserError(f"the {name} in its notes are not {count} different values")
    return list(values)


def load_estimator(path: str | Path, device: str = "auto") -> Any:
    """The fitted estimator of a model file; see `smalgos.load`."""
    model, meta, arrays = read_model(path, device)
    cls = estimator_of(model)
    try:
        estimator = cls(**_settings(cls, model), device=device)
        estimator._restore(model)
        if "state" in meta:
            estimator.state_ = _state_of(estimator, model, meta["state"], arrays, device)
    except UserError as e:
        raise UserError(f"{path}: {e}") from None
    return estimator


def _settings(cls: type[Estimator], model: Model) -> dict[str, Any]:
    """Arguments of the constructor, from the hyperparameters in a model's notes."""
    noted = model.notes.get("hyperparameters", {})
    if not isinstance(noted, dict):
        raise UserError("the hyperparameters in its notes are no table")
    shown = cls.algorithm.parameters.constructor(cls.hidden)
    table = {n: f for n, f in shown.items() if not f.transient}
    return {name: table[name].check(value) for name, value in noted.items() if name in table}


def estimator_of(model: Model) -> type[Estimator]:
    """The class that shows a model."""
    for name in smalgos._ESTIMATORS:
        cls: type[Estimator] = getattr(smalgos, name)
        if cls.algorithm.name == model.algorithm and cls.shows(model):
            return cls
    raise UserError(f"no estimator shows {model.algorithm} models; use smalgos predict")


def _state_of(estimator: Estimator, model: Model, kept: Any, arrays: Any, device: str) -> State:
    """The training state of a model file."""
    algorithm = estimator.algorithm
    if not isinstance(kept, dict) or not all(
        isinstance(kept.get(name), dict) for name in ("parameters", "scalars")
    ):
        raise UserError("the training state in it is not described")
    spec = Spec.read(kept.get("spec"), device=device, facts=estimator._facts())
    width = estimator._row_width(model)
    if spec.width != width:
        raise UserError(f"its training state is of {spec.width} features, not {width}")
    flat = arrays | kept["scalars"]
    parameters = algorithm.parameters(**kept["parameters"])
    algorithm.state.check_size(parameters, spec, flat)
    state = algorithm.state(parameters, spec)
    return state.admit(flat, state.k.asarray)
