"""XGBoost's own model files, JSON and UBJSON: what its users have, and may take along.

https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html. Files of versions 1.0 to 3.2
are read; what is written can be read by 1.7 and later. What XGBoost has no place for is kept as an
attribute, ``smalgos``.
"""

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost import ubjson
from smalgos.algorithms.xgboost.exchange_trees import decode_trees, encode_trees
from smalgos.algorithms.xgboost.objective_parameters import GROUPS, read_text, write_text
from smalgos.algorithms.xgboost.trees import Trees
from smalgos.errors import UserError

if TYPE_CHECKING:
    from smalgos.algorithms.xgboost.model import BoostedTreesModel

VERSION = (2, 0, 0)  # of the format that is written
NAMES = ("feature_names", "feature_types")
OWN = "smalgos"  # the attribute that keeps our notes
MAX_JSON = 1 << 30  # bytes: Python's objects take twenty times as much
MAX_OUTPUTS = 1 << 17
MAX_FEATURES = 2**31 - 1

LEGACY_HEADER = 136  # bytes in front of the name of the objective in the oldest files
ADVICE = "load it with the version of xgboost that wrote it, and save it as .json or .ubj"
REFUSED = {
    "pickle": f"a pickle, which is never opened: {ADVICE}",
    "binary": f"a model in XGBoost's old binary format, which is not read: {ADVICE}",
}


def sniff(head: bytes) -> str | None:
    """What kind of booster file begins with these bytes.

    Parameters
    ----------
    head : bytes
        The first 256 bytes of the file, or all of it.

    Returns
    -------
    {"json", "ubj", "pickle", "binary"} or None
        The last two are recognised only to be refused.
    """
    text = head.lstrip()
    if text[:1] == b"{":
        inside = text[1:].lstrip()[:1]
        if inside in (b'"', b"}", b""):
            return "json"
        return "ubj" if head[:1] == b"{" and inside in b"iUIlL$#N" else None
    if head[:4] in (b"binf", b"bs64") or _is_legacy(head):
        return "binary"
    return "pickle" if _is_pickle(head) else None


def _is_legacy(head: bytes) -> bool:
    """Whether the name of an objective stands where the oldest format has it."""
    if len(head) < LEGACY_HEADER + 12:
        return False
    (n,) = struct.unpack_from("<Q", head, LEGACY_HEADER)
    name = head[LEGACY_HEADER + 8 : LEGACY_HEADER + 8 + min(n, 64)]
    return 3 < n < 64 and b":" in name and name.replace(b":", b"").replace(b"_", b"").isalnum()


