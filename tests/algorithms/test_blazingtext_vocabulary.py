"""Vocabularies: counting in any cuts and threads, numbering, plain arrays."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms.blazingtext import token_counts
from smalgos.algorithms.blazingtext.token_counts import TokenCounts
from smalgos.algorithms.blazingtext.vocabulary import (
    EOS,
    Vocabulary,
    decoded,
    texts,
    whole_lines,
)
from smalgos.errors import UserError
from smalgos.formats.block import Ragged
from smalgos.kernels.cpu import tokens_bytes
from smalgos.kernels.cpu.shared import threads
from tests.reference import tokens as reference

PREFIX = "__label__"
WORDS = ["a", "b", "cc", "the", "a-long-word-of-more-than-eight", "\u00fcber", "__label__1", EOS]
WORDS += ["\udcff\udcfe", "__label__\u00e4", "eightttt", "nine-nine"]
line = st.lists(st.sampled_from([*WORDS, "\n", "\t"]), max_size=20).map(" ".join)
lines = st.lists(line, max_size=30)


def bytes_of(rows):
    return [row.encode("utf-8", "surrogateescape") for row in rows]


def counted(rows, cuts=(), jobs=1, **given):
    """Counts of rows that come in blocks."""
    text, counts = texts(rows), TokenCounts(PREFIX, **given)
    borders = [0, *sorted(c for c in cuts if c <= len(rows)), len(rows)]
    with threads(jobs):
        for a, b in pairwise(borders):
            counts.count(text[a:b])
    return counts


def same(one, other):
    """Whether plain arrays are the same, to the bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    """Texts of a few bytes are worth threads, and are worked on in parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_counts, "SMALL", 1)
        patch.setattr(tokens_bytes, "PART", 16)
        yield


@settings(deadline=None)
@given(lines, st.lists(st.integers(0, 30)), st.sampled_from([1, 3]), st.integers(0, 3))
def test_words_and_labels_as_the_slow_version_has_them(rows, cuts, jobs, min_count):
    words, labels = reference.vocabulary(bytes_of(rows), PREFIX.encode(), min_count)
    counts = counted(rows, cuts, jobs)
    assert len(counts) == len(reference.counted(bytes_of(rows)))
    if not words or not labels:
        with pytest.raises(UserError, match="min_count" if not words else "label"):
            counts.close(min_count)
        return
    known = counts.close(min_count)
    assert bytes_of(known.words) == [w for w, _ in words]
    assert bytes_of(known.labels) == [w for w, _ in labels]
    assert known.counts.tolist() == [n for _, n in words]
    assert known.label_counts.tolist() == [n for _, n in labels]
    assert known.tokens == sum(map(len, map(reference.tokens, bytes_of(rows))))
    assert len(known) == len(words)

    with threads(jobs):
        ids = known.ids(texts(rows))
        features, named = known.features(texts(rows), 2, 50)
    for i, row in enumerate(bytes_of(rows)):
        plain = [w for w, _ in words]
        assert ids.row(i).tolist() == [plain.index(t) for t in reference.tokens(row) if t in plain]
        want = reference.features(row, plain, [w for w, _ in labels], PREFIX.encode(), 2, 50, 0, 0)
        assert (features.row(i).tolist(), named.row(i).tolist()) == want


@settings(deadline=None)
@given(
    lines, st.lists(st.integers(0, 30)), st.sampled_from([1, 3]),
    st.sampled_from([(4, 1000), (1000, 40), (6, 60)]),
)  # fmt: skip
def test_memory_is_bounded_whatever_the_cuts(rows, cuts, jobs, limits):
    limits = dict(zip(("most", "most_bytes"), limits, strict=True))
    rows = [row.replace(PREFIX, "x") for row in rows]
    one, other = counted(rows, **limits), counted(rows, cuts, jobs, **limits)
    assert same(one.arrays(), other.arrays())
    assert len(one) <= limits["most"]
    assert one.table.used <= limits["most_bytes"]
    true = reference.counted(bytes_of(rows))
    found = dict(zip(bytes_of(held(one)), one.table.counts.tolist(), strict=True))
    assert all(n <= true[token] for token, n in found.items())
    assert one.tokens == sum(true.values())


def held(counts):
    return decoded(Ragged(counts.table.values, counts.table.offsets))


def test_the_rarest_are_dropped_and_labels_stay():
    counts = TokenCounts(PREFIX, most=4)
    counts.count(texts(["__label__1 often often rare often seldom seldom\n"]))
    # The newline was one too many: half of four stay, the label among them.
    assert held(counts) == ["__label__1", "often", EOS]
    assert counts.floor == 3
    with pytest.raises(UserError, match="too many"):
        counts.count(texts([f"__label__{i}" for i in range(9)]))
    counts = TokenCounts(most_bytes=8)
    with pytest.raises(UserError, match="too long"):
        counts.count(texts(["a word-of-nine-bytes"]))


@settings(deadline=None)
@given(lines, lines)
def test_merged_counts_are_those_of_all(rows, more):
    both = counted(rows)
    both.merge(counted(more))
    assert same(both.arrays(), counted(rows + more).arrays())
    again = TokenCounts.of(both.arrays(), PREFIX)
    assert same(again.arrays(), both.arrays())


def test_going_on_from_a_vocabulary():
    known = TokenCounts()
    known.count(texts(["b b a\n"]))
    more = TokenCounts()
    more.add(known.close())
    more.count(texts(["a a a c\n"]))
    words = more.close()
    assert words.words == ["a", "b", EOS, "c"]
    assert words.counts.tolist() == [4, 2, 2, 1]
    assert words.tokens == 9


def some():
    return counted(["__label__1 the a the \u00fcber\n", "__label__2 a b __label__1\n"]).close()


def test_words_are_found():
    known = some()
    assert known.words == ["the", "a", EOS, "\u00fcber", "b"]
    found = known.find(["b", "the", "__label__1", "", "nothing", "\u00fcber", EOS])
    assert found.tolist() == [4, 0, -1, -1, -1, 3, 2]
    assert known.find([]).tolist() == []
    assert known.find(["a\0", "\0", "a"]).tolist() == [-1, -1, 1]
    pieces = known.pieces(3, 4, 100)
    of = known.pieces_of(known.words, 3, 4, 100)
    assert np.array_equal(pieces.values, of.values)
    assert np.array_equal(pieces.offsets, of.offsets)
    unknown = known.pieces_of(["under", EOS], 3, 4, 100)
    grams = reference.ngrams(b"under", 3, 4)
    assert unknown.row(0).tolist() == [5 + reference.fnv(g) % 100 for g in grams]
    assert unknown.row(1).tolist() == [2]


def test_texts_come_back():
    rows = ["\u00fcber", "", "\udcff x", "a\n"]
    assert decoded(texts(rows)) == rows
    assert decoded(whole_lines(texts(rows))) == ["\u00fcber\n", "\n", "\udcff x\n", "a\n"]
    assert decoded(whole_lines(texts(rows)[1:3])) == ["\n", "\udcff x\n"]
    whole = texts(["a\n", "\n"])
    assert whole_lines(whole) is whole


def test_plain_arrays():
    known = some()
    again = Vocabulary.of(known.arrays(), PREFIX)
    assert same(again.arrays(), known.arrays())
    assert again.labels == known.labels == ["__label__1", "__label__2"]
    assert again.hashes.tolist() == [reference.fnv(t) for t in bytes_of(known.words + known.labels)]
    pruned = Vocabulary.of({**known.arrays(), "pruned": np.array([[7, 1], [3, 0]], np.int32)})
    assert same(Vocabulary.of(pruned.arrays()).arrays(), pruned.arrays())


@pytest.mark.parametrize("change", [
    {"tokens": np.frombuffer(b"the", np.uint8)},
    {"tokens": np.zeros(43, np.uint8)},
    {"tokens": np.zeros(43, np.int64)},
    {"offsets": np.zeros(8, np.int64)},
    {"offsets": np.arange(7)},
    {"counts": np.full(7, -1)},
    {"counts": np.ones(7, np.float32)},
    {"numbers": np.array([9, 8])},
    {"numbers": np.array([9, -1])},
    {"numbers": np.array([9])},
    {"pruned": np.zeros((2, 3), np.int32)},
    {"pruned": np.array([[1, 0], [1, 1]], np.int32)},
    {"pruned": np.array([[1, 0], [2, 5]], np.int32)},
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(change):
    with pytest.raises(UserError):
        Vocabulary.of({**some().arrays(), **change}, PREFIX)


def test_a_token_twice_is_refused():
    arrays = {
        "tokens": np.frombuffer(b"aba", np.uint8), "offsets": np.arange(4),
        "counts": np.ones(3, np.int64), "numbers": np.array([3, 3]),
    }  # fmt: skip
    with pytest.raises(UserError, match="twice"):
        Vocabulary.of(arrays)
    with pytest.raises(UserError, match="twice"):
        TokenCounts.of({**arrays, "numbers": np.array([3, 1])}, None)
