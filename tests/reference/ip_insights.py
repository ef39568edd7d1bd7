"""IP Insights in plain NumPy and float64: addresses, made-up pairs, the model and its gradient."""

import ipaddress
from itertools import pairwise

import numpy as np

MASK = (1 << 64) - 1
LENGTHS_4, LENGTHS_6 = (8, 12, 16), (20, 32, 48)
HASHED = 1 << 13
EXACT = 256 + 4096


def xxhash64(data, seed=0):
    """xxHash64 of bytes."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def turned(x, n):
        return ((x << n) | (x >> (64 - n))) & MASK

    def mixed(state, word):
        return turned((state + word * p2) & MASK, 31) * p1 & MASK

    rest = data
    if len(data) >= 32:
        states = [(seed + p1 + p2) & MASK, (seed + p2) & MASK, seed & MASK, (seed - p1) & MASK]
        while len(rest) >= 32:
            words = [int.from_bytes(rest[8 * i : 8 * i + 8], "little") for i in range(4)]
            states = [mixed(s, w) for s, w in zip(states, words, strict=True)]
            rest = rest[32:]
        h = sum(turned(s, n) for s, n in zip(states, (1, 7, 12, 18), strict=True)) & MASK
        for s in states:
            h = ((h ^ mixed(0, s)) * p1 + p4) & MASK
    else:
        h = (seed + p5) & MASK
    h = (h + len(data)) & MASK
    while len(rest) >= 8:
        h = (turned(h ^ mixed(0, int.from_bytes(rest[:8], "little")), 27) * p1 + p4) & MASK
        rest = rest[8:]
    if len(rest) >= 4:
        word = int.from_bytes(rest[:4], "little")
        h = (turned(h ^ (word * p1 & MASK), 23) * p2 + p3) & MASK
        rest = rest[4:]
    for byte in rest:
        h = turned(h ^ (byte * p5 & MASK), 11) * p1 & MASK
    h = (h ^ (h >> 33)) * p2 & MASK
    h = (h ^ (h >> 29)) * p3 & MASK
    return h ^ (h >> 32)


def address_of(text):
    """128 bits, IPv4 as it is mapped into IPv6; None: no address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if found.version == 4:
        return (0xFFFF << 32) | int(found)
    return None if found.scope_id else int(found)


def mix(z):
    """The finalizer of splitmix64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def stream(key, row):
    return mix((key + row * 0x9E3779B97F4A7C15) & MASK)


def bits(start, number):
    return mix((start + (number + 1) * 0x9E3779B97F4A7C15) & MASK)


def below(word, n):
    return (word >> 32) * n >> 32


def pieces(address):
    """Rows of the prefixes of 128 bits."""
    if address >> 32 == 0xFFFF:
        low = address & 0xFFFFFFFF
        rows = [low >> 24, 256 + (low >> 20)]
        hashed = [(n, low >> (32 - n)) for n in LENGTHS_4[2:]]
    else:
        rows = []
        hashed = [(64 + n, address >> (128 - n)) for n in LENGTHS_6]
    return rows + [EXACT + below(stream(n, prefix), HASHED) for n, prefix in hashed]


def shuffled_rows(n, start, batch, shuffled, key):
    """Fisher and Yates within each batch."""
    out = np.empty((n, shuffled), np.int64)
    for first in range(0, n, batch):
        count = min(batch, n - first)
        for s in range(shuffled):
            origin = stream(key, (start + first) * 512 + s)
            order = list(range(first, first + count))
            for i in range(count - 1, 0, -1):
                other = below(bits(origin, i), i + 1)
                order[i], order[other] = order[other], order[i]
            out[first : first + count, s] = order
    return out


def random_addresses(address, row, random, key):
    """Addresses of the kind of a row's own."""
    origin, out = stream(key, row), []
    for j in range(random):
        word = bits(origin, 2 * j)
        if address >> 32 == 0xFFFF:
            out.append((0xFFFF << 32) | (word >> 32))
        else:
            out.append((((word >> 3) | (1 << 61)) << 64) | bits(origin, 2 * j + 1))
    return out


def pair_pieces(addresses, partners, start, random, key):
    """(n, K, 3) prefixes of each row's own address, random ones, and those of other rows."""
    return np.array(
        [
            [
                pieces(a)
                for a in [
                    address,
                    *random_addresses(address, start + i, random, key),
                    *(addresses[p] for p in partners[i]),
                ]
            ]
            for i, address in enumerate(addresses)
        ]
    )


def forward(weights, ids, found):
    """(scores (n, K), what each layer takes) of rows and the prefixes (n, K, 3) of their pairs."""
    x = weights["prefixes"][found].sum(axis=2)
    taken = []
    for w, b in zip(weights["layers"], weights["biases"], strict=True):
        taken.append(np.maximum(x, 0))
        x = x + taken[-1] @ w + b
    return np.einsum("nd,nkd->nk", weights["entities"][ids], x), taken, x


def losses(scores):
    """Cross-entropies, of which the first of each row is of a true pair."""
    signed = scores.copy()
    signed[:, 0] *= -1
    return np.logaddexp(0, signed)


def gradients(weights, ids, found):
    """Gradients of the mean loss."""
    scores, taken, top = forward(weights, ids, found)
    g = 1 / (1 + np.exp(-scores))
    g[:, 0] -= 1
    g /= g.size
    out = {name: np.zeros_like(w) for name, w in weights.items()}
    np.add.at(out["entities"], ids, np.einsum("nk,nkd->nd", g, top))
    down = g[:, :, None] * weights["entities"][ids][:, None]
    for layer in reversed(range(len(taken))):
        out["layers"][layer] = np.einsum("nki,nkj->ij", taken[layer], down)
        out["biases"][layer] = down.sum(axis=(0, 1))
        down = down + (down @ weights["layers"][layer].T) * (taken[layer] > 0)
    np.add.at(out["prefixes"], found, down[:, :, None])
    return out


def steps(n, batch, each):
    """First rows of steps, and the end."""
    ends = [0]
    for first in range(0, n, batch):
        count = min(batch, n - first)
        parts = min(count, each)
        ends += [first + (i + 1) * count // parts for i in range(parts)]
    return ends


def learn(weights, means, ids, found, bounds, t, rate, decay):
    """Adam in place, rows of tables that a step does not touch left alone; (loss, right, pairs)."""
    told, dim = [], weights["entities"].shape[1]
    for i, (a, b) in enumerate(pairwise(bounds)):
        scores, _, _ = forward(weights, ids[a:b], found[a:b])
        true = np.zeros_like(scores, bool)
        true[:, 0] = True
        told.append([losses(scores).sum(), ((scores > 0) == true).sum(), scores.size])
        slopes = gradients(weights, ids[a:b], found[a:b])
        for name, w in weights.items():
            rows = {"entities": np.unique(ids[a:b]), "prefixes": np.unique(found[a:b])}
            at = rows.get(name, slice(None))
            g = slopes[name][at] + (0 if name == "biases" else decay) * w[at]
            m, v = means[name]
            m[at] = 0.9 * m[at] + 0.1 * g
            v[at] = 0.999 * v[at] + 0.001 * g**2
            correction = np.sqrt(1 - 0.999 ** (t + i)) / (1 - 0.9 ** (t + i))
            own_rate = rate / dim**0.5 if name in ("layers", "biases") else rate
            w[at] -= own_rate * correction * m[at] / (np.sqrt(v[at]) + 1e-8)
    return np.array(told)
