"""Kernels of IP Insights: addresses, hashes and made-up pairs by the book; gradients; same bits."""

import ipaddress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.formats.block import Ragged
from smalgos.kernels.cpu import ip_addresses
from smalgos.kernels.cpu import ip_insights as kernels
from smalgos.kernels.cpu.shared import threads
from tests.reference import ip_insights as reference

EXAMPLES = 60 if COMPILED else 10


def ragged(texts):
    return Ragged.of([list(t.encode() if isinstance(t, str) else t) for t in texts], np.uint8)


def as_int(address):
    return int(address[0]) << 64 | int(address[1])


def as_words(addresses):
    return np.array([[a >> 64, a & reference.MASK] for a in addresses], np.uint64)


# Names ------------------------------------------------------------------------------------------

KNOWN = {
    b"": 0xEF46DB3751D8E999,
    b"a": 0xD24EC4F1A98C6E5B,
    b"abc": 0x44BC2CF5AD770999,
    b"Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
}


@pytest.mark.parametrize("data", KNOWN)
def test_the_hash_is_the_published_one(data):
    assert reference.xxhash64(data) == KNOWN[data]
    rows, marks = kernels.entity_rows(*vars(ragged([data])).values(), 1000, 0)
    assert rows[0] == KNOWN[data] % 1000
    assert marks[0] == (KNOWN[data] >> 32) * 8000 >> 32


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    st.lists(st.binary(max_size=80), min_size=1, max_size=8),
    st.integers(1, 250_000_000),
    st.integers(0, 2**63 - 1),
)
def test_rows_of_names(names, rows, seed):
    given = ragged(names)
    ids, marks = kernels.entity_rows(given.values, given.offsets, rows, seed)
    hashes = [reference.xxhash64(name, seed) for name in names]
    assert ids.tolist() == [h % rows for h in hashes]
    assert marks.tolist() == [(h >> 32) * 8 * rows >> 32 for h in hashes]


# Addresses --------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda a: str(ipaddress.IPv4Address(a))),
    st.integers(0, 2**128 - 1).map(lambda a: str(ipaddress.IPv6Address(a))),
    st.integers(0, 2**128 - 1).map(lambda a: ipaddress.IPv6Address(a).exploded.upper()),
    st.lists(st.sampled_from(["0", "1", "12", "255", "256", "00", "a", "."]), max_size=7).map(
        ".".join
    ),
    st.lists(
        st.sampled_from(["", "0", "ab", "FFFF", "12345", "g", "1.2.3.4", ":"]), max_size=9
    ).map(":".join),
    st.text("0123456789abf.:% ", max_size=12),
)


@settings(deadline=None, max_examples=5 * EXAMPLES)
@given(TEXTS)
@example("")
@example("::")
@example("1::")
@example("::1.2.3.4")
@example("::ffff:192.0.2.1")
@example("1:2:3:4:5:6:7::")
@example("1:2:3:4:5:6:7:8::")
@example("1:2:3:4:5:6:7:1.2.3.4")
@example("01.2.3.4")
@example("1.2.3.4.")
@example("fe80::1%eth0")
def test_addresses_are_those_of_the_book(text):
    given = ragged(["10.0.0.1", text, "10.0.0.2"])
    found, bad = kernels.parse_addresses(given.values, given.offsets)
    want = reference.address_of(text)
    assert bad == (1 if want is None else -1)
    if want is not None:
        assert as_int(found[1]) == want
        assert as_int(found[2]) == 0xFFFF0A000002


