"""The built-in algorithms: one module each, named as the original's image with underscores."""

import difflib
import importlib
from pathlib import Path
from typing import Any

from smalgos.errors import UserError
from smalgos.learning import files
from smalgos.learning.model import Algorithm, Model

# The original's image name -> module.
MODULES = {"linear-learner": "linear_learner", "pca": "pca"}


def algorithm(name: str) -> Algorithm:
    """The algorithm of that name.

    Raises
    ------
    UserError
        When there is none.
    """
    if name not in MODULES:
        near = difflib.get_close_matches(name, MODULES, 1)
        known = f"known are {', '.join(sorted(MODULES))}"
        hint = f"did you mean {near[0]}?" if near else known
        raise UserError(f"unknown algorithm {name!r}: {hint}")
    found: Algorithm = importlib.import_module(f"smalgos.algorithms.{MODULES[name]}").ALGORITHM
    return found


def load_model(path: str | Path, device: str = "cpu") -> Model:
    """The model of a file that `Model.save` wrote, checked before use.

    Raises
    ------
    UserError
        When the file is damaged, of another kind, or holds shapes that do not fit.
    """
    return read_model(path, device)[0]


def read_model(path: str | Path, device: str = "cpu") -> tuple[Model, dict[str, Any], Any]:
    """(model, header, training state's arrays) of a model file; see `load_model`."""
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    arrays, meta = files.read(path)
    if "algorithm" not in meta:
        kind = "a training checkpoint" if "checkpoint" in meta else "no model"
        raise UserError(f"{path}: this is {kind}; give the model.safetensors that training wrote")
    own = {n: a for n, a in arrays.items() if not n.startswith("state.")}
    kept = {n[len("state.") :]: a for n, a in arrays.items() if n.startswith("state.")}
    name = meta["algorithm"]
    if name not in list(MODULES):
        raise UserError(f"{path}: a model of {name!r}, an algorithm that this version lacks")
    model = algorithm(name).model.from_parts(own, meta, device, str(path))
    return model, meta, kept
