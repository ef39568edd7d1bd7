"""Files of fastText and word2vec: byte for byte, damaged ones, and what models make of text."""

import gzip
import json
import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smalgos.algorithms.blazingtext import fasttext_file, vectors_file
from smalgos.algorithms.blazingtext.outputs import huffman
from smalgos.algorithms.blazingtext.quantized import Quantized, quantize
from smalgos.algorithms.blazingtext.token_counts import TokenCounts
from smalgos.algorithms.blazingtext.vocabulary import texts
from smalgos.errors import UserError
from tests.algorithms.small_texts import classifier, quantized, seeds, vectors
from tests.reference import tokens as reference

DATA = Path(os.environ.get("SMALGOS_DATA", "/nowhere"), "fasttext_models")
real = pytest.mark.skipif(not DATA.is_dir(), reason="no SMALGOS_DATA")
ORACLE = os.environ.get("SMALGOS_ORACLE_TEXT")
oracle = pytest.mark.skipif(not ORACLE, reason="no SMALGOS_ORACLE_TEXT: make oracles")
TESTS = [
    "the ball",
    "vote vote __label__news",
    "nothing known",
    "",
    "\u00fcber </s> the",
    "a\tgoal\n",
]


def plain_file(model):
    """The file by its description, written slowly."""
    a, v = model.arguments, model.vocabulary
    codes = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
    kinds = {"cbow": 1, "skipgram": 2, "supervised": 3}
    out = struct.pack("<ii", 793712314, 12)
    out += struct.pack(
        "<12id", a.dim, a.ws, a.epoch, a.minCount, a.neg, a.wordNgrams, codes[a.loss],
        kinds[a.model], a.bucket, a.minn, a.maxn, a.lrUpdateRate, a.t,
    )  # fmt: skip
    words, labels = v.words, v.labels
    out += struct.pack(
        "<iiiqq", len(words + labels), len(words), len(labels), v.tokens,
        -1 if v.pruned is None else len(v.pruned),
    )  # fmt: skip
    for i, (word, count) in enumerate(zip(words + labels, v.all_counts, strict=True)):
        out += word.encode() + b"\0" + struct.pack("<qb", count, i >= len(words))
    for pair in () if v.pruned is None else v.pruned:
        out += struct.pack("<ii", *pair)
    for matrix in (model.input, model.output):
        out += struct.pack("?", isinstance(matrix, Quantized))
        if isinstance(matrix, Quantized):
            out += struct.pack("<?qqi", matrix.norms is not None, *matrix.shape, matrix.codes.size)
            out += matrix.codes.tobytes() + _quantizer(matrix.dim, matrix.dsub, matrix.centroids)
            if matrix.norms is not None:
                out += matrix.norms.tobytes() + _quantizer(1, 1, matrix.norm_centroids)
        else:
            out += struct.pack("<qq", *matrix.shape) + matrix.astype("<f4").tobytes()
    return out


