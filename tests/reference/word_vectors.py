"""Word vectors by negative sampling, one example after another in float64, with the same draws."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.reference.negatives import Numbers, key, unit

MOST = 1024  # kept words of a sentence


class Example(NamedTuple):
    """Input rows, targets, for each target whether it is there, the rate.

    Of batches, `there` says for each input which target is its own; others of `words` are not its.
    """

    inputs: list[int]
    targets: list[int]
    there: list[int]
    words: int
    rate: float


class Group(NamedTuple):
    """Centre words in turn: input rows of each, targets, of which the first `there` are there.

    `weights` says what each target (row) counts for each centre word (column).
    """

    inputs: list[list[int]]
    targets: list[int]
    there: int
    weights: np.ndarray
    rate: float


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))"""
    return 1 / (1 + np.exp(-x))


def negatives(noise: np.ndarray, at: int, count: int, word: int) -> tuple[list[int], int]:
    """`count` from a place in the list on; the place behind what was read.

    Those that are the word itself are taken from what follows.
    """
    further = at + count
    out = []
    for i in range(count):
        other = noise[(at + i) % len(noise)]
        if other == word:
            other = noise[further % len(noise)]
            further += 1
        out.append(int(other))
    return out, further % len(noise)


def shared(noise: np.ndarray, at: int, count: int, words: list[int]) -> tuple[list[int], int]:
    """The same for all words together; those that are among them are taken from what follows."""
    further = at + count
    out = []
    for i in range(count):
        other = noise[(at + i) % len(noise)]
        if other in words:
            other = noise[further % len(noise)]
            further += 1
        out.append(int(other))
    return out, further % len(noise)


