"""Objectives of boosted trees in plain NumPy, float64, from their definitions."""

import math

import numpy as np

# Elementwise ------------------------------------------------------------------------------


def value(name, m, y, *, slope=1.0, level=0.5, step=0.7, power=1.5):
    """The loss whose derivatives by m are `gradients`."""
    if name == "squared":
        return (m - y) ** 2 / 2
    if name == "squared_log":
        return (np.log1p(m) - np.log1p(y)) ** 2 / 2
    if name == "logistic":
        return np.logaddexp(0, m) - y * m
    if name == "pseudo_huber":
        return slope**2 * (np.sqrt(1 + ((m - y) / slope) ** 2) - 1)
    if name == "absolute":
        return abs(m - y)
    if name == "quantile":
        return np.where(m >= y, (1 - level) * (m - y), level * (y - m))
    if name == "hinge":
        return np.maximum(0, 1 - (2 * y - 1) * m)
    if name == "poisson":
        return np.exp(m) - y * m
    if name == "gamma":
        return m + y * np.exp(-m)
    if name == "tweedie":
        return np.exp((2 - power) * m) / (2 - power) - y * np.exp((1 - power) * m) / (1 - power)
    raise KeyError(name)


def gradients(name, m, y, *, slope=1.0, level=0.5, step=0.7, power=1.5):
    """Gradient and hessian of each row."""
    one = np.ones_like(m)
    if name == "squared":
        return m - y, one
    if name == "squared_log":
        m = np.maximum(m, -1 + 1e-6)
        off = np.log1p(m) - np.log1p(y)
        return off / (m + 1), np.maximum((1 - off) / (m + 1) ** 2, 1e-6)
    if name == "logistic":
        p, q = 1 / (1 + np.exp(-m)), 1 / (1 + np.exp(m))
        return p - y, np.maximum(p * q, 1e-16)
    if name == "pseudo_huber":
        z = m - y
        square = 1 + (z / slope) ** 2
        return z / np.sqrt(square), square**-1.5
    if name == "absolute":
        return np.sign(m - y), one
    if name == "quantile":
        return np.where(m >= y, 1 - level, -level), one
    if name == "hinge":
        sign = 2 * y - 1
        return np.where(sign * m < 1, -sign, 0), np.where(sign * m < 1, 1.0, 2.0**-126)
    if name == "poisson":
        return np.exp(m) - y, np.exp(m + step)
    if name == "gamma":
        return 1 - y * np.exp(-m), y * np.exp(-m)
    if name == "tweedie":
        a, b = y * np.exp((1 - power) * m), np.exp((2 - power) * m)
        return b - a, (2 - power) * b - (1 - power) * a
    raise KeyError(name)


# Softmax ------------------------------------------------------------------------------


def softmax_value(m, y):
    """Loss of each row of margins (K, n)."""
    top = m.max(axis=0)
    return np.log(np.exp(m - top).sum(axis=0)) + top - m[y.astype(int), np.arange(len(y))]


def softmax(m, y):
    """Gradient and hessian, (K, n); the hessian is twice the derivative of the gradient."""
    z = np.exp(m - m.max(axis=0))
    p = z / z.sum(axis=0)
    return p - (np.arange(len(m))[:, None] == y), np.maximum(2 * p * (1 - p), 1e-16)


# Ranking ------------------------------------------------------------------------------


def dcg(gains, truncation=None):
    """Discounted gain of rows in order."""
    gains = gains[:truncation]
    return sum(x / math.log2(i + 2) for i, x in enumerate(gains))


def average_precision(relevant):
    """Mean, over relevant rows, of the share of relevant ones up to each."""
    places = [i + 1 for i, r in enumerate(relevant) if r]
    return sum((k + 1) / place for k, place in enumerate(places)) / max(1, len(places))


def change(kind, labels, order, i, j, truncation, exponential):
    """What the metric of a group changes by if places i and j are swapped."""
    if kind == "pairwise":
        return 1.0
    y = labels[order]
    swapped = y.copy()
    swapped[[i, j]] = swapped[[j, i]]
    if kind == "map":
        return abs(average_precision(y) - average_precision(swapped))
    gain = (lambda y: 2.0**y - 1) if exponential else (lambda y: y)
    ideal = dcg(gain(np.sort(y)[::-1]), truncation)
    return abs(dcg(gain(y)) - dcg(gain(swapped))) / ideal if ideal else 0.0


