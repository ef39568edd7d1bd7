"""A model's answers to rows, checked, in the algorithm's order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from smalgos.algorithms import algorithm
from smalgos.errors import RowError
from smalgos.formats.block import Block
from smalgos.formats.responses import Answer
from smalgos.learning.model import Model


def reading(model: Model) -> dict[str, Any]:
    """Options of the readers of a model's rows."""
    return {**model.reading, "texts": algorithm(model.algorithm).texts}


def asked_columns(model: Model) -> tuple[str, ...]:
    """The columns of rows that a model looks at, as far as they are there."""
    texts = algorithm(model.algorithm).texts
    return (*texts, "k") if texts else ("features",)


def answer(
    model: Model, block: Block, ask: Callable[[Block], Answer] | None = None, **options: Any
) -> Answer:
    """{response field: one entry per row}, fields in the order of the algorithm's.

    Parameters
    ----------
    model : Model
    block : Block
        On the model's device; its features are looked at, or its texts.
    ask : callable, optional
        What answers in the model's place, with fields in its own order and maybe NaN.
    **options
        Of ``model.predict``.

    Raises
    ------
    RowError
        When a row does not fit the model, or has no finite answer.
    """
    a = algorithm(model.algorithm)
    if not a.texts:
        _check_width(block, model)
    if ask is not None:
        return ask(block)
    said_by_model = model.predict(block, **options)
    answered = {n: said_by_model[n] for n in (*a.fields, *said_by_model) if n in said_by_model}
    for name, values in answered.items():
        if isinstance(values, list):
            continue
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise RowError(
                block.start + row,
                f"no finite {name}: a feature is NaN, infinite or too large; fill or remove it",
            )
    return answered


def _check_width(block: Block, model: Model) -> None:
    given = block.features.shape[1]
    if given != model.width:
        labelled = given == model.width + 1
        hint = ": did you leave the label in? Of CSV, label_size=1 (--label-size 1) passes it over"
        said = f"{given} features, where the model takes {model.width}"
        raise RowError(block.start, said + (hint if labelled else ""))