def _quantizer(dim, dsub, centroids):
    parts = -(-dim // dsub)
    return struct.pack("<4i", dim, parts, dsub, dim - (parts - 1) * dsub) + centroids.tobytes()


@pytest.fixture(scope="module")
def models():
    """Of all kinds, in the order of `seeds`."""
    plain = [classifier(buckets=4), classifier("hs", 1, 0), vectors(), vectors(0, 0)]
    return [*plain, *quantized()]


def test_files_as_they_are_described(models, tmp_path):
    for model in models:
        data = plain_file(model)
        assert fasttext_file.encode(model) == data
        fasttext_file.write(tmp_path / "model.bin", model)
        assert (tmp_path / "model.bin").read_bytes() == data
        again = fasttext_file.read(tmp_path / "model.bin")
        assert again.arguments == model.arguments
        assert fasttext_file.encode(again) == data


def test_no_prefix_of_a_file_is_taken_for_one(models):
    for data in seeds():
        cuts = {*range(0, 300), *range(0, len(data), 97), len(data) - 1}
        for cut in sorted(c for c in cuts if c < len(data)):
            with pytest.raises(UserError, match=r"^name: "):
                fasttext_file.decode(data[:cut], "name")
        with pytest.raises(UserError, match="1 bytes more"):
            fasttext_file.decode(data + b"\0", "name")


def put(data, at, layout, *values):
    out = bytearray(data)
    struct.pack_into("<" + layout, out, at, *values)
    return bytes(out)


@pytest.mark.parametrize(("at", "layout", "value", "says"), [
    (0, "i", 1, "not a file of fastText"),
    (4, "i", 13, "version 13"),
    (8, "i", -1, "dimension"),
    (32, "i", 9, "loss 9"),
    (36, "i", 0, "model 0"),
    (40, "i", 2**31 - 1, "too many rows"),
    (56, "d", np.nan, "not finite"),
    (64, "i", 2**31 - 1, "a dictionary of"),
    (68, "i", -1, "a dictionary of"),
    (76, "q", -1, "a dictionary of"),
    (84, "q", 2**60, "list of n-grams"),
    (92, "b", 0, "entry of the dictionary"),
    (105, "b", 1, "out of order"),
])  # fmt: skip
def test_damage_is_named(at, layout, value, says):
    data = fasttext_file.encode(vectors())
    with pytest.raises(UserError, match=says):
        fasttext_file.decode(put(data, at, layout, value), "name")


def test_damaged_matrices():
    model = vectors()
    data = fasttext_file.encode(model)
    at = len(data) - 4 * model.output.size - 16
    for change in (
        put(data, at, "qq", 2**62, 3), put(data, at, "qq", 8, 4), put(data, at, "qq", -1, 3),
        put(data, at - 1, "b", 2), put(data, at + 16, "f", np.nan),
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"^name: byte"):
            fasttext_file.decode(change, "name")


def test_version_11_has_no_subwords_in_classifiers():
    data = fasttext_file.encode(classifier(buckets=4, minn=2, maxn=3))
    assert fasttext_file.decode(put(data, 4, "i", 11), "name").arguments.maxn == 0
    data = fasttext_file.encode(vectors())
    assert fasttext_file.decode(put(data, 4, "i", 11), "name").arguments.maxn == 4


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for name in ("nothing", "empty", "."):
        for reader in (fasttext_file.read, vectors_file.read):
            with pytest.raises(UserError):
                reader(tmp_path / name)


def test_rows_that_are_made_as_they_are_written():
    class Made:
        def __init__(self, rows):
            self.rows, self.shape = rows, rows.shape

        def __getitem__(self, part):
            return self.rows[part]

    model = vectors()
    made = replace(model, input=Made(model.input))
    assert fasttext_file.encode(made) == fasttext_file.encode(model)


# What models make of text -------------------------------------------------------------------------


def slow_hidden(model, text):
    a, v = model.arguments, model.vocabulary
    words, labels = ([w.encode() for w in names] for names in (v.words, v.labels))
    pruned = None if v.pruned is None else dict(v.pruned.tolist())
    row = text.encode()
    rows, _ = reference.features(
        row if row.endswith(b"\n") else row + b"\n", words, labels, b"__label__", a.wordNgrams,
        a.bucket, a.minn, a.maxn, pruned,
    )  # fmt: skip
    dense = model.input.dense() if isinstance(model.input, Quantized) else model.input
    return dense[rows].astype(np.float64).mean(axis=0)


def slow_leaves(node, below, scores, n):
    """{leaf: probability} of a hierarchical softmax."""
    if node < n:
        return {node: 1.0}
    p = 1 / (1 + np.exp(-scores[node - n]))
    left, right = (slow_leaves(int(c), below, scores, n) for c in below[node - n])
    return {k: v * (1 - p) for k, v in left.items()} | {k: v * p for k, v in right.items()}


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
@pytest.mark.parametrize("maxn", [0, 4])
def test_probabilities(loss, maxn):
    model = classifier(loss, 3, 50, 2 if maxn else 0, maxn)
    got = model.probabilities(texts(TESTS))
    assert got.dtype == np.float32
    for row, text in zip(got, TESTS, strict=True):
        scores = model.output.astype(np.float64) @ slow_hidden(model, text)
        if loss == "softmax":
            want = np.exp(scores) / np.exp(scores).sum()
        elif loss == "hs":
            n = len(scores)
            leaves = slow_leaves(2 * n - 2, huffman(model.vocabulary.label_counts), scores, n)
            want = [leaves[i] for i in range(n)]
        else:
            want = 1 / (1 + np.exp(-(np.floor((scores + 8) * 32) / 32 - 8)))
        assert row == pytest.approx(want, abs=1e-6)


def test_each_line_alone():
    for model in (classifier(), classifier("hs"), quantized()[1]):
        together = model.probabilities(texts(TESTS))
        alone = [model.probabilities(texts([text]))[0] for text in TESTS]
        assert np.array_equal(together, alone)


def test_huffman():
    # Counts 5, 3, 2, 2: the two rarest first, of which the last is the left one.
    assert huffman(np.array([5, 3, 2, 2])).tolist() == [[3, 2], [1, 4], [0, 5]]
    assert huffman(np.array([7])).shape == (0, 2)


def test_vectors_of_words():
    model = vectors()
    words = [w.encode() for w in model.vocabulary.words]
    names = ["the", "thee", "\u00fcber", "x", "</s>"]
    for name, row in zip(names, model.vectors(names), strict=True):
        token = name.encode()
        rows = [words.index(token)] if token in words else []
        rows += [len(words) + reference.fnv(g) % 20 for g in reference.ngrams(token, 3, 4)]
        want = model.input[rows].mean(axis=0) if rows else np.zeros(3)
        assert row == pytest.approx(want, abs=1e-6)
    assert not vectors(0, 0).vectors(["unknown"]).any()


# Quantised rows -----------------------------------------------------------------------------------


@pytest.mark.compiled
@pytest.mark.parametrize(("dsub", "qnorm"), [(1, False), (2, False), (2, True), (4, True)])
def test_quantised_rows_are_near(dsub, qnorm):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 5)).astype(np.float32)
    rows[3] = 0
    made = quantize(rows, dsub, qnorm)
    assert made.shape == rows.shape
    assert made.codes.shape == (800, -(-5 // dsub))
    error = ((made.dense() - rows) ** 2).mean() / (rows**2).mean()
    assert error < {1: 1e-3, 2: 0.02, 4: 0.2}[dsub]
    some = np.array([7, 3, 799])
    assert np.array_equal(made.rows(some), made.dense()[some])
    again = quantize(rows, dsub, qnorm)
    assert np.array_equal(again.codes, made.codes)
    assert np.array_equal(again.centroids, made.centroids)


@pytest.mark.compiled
def test_few_different_rows_are_kept_as_they_are():
    rows = np.repeat(np.arange(40, dtype=np.float32).reshape(20, 2), 20, axis=0)
    assert np.array_equal(quantize(rows).dense(), rows)
    with pytest.raises(UserError, match="256"):
        quantize(rows[:255])
    with pytest.raises(UserError, match="dsub"):
        quantize(rows, 3)


@pytest.mark.compiled
def test_cut_down_models():
    whole = classifier()
    model = fasttext_file.shrunk(whole, qnorm=True, cutoff=260)
    assert len(model.input) == 260
    a, b = whole.vocabulary, model.vocabulary
    assert [w for w in a.words if w in b.words] == b.words
    assert "</s>" in b.words
    assert b.labels == a.labels
    norms = np.linalg.norm(whole.input, axis=1)
    kept = {a.words.index(w) for w in b.words} | {len(a) + int(i) for i, _ in b.pruned}
    least = min(norms[i] for i in kept if i != a.words.index("</s>"))
    assert all(i in kept for i in np.flatnonzero(norms > least))
    for word in b.words:
        given = whole.input[a.words.index(word)]
        assert model.input.rows(b.find([word]))[0] == pytest.approx(given, abs=0.5)
    again = fasttext_file.decode(fasttext_file.encode(model), "name")
    assert np.array_equal(again.probabilities(texts(TESTS)), model.probabilities(texts(TESTS)))
    for wrong in (model, vectors()):
        with pytest.raises(UserError, match="not quantised"):
            fasttext_file.shrunk(wrong)
    with pytest.raises(UserError, match="256"):
        fasttext_file.shrunk(whole, cutoff=255)


@pytest.mark.parametrize("i", range(3))
def test_rows_of_quantised_models(i):
    model = quantized()[i]
    rows = model.features(texts(TESTS))
    assert rows.values.max() < len(model.input)
    for n, text in enumerate(TESTS):
        hidden = model.hidden(rows[n : n + 1])[0]
        assert hidden == pytest.approx(slow_hidden(model, text), abs=1e-5)


# word2vec's files ---------------------------------------------------------------------------------


WORDS = ["the", "\u00fcber", "\udcff", "x", '"quoted', "1.5", "a,b"]
VALUES = np.array(
    [
        [1, -0.1],
        [1e-45, 3.4028235e38],
        [1e10, 123456.79],
        [0, -0.0],
        [1 / 3, 2 / 3],
        [5, 6],
        [7, 8],
    ],
    np.float32,
)


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_come_back(binary, tmp_path):
    path = tmp_path / "vectors"
    vectors_file.write(path, WORDS, VALUES, binary=binary)
    read = vectors_file.read(path)
    assert read.words == WORDS
    assert read.values.tobytes() == VALUES.tobytes()
    assert vectors_file.read(path, binary=binary).words == WORDS
    first = path.read_bytes().split(b"\n")[0]
    assert first == b"7 2"


def test_text_as_it_is_written(tmp_path):
    vectors_file.write(tmp_path / "v", ["a", "b"], np.array([[1.5, 0.1], [-2, 1e9]], np.float32))
    assert (tmp_path / "v").read_bytes() == b"2 2\na 1.5 0.1\nb -2 1000000000\n"


def text(data):
    return vectors_file.decode_text(np.frombuffer(data, np.uint8), "name")


def binary(data):
    return vectors_file.decode_binary(np.frombuffer(data, np.uint8), "name")


@pytest.mark.parametrize("data", [
    b"2 2\na 1 2 \nb 3 4 \n", b"2 2\r\na 1 2\r\nb 3 4\r\n", b"a 1 2\nb 3 4",
    b"2 2\na 1 2\nb 3 4\n\n", b"2 2\na 1.0 2e0\nb +3 .4e1\n",
])  # fmt: skip
def test_text_of_others(data):
    read = text(data)
    assert read.words == ["a", "b"]
    assert read.values.tolist() == [[1, 2], [3, 4]]


def test_binary_of_others():
    row = struct.pack("<2f", 1, 2)
    for end in (b"", b"\n"):
        read = binary(b"2 2\na " + row + end + b"b " + row + end)
        assert read.words == ["a", "b"]
        assert read.values.tolist() == [[1, 2], [1, 2]]


def test_words_that_come_again():
    with pytest.warns(UserWarning, match="2 words come again"):
        read = text(b"5 1\na 1\nb 2\na 3\nc 4\na 5\n")
    assert read.words == ["a", "b", "c"]
    assert read.values.tolist() == [[1], [2], [4]]


@pytest.mark.parametrize(("data", "says"), [
    (b"2 2\na 1 2\nb 3\n", "row 3: a word and 1 numbers, not 2"),
    (b"2 2\na 1 2\nb 3 x\n", "row 3: number 2 is b'x'"),
    (b"2 2\na 1 nan\nb 3 4\n", "word 0 has numbers that are not finite"),
    (b"3 2\na 1 2\nb 3 4\n\n\n\n", "2 words, and the first line says 3"),
    (b"1 2\na 1 2\nb 3 4\n", "2 words, and the first line says 1"),
    (b"9999999999 2\na 1 2\n", "do not fit"),
    (b"2 3\na 1 2\nb 3 4\n", "row 2: a word and 2 numbers, not 3"),
    (b"2 2\n 1 2\nb 3 4\n", "row 2: the word is empty"),
    (b"2 2\na 1 \nb 3 4\n", "row 2"),
    (b"a\n", "row 1"),
    (b"1 1\n", "row 2"),
    (b"2 2\na 1 2\n\0 3 4\n", "NUL"),
])  # fmt: skip
def test_damaged_text(data, says):
    with pytest.raises(UserError, match=says):
        text(data)


@pytest.mark.parametrize(("data", "says"), [
    (b"a b\n", "byte 0"),
    (b"2 2\na 12345678", "do not fit"),
    (b"2 2\na 12345678\nb 1234567", "cut short or damaged, in word 1 of 2"),
    (b"1 2\na 12345678\nb", "1 bytes more"),
    (b"99999999999 2\na 12345678\n", "do not fit"),
    (b"1 99999999999\na 12345678\n", "do not fit"),
    (b"1 1\na \0\0\xc0\x7f", "not finite"),
    (b"1 1\na\0b \0\0\0\0", "NUL"),
])  # fmt: skip
def test_damaged_binary(data, says):
    with pytest.raises(UserError, match=says):
        binary(data)


@pytest.mark.parametrize("word", ["", "a b", "a\nb"])
def test_words_that_text_cannot_hold(word, tmp_path):
    for form in (False, True):
        with pytest.raises(UserError, match="word 1"):
            vectors_file.write(tmp_path / "v", ["a", word], np.ones((2, 1), "f4"), binary=form)
    assert not list(tmp_path.iterdir())


# The originals ------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("name", ["crime-and-punishment", "toy-model"])
def test_real_files(name):
    model = fasttext_file.read(DATA / f"{name}.bin")
    assert fasttext_file.encode(model) == (DATA / f"{name}.bin").read_bytes()
    read = vectors_file.read(DATA / f"{name}.vec")
    assert read.words == model.vocabulary.words
    assert np.allclose(model.vectors(read.words), read.values, rtol=0, atol=5e-6)


@real
def test_real_file_of_version_11():
    data = gzip.decompress((DATA / "lee_fasttext_new.bin.gz").read_bytes())
    model = fasttext_file.decode(data, "lee")
    assert model.input.shape == (1763 + 1000, 10)
    assert model.vocabulary.words[:3] == ["the", "to", "of"]
    assert fasttext_file.encode(model) == put(data, 4, "i", 12)


@real
@pytest.mark.parametrize("name", ["word2vec_pre_kv_c.gz", "euclidean_vectors.bin.gz"])
def test_real_vectors(name, tmp_path):
    data = gzip.decompress((DATA / name).read_bytes())
    (tmp_path / "v").write_bytes(data)
    read = vectors_file.read(tmp_path / "v")
    assert read.words[:2] == ["the", "to"]
    vectors_file.write(tmp_path / "w", read.strings, read.values, binary="euclidean" in name)
    again = vectors_file.read(tmp_path / "w")
    assert again.words == read.words
    assert again.values.tobytes() == read.values.tobytes()


SCRIPT = """
import json, sys
import fasttext
folder, texts, words = json.loads(sys.argv[1])
told = {}
for name in ("softmax", "hs", "ova", "ftz"):
    model = fasttext.load_model(f"{folder}/{name}.bin")
    told[name] = [[list(p) for p in model.predict(text, k=3)] for text in texts]
model = fasttext.load_model(f"{folder}/vectors.bin")
told["vectors"] = [model.get_word_vector(word).tolist() for word in words]
told["pieces"] = [model.get_subwords(word)[1].tolist() for word in words]
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_model, load_facebook_vectors
model = load_facebook_model(f"{folder}/vectors.bin")
told["gensim"] = [model.wv[word].tolist() for word in words if word != "</s>"]
load_facebook_vectors(f"{folder}/vectors.bin")
for name, binary in (("vectors.txt", False), ("vectors.w2v", True)):
    kv = KeyedVectors.load_word2vec_format(f"{folder}/{name}", binary=binary)
    told[name] = [kv.index_to_key, kv.vectors.tolist()]
for loss in ("softmax", "hs", "ns", "ova"):
    for _ in range(30):  # it gives up now and then, for numbers that are none
        try:
            model = fasttext.train_supervised(
                f"{folder}/train.txt", loss=loss, dim=4, epoch=5, wordNgrams=2, bucket=500, minn=2,
                maxn=3, thread=1, verbose=0, lr=0.1)
            break
        except RuntimeError:
            continue
    model.save_model(f"{folder}/their-{loss}.bin")
    told["their-" + loss] = [[list(p) for p in model.predict(text, k=3)] for text in texts]
model = fasttext.load_model(f"{folder}/their-softmax.bin")
model.quantize(qnorm=True, cutoff=300)
model.save_model(f"{folder}/their-ftz.bin")
told["their-ftz"] = [[list(p) for p in model.predict(text, k=3)] for text in texts]
print(json.dumps(told))
"""


@oracle
@pytest.mark.slow
def test_the_originals_agree(tmp_path):
    lines = [f"__label__{i % 7} word{i % 11} other{i % 13} \u00fcber{i % 3}\n" for i in range(400)]
    (tmp_path / "train.txt").write_text("".join(lines))
    ours = {name: classifier(name, 2, 300, 2, 3) for name in ("softmax", "hs", "ova")}
    ours["ftz"] = fasttext_file.shrunk(ours["softmax"], qnorm=True, cutoff=270)
    given = [t.strip("\n") for t in TESTS if t] + ["word1 other2 \u00fcber0", "word7 unknown"]
    words = ["the", "\u00fcber", "unknown", "</s>"]
    for name, model in ours.items():
        fasttext_file.write(tmp_path / f"{name}.bin", model)
    wv = vectors()
    fasttext_file.write(tmp_path / "vectors.bin", wv)
    vectors_file.write(
        tmp_path / "vectors.txt", wv.vocabulary.words, wv.input[: len(wv.vocabulary)]
    )
    vectors_file.write(
        tmp_path / "vectors.w2v", wv.vocabulary.words, wv.input[: len(wv.vocabulary)], binary=True
    )
    asked = json.dumps([str(tmp_path), given, words])
    run = subprocess.run(
        [ORACLE, "-W", "ignore", "-c", SCRIPT, asked], capture_output=True, text=True, check=True
    )
    told = json.loads(run.stdout.splitlines()[-1])
    for loss in ("softmax", "hs", "ns", "ova", "ftz"):
        path = tmp_path / f"their-{loss}.bin"
        ours[f"their-{loss}"] = fasttext_file.read(path)
        assert fasttext_file.encode(ours[f"their-{loss}"]) == path.read_bytes()
    for name, model in ours.items():
        got = model.probabilities(texts(given))
        for row, (labels, chances) in zip(got, told[name], strict=True):
            found = [row[model.vocabulary.labels.index(label)] for label in labels]
            assert found == pytest.approx([p - 1e-5 for p in chances], abs=4e-5)
            assert np.sort(row)[::-1][: len(found)] == pytest.approx(found, abs=4e-5)
    got = wv.vectors(words)
    assert got == pytest.approx(np.array(told["vectors"]), abs=1e-6)
    assert got[:3] == pytest.approx(np.array(told["gensim"]), abs=1e-6)
    pieces = wv.vocabulary.pieces_of(words, 3, 4, 20)
    assert [pieces.row(i).tolist() for i in range(len(words))] == told["pieces"]
    for name in ("vectors.txt", "vectors.w2v"):
        assert told[name][0] == wv.vocabulary.words
        assert np.array_equal(np.array(told[name][1], np.float32), wv.input[: len(wv.vocabulary)])
    # The vocabulary of the same text: the same words, in the same order but for equal counts.
    counts = TokenCounts("__label__")
    with open(tmp_path / "train.txt") as file:
        counts.count(texts(file))
    a, b = counts.close(), ours["their-softmax"].vocabulary
    assert sorted(zip(a.words, a.counts, strict=True)) == sorted(
        zip(b.words, b.counts, strict=True)
    )
    assert a.all_counts.tolist() == b.all_counts.tolist()
    assert a.tokens == b.tokens