def _is_pickle(head: bytes) -> bool:
    """Whether the bytes begin as a pickle of an object; they are looked at, not unpickled."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    # Protocols 0 and 1 have no mark; an object begins with module and name of a class.
    return re.match(rb"\(?[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n", head) is not None


def decode(data: bytes, source: str, device: str = "cpu") -> "BoostedTreesModel":
    """The model of a booster file, checked.

    Parameters
    ----------
    data : bytes
        All of the file, JSON or UBJSON.
    source : str
        What errors call it.
    device : str

    Raises
    ------
    UserError
        It is no such file, is damaged, or needs what is not supported.
    """
    form = sniff(data[:4096])
    if form in REFUSED:
        raise UserError(f"{source}: {REFUSED[form]}")
    if form is None:
        raise UserError(f"{source}: not a model that XGBoost saved as JSON or UBJSON")
    try:
        if form == "ubj":
            document = ubjson.decode(data)
        elif len(data) > MAX_JSON:
            raise ValueError(f"more than {MAX_JSON} bytes of JSON: save the model as .ubj")
        else:
            document = json.loads(data)
        return _read_model(document, device)
    except RecursionError:
        raise UserError(f"{source}: nested too deeply; the file is not usable") from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{source}: no usable model of XGBoost ({error})") from None


def encode(model: "BoostedTreesModel", form: str) -> bytes:
    """The bytes of a booster file.

    Parameters
    ----------
    model : BoostedTreesModel
    form : {"json", "ubj"}

    Raises
    ------
    UserError
        Its notes hold what has no place in such a file.
    """
    try:
        return _encode(model, form)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the model's notes cannot be written ({error})") from None


def _encode(model: "BoostedTreesModel", form: str) -> bytes:
    if form == "ubj":
        return ubjson.encode(_document(model, lambda values: values))
    document = _document(model, _shortest)
    # XGBoost does not understand escaped letters.
    text = json.dumps(
        document, separators=(",", ":"), ensure_ascii=False, default=np.ndarray.tolist
    )
    return text.encode()


# Reading


def _member(node: Any, key: str, kind: type, default: Any = None) -> Any:
    """An entry of an object, which must be of that type; the default where it is missing."""
    value = node.get(key, default)
    if not isinstance(value, kind):
        raise ValueError(f"{key} is missing, or not what it must be")
    return value


def _count(node: Mapping[str, Any], key: str, high: int) -> int:
    """A number below high, maybe kept as text; 0 where it is missing."""
    text = str(node.get(key, 0))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) < high):
        raise ValueError(f"{key} is not a number from 0 to {high - 1}")
    return int(text)


def _read_model(document: Any, device: str) -> "BoostedTreesModel":
    from smalgos.algorithms.xgboost.model import BoostedTreesModel

    if not isinstance(document, dict):
        raise ValueError("not an object")
    if isinstance(document.get("Model"), dict):  # of a snapshot with its configuration
        document = document["Model"]
    learner = _member(document, "learner", dict)
    param = _member(learner, "learner_model_param", dict)
    width = _count(param, "num_feature", MAX_FEATURES + 1)
    outputs = max(
        _count(param, "num_class", MAX_OUTPUTS), _count(param, "num_target", MAX_OUTPUTS), 1
    )
    notes, best = _read_attributes(_member(learner, "attributes", dict, {}))
    objective = _read_objective(_member(learner, "objective", dict), notes)
    for key in NAMES:
        notes.pop(key, None)
        if names := _names(_member(learner, key, list, []), width):
            notes[key] = names
    booster = _member(learner, "gradient_booster", dict)
    name = _member(booster, "name", str)
    model = BoostedTreesModel(
        device,
        notes=notes,
        base=np.zeros(outputs, np.float32),
        columns=width,
        objective=objective,
        booster=name,
        trees=Trees(),
    )
    if name == "gblinear":
        model.linear = _read_linear(_member(booster, "model", dict), model)
    elif name in ("gbtree", "dart"):
        _read_trees(booster, model)
    else:
        raise ValueError(f"a booster {name!r}, which is not supported")
    if 0 <= best < model.rounds:
        model.best_iteration = best
    scores = _read_base_score(param, outputs)
    # XGBoost itself starts all outputs of gblinear from the first one's.
    model.base = model.to_margin(scores[:1].repeat(outputs) if name == "gblinear" else scores)
    model.check()
    return model


def _read_trees(booster: Mapping[str, Any], model: "BoostedTreesModel") -> None:
    gbtree = _member(booster, "gbtree", dict) if model.booster == "dart" else booster
    inner = _member(gbtree, "model", dict)
    param = _member(inner, "gbtree_model_param", dict, {})
    listed = _member(inner, "trees", list)
    group = _floats(inner.get("tree_info"), "tree_info", len(listed))
    if ((group < 0) | (group >= len(model.base))).any():
        raise ValueError("tree_info: a tree of an output that there is not")
    weight = np.ones(len(listed))
    if model.booster == "dart":
        weight = _floats(booster.get("weight_drop"), "weight_drop", len(listed))
    model.trees = decode_trees(listed, group, weight)
    model.parallel = max(_count(param, "num_parallel_tree", 1 << 31), 1)


def _read_linear(inner: Mapping[str, Any], model: "BoostedTreesModel") -> NDArray[np.float32]:
    rows, outputs = model.columns + 1, len(model.base)
    model.notes["boosted_rounds"] = _count(inner, "boosted_rounds", 1 << 31)
    weights = _floats(inner.get("weights"), "weights", rows * outputs)
    return weights.astype(np.float32).reshape(rows, outputs)


def _floats(value: Any, name: str, n: int) -> NDArray[np.float64]:
    """So many finite numbers."""
    if isinstance(value, list) and set(map(type, value)) <= {int, float}:
        value = np.array(value, np.float64)
    if not isinstance(value, np.ndarray) or value.shape != (n,):
        raise ValueError(f"{name} is not a list of {n} numbers")
    if not (np.abs(value) < float(np.finfo(np.float32).max)).all():
        raise ValueError(f"{name} holds values that are not finite")
    return value.astype(np.float64)


def _read_base_score(param: Mapping[str, Any], outputs: int) -> NDArray[np.float64]:
    """What predictions start from: one number for all outputs, or one for each."""
    given = param.get("base_score", "0.5")
    value = json.loads(given) if isinstance(given, str) else given
    scores = _floats(value, "base_score", len(value)) if isinstance(value, list) else None
    if scores is None:
        scores = _floats([value], "base_score", 1)
    if len(scores) not in (1, outputs):
        raise ValueError(f"base_score has {len(scores)} numbers for {outputs} outputs")
    return np.broadcast_to(scores, outputs)


def _read_attributes(attributes: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """(notes, best iteration or -1)"""
    notes: dict[str, Any] = {}
    best, kept = -1, {}
    for name, text in attributes.items():
        if not (_is_text(name) and _is_text(text)):
            raise ValueError("an attribute is not a text")
        if name == OWN:
            ours = json.loads(text)
            if isinstance(ours, dict):
                notes |= ours
        elif name == "best_iteration" and text.isascii() and text.isdigit():
            best = int(text[:12])
        else:
            kept[name] = text
    return notes | ({"attributes": kept} if kept else {}), best


def _read_objective(objective: Mapping[str, Any], notes: dict[str, Any]) -> str:
    """Its name; its parameters go to the notes."""
    name: str = _member(objective, "name", str)
    if not isinstance(notes.setdefault("hyperparameters", {}), dict):
        raise ValueError("hyperparameters are no object")
    notes["hyperparameters"]["objective"] = name
    for group, names in GROUPS.get(name, {}).items():
        given = _member(objective, group, dict, {})
        for key, default in names.items():
            text, ours = given.get(key), notes["hyperparameters"].get(key, default)
            # What we noted says more than its text: of more digits, or a 0 that stands for default.
            if isinstance(text, str) and text != write_text(key, ours):
                value = read_text(key, text)
                if value != ours:
                    notes["hyperparameters"][key] = value
    return name


def _names(given: Any, width: int) -> list[str]:
    """The names, if they are one for each feature, or else none."""
    fits = isinstance(given, list) and len(given) == width and all(map(_is_text, given))
    return given if fits else []


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written again."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


# Writing


def _document(
    model: "BoostedTreesModel", spelled: Callable[[NDArray[np.float32]], NDArray[Any]]
) -> dict[str, Any]:
    """All that a file says; floats of trees as `spelled` makes them."""
    notes = dict(model.notes)
    outputs = len(model.base)
    trees, linear, scores = _from_one_base(model)
    texts = [f"{score:.9g}" for score in scores.tolist()]
    by_class = model.objective.startswith("multi:")
    names = {key: _names(notes.pop(key, []), model.columns) for key in NAMES}
    attributes = dict(notes.pop("attributes", None) or {})
    if model.best_iteration >= 0:
        attributes["best_iteration"] = str(model.best_iteration)
    attributes[OWN] = json.dumps(notes, default=str)
    learner = {
        "attributes": attributes,
        **names,
        "gradient_booster": _booster(model, trees, linear, spelled),
        "learner_model_param": {
            "base_score": texts[0] if len(texts) == 1 else f"[{','.join(texts)}]",
            "boost_from_average": "1",
            "num_class": str(outputs if by_class else 0),
            "num_feature": str(model.columns),
            "num_target": str(1 if by_class else outputs),
        },
        "objective": _objective(model),
    }
    return {"learner": learner, "version": list(VERSION)}


def _objective(model: "BoostedTreesModel") -> dict[str, Any]:
    given = model.notes.get("hyperparameters", {})
    written: dict[str, Any] = {"name": model.objective}
    for group, names in GROUPS.get(model.objective, {}).items():
        values = {
            key: default if given.get(key) is None else given[key] for key, default in names.items()
        }
        if "num_class" in values:
            values["num_class"] = len(model.base)
        written[group] = {key: write_text(key, value) for key, value in values.items()}
    return written


def _from_one_base(
    model: "BoostedTreesModel",
) -> tuple[Trees, NDArray[np.float32] | None, NDArray[np.float64]]:
    """(trees, linear, base scores) that give the same margins from one base score for all outputs.

    Versions before 3.1 take several for the first of them, without a word. What the others differ
    by goes to the leaves of the first round. Where there are none that count, scores stay several.
    """
    trees, linear, scores = model.trees, model.linear, model.from_margin()
    more = model.base - model.base[0]
    if not more.any():
        return trees, linear, scores[:1]
    if linear is not None:
        linear = linear.copy()
        linear[-1] += more
        return trees, linear, scores[:1]
    first = slice(model.trees_per_round)
    if not trees.weight[first].all() or not len(trees):
        return trees, linear, scores
    change = np.zeros(len(trees), np.float32)
    change[first] = more[trees.group[first]] / (model.parallel * trees.weight[first])
    value = trees.value + np.repeat(change, np.diff(trees.offsets))
    arrays = {name: getattr(trees, name) for name in Trees.FIELDS}
    return Trees(**arrays | {"value": value}), linear, scores[:1]


def _booster(
    model: "BoostedTreesModel",
    trees: Trees,
    linear: NDArray[np.float32] | None,
    spelled: Callable[[NDArray[np.float32]], NDArray[Any]],
) -> dict[str, Any]:
    inner: dict[str, Any]
    if linear is not None:
        rounds = _count(model.notes, "boosted_rounds", 1 << 31)
        inner = {"boosted_rounds": rounds, "weights": spelled(linear.reshape(-1))}
        return {"model": inner, "name": "gblinear"}
    param = {
        "num_parallel_tree": str(model.parallel),
        "num_trees": str(len(trees)),
        "size_leaf_vector": "0",
    }
    inner = {
        "gbtree_model_param": param,
        "iteration_indptr": list(range(0, len(trees) + 1, model.trees_per_round)),
        "tree_info": trees.group.tolist(),
        "trees": encode_trees(trees, model.columns, spelled),
    }
    gbtree = {"model": inner, "name": "gbtree"}
    if model.booster == "gbtree":
        return gbtree
    return {"gbtree": gbtree, "name": "dart", "weight_drop": spelled(trees.weight).tolist()}


POWERS = np.array([float(f"1e{i}") for i in range(64)])


def _shortest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Doubles of few digits that are read as these floats; of as few as will do, nearly always."""
    exact = values.astype(np.float64)
    short, left = exact.copy(), np.flatnonzero(np.isfinite(values) & (values != 0))
    exponent = np.floor(np.log10(np.abs(exact[left]))).astype(np.int64)
    for digits in range(6, 10):  # 9 are always enough
        scale = digits - 1 - exponent
        up, down = POWERS[np.maximum(scale, 0)], POWERS[np.maximum(-scale, 0)]
        tried = np.rint(exact[left] * up / down) / up * down
        good = tried.astype(np.float32) == values[left]
        short[left[good]] = tried[good]
        left, exponent = left[~good], exponent[~good]
    return short
