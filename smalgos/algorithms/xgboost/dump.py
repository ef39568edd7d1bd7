"""Trees for the eye: text and Graphviz source, in the spelling of XGBoost's dumps."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from smalgos.algorithms.xgboost.trees import LEAF, Trees

YES, NO = "#0000FF", "#FF0000"  # colours of the edge that missing values take, and of the other


def to_text(
    trees: Trees,
    i: int,
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    *,
    stats: bool = True,
) -> str:
    """Tree i, a line per node, indented by depth; parents come before their children.

    Parameters
    ----------
    trees : Trees
    i : int
    names : sequence of str, optional
        Of features. Default: f0, f1, ...
    types : sequence of str, optional
        Of features, as XGBoost spells them: thresholds of "int" are whole numbers, those of "i"
        (0 or 1) are left out.
    stats : bool
        Whether gain and cover are told.

    Returns
    -------
    str
        What ``Booster.get_dump`` gives.
    """
    lines = []
    for node, depth in _walk(trees, i):
        at = int(trees.offsets[i]) + node
        if trees.left[at] == LEAF:
            said = f"leaf={trees.value[at]:.9g}"
        else:
            yes, no, missing = _children(trees, at)
            said = f"[{_condition(trees, at, names, types)}] yes={yes},no={no}"
            if _type(trees, at, types) != "i":
                said += f",missing={missing}"
        more = "".join(f",{text}" for text in _stats(trees, at)) if stats else ""
        lines.append("\t" * depth + f"{node}:{said}{more}\n")
    return "".join(lines)


def to_graphviz(
    trees: Trees,
    i: int,
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    *,
    stats: bool = False,
) -> str:
    """Tree i as source of Graphviz's ``dot``; parameters as those of `to_text`."""
    parts = ["digraph {\n    graph [ rankdir=TB ]"]
    for node, _ in _walk(trees, i):
        at = int(trees.offsets[i]) + node
        leaf = trees.left[at] == LEAF
        said = f"leaf={trees.value[at]:.9g}" if leaf else _condition(trees, at, names, types)
        label = "\n".join([_quoted(said), *(_stats(trees, at) if stats else ())])
        lines = [f'    {node} [ label="{label}" ]']
        if not leaf:
            yes, _, missing = _children(trees, at)
            for child in (int(trees.left[at]), int(trees.right[at])):
                word = "yes" if child == yes else "no"
                word += ", missing" if child == missing else ""
                colour = YES if child == missing else NO
                lines.append(f'    {node} -> {child} [label="{word}" color="{colour}"]')
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n}"


def _walk(trees: Trees, i: int) -> Iterator[tuple[int, int]]:
    """(node, depth), each parent in front of all below its left child, then its right one."""
    start = int(trees.offsets[i])
    waiting = [(0, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if trees.left[start + node] != LEAF:
            waiting.append((int(trees.right[start + node]), depth + 1))
            waiting.append((int(trees.left[start + node]), depth + 1))


def _children(trees: Trees, at: int) -> tuple[int, int, int]:
    """Where rows go for which the condition holds, those for which it does not, and missing ones.

    A numerical condition sends rows left, a categorical one right.
    """
    left, right = int(trees.left[at]), int(trees.right[at])
    yes, no = (right, left) if trees.words[at] < trees.words[at + 1] else (left, right)
    return yes, no, left if trees.default_left[at] else right


def _type(trees: Trees, at: int, types: Sequence[str] | None) -> str:
    return types[trees.feature[at]] if types else "q"


def _condition(
    trees: Trees, at: int, names: Sequence[str] | None, types: Sequence[str] | None
) -> str:
    feature = int(trees.feature[at])
    name = names[feature] if names else f"f{feature}"
    first, end = int(trees.words[at]), int(trees.words[at + 1])
    if first < end:
        sets = trees.sets[first:end].astype("<u4").view(np.uint8)
        categories = np.flatnonzero(np.unpackbits(sets, bitorder="little"))
        return f"{name}:{{{','.join(map(str, categories))}}}"
    kind, threshold = _type(trees, at, types), float(trees.threshold[at])
    if kind == "i":
        return name
    if kind == "int" and math.isfinite(threshold):
        return f"{name}<{math.ceil(threshold)}"
    return f"{name}<{threshold:.9g}"


def _stats(trees: Trees, at: int) -> list[str]:
    cover = f"cover={trees.cover[at]:.9g}"
    return [cover] if trees.left[at] == LEAF else [f"gain={trees.gain[at]:.9g}", cover]


def _quoted(text: str) -> str:
    """Text as it stands inside of quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
