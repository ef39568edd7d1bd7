"""Word vectors by negative sampling: skip-gram, CBOW, and skip-gram in batches.

For an input vector h and targets t, u_t their output rows, y = 1 for a word that is there and 0 for
one drawn from the noise, the loss is the sum of -log sigmoid(u_t h) or -log sigmoid(-u_t h)
(Mikolov and others, NIPS 2013, equation 4), and with the learning rate a

    g_t = a (y_t - sigmoid(u_t h)),   e = sum of g_t u_t,   u_t += g_t h,   rows of h += e.

h is the mean of input rows: those of the centre word for skip-gram (its own, and those of its
character n-grams; Bojanowski and others, TACL 5, 2017), those of all words of the window for CBOW.
As in fastText, each of them gets all of e. The products of an example, of AT_ONCE targets at most,
are taken before its steps; steps follow one another in the order of targets.

Skip-gram learns POINTS centre words in turn at a time, which share their negatives (see
`word_draws`): each g_t has the target's weight for the centre word as a factor, and u_t moves by
the sum over centre words. Words and negatives of neighbours are brought near and written back once,
which is most of the work; a centre word has as many different negatives as it would have alone.

Skip-gram in batches (Ji and others, arXiv:1604.04661) has the words of windows as inputs, the
centre words as targets, and negatives that are shared: all products, then all steps.

Threads without locks have copies of the output rows of frequent words (see `word_copies`).
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.errors import UserError
from smalgos.kernels.cpu.losses import sigmoid
from smalgos.kernels.cpu.negatives import bits, key, noise_list, stream
from smalgos.kernels.cpu.shared import Lent, jobs, readable, run
from smalgos.kernels.cpu.tile import aligned
from smalgos.kernels.cpu.vector import LANES, borrowed, load, splat, store
from smalgos.kernels.cpu.word_copies import give, shares, take
from smalgos.kernels.cpu.word_draws import (
    Method,
    Text,
    ahead,
    draw_batches,
    draw_example,
    draw_group,
    kept,
    plan,
    radius_of,
    rate_at,
    slots,
    to_copies,
)
from smalgos.kernels.cpu.word_rows import (
    POINTS,
    add,
    clear,
    combine,
    dots,
    dots_broad,
    fetch,
    mean,
    means,
    move,
    move_broad,
    padded,
    parts,
    starts,
    within,
)

__all__ = ["MODES", "Words", "means", "starts"]

MODES = ("skipgram", "cbow", "batch_skipgram")
AT_ONCE = 64  # targets whose products are taken from the same h: they stay in the nearest cache
FEW, FEW_AT_ONCE = 1000, 16  # words: of few, the same come again too soon for more at once
# Where threads do not wait for each other:
ROUND, TASK = 20_000, 2_500  # words that all take meanwhile; that one takes at least
COPIES = 1 << 20  # bytes of output rows that each thread has copies of: they stay in its cache
DIVERGED = "the weights are no longer finite numbers: the learning rate {rate:g} is too high"

inner = kernel(fastmath=False, forceinline=True)


class Space(NamedTuple):
    """Scratch of one thread.

    h, e      (16 * vectors,) float32, for each centre word of a group; of a batch, for each input
    scores    (AT_ONCE + 16,) float32, for each centre word; of a batch, (targets + 16,)
    turned    float32, the same the other way round
    labels    float32: `most` ones, for words that are there, then zeros, for negatives
    most      int64
    hot, own  int64: the thread's copies of the first `hot` output rows begin at row `own`
    """

    h: NDArray[np.float32]
    e: NDArray[np.float32]
    scores: NDArray[np.float32]
    turned: NDArray[np.float32]
    labels: NDArray[np.float32]
    most: int
    hot: int
    own: int


class Lease(NamedTuple):
    """What a thread works with.

    to        Slots or Plan
    space     Space
    before    (hot, 16 * vectors) float32: the thread's copies as they were
    """

    to: Any
    space: Space
    before: NDArray[np.float32]


@inner
def _slopes(scores, labels, first, count, rate):
    """g of some targets, in place of their scores."""
    for v in range(0, count, LANES):
        y = load(labels, first + v)
        store(scores, v, splat(rate) * (y - sigmoid(load(scores, v))))


@inner
def _learn(
    input, output, vectors, inputs, input_ends, targets, sizes, slot, rate, at_once,
    h, e, scores, labels, most,
):  # fmt: skip
    """One example of CBOW, as `_cbow` has it at hand; whether all is finite."""
    other = 1 - slot
    first, last = input_ends[slot * (POINTS + 1)], input_ends[slot * (POINTS + 1) + 1]
    soon, later = input_ends[other * (POINTS + 1)], input_ends[other * (POINTS + 1) + 1]
    count, begin = sizes[2 * slot], slot * (len(targets) >> 1)
    mean(input, inputs, first, last - first, vectors, h, 0)
    clear(e, 0, vectors)
    for a in range(0, count, at_once):
        if a > 0:
            mean(input, inputs, first, last - first, vectors, h, 0)
            for v in range(0, vectors * LANES, LANES):
                store(h, v, load(h, v) + load(e, v))
        size = min(at_once, count - a)
        dots(output, targets, begin + a, size, vectors, h, 0, scores, 0)
        _slopes(scores, labels, most - 1 + a, size, rate)
        if a == 0:  # while the slopes are on their way
            fetch(output, targets, other * (len(targets) >> 1), sizes[2 * other], vectors)
            fetch(input, inputs, soon, later - soon, vectors)
        move(output, targets, begin + a, size, vectors, h, scores, e)
    add(input, inputs, first, last - first, vectors, np.float32(1.0), e, 0)
    return e[0] - e[0] == 0


@inner
def _learn_group(
    input, output, vectors, inputs, input_ends, targets, weights, sizes, slot, rate, at_once,
    h, e, scores, labels, most,
):  # fmt: skip
    """One group of skip-gram, as `_skipgram` has it at hand; whether all is finite."""
    other, width, finite = 1 - slot, vectors * LANES, True
    begin, far = slot * (len(targets) >> 1), slot * (len(weights) >> 1)
    edges, soon = slot * (POINTS + 1), other * (POINTS + 1)
    count, there = sizes[2 * slot], sizes[2 * slot + 1]
    clear(e, 0, POINTS * vectors)
    for a in range(0, count, at_once):
        for c in range(POINTS):
            first, last = input_ends[edges + c], input_ends[edges + c + 1]
            if first == last:
                clear(h, c * width, vectors)
            else:
                mean(input, inputs, first, last - first, vectors, h, c * width)
        if a > 0:
            for v in range(0, POINTS * width, LANES):
                store(h, v, load(h, v) + load(e, v))
        size = min(at_once, count - a)
        dots_broad(output, targets, begin + a, size, vectors, h, scores)
        for v in range(0, size * POINTS, LANES):
            y = load(labels, most + (a - there) * POINTS + v)
            weight = splat(rate) * load(weights, far + a * POINTS + v)
            store(scores, v, weight * (y - sigmoid(load(scores, v))))
        ask, until = other * (len(targets) >> 1), 0
        if a == 0:  # later parts ask for nothing
            until = ask + sizes[2 * other]
            first, last = input_ends[soon], input_ends[soon + POINTS]
            fetch(input, inputs, first, last - first, vectors)
        move_broad(output, targets, begin + a, size, vectors, h, scores, e, ask, until)
    for c in range(POINTS):
        first, last = input_ends[edges + c], input_ends[edges + c + 1]
        add(input, inputs, first, last - first, vectors, np.float32(1.0), e, c * width)
        finite &= e[c * width] - e[c * width] == 0
    return finite


@inner
def _learn_batches(input, output, to, made, space):
    """One batch after another; whether all is finite."""
    vectors = input.shape[1] // LANES
    width = vectors * LANES
    input, output = borrowed(input), borrowed(output)
    inputs, targets, own = borrowed(to.inputs), borrowed(to.targets), borrowed(to.own)
    input_ends, target_ends = borrowed(to.input_ends), borrowed(to.target_ends)
    rates, e, scores = borrowed(to.rates), borrowed(space.e), borrowed(space.scores)
    turned, labels = borrowed(space.turned), borrowed(space.labels)
    finite = True
    for i in range(made):
        a, b = input_ends[i], input_ends[i + 1]
        s, t = target_ends[i], target_ends[i + 1]
        if i + 1 < made:
            fetch(output, targets, t, target_ends[i + 2] - t, vectors)
            fetch(input, inputs, b, input_ends[i + 2] - b, vectors)
        rows, columns = b - a, t - s
        positives = own[b - 1] + 1
        for r in range(rows):
            at = np.int64(inputs[a + r]) * width
            dots(output, targets, s, columns, vectors, input, at, scores, 0)
            _slopes(scores, labels, space.most, columns, rates[i])
            for j in range(positives):
                scores[j] = scores[j] + rates[i] if j == own[a + r] else np.float32(0.0)
            clear(e, r * width, vectors)
            combine(output, targets, s, columns, vectors, scores, 0, e, r * width)
            for j in range(columns):
                turned[j * rows + r] = scores[j]
        for j in range(columns):
            row = np.int64(targets[s + j]) * width
            combine(input, inputs, a, rows, vectors, turned, j * rows, output, row)
        for r in range(rows):
            add(input, inputs, a + r, 1, vectors, np.float32(1.0), e, r * width)
        finite &= e[0] - e[0] == 0
    return finite


@kernel(fastmath=False)
def _cbow(text, how, input, output, to, space):
    """Learn all sentences of a text, each word told by its window.

    text, how       Text, Method                                             in
    input, output   (rows, 16 * vectors), (words, 16 * vectors) float32      in, out;
                    behind the words' output rows, copies of threads (see Space)
    to, space       Slots, Space
    Returns words that were kept, and whether all is finite.
    """
    vectors, sentences = input.shape[1] // LANES, len(text.offsets) - 1
    at_once = AT_ONCE if len(how.keep) >= FEW else FEW_AT_ONCE
    k, mask, window = how.negatives, how.mask, how.window
    hot, own = space.hot, space.own
    # Counted references would take as long as the work.
    input, output = borrowed(input), borrowed(output)
    inputs, input_ends, sizes = borrowed(to.inputs), borrowed(to.ends), borrowed(to.sizes)
    targets, rates, sentence = borrowed(to.targets), borrowed(to.rates), borrowed(to.sentence)
    h, e = borrowed(space.h), borrowed(space.e)
    scores, labels = borrowed(space.scores), borrowed(space.labels)
    values, offsets = borrowed(text.values), borrowed(text.offsets)
    keep, noise = borrowed(how.keep), borrowed(how.noise)
    pieces, ends = borrowed(how.pieces), borrowed(how.ends)
    words, finite, slot, waiting = 0, True, 0, False
    for s in range(sentences + 1):  # behind the last one, the last example is learnt
        place, until, number = offsets[s], offsets[min(s + 1, sentences)], 1
        start = stream(how.key, text.first + s)
        at = np.int64(bits(start, 0) >> np.uint64(32)) & mask
        while place < until or s == sentences:
            count, rate = 1, np.float32(0.0)
            if s < sentences:
                rate = rate_at(text.rate, text.done + np.float64(place - offsets[0]), text.total)
                count, place, number = kept(values, keep, start, place, until, number, sentence)
                words += count
            for i in range(count):
                some = s < sentences and count > 1
                if some:
                    radius = radius_of(start, number + i, window)
                    low, high = max(0, i - radius), min(count, i + radius + 1)
                    at = draw_example(
                        sentence, i, low, high, noise, at, k, pieces, ends,
                        inputs, input_ends, targets, sizes, slot,
                    )  # fmt: skip
                    at &= mask
                    to_copies(targets, slot * (len(targets) >> 1), sizes[2 * slot], hot, own)
                    rates[slot] = rate
                if waiting and (some or s == sentences):
                    finite &= _learn(
                        input, output, vectors, inputs, input_ends, targets, sizes, 1 - slot,
                        rates[1 - slot], at_once, h, e, scores, labels, space.most,
                    )  # fmt: skip
                if some:
                    slot, waiting = 1 - slot, True
            number += count
            if s == sentences:
                break
    return words, finite


@kernel(fastmath=False)
def _skipgram(text, how, input, output, to, space):
    """As `_cbow`, each word tells its window: POINTS words at a time."""
    vectors, sentences = input.shape[1] // LANES, len(text.offsets) - 1
    at_once = AT_ONCE if len(how.keep) >= FEW else FEW_AT_ONCE
    k, mask, window = how.negatives, how.mask, how.window
    hot, own = space.hot, space.own
    # Counted references would take as long as the work.
    input, output = borrowed(input), borrowed(output)
    inputs, input_ends, sizes = borrowed(to.inputs), borrowed(to.ends), borrowed(to.sizes)
    targets, weights, rates = borrowed(to.targets), borrowed(to.weights), borrowed(to.rates)
    reach, share, same = borrowed(to.reach), borrowed(to.share), borrowed(to.same)
    sentence, h, e = borrowed(to.sentence), borrowed(space.h), borrowed(space.e)
    scores, labels = borrowed(space.scores), borrowed(space.labels)
    values, offsets = borrowed(text.values), borrowed(text.offsets)
    keep, noise = borrowed(how.keep), borrowed(how.noise)
    pieces, ends = borrowed(how.pieces), borrowed(how.ends)
    words, finite, slot, waiting = 0, True, 0, False
    for s in range(sentences + 1):  # behind the last one, the last group is learnt
        place, until, number = offsets[s], offsets[min(s + 1, sentences)], 1
        start = stream(how.key, text.first + s)
        at = np.int64(bits(start, 0) >> np.uint64(32)) & mask
        while place < until or s == sentences:
            count, rate = 1, np.float32(0.0)
            if s < sentences:
                rate = rate_at(text.rate, text.done + np.float64(place - offsets[0]), text.total)
                count, place, number = kept(values, keep, start, place, until, number, sentence)
                words += count
            for i in range(0, count, POINTS):
                some = s < sentences and count > 1
                if some:
                    at = draw_group(
                        sentence, count, i, start, number, window, noise, at, k, pieces, ends,
                        inputs, input_ends, targets, weights, sizes, slot, reach, share, same,
                    )  # fmt: skip
                    at &= mask
                    to_copies(targets, slot * (len(targets) >> 1), sizes[2 * slot], hot, own)
                    rates[slot] = rate
                if waiting and (some or s == sentences):
                    finite &= _learn_group(
                        input, output, vectors, inputs, input_ends, targets, weights, sizes,
                        1 - slot, rates[1 - slot], at_once, h, e, scores, labels, space.most,
                    )  # fmt: skip
                if some:
                    slot, waiting = 1 - slot, True
            number += count
            if s == sentences:
                break
    return words, finite


@kernel(fastmath=False)
def _batches(text, how, input, output, to, space):
    """As `_cbow`, in batches; `to` is a Plan."""
    words, finite = 0, True
    while to.at[0] < len(text.offsets) - 1:
        made, count = draw_batches(text, how, len(text.offsets) - 1, to)
        to_copies(to.targets, 0, to.target_ends[made], space.hot, space.own)
        finite &= _learn_batches(input, output, to, made, space)
        words += count
    return words, finite


class Words:
    """Input and output rows of word vectors while they are trained.

    Parameters
    ----------
    input : ndarray of float32, shape (rows, d)
        A row for each word, then one for each bucket of character n-grams.
    output : ndarray of float32, shape (words, d)
        The same.
    keep : ndarray of float32, shape (words,)
        Chance of a word to be kept where it occurs, which subsampling leaves to it; 1 keeps all.
    noise : ndarray of float64, shape (words,)
        What negatives are drawn in proportion to: counts to some power. Threads without locks are
        fastest where the first words are the most frequent ones.
    pieces : Ragged of int32, optional
        Input rows of each word, its own first; if not given, row i for word i.
    mode : {"skipgram", "cbow", "batch_skipgram"}
    window : int
        Largest radius; that of each word is uniform in 1 ... window.
    negatives : int
        Drawn for each word that is there, or for each batch; four centre words of skip-gram in turn
        share theirs.
    batch_size : int
        Inputs that share negatives, in mode "batch_skipgram".
    seed : int
    in_place : bool
        Train the rows that are given, which `starts` made, not copies of them.

    Attributes
    ----------
    input, output : ndarray of float32, shape (rows, d) and (words, d)
        As they are now: views, which training changes.
    """

    def __init__(
        self,
        input: NDArray[np.float32],
        output: NDArray[np.float32],
        *,
        keep: NDArray[np.float32],
        noise: NDArray[np.float64],
        pieces: Any = None,
        mode: str = "skipgram",
        window: int = 5,
        negatives: int = 5,
        batch_size: int = 11,
        seed: int = 0,
        in_place: bool = False,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode={mode!r}: one of {', '.join(MODES)}")
        words, width = output.shape
        if input.shape[1] != width or len(keep) != words or len(noise) != words:
            raise ValueError("input, output, keep and noise do not fit each other")
        if pieces is not None and mode == "batch_skipgram":
            raise ValueError("batch_skipgram has no rows for pieces of words")
        if pieces is None:
            if len(input) < words:
                raise ValueError("there are fewer input rows than words")
            rows, ends, longest = np.empty(0, np.int32), np.empty(0, np.int64), 1
        else:
            rows, ends = readable(pieces.values, np.int32), readable(pieces.offsets, np.int64)
            lengths = np.diff(ends)
            if len(lengths) != words or (lengths < 1).any():
                raise ValueError("each word has one input row at least")
            within(rows, len(input))
            longest = int(lengths.max())
        self.mode, self.seed = mode, seed
        self._input = padded(input, in_place)
        self._copied = min(COPIES // self._input.strides[0], words)
        behind = jobs() * self._copied  # no memory before it is written to
        self._output = padded(output, in_place, behind)
        self.input, self.output = self._input[:, :width], self._output[:words, :width]
        drawn = noise_list(noise, seed, ahead(int(window), int(negatives)))
        self._how = Method(
            readable(keep, np.float32),
            drawn,
            rows,
            ends,
            len(drawn) - ahead(int(window), int(negatives)) - 1,
            mode == "cbow",
            int(window),
            int(negatives),
            int(batch_size),
            np.uint64(0),
        )
        self._draws = np.array(noise[: self._copied], np.float64) / np.sum(noise)
        self._made = itertools.count()
        self._lent: Lent[Lease] = Lent(lambda: self._lease(longest))

    def _lease(self, longest: int) -> Lease:
        how, width = self._how, self._input.shape[1]
        around, k = 2 * how.window, how.negatives
        if self.mode == "batch_skipgram":
            to: Any = plan(how.window, k)
            inputs, there = min(how.batch, len(to.inputs)), around
            most = inputs + k  # targets: each input may be another word's
        else:
            cbow = self.mode == "cbow"
            to = slots(cbow, how.window, k, longest)
            points = 1 if cbow else POINTS
            inputs, most, there = points, points * AT_ONCE, points * (POINTS + around)
        zeros = max(most, len(to.targets) * POINTS) + LANES
        # No copies for rows in place, nor for more threads than the table was made for.
        own = len(how.keep) + next(self._made) * self._copied
        hot = self._copied if own + self._copied <= len(self._output) else 0
        space = Space(
            padded(np.zeros((inputs, width), np.float32)).reshape(-1),
            padded(np.zeros((inputs, width), np.float32)).reshape(-1),
            np.zeros(most + LANES, np.float32),
            np.zeros(inputs * most, np.float32),
            np.repeat(np.array([1, 0], np.float32), [there, zeros]),
            there,
            hot,
            own,
        )
        return Lease(to, space, aligned(hot, width))

    def learn(
        self,
        sentences: Any,
        first: int,
        epoch: int,
        done: float,
        total: float,
        rate: float,
        deterministic: bool = True,
    ) -> int:
        """Go over some sentences once.

        Parameters
        ----------
        sentences : Ragged of int32
            Numbers of words.
        first : int
            Number of the first sentence in the corpus: random numbers are keyed by
            (seed, epoch, sentence), so that cuts between calls do not matter.
        epoch : int
        done, total : float
            Words gone through before, in all epochs, and those of the whole training: the learning
            rate at a word is ``rate * (1 - done / total)``, or 0 from `total` on.
        rate : float
        deterministic : bool
            One sentence after another, on this thread: the same bytes for any number of threads.
            Else all threads work on the same rows without locks, as the peers do, but for copies
            of the output rows of frequent words.

        Returns
        -------
        int
            Words that were kept.

        Raises
        ------
        UserError
            If weights are no longer finite.
        ValueError
            If there is no word of such a number.
        """
        values, offsets = (
            readable(sentences.values, np.int32),
            readable(sentences.offsets, np.int64),
        )
        used = values[offsets[0] : offsets[-1]]
        if not len(used):
            return 0
        within(used, len(self._how.keep))
        how = self._how._replace(key=np.uint64(key(self.seed, "words", epoch)))
        count = 1 if deterministic else jobs()
        tasks = [slice(0, len(offsets) - 1)]
        if not deterministic:
            tasks = parts(offsets, max(TASK, ROUND // count))
        now = rate_at(float(rate), float(done), float(total))
        steps = self._steps(len(used) / len(tasks))
        share = shares(steps, now, min(count, len(tasks)))

        def work(part: slice) -> tuple[int, bool]:
            lease = self._lent.get()
            to, space, before = lease
            try:
                passed = float(done) + float(offsets[part.start] - offsets[0])
                ends = offsets[part.start : part.stop + 1]
                text = Text(
                    values, ends, int(first) + part.start, passed, float(total), float(rate)
                )
                learn = _cbow if self.mode == "cbow" else _skipgram
                if self.mode == "batch_skipgram":
                    learn, to.at[:] = _batches, (0, ends[0], 0, 0)
                if count == 1:
                    space = space._replace(hot=0)
                if space.hot:
                    take(self._output, space.hot, space.own, before)
                found: tuple[int, bool] = learn(text, how, self._input, self._output, to, space)
                if space.hot:
                    give(self._output, space.hot, space.own, before, share)
                return found
            finally:
                self._lent.put(lease)

        found = run(work, tasks)
        if not all(finite for _, finite in found):
            raise UserError(DIVERGED.format(rate=rate))
        return sum(words for words, _ in found)

    def _steps(self, words: float) -> NDArray[np.float64]:
        """How many steps the output rows that threads copy take in so many words, about."""
        how = self._how
        pairs = 1 if how.cbow else 1 + how.window
        return self._draws * (words * pairs * (1 + how.negatives))

    def plain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Input and output rows, (rows, d) and (words, d): views, which training changes."""
        return self.input, self.output
