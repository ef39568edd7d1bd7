"""What word vectors learn from sentences: examples, drawn one ahead of those that are learnt.

An example of CBOW is a list of input rows, whose mean is to tell targets, and a list of targets:
the word that is there, then its negatives. What skip-gram learns at a time is a *group* of POINTS
centre words in turn: input rows of each, and the targets of all, the words around them, then
negatives, with a weight for each centre word. Negatives are as many as a centre word has on
average. All centre words of the group have them all, each weighted so that the expected step is
that of negatives which are drawn for each pair and are not its own word.

All random numbers are those of the sentence (see `negatives`), in this order: one for the place in
the noise list from which it reads, one for each word, whether it is kept, one for each kept word,
the radius of its window. Sentences are cut behind MOST kept words, as fastText does.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.negatives import bits, stream, unit
from smalgos.kernels.cpu.vector import (
    FLOATS,
    LANES,
    agreeing,
    borrowed,
    load,
    splat,
    store,
    vectors,
    words,
)
from smalgos.kernels.cpu.word_rows import POINTS, TALL

MOST = 1024  # kept words of a sentence, as in fastText
HIGH = TALL // POINTS  # rows of a broad tile: targets of a group are multiples of it
ENOUGH = 4096  # targets of a plan of batches: their numbers stay in the nearest cache

# Of a lane: how far the target is from the centre word, where group and targets begin together.
STEPS = np.array([lane // POINTS - lane % POINTS for lane in range(LANES)], np.float32)

inner = kernel(fastmath=False, forceinline=True)


class Text(NamedTuple):
    """Sentences, and where they are in all of the training.

    values      int32, numbers of words
    offsets     (n + 1,) int64
    first       int64, number of the first sentence in the corpus
    done, total float64, words before the first sentence, and of all of the training
    rate        float64, at the beginning; falls in a line to 0
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]
    first: int
    done: float
    total: float
    rate: float


class Method(NamedTuple):
    """How examples are drawn.

    keep        (words,) float32, chance of a word to be kept
    noise       (mask + 1 + `ahead`,) int32, see `negatives.noise_list`
    pieces, ends  int32, and (words + 1,) int64: input rows of each word; (0,) and (0,): row i of
                word i alone
    mask        int64, the size of the noise list less one
    cbow        bool, whether the words around a word tell it, or it tells them
    window, negatives, batch   int64; batch: inputs that share their negatives
    key         uint64, see `negatives.key`
    """

    keep: NDArray[np.float32]
    noise: NDArray[np.int32]
    pieces: NDArray[np.int32]
    ends: NDArray[np.int64]
    mask: int
    cbow: bool
    window: int
    negatives: int
    batch: int
    key: int


class Slots(NamedTuple):
    """Two examples: one is drawn while the other is learnt.

    inputs     (2 * room,) int32
    ends       (2 * (POINTS + 1),) int64: where the input rows of each centre word begin, and end
    targets    (2 * room,) int32
    weights    (2 * room,) float32: of each target of a group, for each centre word; CBOW has none
    sizes      (2 * 2,) int64: targets, and words that are there among these
    rates      (2,) float32
    sentence   (MOST,) int32, kept words
    reach      (16,) float32, scratch
    share      (16,) float32, scratch
    same       (16,) int32, scratch
    """

    inputs: NDArray[np.int32]
    ends: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    sizes: NDArray[np.int64]
    rates: NDArray[np.float32]
    sentence: NDArray[np.int32]
    reach: NDArray[np.float32]
    share: NDArray[np.float32]
    same: NDArray[np.int32]


class Plan(NamedTuple):
    """Batches, and how far they go.

    inputs, input_ends     int32, and int64: batch e has those from input_ends[e] to [e + 1]
    targets, target_ends   the same
    own                    int32, for each input the place of its own word among the targets
    rates                  float32, of each batch
    sentence               (MOST,) int32, kept words
    at                     (4,) int64: sentence, place in values, random numbers used in it, place
                           in the noise list
    """

    inputs: NDArray[np.int32]
    input_ends: NDArray[np.int64]
    targets: NDArray[np.int32]
    target_ends: NDArray[np.int64]
    own: NDArray[np.int32]
    rates: NDArray[np.float32]
    sentence: NDArray[np.int32]
    at: NDArray[np.int64]


def ahead(window: int, negatives: int) -> int:
    """Entries of the noise list that an example may read."""
    return 4 * window * negatives + LANES


def slots(cbow: bool, window: int, negatives: int, longest: int) -> Slots:
    """Room for two examples; `longest`: most input rows that a word has."""
    around = 2 * window
    inputs = around if cbow else POINTS
    targets = 1 + negatives if cbow else POINTS + around * (1 + negatives) + HIGH
    return Slots(
        np.zeros(2 * longest * inputs, np.int32),
        np.zeros(2 * (POINTS + 1), np.int64),
        np.zeros(2 * (targets + 2 * LANES), np.int32),
        np.zeros(0 if cbow else 2 * (targets * POINTS + LANES), np.float32),
        np.zeros(4, np.int64),
        np.zeros(2, np.float32),
        np.empty(MOST, np.int32),
        np.zeros(LANES, np.float32),
        np.zeros(LANES, np.float32),
        np.zeros(LANES, np.int32),
    )


