"""The built-in algorithms: one module each, named as the original's image with underscores."""

import difflib
import importlib
import re
from pathlib import Path
from typing import Any

from smalgos.errors import UserError
from smalgos.learning import files
from smalgos.learning.model import Algorithm, Model

# What a folder with a model holds, or else several of cross-validation.
FILES = ("model.safetensors", "xgboost-model", "model.bin", "vectors.bin")
FOLDS = re.compile(r"xgboost-model-(\d+)")
HEAD = 256  # bytes that tell formats apart
FASTTEXT = bytes.fromhex("ba164f2f")  # what files of fastText begin with
MOST_BYTES = 1 << 32

# The original's image name -> module.
MODULES = {
    "blazingtext": "blazingtext",
    "factorization-machines": "factorization_machines",
    "ipinsights": "ip_insights",
    "kmeans": "kmeans",
    "knn": "knn",
    "linear-learner": "linear_learner",
    "pca": "pca",
    "randomcutforest": "random_cut_forest",
    "streaming-randomcutforest": "streaming_random_cut_forest",
    "thresholded-randomcutforest": "thresholded_random_cut_forest",
    "xgboost": "xgboost",
}


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
    """The model of a file that `Model.save` wrote, checked before use; of several, their ensemble.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it, or several of cross-validation.
    device : str

    Raises
    ------
    UserError
        When the file is damaged, of another kind, or holds shapes that do not fit.
    """
    found = files_of(path)
    if len(found) == 1:
        return read_model(found[0], device)[0]
    from smalgos.algorithms.xgboost.ensemble import Ensemble

    return Ensemble.of([read_model(file, device)[0] for file in found], str(path))


def read_model(path: str | Path, device: str = "cpu") -> tuple[Model, dict[str, Any], Any]:
    """(model, header, training state's arrays) of a model file; see `load_model`."""
    found = files_of(path)
    if len(found) > 1:
        raise UserError(f"{path} holds {len(found)} models of cross-validation: name one of them")
    path = found[0]
    if (model := _of_others(path, device)) is not None:
        return model, {}, {}
    arrays, meta = files.read(path)
    if "algorithm" not in meta:
        kind = "a training checkpoint" if "checkpoint" in meta else "no model"
        raise UserError(f"{path}: this is {kind}; give the model that training wrote")
    own = {n: a for n, a in arrays.items() if not n.startswith("state.")}
    kept = {n[len("state.") :]: a for n, a in arrays.items() if n.startswith("state.")}
    name = meta["algorithm"]
    if name not in list(MODULES):
        raise UserError(f"{path}: a model of {name!r}, an algorithm that this version lacks")
    model = algorithm(name).model.from_parts(own, meta, device, str(path))
    return model, meta, kept


def file_of(path: str | Path) -> Path:
    """The model's file: `path` itself, or the first that a folder holds of that kind."""
    return files_of(path)[0]


def files_of(path: str | Path) -> list[Path]:
    """The model's file; several, in order, if a folder holds those of cross-validation."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    alone = [path / name for name in FILES if (path / name).is_file()]
    if alone:
        return alone[:1]
    folds = [(found[1], file) for file in path.iterdir() if (found := FOLDS.fullmatch(file.name))]
    return [file for _, file in sorted(folds, key=lambda fold: int(fold[0]))] or [path / FILES[0]]


def _of_others(path: Path, device: str) -> Model | None:
    """The model of a file in fastText's format, or one of XGBoost's; None: it is not in any."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None  # the usual way finds out why
    if head[8:10] == b'{"':  # as safetensors have it, behind the length of their header
        return None
    if head[:4] == FASTTEXT:
        from smalgos.algorithms.blazingtext.fasttext_file import read_model

        fasttext: Model = read_model(path, device)
        return fasttext
    from smalgos.algorithms.xgboost import exchange

    if exchange.sniff(head) is None:
        return None
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES >> 30} GiB are no model")
    return exchange.decode(path.read_bytes(), str(path), device)