def lambdas(
    kind, m, labels, pairs, *, truncation, exponential=True, by_difference=True, normalize="log"
):
    """Gradient and hessian of one group; pairs(order) gives places."""
    g, h = np.zeros(len(m)), np.zeros(len(m))
    order = np.argsort(-m, kind="stable")
    size = 0.0
    for i, j in pairs(order):
        high, low = order[i], order[j]
        if labels[high] == labels[low]:
            continue
        if labels[high] < labels[low]:
            high, low = low, high
        delta = change(kind, labels, order, i, j, truncation, exponential)
        if by_difference and m.max() != m.min():
            delta /= 0.01 + abs(m[high] - m[low])
        s = 1 / (1 + math.exp(m[low] - m[high]))
        g[high] += (s - 1) * delta
        g[low] -= (s - 1) * delta
        h[[high, low]] += 2 * max(s * (1 - s), 1e-16) * delta
        size += 2 * (1 - s) * delta
    if normalize == "log":
        normalize = math.log2(1 + size) / size if size > 0 else 1.0
    return g * normalize, h * normalize


def best_pairs(n, number):
    """The best places with all below."""
    return [(i, j) for i in range(min(n, number)) for j in range(i + 1, n)]


# Survival ------------------------------------------------------------------------------


def cox_value(m, y):
    """Negative log of Breslow's partial likelihood; events have y > 0, at time abs(y)."""
    time = abs(y)
    return sum(np.log(np.exp(m[time >= time[i]]).sum()) - m[i] for i in np.flatnonzero(y > 0))


def cox(m, y):
    """Gradient, and the diagonal of the hessian."""
    time, e = abs(y), np.exp(m)
    g, h = -(y > 0).astype(float), np.zeros(len(m))
    for i in np.flatnonzero(y > 0):
        p = np.where(time >= time[i], e, 0) / e[time >= time[i]].sum()
        g += p
        h += p * (1 - p)
    return g, h


def _density(name, z):
    """Density, its first and second derivative, and distribution of the noise."""
    if name == "normal":
        f = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return f, -z * f, (z * z - 1) * f, (1 + math.erf(z / math.sqrt(2))) / 2
    w = math.exp(z)
    if name == "logistic":
        f = w / (1 + w) ** 2
        return f, f * (1 - w) / (1 + w), f * (w * w - 4 * w + 1) / (1 + w) ** 2, w / (1 + w)
    f = w * math.exp(-w)
    return f, (1 - w) * f, (w * w - 3 * w + 1) * f, 1 - math.exp(-w)


def aft_value(name, scale, m, lower, upper):
    """Negative log likelihood of one row whose time is between lower and upper."""
    if lower == upper:
        z = (math.log(lower) - m) / scale
        return -math.log(max(_density(name, z)[0] / (scale * lower), 1e-12))
    above = 1.0 if math.isinf(upper) else _density(name, (math.log(upper) - m) / scale)[3]
    below = 0.0 if lower <= 0 else _density(name, (math.log(lower) - m) / scale)[3]
    return -math.log(max(above - below, 1e-12))


def aft(name, scale, m, lower, upper):
    """Gradient and hessian of one row by m, before they are clipped to [-15, 15], [1e-16, 15]."""
    if lower == upper:
        f, slope, curve, _ = _density(name, (math.log(lower) - m) / scale)
        return slope / (scale * f), (slope**2 - f * curve) / (scale * f) ** 2
    u = (0.0, 0.0, 0.0, 1.0) if math.isinf(upper) else _density(name, (math.log(upper) - m) / scale)
    b = (0.0,) * 4 if lower <= 0 else _density(name, (math.log(lower) - m) / scale)
    f, slope, share = u[0] - b[0], u[1] - b[1], u[3] - b[3]
    return f / (scale * share), (f * f - share * slope) / (scale * share) ** 2
