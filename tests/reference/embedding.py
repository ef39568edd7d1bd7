"""Row-sparse steps in plain NumPy, float64."""

from tests.reference import optimizers


def lists(keys):
    """(distinct keys, ascending; positions of each, ascending)."""
    touched = sorted({int(key) for key in keys})
    return touched, [[i for i, k in enumerate(keys) if k == key] for key in touched]


def step(name, constants, t, values, slots, ids, gradients, scale, rate, decay, l1):
    """New values and slots: only rows that are mentioned move, each once."""
    values, slots = values.astype(float), [s.astype(float) for s in slots]
    for key, positions in zip(*lists(ids), strict=True):
        g = gradients[positions].astype(float).sum(axis=0)
        state = tuple(s[key] for s in slots)
        values[key], state = optimizers.step(
            name, constants, t, values[key], g, state, scale, rate, decay, l1
        )
        for s, new in zip(slots, state, strict=True):
            s[key] = new
    return values, slots
