"""Log-ins as the original's tutorial of IP Insights makes them, from a list of networks of our own.

Each user has a home and a work network, not far from each other in a list of networks in the order
of their addresses. A log-in is from any network of the list with the user's own probability of
travelling, else from one near home or work: a normal distance in the list. The tutorial takes its
networks from a public list of 827,696 ranges; here they are drawn, with about the shares of prefix
lengths that routing tables have, and cover 1.0.0.0 to 223.255.255.255 like it, so that nothing has
to be downloaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Prefix length: ranges of the list. Those of 24 bits are what is left, and the most.
RANGES = {
    8: 16, 9: 20, 10: 40, 11: 80, 12: 250, 13: 600, 14: 1200, 15: 1600, 16: 10_500, 17: 7000,
    18: 13_000, 19: 25_000, 20: 41_000, 21: 41_000, 22: 99_000, 23: 90_000,
}  # fmt: skip
AWAY, HOME = (1, 30), (3, 5)  # of Beta distributions: travelling, at home rather than at work
EVENTS, MOST_EVENTS = 50, 10_000
APART, NEAR = 50_000, 10.0  # networks between home and work at most; deviation around them
DAYS, TRAINED = 10, 7


@dataclass(frozen=True)
class Logins:
    """Pairs in the order of time, users as numbers.

    Parameters
    ----------
    users : ndarray of int64, shape (n,)
    addresses : ndarray of uint32, shape (n,)
    away : ndarray of bool, shape (n,)
        Whether the user was travelling.
    train : int
        Log-ins of the first seven of ten days.
    """

    users: NDArray[np.int64]
    addresses: NDArray[np.uint32]
    away: NDArray[np.bool_]
    train: int


def networks(rng: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first addresses, sizes) of consecutive ranges.

    Each is a prefix: the space of unicast addresses is halved again and again, but for parts that
    stay whole. Those are the ones that most want to, and halves want what their whole wanted, with
    some noise: some blocks were given out early and stayed whole, others are cut to pieces.
    """
    parts = np.arange(1, 224, dtype=np.int64) << 24
    want = rng.standard_normal(len(parts))
    begin, size = [], []
    for length in range(8, 25):
        order = np.argsort(-want)
        whole = order[: RANGES[length]] if length < 24 else order
        begin.append(parts[whole])
        size.append(np.full(len(whole), 1 << (32 - length)))
        parts, want = np.delete(parts, whole), np.delete(want, whole)
        parts = np.concatenate([parts, parts + (1 << (31 - length))])
        want = np.tile(want, 2) + 0.5 * rng.standard_normal(len(parts))
    first = np.concatenate(begin)
    order = np.argsort(first)
    return first[order], np.concatenate(size)[order]


def logins(users: int = 10_000, seed: int = 0) -> Logins:
    """Log-ins of some users over ten days; about 300 each."""
    rng = np.random.default_rng(seed)
    begin, size = networks(rng)
    count = len(begin)
    home = rng.integers(count, size=users)
    work = (home + rng.integers(1, APART, users) * rng.choice([-1, 1], users)) % count
    events = np.minimum(EVENTS * (rng.pareto(1, users) + 1), MOST_EVENTS).astype(np.int64)
    away, at_home = rng.beta(*AWAY, users), rng.beta(*HOME, users)
    user = np.repeat(np.arange(users), events)
    n = len(user)
    place = np.where(rng.random(n) < at_home[user], home[user], work[user])
    place = np.rint(rng.normal(place, NEAR)).astype(np.int64) % count
    travelling = rng.random(n) < away[user]
    place = np.where(travelling, rng.integers(count, size=n), place)
    address = begin[place] + rng.integers(0, size[place])
    time = rng.random(n) * DAYS
    order = np.argsort(time, kind="stable")
    train = int(np.count_nonzero(time < TRAINED))
    return Logins(user[order], address[order].astype(np.uint32), travelling[order], train)


def pairs(found: Logins, rows: slice) -> list[tuple[str, str]]:
    """Some log-ins as (user, address) texts."""
    return [
        (f"user_{user}", dotted(int(address)))
        for user, address in zip(found.users[rows], found.addresses[rows], strict=True)
    ]


def dotted(address: int) -> str:
    """An IPv4 address as text."""
    return ".".join(str((address >> shift) & 255) for shift in (24, 16, 8, 0))


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Pairs as CSV."""
    path.write_text("".join(f"{user},{address}\n" for user, address in rows))
