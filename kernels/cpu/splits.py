"""The best split of a node by one feature, from the sums of its bins.

Sums are packed (see `packed`): ``scale_g`` and ``scale_h`` make gradients and hessians of them.
With G and H those of a node's rows, its score is ``S(G)^2 / (H + lambda)``, S the soft threshold
at alpha; a split gains the scores of both children less that of the node (Chen and Guestrin,
"XGBoost: A Scalable Tree Boosting System", KDD 2016, equation 7, without the half). Where the step
is bounded, by max_delta_step or monotone constraints, a child's score is
``-(2 G w + (H + lambda) w^2 + 2 alpha |w|)`` at the bounded weight w.
"""

import numpy as np

from smalgos._jit import kernel

LOW = np.int64(0xFFFFFFFF)

# Places in the vector of settings.
LAMBDA, ALPHA, MIN_CHILD, MAX_STEP, SCALE_G, SCALE_H, ONE_HOT = range(7)
MAX_LEAVES, MAX_DEPTH, GAMMA, LOSSGUIDE, SETTINGS = range(7, 12)


@kernel
def gradient_of(packed, scale_g):
    """Sum of gradients of packed sums."""
    return np.float64(packed >> np.int64(32)) * scale_g


@kernel
def hessian_of(packed, scale_h):
    """Sum of hessians of packed sums."""
    return np.float64(packed & LOW) * scale_h


@kernel
def weight_of(g, h, lam, alpha, step, least, most):
    """What a leaf should say: the minimum of its part of the loss, within bounds."""
    if h <= 0:
        return min(max(0.0, least), most)
    g = g - alpha if g > alpha else g + alpha if g < -alpha else 0.0
    w = -g / (h + lam)
    if step > 0:
        w = min(max(w, -step), step)
    return min(max(w, least), most)


@kernel
def score_of(g, h, w, lam, alpha):
    """How much a leaf of weight w takes from the loss, twice."""
    return -(2.0 * g * w + (h + lam) * w * w + 2.0 * alpha * abs(w))


@kernel
def _gain(left, total, lam, alpha, step, min_child, scale_g, scale_h, least, most, sign):
    """Scores of two children, or -inf where there may be no such split."""
    g, h = gradient_of(left, scale_g), hessian_of(left, scale_h)
    q, k = gradient_of(total - left, scale_g), hessian_of(total - left, scale_h)
    if not (h >= min_child and k >= min_child and h > 0 and k > 0):
        return -np.inf
    a, b = (
        weight_of(g, h, lam, alpha, step, least, most),
        weight_of(q, k, lam, alpha, step, least, most),
    )
    if sign * (b - a) < 0:
        return -np.inf
    return score_of(g, h, a, lam, alpha) + score_of(q, k, b, lam, alpha)


