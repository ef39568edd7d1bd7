"""Tokens, the table that numbers them, and n-grams' hashes, against the slow versions."""

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smalgos.kernels import load
from tests.reference import tokens as reference

k = load("tokens")

# Tokens of all lengths around 8 bytes, characters of one to four bytes, and what is no UTF-8.
PIECES = [
    b"a", b"b", b"the", b"of", b"sixteen-byte-one", b"sevens7", b"eights88", b"nine99999",
    b"a-token-of-many-more-bytes-than-are-looked-at-together-or-twice-as-many-as-that",
    "\u00fcber".encode(), "\u4f60\u597d".encode(), "\U0001f600x".encode(), b"\xff\xfe", b"\x80a",
    b"__label__x", b"__label__", b"__label", b"</s>", b"<", b">", b"\x01", b"\x7f",
]  # fmt: skip
WHITE = [b" ", b"\n", b"\t", b"\r", b"\v", b"\f", b"\0", b"  ", b""]
text = st.lists(st.sampled_from(PIECES + WHITE * 2), max_size=40).map(b"".join)
rows_of_text = st.lists(text, max_size=12)


def ragged(rows, before=b""):
    """Values and offsets, which need not begin at 0."""
    offsets = np.cumsum([len(before), *map(len, rows)]).astype(np.int64)
    return np.frombuffer(bytearray(before + b"".join(rows)), np.uint8), offsets


