"""The nine losses in plain NumPy, float64, from their definitions."""

import numpy as np


def values(name, y, f, *, insensitivity=0.01, quantile=0.5, delta=1.0, margin=1.0, positive=1.0):
    """Loss of each score, y as f."""
    e = y - f
    if name == "squared":
        return e**2
    if name == "absolute":
        return abs(e)
    if name == "eps_squared":
        return np.maximum(0, e**2 - insensitivity**2)
    if name == "eps_absolute":
        return np.maximum(0, abs(e) - insensitivity)
    if name == "quantile":
        return quantile * np.maximum(0, e) + (1 - quantile) * np.maximum(0, -e)
    if name == "huber":
        return np.where(abs(e) < delta, e**2 / 2, delta * abs(e) - delta**2 / 2)
    if name == "logistic":
        return positive * y * np.logaddexp(0, -f) + (1 - y) * np.logaddexp(0, f)
    if name == "hinge":
        yes = positive * y * np.maximum(0, (margin + 1) / 2 - f)
        return yes + (1 - y) * np.maximum(0, (margin - 1) / 2 + f)
    raise KeyError(name)


def softmax_value(y, scores, positive):
    """Loss of each row of (n, classes) scores; positive (classes,)."""
    label = y.astype(int)
    top = scores.max(axis=1)
    norm = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
    return positive[label] * (norm - scores[np.arange(len(y)), label])


def gradient(name, y, f, **constants):
    """Derivative of `values` where it has one; at a kink that of the flat side, or 0."""
    e = y - f
    c = dict(insensitivity=0.01, quantile=0.5, delta=1.0, margin=1.0, positive=1.0) | constants
    if name == "squared":
        return -2 * e
    if name == "absolute":
        return -np.sign(e)
    if name == "eps_squared":
        return np.where(abs(e) > c["insensitivity"], -2 * e, 0)
    if name == "eps_absolute":
        return np.where(abs(e) > c["insensitivity"], -np.sign(e), 0)
    if name == "quantile":
        return np.where(e > 0, -c["quantile"], np.where(e < 0, 1 - c["quantile"], 0))
    if name == "huber":
        return np.where(abs(e) < c["delta"], -e, -c["delta"] * np.sign(e))
    if name == "logistic":
        return (1 - y) / (1 + np.exp(-f)) - c["positive"] * y / (1 + np.exp(f))
    if name == "hinge":
        yes = c["positive"] * y * ((c["margin"] + 1) / 2 - f > 0)
        return (1 - y) * ((c["margin"] - 1) / 2 + f > 0) - yes
    raise KeyError(name)


def softmax_gradient(y, scores, positive):
    """Derivative of `softmax_value`, (n, classes)."""
    label = y.astype(int)
    z = np.exp(scores - scores.max(axis=1, keepdims=True))
    share = z / z.sum(axis=1, keepdims=True)
    share[np.arange(len(y)), label] -= 1
    return positive[label][:, None] * share
