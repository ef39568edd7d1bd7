"""Boosted trees, slowly: bins one value at a time, trees by a look at every split of every node."""

from fractions import Fraction

import numpy as np

LAST = np.finfo(np.float32).max
LEAST_GAIN = 1e-6
ALIKE = 1e-9  # gains that rounding may put in either order


def packed(g, h, rows, key):
    """Gradient pairs rounded by chance: a row's hash is what is added before cutting off."""
    u = (np.asarray(rows, np.uint32) ^ np.uint32(key & 0xFFFFFFFF)).astype(np.uint64)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        u = (u ^ (u >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    u ^= u >> np.uint64(16)
    low, high = (u & np.uint64(0xFFFF)), u >> np.uint64(16)
    # In parts of 2^-16, of which the chance has so many.
    parts_g, parts_h = (np.floor(x.astype(np.float64) * 2**16) for x in (g, h))
    whole_g = np.floor((parts_g + low) / 2**16).astype(np.int64)
    whole_h = np.floor((parts_h + high) / 2**16).astype(np.int64)
    return ((whole_g << 16) + whole_h).astype(np.int32)


def cuts_of(values, weights, most):
    """Upper ends of bins: a walk over the values in ascending order."""
    weights = np.ones(len(values), np.float32) if weights is None else weights
    pairs = sorted((float(x), float(w)) for x, w in zip(values, weights, strict=True) if x == x)
    distinct = sorted({x for x, _ in pairs})
    if len(distinct) <= most:
        begins = distinct[1:]
    else:
        total = sum(Fraction(w) for _, w in pairs)
        if not total:
            pairs = [(x, 1.0) for x, _ in pairs]
            total = Fraction(len(pairs))
        quantiles = []
        for k in range(1, most):
            # The value that holds the k-th of `most` parts of the weight begins a bin.
            below = Fraction(0)
            for x, w in pairs:
                below += Fraction(w)
                if below > k * total / most:
                    quantiles.append(x)
                    break
        begins = set(quantiles)
        for x in distinct[:-1]:
            if quantiles.count(x) > 1:  # it is alone in its bin
                begins.add(distinct[distinct.index(x) + 1])
        begins = sorted(begins - {distinct[0]})
    cuts = []
    for x in begins:
        below = np.float32(distinct[distinct.index(x) - 1])
        with np.errstate(over="ignore"):
            middle = below + (np.float32(x) - below) * np.float32(0.5)
        cuts.append(middle if below < middle <= np.float32(x) else np.float32(x))
    return np.array([*cuts, LAST], np.float32)


def bin_of(x, cuts):
    """The bin of a value; that of missing ones is behind the others."""
    if np.isnan(x):
        return len(cuts)
    return sum(x >= cut for cut in cuts[:-1])


class Limits:
    """How trees may look: the hyperparameters by their names; `groups`: interaction constraints.

    `levels` (levels, d) says which features a level may use, `unit` what a gradient or hessian of 1
    stands for.
    """

    unit = 1.0

    def __init__(self, d, **given):
        usual = dict(
            depth=0, leaves=0, lossguide=False, min_child_weight=0.0, reg_lambda=1.0, reg_alpha=0.0,
            max_delta_step=0.0, gamma=0.0, max_cat_to_onehot=4, monotone=[0] * d, groups=None,
            levels=None,
        )  # fmt: skip
        assert given.keys() <= usual.keys()
        self.__dict__.update(usual | given)

    def scaled(self, unit):
        """The same limits, for gradients and hessians that are given in such units."""
        made = Limits(0)
        made.__dict__.update(self.__dict__, unit=unit)
        return made

    def weight(self, g, h, bounds):
        """What a leaf says."""
        w = 0.0
        if h > 0:
            w = -np.sign(g) * max(abs(g) - self.reg_alpha, 0) / (h + self.reg_lambda)
            if self.max_delta_step:
                w = np.clip(w, -self.max_delta_step, self.max_delta_step)
        return float(np.clip(w, *bounds))

    def score(self, g, h, bounds):
        """Twice what a leaf takes from the loss."""
        w = self.weight(g, h, bounds)
        return -(2 * g * w + (h + self.reg_lambda) * w * w + 2 * self.reg_alpha * abs(w))


class Node:
    """A node while a tree grows."""

    def __init__(self, rows, depth, path, bounds):
        self.rows, self.depth, self.path, self.bounds = rows, depth, path, bounds
        self.child, self.split, self.gain = -1, None, 0.0


def _splits(limits, f, kind, bins, values, g, h, bounds, total):
    """All splits of a node's rows by a feature, as the order of looking at them has it.

    Each is (score of the children, feature, bin or set of categories that go right, whether missing
    goes left, sums on the left).
    """
    sums = np.zeros((bins + 1, 2), np.int64)
    np.add.at(sums, values, np.stack([g, h], axis=1))
    missing = sums[bins]
    some = bool(missing.any())

    def judged(choice, by, left):
        right = total - left
        unit = limits.unit
        if min(left[1], right[1]) * unit < limits.min_child_weight or min(left[1], right[1]) <= 0:
            return []
        if not kind:
            a, b = limits.weight(*left * unit, bounds), limits.weight(*right * unit, bounds)
            if limits.monotone[f] * (b - a) < 0:
                return []
        score = limits.score(*left * unit, bounds) + limits.score(*right * unit, bounds)
        return [(score, f, choice, by, tuple(left.tolist()))]

    found = []
    if not kind:
        for by in (False, True) if some else (False,):
            for b in range(bins):
                left = sums[: b + 1].sum(axis=0) + (missing if by else 0)
                if b < bins - 1 or (some and not by):
                    found += judged(b, by, left)
    elif bins < limits.max_cat_to_onehot:
        for c in range(bins):
            for by in (True, False) if some else (True,):
                found += judged(frozenset([c]), by, total - sums[c] - (0 if by else missing))
    else:
        present = [c for c in range(bins) if sums[c, 1] > 0]
        present.sort(key=lambda c: limits.weight(*sums[c] * limits.unit, (-np.inf, np.inf)))
        for by in (True, False) if some else (True,):
            for count in range(1, len(present) + 1):
                if count == len(present) and not (some and by):
                    continue
                right = sums[present[:count]].sum(axis=0) + (0 if by else missing)
                found += judged(frozenset(present[:count]), by, total - right)
    return found


def _allowed(limits, node, f):
    if limits.levels is not None and not limits.levels[node.depth % len(limits.levels)][f]:
        return False
    if limits.groups is None or not node.path or f in node.path:
        return True
    return any(f in group and node.path <= set(group) for group in limits.groups)


def grow(values, bins, categorical, g, h, limits, taken):
    """A tree.

    Parameters
    ----------
    values : ndarray of int, shape (n, d)
        Bins; ``bins[f]`` where missing.
    bins : sequence of int
    categorical : sequence of bool
    g, h : ndarray of int64, shape (n,)
        Gradients and hessians in whole numbers.
    limits : Limits
    taken : callable
        ``taken(i)`` says how another way split node i: (feature, choice, missing's side). It
        decides between splits whose gains are equal but for rounding.

    Returns
    -------
    list of Node
    """

    def made(rows, depth, path, bounds):
        node = Node(rows, depth, path, bounds)
        node.sums = np.array([g[rows].sum(), h[rows].sum()])
        return node

    def judge(i):
        node = nodes[i]
        closed = 0 < limits.depth <= node.depth and i > 0
        if closed:
            return
        all_splits = [
            split
            for f in range(len(bins))
            if _allowed(limits, node, f)
            for split in _splits(
                limits, f, categorical[f], bins[f], values[node.rows, f], g[node.rows],
                h[node.rows], node.bounds, node.sums,
            )
        ]  # fmt: skip
        if not all_splits:
            return
        best = max(split[0] for split in all_splits)
        own = limits.score(*node.sums * limits.unit, node.bounds)
        slack = ALIKE * max(abs(best), abs(own), 1e-12)
        alike = [split for split in all_splits if split[0] >= best - slack]
        kept = alike[0]
        theirs = taken(i)
        for split in alike:
            if split[1:4] == theirs:
                # Equal sums have equal gains: then the first one counts.
                kept = next(s for s in alike if (s[1], s[4]) == (split[1], split[4]))
                break
        gain = kept[0] - own
        least = max(LEAST_GAIN, limits.gamma)
        if abs(gain - least) <= slack:  # rounding decides
            kept = kept if theirs is not None else None
        elif gain < least:
            kept = None
        if kept is not None:
            node.split, node.gain = kept[1:4], gain

    nodes = [made(np.arange(len(g)), 0, frozenset(), (-np.inf, np.inf))]
    judge(0)
    while not 0 < limits.leaves <= (len(nodes) + 1) // 2:
        ready = [i for i, node in enumerate(nodes) if node.child < 0 and node.split]
        if not ready:
            break
        i = ready[0]
        if limits.lossguide:
            most = max(nodes[j].gain for j in ready)
            alike = [j for j in ready if nodes[j].gain >= most * (1 - ALIKE)]
            done = [j for j in alike if taken.child(j) == len(nodes)]
            i = done[0] if done else alike[0]
        node = nodes[i]
        node.child = len(nodes)
        f, choice, by = node.split
        x = values[node.rows, f]
        goes = np.isin(x, list(choice), invert=True) if categorical[f] else x <= choice
        goes[x == bins[f]] = by
        sides = [node.rows[goes], node.rows[~goes]]
        sums = [np.array([g[rows].sum(), h[rows].sum()]) * limits.unit for rows in sides]
        weights = [limits.weight(*pair, node.bounds) for pair in sums]
        middle, sign = sum(weights) / 2, 0 if categorical[f] else limits.monotone[f]
        for side, rows in enumerate(sides):
            least, most = node.bounds
            if sign:
                lower = (sign > 0) == (side == 0)
                least, most = (least, middle) if lower else (middle, most)
            nodes.append(made(rows, node.depth + 1, node.path | {f}, (least, most)))
        for i in (node.child, node.child + 1):
            judge(i)
    return nodes