def spelled(values, starts, ends):
    """Tokens as bytes."""
    data = values.tobytes()
    found = [data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return [reference.EOS if token == b"\n" else token for token in found]


def strings(table):
    """Tokens of a table, by number."""
    return spelled(table.values, table.offsets[:-1], table.offsets[1:])


@settings(deadline=None)
@given(rows_of_text, st.sampled_from([b"", b"x", b"\n", b"word" * 20]))
@example([b"a" * 64, b"b" * 64 + b"\n", b"", b"c" * 63 + b"\n", b"d"], b"")
@example([b"\n" * 130], b"\n")
@example([], b"")
def test_bounds(rows, before):
    values, offsets = ragged(rows, before)
    found, counts = [], []
    for whole, starts, ends, numbers in k.bounds(values, offsets):
        found += spelled(whole, starts, ends)
        counts += np.diff(numbers).tolist()
    want = [reference.tokens(row) for row in rows]
    assert found == [token for row in want for token in row]
    assert counts == [len(row) for row in want]


@settings(deadline=None)
@given(rows_of_text)
def test_a_table_counts_and_finds(rows):
    table = k.Table()
    for values, starts, ends, _ in k.bounds(*ragged(rows)):
        assert table.count(values, starts, ends) == len(starts)
    want = reference.counted(rows)
    assert strings(table) == list(want)
    assert table.counts.tolist() == list(want.values())
    unknown = [b"unknown", b"unknown-and-longer", b"b\xff", b""]
    values, offsets = ragged([*want, *unknown])
    found = table.find(values, offsets[:-1], offsets[1:]).tolist()
    numbers = {token: i for i, token in enumerate(want)}
    assert found == [*range(len(want)), *(numbers.get(u, -1) for u in unknown)]
    assert table.begins_with(b"__label__").tolist() == [t.startswith(b"__label__") for t in want]


def test_a_table_grows():
    names = [b"%x" % (i * i) * (1 + i % 5) for i in range(3000)]
    names = list(dict.fromkeys(names))
    table = k.Table()
    values, offsets = ragged(names * 2)
    table.count(values, offsets[:-1], offsets[1:])
    assert strings(table) == names
    assert (table.counts == 2).all()
    values, offsets = ragged(names)
    assert (table.find(values, offsets[:-1], offsets[1:]) == np.arange(len(names))).all()
    other = k.Table.of(values, offsets, np.arange(len(names)))
    table.merge(other)
    assert (table.counts == 2 + np.arange(len(names))).all()
    table.clear()
    assert table.size == 0
    assert (table.find(values, offsets[:-1], offsets[1:]) == -1).all()


@pytest.mark.parametrize(("most", "most_bytes"), [(3, None), (None, 10), (3, 10)])
def test_a_table_that_may_not_grow_says_where(most, most_bytes):
    values, offsets = ragged([b"aaaa", b"bbbb", b"aaaa", b"cc", b"aaaa", b"d", b"e"])
    table = k.Table()
    done = table.count(values, offsets[:-1], offsets[1:], None, 0, most, most_bytes)
    assert done == 5
    assert table.size == 3
    assert table.counts.tolist() == [3, 1, 1]


LENGTHS = st.sampled_from([(0, 0), (1, 1), (1, 3), (2, 4), (3, 6), (0, 2), (5, 2)])


@settings(deadline=None)
@given(
    rows_of_text, rows_of_text, st.integers(0, 4), st.sampled_from([0, 1, 50, 2**31 - 1]),
    LENGTHS, st.booleans(),
)  # fmt: skip
def test_features_and_pieces(known, rows, word_ngrams, buckets, lengths, pruned):
    words = [w for w, _ in reference.vocabulary(known, b"__label__", 1)[0]]
    labels = [t for t in reference.counted(known) if t.startswith(b"__label__")]
    values, offsets = ragged(words + labels)
    table = k.Table.of(values, offsets, np.ones(len(offsets) - 1, np.int64))
    kept = {3: 1, 7: 0, 40: 2} if pruned and buckets == 50 else None
    pairs = np.array(sorted((kept or {}).items()), np.int32).reshape(-1, 2)
    left = -1 if kept is None else len(kept)
    grams = k.NGrams(len(words), word_ngrams, buckets, *lengths, left)
    want = [
        reference.features(
            row, words, labels, b"__label__", word_ngrams, buckets, *lengths, kept
        )
        for row in rows
    ]  # fmt: skip
    hashed = k.hashes(values, offsets)
    assert hashed.tolist() == [reference.fnv(t) for t in words + labels]
    got = [[], [], [], []]
    for whole, starts, ends, numbers in k.bounds(*ragged(rows)):
        found = table.find(whole, starts, ends)
        parts = k.features(whole, starts, ends, numbers, found, hashed, b"__label__", grams, pairs)
        for all_of, part in zip(got, parts, strict=True):
            all_of += part.tolist()
        ids, counts = k.only_words(found, numbers, len(words))
        plain = [[words.index(t) for t in reference.tokens(r) if t in words] for r in rows]
        assert ids.tolist() == list(chain.from_iterable(plain))
        assert counts.tolist() == [len(p) for p in plain]
    assert got[0] == [i for rows_, _ in want for i in rows_]
    assert got[1] == [len(rows_) for rows_, _ in want]
    assert got[2] == [i for _, labels_ in want for i in labels_]
    assert got[3] == [len(labels_) for _, labels_ in want]

    values, offsets = ragged(words)
    own = np.where(np.arange(len(words)) % 2, -1, np.arange(len(words))).astype(np.int32)
    ids, counts = k.pieces(values, offsets, own, grams, pairs)
    at = 0
    for word, number, count in zip(words, own.tolist(), counts.tolist(), strict=True):
        hashes = [reference.fnv(g) % buckets for g in _grams(word, lengths, buckets)]
        if kept is not None:
            hashes = [kept[h] for h in hashes if h in kept]
        want_rows = [number] * (number >= 0) + [len(words) + h for h in hashes]
        assert ids[at : at + count].tolist() == want_rows
        at += count
    assert at == len(ids)


def _grams(word, lengths, buckets):
    return reference.ngrams(word, *lengths) if lengths[1] > 0 and buckets > 0 else []


def test_hashes_of_fasttext():
    """Known values: the offset basis, and the published hash of one byte."""
    values, offsets = ragged([b"", b"a", b"\x80"])
    assert k.hashes(values, offsets).tolist() == [0x811C9DC5, 0xE40C292C, reference.fnv(b"\x80")]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 << 18), max_size=9), st.integers(1, 9))
def test_parts_of_rows(lengths, count):
    offsets = np.cumsum([5, *lengths]).astype(np.int64)
    cuts = k.row_parts(offsets, count)
    assert cuts[0] == 0
    assert cuts[-1] == len(lengths)
    assert cuts == sorted(set(cuts)) or not lengths
    # No part but for its last row has more than its share.
    size = max(1 << 18, -(-sum(lengths) // count))
    for a, b in pairwise(cuts):
        assert offsets[max(a, b - 1)] - offsets[a] <= 2 * size
