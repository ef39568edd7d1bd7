"""Random forests and rows to try them on; trees out of XGBoost's own model files."""

import json

import numpy as np

from smalgos.algorithms.xgboost.trees import Trees

VALUES = np.array([-np.inf, -2.5, -1, -0.5, -0.0, 0.0, 0.25, 1, 2, 3, 40, 70, np.inf], np.float32)


def grow(rng, depth, split, width, categories):
    """One tree as a list of nodes (left, right, feature, threshold, default_left, set)."""
    nodes = []

    def node(level):
        here = len(nodes)
        nodes.append(None)
        if level == depth or rng.random() > split:
            nodes[here] = (-1, -1, 0, 0.0, 0, [])
            return here
        chosen = categories and rng.random() < 0.4
        words = rng.integers(0, 1 << 32, rng.integers(1, 4), dtype=np.uint32) if chosen else []
        threshold = 0.0 if chosen else rng.choice(VALUES)
        feature, default = rng.integers(0, width), rng.integers(0, 2)
        children = [node(level + 1), 0]
        children[1] = node(level + 1)
        nodes[here] = (*children, feature, threshold, default, words)
        return here

    node(0)
    return nodes


def from_nodes(trees, group, weight, value, cover):
    """Flat arrays of trees that are lists of nodes."""
    nodes = [node for tree in trees for node in tree]
    columns = list(zip(*nodes, strict=True)) if nodes else [[]] * 6
    sets = [np.asarray(words, np.uint32) for words in columns[5]]
    return Trees(
        offsets=np.append(0, np.cumsum([len(tree) for tree in trees])),
        group=group, weight=weight, left=columns[0], right=columns[1], feature=columns[2],
        threshold=columns[3], default_left=columns[4], value=value, gain=np.zeros(len(nodes)),
        cover=cover, words=np.append(0, np.cumsum([len(words) for words in sets])),
        sets=np.concatenate([np.zeros(0, np.uint32), *sets]),
    )  # fmt: skip


def forest(seed, count, depth=4, width=5, outputs=1, categories=False, split=0.8):
    """Random trees; a node's cover is the sum of its children's."""
    rng = np.random.default_rng(seed)
    trees = [grow(rng, rng.integers(0, depth + 1), split, width, categories) for _ in range(count)]
    cover = []
    for tree in trees:
        own = rng.integers(0, 5, len(tree)).astype(float)
        for i in reversed(range(len(tree))):
            if tree[i][0] >= 0:
                own[i] = own[tree[i][0]] + own[tree[i][1]]
        cover.append(own)
    total = sum(len(tree) for tree in trees)
    return from_nodes(
        trees, rng.integers(0, outputs, count), rng.choice([0.3, 1, 1], count),
        rng.standard_normal(total), np.concatenate([np.zeros(0), *cover]),
    )  # fmt: skip


def rows(seed, n, width=5):
    """Values at thresholds and between them, categories, infinities, NaN."""
    rng = np.random.default_rng(seed)
    X = rng.choice(np.append(VALUES, np.nan), (n, width))
    some = rng.random((n, width)) < 0.3
    X[some] = rng.standard_normal(int(some.sum()))
    categories = rng.random((n, width)) < 0.3
    X[categories] = rng.integers(-2, 100, int(categories.sum()))
    return X.astype(np.float32)


def from_xgboost(booster):
    """Trees of a Booster, out of its JSON."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    model = learner["gradient_booster"]
    weight = model.get("weight_drop")
    model = model.get("gbtree", model)["model"]
    trees, value, cover = [], [], []
    for tree in model["trees"]:
        sets = [[] for _ in tree["left_children"]]
        parts = zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"],
            strict=True,
        )  # fmt: skip
        for node, begin, size in parts:
            chosen = tree["categories"][begin : begin + size]
            words = np.zeros(max(chosen) // 32 + 1, np.uint32)
            for c in chosen:
                words[c // 32] |= np.uint32(1 << (c % 32))
            sets[node] = words
        leaf = np.array(tree["left_children"]) < 0
        conditions = np.array(tree["split_conditions"], np.float32)
        nodes = zip(
            tree["left_children"], tree["right_children"], np.where(leaf, 0, tree["split_indices"]),
            np.where(leaf, 0, conditions), tree["default_left"], sets, strict=True,
        )  # fmt: skip
        trees.append(list(nodes))
        value.append(np.where(leaf, conditions, 0))
        cover.append(tree["sum_hessian"])
    weight = np.ones(len(trees)) if weight is None else weight
    return from_nodes(
        trees, model["tree_info"], weight, np.concatenate(value), np.concatenate(cover)
    )