def group(kept: list[int], first: int, radii: list[int], noise: np.ndarray, at: int, count: int,
          pieces: list[list[int]], rate: float) -> tuple[Group, int]:  # fmt: skip
    """Words `first`, ... with the words in their radii; the place behind the negatives read.

    There are as many negatives as a centre word has on average (up, or down to whole tiles of
    four targets), and each counts as if it were drawn `count` times for each pair, unless it is the
    pair's word.
    """
    places = range(first, first + len(radii))
    near = [
        [t for t in range(len(kept)) if t != i and abs(t - i) <= r]
        for i, r in zip(places, radii, strict=True)
    ]
    low, high = (f(f([i, *x]) for i, x in zip(places, near, strict=True)) for f in (min, max))
    told = kept[low : high + 1]
    drawn = -(-count * sum(map(len, near)) // len(radii))
    tiles = max((len(told) + drawn + 2) // 4, len(told) // 4 + 1)
    drawn = 4 * tiles - len(told)
    words = [int(noise[(at + i) % len(noise)]) for i in range(drawn)]
    weights = np.zeros((4 * tiles, len(radii)))
    for c, x in enumerate(near):
        for t in x:
            weights[t - low, c] = 1
        for j, word in enumerate(words):
            weights[len(told) + j, c] = count / drawn * sum(kept[t] != word for t in x)
    inputs = [pieces[kept[i]] for i in places]
    return Group(inputs, told + words, len(told), weights, rate), (at + drawn) % len(noise)


def examples(
    sentence: Any,
    number: int,
    *,
    keep: np.ndarray,
    noise: np.ndarray,
    pieces: list[list[int]],
    mode: str,
    window: int,
    count: int,
    batch: int,
    seed: int,
    epoch: int,
    done: float,
    total: float,
    rate: float,
) -> Iterator[Example | Group]:
    """The examples or groups of one sentence: `number` in the corpus, `done` words before it."""
    numbers = Numbers(key(seed, "words", epoch), number)
    begin = (next(numbers) >> 32) % len(noise)
    at = 0
    while at < len(sentence):
        now = rate * max(0.0, 1 - (done + at) / total)
        kept: list[int] = []
        while at < len(sentence) and len(kept) < MOST:
            if unit(next(numbers)) < keep[sentence[at]]:
                kept.append(int(sentence[at]))
            at += 1
        radii = [1 + ((next(numbers) >> 32) * window >> 32) for _ in kept]
        if mode == "skipgram" and len(kept) > 1:
            for i in range(0, len(kept), 4):
                made, begin = group(kept, i, radii[i : i + 4], noise, begin, count, pieces, now)
                yield made
        if mode == "skipgram":
            continue
        inputs: list[int] = []
        words: list[int] = []
        own: list[int] = []
        for i, (word, radius) in enumerate(zip(kept, radii, strict=True)):
            around = kept[max(0, i - radius) : i] + kept[i + 1 : i + radius + 1]
            if not around:
                continue
            if mode == "batch_skipgram":
                if inputs and len(inputs) + len(around) > batch:
                    drawn, begin = shared(noise, begin, count, words)
                    yield Example(inputs, words + drawn, own, len(words), now)
                    inputs, words, own = [], [], []
                words.append(word)
                for other in around:
                    if len(inputs) == batch:
                        drawn, begin = shared(noise, begin, count, words)
                        yield Example(inputs, words + drawn, own, len(words), now)
                        inputs, words, own = [], [word], []
                    inputs.append(other)
                    own.append(len(words) - 1)
                continue
            drawn, begin = negatives(noise, begin, count, word)
            rows = [r for w in around for r in pieces[w]]
            yield Example(rows, [word, *drawn], [1] + [0] * count, 0, now)
        if inputs:
            drawn, begin = shared(noise, begin, count, words)
            yield Example(inputs, words + drawn, own, len(words), now)


def loss(W: np.ndarray, U: np.ndarray, e: Example | Group) -> float:
    """-log sigmoid of the products of words that are there, of minus the products of others."""
    if isinstance(e, Group):
        H = np.array([W[rows].mean(axis=0) for rows in e.inputs])
        signs = np.where(np.arange(len(e.targets)) < e.there, 1, -1)[:, None]
        return -(e.weights * np.log(sigmoid(signs * (U[e.targets] @ H.T)))).sum()
    if e.words:
        total = 0.0
        for row, own in zip(e.inputs, e.there, strict=True):
            total -= np.log(sigmoid(U[e.targets[own]] @ W[row]))
            total -= np.log(sigmoid(-U[e.targets[e.words :]] @ W[row])).sum()
        return total
    signs = 2 * np.array(e.there) - 1
    return -np.log(sigmoid(signs * (U[e.targets] @ W[e.inputs].mean(axis=0)))).sum()


def learn_group(W: np.ndarray, U: np.ndarray, e: Group) -> None:
    """Steps of one group."""
    start = np.array([W[rows].mean(axis=0) for rows in e.inputs])
    gained = np.zeros_like(start)
    there = np.arange(len(e.targets)) < e.there
    at_once = 64 if len(U) >= 1000 else 16
    for a in range(0, len(e.targets), at_once):
        part = slice(a, a + at_once)
        H, targets = start + gained, e.targets[part]
        g = e.rate * e.weights[part] * (there[part, None] - sigmoid(U[targets] @ H.T))
        for t, slopes in zip(targets, g, strict=True):
            gained = gained + np.outer(slopes, U[t])
            U[t] += slopes @ H
    for rows, gain in zip(e.inputs, gained, strict=True):
        np.add.at(W, rows, np.broadcast_to(gain, (len(rows), len(gain))))


def learn(W: np.ndarray, U: np.ndarray, e: Example | Group) -> None:
    """Steps of one example; W and U are float64, changed in place."""
    if isinstance(e, Group):
        learn_group(W, U, e)
        return
    if e.words:
        g = np.zeros((len(e.inputs), len(e.targets)))
        for r, (row, own) in enumerate(zip(e.inputs, e.there, strict=True)):
            g[r, e.words :] = -sigmoid(U[e.targets[e.words :]] @ W[row])
            g[r, own] = 1 - sigmoid(U[e.targets[own]] @ W[row])
        to_inputs, to_targets = e.rate * g @ U[e.targets], e.rate * g.T @ W[e.inputs]
        np.add.at(U, e.targets, to_targets)
        np.add.at(W, e.inputs, to_inputs)
        return
    start = W[e.inputs].mean(axis=0)
    gained = np.zeros_like(start)
    at_once = 64 if len(U) >= 1000 else 16  # targets whose products are taken from the same h
    for a in range(0, len(e.targets), at_once):
        targets, h = e.targets[a : a + at_once], start + gained
        g = e.rate * (np.array(e.there[a : a + at_once]) - sigmoid(U[targets] @ h))
        for t, slope in zip(targets, g, strict=True):
            gained = gained + slope * U[t]
            U[t] += slope * h
    np.add.at(W, e.inputs, np.broadcast_to(gained, (len(e.inputs), len(gained))))
