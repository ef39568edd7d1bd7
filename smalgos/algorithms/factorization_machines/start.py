"""Where the parameters of a machine start."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PURPOSES = {"bias": 1, "linear": 2, "factors": 3}  # of random numbers
AT_ONCE = 1 << 17  # numbers drawn by a task: few enough to stay in its cache
LEAST_RATE = float(np.finfo(np.float32).tiny)


def shapes(p: Any, width: int, fields: int) -> dict[str, tuple[int, ...]]:
    """{parameter: shape}"""
    found: dict[str, tuple[int, ...]] = {
        "bias": (1,),
        "linear": (width,),
        "factors": (width, p.num_factors),
    }
    if p.interaction == "field_aware":
        found["factors"] = (width, fields, p.num_factors)
    elif p.interaction == "field_weighted":
        found["field_weights"] = (fields, fields)
    return found


def start(k: Any, p: Any, seed: int, width: int, fields: int) -> dict[str, NDArray[np.float32]]:
    """The parameters before the first step.

    The numbers of a feature depend on the seed and its column alone. Weights of fields start at 1,
    where they change nothing; what is not learnt is 0.

    Parameters
    ----------
    k : namespace
        Kernels.
    p : FactorizationMachinesParameters
    seed, width, fields : int

    Returns
    -------
    dict
        ``bias`` (1,), ``linear`` (width,), ``factors`` (width, num_factors), or with a field
        between the two if they are field-aware, and ``field_weights`` (fields, fields).
    """
    found = {}
    for name, shape in shapes(p, width, fields).items():
        if name == "field_weights":
            found[name] = np.ones(shape, np.float32)
        elif not getattr(p, f"use_{name}", True):
            found[name] = np.zeros(shape, np.float32)
        else:
            found[name] = drawn(k, p, name, seed, shape)
    return found


def drawn(k: Any, p: Any, name: str, seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The start of one group of parameters, by its method."""
    method = getattr(p, f"{name}_init_method")
    if method == "constant":
        return np.full(shape, getattr(p, f"{name}_init_value"), np.float32)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    sigma = getattr(p, f"{name}_init_{'sigma' if method == 'normal' else 'scale'}")
    out = np.zeros((rows, columns), np.float32)
    pairs = (columns + 1) // 2

    def fill(part: slice) -> None:
        rows = part.stop - part.start
        bits = k.words(seed, PURPOSES[name], 0, part.start, rows, 2 * pairs)
        u = bits.astype(np.float32)
        u *= np.float32(2.0**-32)
        if method == "uniform":
            out[part] = sigma * (2 * u[:, :columns] - 1)
            return
        # Box and Muller's transform: two numbers of two
        radius = np.log(np.maximum(u[:, :pairs], np.float32(2.0**-32)))
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        radius *= np.float32(sigma)
        angle = u[:, pairs:] * np.float32(2 * np.pi)
        np.multiply(radius, np.cos(angle), out=out[part, :pairs])
        np.multiply(radius, np.sin(angle), out=angle)
        out[part, pairs:] = angle[:, : columns - pairs]

    if sigma > 0:
        k.run(fill, k.chunks(rows, max(AT_ONCE // (2 * pairs), 1)))
    return out.reshape(shape)


def anchored(
    p: Any, opt: Any, start: NDArray[np.float32], rate: float, decay: float, l1: float
) -> NDArray[np.float32]:
    """FTRL's sums of gradients that stand for the start.

    FTRL works out parameters anew from these sums: without this, the first step would forget where
    a factor began, and factors that are zero stay so.
    """
    slope = opt.beta / max(rate, LEAST_RATE) + decay
    anchor: NDArray[np.float32] = (-start * slope - np.sign(start) * l1).astype(np.float32)
    return anchor


def in_units(
    arrays: dict[str, NDArray[np.float32]], mean: float, std: float
) -> dict[str, NDArray[np.float32]]:
    """The parameters of ``mean + std * m(x)``, where m is a machine: that is one, too."""
    if mean == 0 and std == 1:
        return arrays
    scales = {"linear": std, "factors": np.sqrt(std)}
    found = {name: a * np.float32(scales.get(name, 1)) for name, a in arrays.items()}
    found["bias"] = (mean + std * arrays["bias"].astype(np.float64)).astype(np.float32)
    return found