def plan(window: int, negatives: int) -> Plan:
    """Room for the batches of a call: until ENOUGH targets, and a sentence more."""
    around, words = 2 * window, ENOUGH + MOST
    return Plan(
        np.empty(words * around, np.int32),
        np.zeros(words * around + 1, np.int64),  # at worst a batch for each input
        np.empty(ENOUGH + MOST * around * (1 + negatives), np.int32),
        np.zeros(words * around + 1, np.int64),
        np.empty(words * around, np.int32),
        np.empty(words * around, np.float32),
        np.empty(MOST, np.int32),
        np.zeros(4, np.int64),
    )


@kernel
def rate_at(rate, done, total):
    """The learning rate when `done` words of `total` are gone through."""
    return np.float32(rate * max(0.0, 1.0 - done / total))


@inner
def kept(values, keep, start, place, until, number, sentence):
    """Words of a sentence that are kept, MOST of them at once.

    Returns how many, the place behind the last one, random numbers used so far.
    """
    count = 0
    while place < until and count < MOST:
        word = values[place]
        sentence[count] = word
        count += np.int64(unit(bits(start, number)) < keep[word])
        place += 1
        number += 1
    return count, place, number


@kernel
def radius_of(start, number, window):
    """Uniform in 1 ... window."""
    word = bits(start, number) >> np.uint64(32)
    return 1 + np.int64((word * np.uint64(window)) >> np.uint64(32))


@inner
def _pieces(pieces, ends, word, inputs, put):
    """The input rows of a word; where the next ones go."""
    if len(ends) == 0:
        inputs[put] = word
        return put + 1
    for j in range(ends[word], ends[word + 1]):
        inputs[put] = pieces[j]
        put += 1
    return put


@inner
def draw_example(
    sentence, i, low, high, noise, at, k, pieces, ends, inputs, input_ends, targets, sizes, slot
):
    """The words from `low` to `high` around word i, which tell it (CBOW).

    noise, pieces, ends   see Method; k negatives                          in
    sentence              kept words                                       in
    at                    int64, place in the noise list
    inputs, input_ends, targets, sizes, slot   see Slots                   out
    Returns the place in the noise list behind what was read.
    """
    taken, first = slot * (len(inputs) >> 1), slot * (len(targets) >> 1)
    input_ends[slot * (POINTS + 1)] = taken
    for j in range(low, high):
        if j != i:
            taken = _pieces(pieces, ends, sentence[j], inputs, taken)
    input_ends[slot * (POINTS + 1) + 1] = taken
    targets[first] = sentence[i]
    sizes[2 * slot], sizes[2 * slot + 1] = 1 + k, 1
    # Where a negative is the word itself, a later one takes its place.
    further = at + k
    for e in range(k):
        other = noise[at + e]
        if other == sentence[i]:
            other = noise[further]
            further += 1
        targets[first + 1 + e] = other
    return further


@inner
def to_copies(targets, at, count, hot, own):
    """Let the first `hot` words have their rows from `own` on: copies (see `word_copies`).

    targets, at, count    int32, from `at` on                              in, out
    """
    if hot > 0:
        for j in range(at, at + count):
            word = targets[j]
            targets[j] = word + own if word < hot else word


@vectors(FLOATS)
def _within(v, steps, reach):
    """1 where 0 < abs(steps) <= reach, else 0."""
    size, zero, one = v.magnitude(steps), v.number(0.0), v.number(1.0)
    return v.select(size > reach, zero, v.select(size > zero, one, zero))


