"""One step of each optimizer in plain NumPy, float64, from its paper."""

import numpy as np


def prepare(g, w, scale, clip, decay):
    """Gradient times scale, clipped, plus decay times weight."""
    return np.clip(g * scale, -clip, clip) + decay * w


def shrink(w, threshold):
    """Proximal step of the absolute value: soft threshold."""
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0)


def sgd(c, t, w, g, state, rate):
    return w - rate * g, ()


def momentum(c, t, w, g, state, rate):
    m = c["momentum"] * state[0] - rate * g
    return w + m, (m,)


def adam(c, t, w, g, state, rate):
    m = c["beta_1"] * state[0] + (1 - c["beta_1"]) * g
    v = c["beta_2"] * state[1] + (1 - c["beta_2"]) * g**2
    rate = rate * np.sqrt(1 - c["beta_2"] ** t) / (1 - c["beta_1"] ** t)
    return w - rate * m / (np.sqrt(v) + c["epsilon"]), (m, v)


def adagrad(c, t, w, g, state, rate):
    n = state[0] + g**2
    return w - rate * g / np.sqrt(n + c["epsilon"]), (n,)


def rmsprop(c, t, w, g, state, rate):
    n = c["rho"] * state[0] + (1 - c["rho"]) * g**2
    return w - rate * g / np.sqrt(n + c["epsilon"]), (n,)


def adadelta(c, t, w, g, state, rate):
    n = c["rho"] * state[0] + (1 - c["rho"]) * g**2
    move = np.sqrt(state[1] + c["epsilon"]) / np.sqrt(n + c["epsilon"]) * g
    u = c["rho"] * state[1] + (1 - c["rho"]) * move**2
    return w - rate * move, (n, u)


def ftrl(c, t, w, g, state, rate, decay, l1):
    """McMahan et al. (2013), Algorithm 1: decay is lambda_2, l1 is lambda_1, rate is alpha."""
    z, n = state
    z = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) / rate * w
    n = n + g**2
    solved = -(z - np.sign(z) * l1) / ((c["beta"] + np.sqrt(n)) / rate + decay)
    return np.where(np.abs(z) <= l1, 0, solved), (z, n)


STEPS = dict(
    sgd=sgd, momentum=momentum, adam=adam, adagrad=adagrad, rmsprop=rmsprop, adadelta=adadelta
)


def step(name, constants, t, w, g, state, scale, rate, decay, l1):
    """New weights and state; `constants` is a dict."""
    if name == "ftrl":
        g = prepare(g, w, scale, constants["clip"], 0)
        return ftrl(constants, t, w, g, state, rate, decay, l1)
    g = prepare(g, w, scale, constants["clip"], decay)
    w, state = STEPS[name](constants, t, w, g, state, rate)
    return shrink(w, rate * l1), state
