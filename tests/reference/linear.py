"""Linear models trained by mini-batches, one after another, in plain NumPy and float64."""

import numpy as np

from tests.reference import losses, optimizers


def gradient(loss, y, raw, constants, positive):
    """Values (rows,) and gradients (rows, classes) of one model."""
    if loss == "softmax":
        value = losses.softmax_value(y, raw, positive)
        return value, losses.softmax_gradient(y, raw, positive)
    c = dict(constants, positive=positive)
    value = losses.values(loss, y[:, None], raw, **c)
    return value[:, 0], losses.gradient(loss, y[:, None], raw, **c)


def train(X, y, weight, batch, w, rates, *, loss, constants, optimizer, settings, decay, l1,
          positive, bias_rate, bias_decay):  # fmt: skip
    """One model, w (d + 1, classes); returns its weights and the sum of weighted losses."""
    w, total = w.astype(float), 0.0
    shape = w.shape
    slots = dict(sgd=0, momentum=1, adagrad=1, rmsprop=1).get(optimizer, 2)
    state = [[np.zeros(shape[1:]) for _ in range(slots)] for _ in range(shape[0])]
    for t, first in enumerate(range(0, len(X), batch), start=1):
        rows = slice(first, first + batch)
        x = np.hstack([X[rows], np.ones((len(X[rows]), 1))])
        value, g = gradient(loss, y[rows], x @ w, constants, positive)
        g = g * weight[rows, None]
        total += (value * weight[rows]).sum()
        slope, rate = x.T @ g, rates[t - 1]
        for j in range(shape[0]):
            bias = j == shape[0] - 1
            r, d = (rate * bias_rate, decay * bias_decay) if bias else (rate, decay)
            w[j], state[j] = optimizers.step(
                optimizer, settings, t, w[j], slope[j], state[j], 1 / len(x), r, d,
                0.0 if bias else l1,
            )  # fmt: skip
    return w, total
