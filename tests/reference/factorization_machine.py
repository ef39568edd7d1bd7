"""Factorization machines in plain NumPy, float64: scores by the definition, steps by the papers."""

import itertools

import numpy as np

from tests.reference import optimizers


def rows_of(features):
    """Rows as lists of (feature, value); dense ones have all features."""
    if hasattr(features, "offsets"):
        o = features.offsets
        return [
            [(int(features.indices[e]), float(features.values[e])) for e in range(a, b)]
            for a, b in itertools.pairwise(o)
        ]
    return [list(enumerate(row.astype(float))) for row in np.asarray(features)]


def product(p, i, j, interaction, fields):
    """What multiplies x_i x_j."""
    v = p["factors"]
    if interaction == "field_aware":
        return v[i, fields[j]] @ v[j, fields[i]]
    weight = p["field_weights"][fields[i], fields[j]] if interaction == "field_weighted" else 1
    return weight * (v[i] @ v[j])


def margin(p, row, interaction="pairwise", fields=None):
    """Bias, linear terms, and all pairs of what the row stores."""
    out = p["bias"][0] + sum(p["linear"][i] * x for i, x in row)
    for a, (i, x) in enumerate(row):
        for j, z in row[a + 1 :]:
            out += product(p, i, j, interaction, fields) * x * z
    return out


def loss(name, f, y):
    """Of a margin and a label."""
    if name == "squared":
        return (y - f) ** 2
    return np.logaddexp(0, -f if y == 1 else f)


def slope(name, f, y):
    """Derivative of the loss by the margin."""
    if name == "squared":
        return 2 * (f - y)
    return 1 / (1 + np.exp(-f)) - y


def total(p, rows, labels, weights, name, interaction="pairwise", fields=None):
    """The weighted loss of some rows."""
    margins = [margin(p, row, interaction, fields) for row in rows]
    each = zip(margins, labels, weights, strict=True)
    return sum(w * loss(name, f, y) for f, y, w in each)


def gradients(p, rows, labels, weights, name, interaction="pairwise", fields=None):
    """Derivatives of `total` by each parameter."""
    out = {n: np.zeros_like(x) for n, x in p.items()}
    v = p["factors"]
    for row, y, w in zip(rows, labels, weights, strict=True):
        r = w * slope(name, margin(p, row, interaction, fields), y)
        out["bias"][0] += r
        for a, (i, x) in enumerate(row):
            out["linear"][i] += r * x
            for j, z in row[a + 1 :]:
                s = r * x * z
                if interaction == "field_aware":
                    f, g = fields[i], fields[j]
                    out["factors"][i, g] += s * v[j, f]
                    out["factors"][j, f] += s * v[i, g]
                    continue
                if interaction == "field_weighted":
                    f, g = fields[i], fields[j]
                    for place in {(f, g), (g, f)}:  # one number, written in two places
                        out["field_weights"][place] += s * (v[i] @ v[j])
                    s *= p["field_weights"][f, g]
                out["factors"][i] += s * v[j]
                out["factors"][j] += s * v[i]
    return out


GROUP = {"bias": 0, "linear": 1, "factors": 2, "field_weights": 2}


def learn(
    p, state, rows, labels, weights, batch, t, name, optimizer, constants, rates, decays, l1,
    rescale=None, interaction="pairwise", fields=None, frozen=(),
):  # fmt: skip
    """New parameters and slots after steps over batches: features not mentioned stay as they are.

    `state` maps each parameter to its slots.
    """
    p = {n: x.astype(float) for n, x in p.items()}
    state = {n: [s.astype(float) for s in slots] for n, slots in state.items()}
    for first in range(0, len(rows), batch):
        part = slice(first, first + batch)
        g = gradients(p, rows[part], labels[part], weights[part], name, interaction, fields)
        touched = sorted({i for row in rows[part] for i, _ in row})
        scale = rescale or 1 / len(rows[part])
        for n in p:
            if n in frozen:
                continue
            at = touched if n in ("linear", "factors") else slice(None)
            group = GROUP[n]
            p[n][at], moved = optimizers.step(
                optimizer, constants, t, p[n][at], g[n][at], tuple(s[at] for s in state[n]), scale,
                rates[group], decays[group], l1[group],
            )  # fmt: skip
            for s, new in zip(state[n], moved, strict=True):
                s[at] = new
        t += 1
    return p, state