@inner
def draw_group(
    sentence, count, i, start, number, window, noise, at, k, pieces, ends,
    inputs, input_ends, targets, weights, sizes, slot, reach, share, same,
):  # fmt: skip
    """Words i to i + POINTS, as far as there are, which tell those around them (skip-gram).

    sentence, count       kept words, how many                             in
    start, number         uint64, int64: stream, and the number of the first word's radius
    noise, pieces, ends   see Method; k negatives for each word around     in
    at                    int64, place in the noise list
    inputs ... same, slot   see Slots                                      out
    Returns the place in the noise list behind what was read.
    """
    taken, first = slot * (len(inputs) >> 1), slot * (len(targets) >> 1)
    far, begin = slot * (len(weights) >> 1), slot * (POINTS + 1)
    centres = min(POINTS, count - i)
    low, high, around = i, i + centres, 0
    for c in range(POINTS):
        input_ends[begin + c] = taken
        near, radius = 0, 0
        if c < centres:
            taken = _pieces(pieces, ends, sentence[i + c], inputs, taken)
            radius = radius_of(start, number + i + c, window)
            before, behind = max(0, i + c - radius), min(count, i + c + radius + 1)
            low, high, near = min(low, before), max(high, behind), behind - before - 1
        around += near
        for lane in range(c, LANES, POINTS):
            reach[lane], share[lane] = radius, near
    input_ends[begin + POINTS] = taken
    there = high - low
    drawn = (k * around + centres - 1) // centres
    tiles = max((there + drawn + HIGH // 2) // HIGH, there // HIGH + 1)
    drawn = tiles * HIGH - there
    sizes[2 * slot], sizes[2 * slot + 1] = there + drawn, there
    for j in range(there):
        targets[first + j] = sentence[low + j]
    for v in range(0, drawn, LANES):
        store(targets, first + there + v, load(noise, at + v))
    # In a vector: HIGH targets, each for POINTS centre words.
    radii, one = load(reach, 0), np.float32(k) / np.float32(drawn)
    for j in range(0, there, HIGH):
        steps = load(STEPS, 0) + splat(np.float32(low + j - i))
        store(weights, far + j * POINTS, _within(steps, radii))
    each = load(share, 0) * splat(one)
    for v in range(there * POINTS, (there + drawn) * POINTS, LANES):
        store(weights, far + v, each)
    # No word is a negative of itself.
    store(targets, first + there + drawn, words(-1))
    for v in range(0, drawn, LANES):
        for j in range(there):
            store(same, 0, words(sentence[low + j]))
            found = agreeing(targets, first + there + v, same, 0, LANES)
            while found != 0:
                lane = 0
                while (found >> lane) & 1 == 0:
                    lane += 1
                for c in range(POINTS):
                    own = weights[far + j * POINTS + c]
                    weights[far + (there + v + lane) * POINTS + c] -= own * one
                found &= found - 1
    return at + drawn


@inner
def draw_batches(text, how, until, to):
    """Batches of the next sentences: words around one or several words in turn share negatives.

    A window goes into the batch before it where all of it has room; one that is larger than a batch
    is cut. Targets are the words of the windows, then the negatives.

    text, how    Text, Method                                              in
    until        int64, sentences to draw                                  in
    to           Plan                                                      out
    Returns batches, kept words.
    """
    inputs, targets, own = borrowed(to.inputs), borrowed(to.targets), borrowed(to.own)
    input_ends, target_ends = borrowed(to.input_ends), borrowed(to.target_ends)
    rates, sentence, at = borrowed(to.rates), borrowed(to.sentence), borrowed(to.at)
    values, offsets = borrowed(text.values), borrowed(text.offsets)
    keep, noise, k = borrowed(how.keep), borrowed(how.noise), how.negatives
    made, taken, put, words = 0, 0, 0, 0
    while at[0] < until and put < ENOUGH:
        start = stream(how.key, text.first + at[0])
        end = offsets[at[0] + 1]
        if at[2] == 0:
            at[2], at[3] = 1, np.int64(bits(start, 0) >> np.uint64(32)) & how.mask
        rate = rate_at(text.rate, text.done + np.float64(at[1] - offsets[0]), text.total)
        count, place, number = kept(values, keep, start, at[1], end, at[2], sentence)
        words += count
        begin = at[3]
        first_in, first_out = taken, put
        for i in range(count + 1):
            low, high = i, i
            if i < count:
                radius = radius_of(start, number, how.window)
                number += 1
                low, high = max(0, i - radius), min(count, i + radius + 1)
            size = high - low - 1
            # What is full, or the sentence's last, gets its negatives.
            if taken > first_in and (i == count or taken - first_in + size > how.batch):
                begin = _shared(noise, begin, k, targets, first_out, put) & how.mask
                put += k
                rates[made] = rate
                made += 1
                input_ends[made], target_ends[made] = taken, put
                first_in, first_out = taken, put
            if size <= 0:
                continue
            targets[put] = sentence[i]
            put += 1
            for j in range(low, high):
                if j == i:
                    continue
                if taken - first_in == how.batch:
                    begin = _shared(noise, begin, k, targets, first_out, put) & how.mask
                    put += k
                    rates[made] = rate
                    made += 1
                    input_ends[made], target_ends[made] = taken, put
                    first_in, first_out = taken, put
                    targets[put] = sentence[i]
                    put += 1
                inputs[taken] = sentence[j]
                own[taken] = put - 1 - first_out
                taken += 1
        at[1], at[2], at[3] = place, number, begin
        if place == end:
            at[0] += 1
            at[2] = 0
    return made, words


@inner
def _shared(noise, at, count, targets, first, put):
    """Take negatives; those that are among the targets from `first` on make way to later ones."""
    further = at + count
    for e in range(count):
        other = noise[at + e]
        known = False
        for j in range(first, put):
            known |= targets[j] == other
        if known:
            other = noise[further]
            further += 1
        targets[put + e] = other
    return further