def test_the_first_bad_address_is_named_whatever_the_threads():
    texts = ["192.0.2.1"] * 20_000
    texts[9000] = texts[17_000] = "192.0.2"
    given = ragged(texts)
    for n in (1, 3):
        with threads(n):
            assert kernels.parse_addresses(given.values, given.offsets)[1] == 9000


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda a: (0xFFFF << 32) | a), st.integers(0, 2**128 - 1)
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(
    st.lists(ADDRESSES, min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 3),
    st.integers(0, 3), st.integers(0, 10**9), st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_pairs_are_made_up_by_counting(addresses, batch, random, shuffled, start, key):
    n, words = len(addresses), as_words(addresses)
    partners = kernels.shuffled_rows(n, start, batch, shuffled, key)
    want = reference.shuffled_rows(n, start, batch, shuffled, key)
    np.testing.assert_array_equal(partners, want)
    rows = slice(n // 3, n)
    found = kernels.pair_pieces(words, partners, rows, start, random, key)
    want = reference.pair_pieces(addresses, partners, start, random, key)[rows]
    np.testing.assert_array_equal(found, want.reshape(len(found), -1))
    assert found.min() >= 0
    assert found.max() < kernels.TABLE
    np.testing.assert_array_equal(
        kernels.pieces_of(words), [reference.pieces(a) for a in addresses]
    )


def test_random_addresses_are_even():
    words = as_words([0xFFFF << 32] * 2000)
    found = kernels.pair_pieces(words, np.empty((2000, 0), np.int32), slice(0, 2000), 0, 8, 7)
    first = found.reshape(2000, 9, -1)[:, 1:, 0].ravel()
    counts = np.bincount(first, minlength=256)
    assert np.abs(counts - 62.5).max() < 6 * 62.5**0.5


# The model --------------------------------------------------------------------------------------


def problem(seed, n=40, rows=12, dim=6, layers=1, random=2, shuffled=1, batch=10):
    rng = np.random.default_rng(seed)
    ids = rng.integers(rows, size=n).astype(np.int32)
    words = as_words([(0xFFFF << 32) | int(a) for a in rng.integers(0, 2**32, n)])
    tables = kernels.start(rows, dim, layers, seed)
    weights = kernels.plain(tables, rows, dim)
    scaled = {
        name: (w * (20 if name in ("entities", "prefixes") else 1)).astype(np.float32)
        for name, w in weights.items()
    }
    scaled["layers"] = rng.normal(0, 0.4, scaled["layers"].shape).astype(np.float32)
    scaled["biases"] = rng.normal(0, 0.3, scaled["biases"].shape).astype(np.float32)
    kernels.put(tables, scaled, dim)
    return ids, words, tables, kernels.Sampling(batch, random, shuffled, 11, 12)


def doubles(tables, rows, dim):
    return {n: w.astype(float) for n, w in kernels.plain(tables, rows, dim).items()}


def pairs_of(words, s, start=0):
    addresses = [as_int(w) for w in words]
    partners = reference.shuffled_rows(len(words), start, s.batch, s.shuffled, s.shuffle_key)
    return reference.pair_pieces(addresses, partners, start, s.random, s.random_key)


def means(tables, rows, dim, slot):
    """One of Adam's means as weights."""
    width = -(-dim // 16) * 16
    out = {}
    for name, count in (("entities", rows), ("prefixes", kernels.TABLE)):
        out[name] = tables[name].reshape(count, 3, width)[:, slot, :dim]
    square = [np.concatenate(list(w), axis=1)[:dim, :dim] for w in tables["layers"][slot]]
    out["layers"] = np.array(square).reshape(-1, dim, dim)
    out["biases"] = tables["biases"][slot, :, :dim]
    return out


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_gradients_of_the_reference_are_differences_of_its_loss(layers):
    ids, words, tables, s = problem(3, n=6, dim=4, layers=layers)
    weights, found = doubles(tables, 12, 4), pairs_of(words, s)
    slopes = reference.gradients(weights, ids, found)
    rng = np.random.default_rng(0)

    def loss():
        return reference.losses(reference.forward(weights, ids, found)[0]).mean()

    for name, w in weights.items():
        where = np.argwhere(slopes[name] != 0)
        for at in map(tuple, rng.permutation(where)[:12]):
            before, step = w[at], 1e-6
            w[at] = before + step
            above = loss()
            w[at] = before - step
            slope = (above - loss()) / (2 * step)
            w[at] = before
            assert slopes[name][at] == pytest.approx(slope, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("layers", "dim"), [(0, 5), (1, 6), (1, 32), (2, 17), (3, 4)])
def test_gradients(layers, dim):
    ids, words, tables, s = problem(1, n=40, dim=dim, layers=layers, batch=40)
    weights, found = doubles(tables, 12, dim), pairs_of(words, s)
    bounds = reference.steps(40, 40, 4)[:2]
    with threads(1):
        trainer = kernels.Trainer(tables, 12, dim, 0.01, 0.0)
        told = trainer.learn(ids[: bounds[1]], words, 0, 1, s._replace(batch=bounds[1]))
    assert len(told) == 4
    # Adam's first mean after one step is a tenth of the gradient; of the first step of four here.
    ids, words, tables, s = problem(1, n=40, dim=dim, layers=layers, batch=1)
    found = pairs_of(words[:1], s)
    slopes = reference.gradients(weights, ids[:1], found)
    kernels.Trainer(tables, 12, dim, 0.01, 0.0).learn(ids[:1], words[:1], 0, 1, s)
    got = means(tables, 12, dim, 1)
    for name, want in slopes.items():
        np.testing.assert_allclose(got[name], 0.1 * want, rtol=2e-3, atol=2e-6, err_msg=name)


@settings(deadline=None, max_examples=EXAMPLES // 4)
@given(
    st.integers(0, 99), st.integers(1, 45), st.sampled_from([4, 16, 19]), st.integers(0, 2),
    st.integers(0, 3), st.integers(0, 2), st.integers(1, 30), st.sampled_from([0.0, 0.01]),
)  # fmt: skip
def test_learns_as_the_reference(seed, n, dim, layers, random, shuffled, batch, decay):
    random = random or (not shuffled)
    ids, words, tables, s = problem(
        seed, n, dim=dim, layers=layers, random=int(random), shuffled=shuffled, batch=batch
    )
    weights, found = doubles(tables, 12, dim), pairs_of(words, s, 5)
    zeros = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in weights.items()}
    bounds = reference.steps(n, batch, 1 + s.random + s.shuffled)
    want = reference.learn(weights, zeros, ids, found, bounds, 1, 0.01, decay)
    got = kernels.Trainer(tables, 12, dim, 0.01, decay).learn(ids, words, 5, 1, s)
    np.testing.assert_allclose(got[:, 0], want[:, 0], rtol=0.01)
    np.testing.assert_array_equal(got[:, 2], want[:, 2])
    assert np.abs(got[:, 1] - want[:, 1]).sum() <= 0.02 * want[:, 2].sum() + 1
    # A step of Adam is as large for a gradient that is nothing but rounding as for a true one.
    for name, w in doubles(tables, 12, dim).items():
        off = np.abs(w - weights[name]) > 1e-3
        assert off.sum() <= 0.02 * off.size, name


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_threads_and_cuts_change_no_bit(layers):
    n = 3000 if COMPILED else 60
    results = []
    for count, cut in ((1, n), (2, n), (3, n // 3), (2, n // 6)):
        ids, words, tables, s = problem(2, n, 50, 20, layers, 3, 2, batch=n // 6)
        with threads(count):
            trainer, t, told = kernels.Trainer(tables, 50, 20, 0.01, 1e-5), 1, []
            for a in range(0, n, cut):
                told.append(trainer.learn(ids[a : a + cut], words[a : a + cut], a, t, s))
                t += len(told[-1])
        results.append([np.concatenate(told).tobytes(), *(x.tobytes() for x in tables.values())])
    for result in results[1:]:
        assert result == results[0]


@pytest.mark.parametrize(("layers", "dim"), [(0, 4), (1, 20), (3, 16)])
def test_scores(layers, dim):
    n = 600 if COMPILED else 60
    ids, words, tables, _ = problem(4, n=n, dim=dim, layers=layers)
    weights = kernels.plain(tables, 12, dim)
    pieces = kernels.pieces_of(words)
    encoders = kernels.Encoders(**weights)
    scores, vectors = encoders.score(ids, pieces, vectors=True)
    want, _, top = reference.forward(doubles(tables, 12, dim), ids, pieces[:, None])
    np.testing.assert_allclose(scores, want[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vectors, top[:, 0], rtol=1e-4, atol=1e-4)
    alone = [encoders.score(ids[i : i + 1], pieces[i : i + 1])[0][0] for i in range(0, n, 97)]
    np.testing.assert_array_equal(scores[::97], alone)
    np.testing.assert_array_equal(kernels.encoders(tables, dim).score(ids, pieces)[0], scores)


def test_tables_go_back_and_forth():
    _, _, tables, _ = problem(5, dim=10, layers=2)
    weights = kernels.plain(tables, 12, 10)
    other = kernels.start(12, 10, 2, 99)
    kernels.put(other, weights, 10)
    for name, w in kernels.plain(other, 12, 10).items():
        np.testing.assert_array_equal(w, weights[name])
    shifted = {n: np.concatenate([[0], w.ravel()])[1:].astype(np.float32).reshape(w.shape)
               for n, w in tables.items()}  # fmt: skip
    for name, w in kernels.placed(shifted).items():
        np.testing.assert_array_equal(w, tables[name])
        assert not w.size or w.ctypes.data % 64 == 0


def test_nothing_overflows():
    ids, words, tables, s = problem(6, dim=8, layers=1)
    weights = {n: w * 1e6 for n, w in kernels.plain(tables, 12, 8).items()}
    kernels.put(tables, weights, 8)
    told = kernels.Trainer(tables, 12, 8, 0.01, 0.0).learn(ids, words, 0, 1, s)
    assert np.isfinite(told).all()
    assert all(np.isfinite(x).all() for x in tables.values())


def test_layout_constants():
    assert kernels.TABLE == reference.EXACT + reference.HASHED
    assert ip_addresses.LENGTHS_4 == reference.LENGTHS_4
    assert ip_addresses.LENGTHS_6 == reference.LENGTHS_6
    assert ip_addresses.PIECES == 3