@kernel
def best_threshold(slots, first, bins, total, settings, least, most, sign, plain, sums, gain):
    """The best split into low and high bins, rows without a value on either side.

    slots        packed sums of all features; those of this one are slots[first : first + bins]
                 and, of rows without a value, slots[first + bins]                    in
    total        packed sum of the node
    least, most  bounds of the children's weights
    sign         +1: the right child's weight must not be less, -1: not be more, 0: any
    plain        no alpha, no bounds of any kind: the fast way
    sums, gain   int64 and float64, scratch for the bins, rounded up to whole vectors out

    Returns (score of the children, last bin that goes left, whether missing does, packed left sum).
    """
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    min_child, scale_g, scale_h = settings[MIN_CHILD], settings[SCALE_G], settings[SCALE_H]
    least_h = max(min_child, 1e-300)
    whole_g, whole_h = gradient_of(total, scale_g), hessian_of(total, scale_h)
    c = np.int64(0)
    own = slots[first : first + bins + 1]
    for b in range(bins):
        c += own[b]
        sums[b] = c
    missing = own[bins]
    best, at, by, left = -np.inf, 0, False, np.int64(0)
    for turn in range(2 if missing != 0 else 1):
        # Only with missing values on its right may the last bin go left.
        count = bins if missing != 0 and turn == 0 else bins - 1
        offset = missing if turn else np.int64(0)
        if count <= 0:
            continue
        end = (count + 7) // 8 * 8
        if plain:
            # Whole vectors: what is behind the bins is worked out and thrown away.
            for b in range(end):
                some = sums[b] + offset
                g, h = np.float64(some >> np.int64(32)) * scale_g, np.float64(some & LOW) * scale_h
                q, k = whole_g - g, whole_h - h
                u, e = h + lam, k + lam
                both = (g * g * e + q * q * u) / (u * e)
                gain[b] = both if (h >= least_h) & (k >= least_h) else -np.inf
        else:
            for b in range(count):
                gain[b] = _gain(
                    sums[b] + offset, total, lam, alpha, step, min_child, scale_g, scale_h, least,
                    most, sign,
                )  # fmt: skip
        for b in range(count, end):
            gain[b] = -np.inf
        m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = -np.inf
        for b in range(0, end, 8):  # eight lanes of one vector
            m0, m1 = max(m0, gain[b]), max(m1, gain[b + 1])
            m2, m3 = max(m2, gain[b + 2]), max(m3, gain[b + 3])
            m4, m5 = max(m4, gain[b + 4]), max(m5, gain[b + 5])
            m6, m7 = max(m6, gain[b + 6]), max(m7, gain[b + 7])
        value = max(max(max(m0, m1), max(m2, m3)), max(max(m4, m5), max(m6, m7)))
        if value > best:
            b = 0
            while gain[b] != value:
                b += 1
            best, at, by, left = value, b, turn == 1, sums[b] + offset
    return best, at, by, left


@kernel
def order_categories(slots, first, bins, settings, order, ratio):
    """Sort the categories that a node has by gradient over hessian; how many there are.

    order   (bins,) int64, their bins in ascending order                              out
    ratio   (bins,) float64, scratch                                                  out
    """
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    scale_g, scale_h = settings[SCALE_G], settings[SCALE_H]
    count = 0
    for b in range(bins):
        packed = slots[first + b]
        h = hessian_of(packed, scale_h)
        if h <= 0:
            continue
        r = weight_of(gradient_of(packed, scale_g), h, lam, alpha, step, -np.inf, np.inf)
        at = count
        while at > 0 and ratio[at - 1] > r:
            ratio[at], order[at] = ratio[at - 1], order[at - 1]
            at -= 1
        ratio[at], order[at] = r, b
        count += 1
    return count


@kernel
def best_categories(slots, first, bins, total, settings, least, most, order, ratio):
    """The best set of categories to go right, by the order of their weights (Fisher, "On grouping
    for maximum homogeneity", JASA 1958): sorted by it, the best set is a beginning or one alone.

    Arguments as for `best_threshold` and `order_categories`.

    Returns (score of the children, how many of the order go right, or -1 - bin of the one that
    does, whether missing goes left, packed left sum).
    """
    lam, alpha, step = settings[LAMBDA], settings[ALPHA], settings[MAX_STEP]
    min_child, scale_g, scale_h = settings[MIN_CHILD], settings[SCALE_G], settings[SCALE_H]
    missing = slots[first + bins]
    best, choice, by, chosen = -np.inf, 0, False, np.int64(0)
    if bins < settings[ONE_HOT]:
        for b in range(bins):
            right = slots[first + b]
            for turn in range(2 if missing != 0 else 1):
                left = total - right - (np.int64(0) if turn == 0 else missing)
                value = _gain(
                    left, total, lam, alpha, step, min_child, scale_g, scale_h, least, most, 0.0
                )
                if value > best:
                    best, choice, by, chosen = value, -1 - b, turn == 0, left
        return best, choice, by, chosen
    count = order_categories(slots, first, bins, settings, order, ratio)
    for turn in range(2 if missing != 0 else 1):
        right = np.int64(0) if turn == 0 else missing
        for i in range(count - 1 if missing == 0 else count):
            right += slots[first + order[i]]
            if i == count - 1 and turn == 1:
                break
            value = _gain(
                total - right, total, lam, alpha, step, min_child, scale_g, scale_h, least, most,
                0.0,
            )  # fmt: skip
            if value > best:
                best, choice, by, chosen = value, i + 1, turn == 0, total - right
    return best, choice, by, chosen
