"""Small models of fastText, for tests and as seeds of the fuzz harness."""

from dataclasses import replace

import numpy as np

from smalgos.algorithms.blazingtext.fasttext_file import Arguments, FastText, encode
from smalgos.algorithms.blazingtext.quantized import Quantized
from smalgos.algorithms.blazingtext.token_counts import TokenCounts
from smalgos.algorithms.blazingtext.vocabulary import Vocabulary, texts

LINES = [
    "__label__sport the ball and the goal __label__fun\n",
    "__label__news a vote and a \u00fcber long-word-of-more-than-eight\n",
    "__label__sport goal goal ball\n",
]


def classifier(loss="softmax", word_ngrams=2, buckets=300, minn=0, maxn=0, dim=3):
    """A classifier with random rows."""
    counts = TokenCounts("__label__")
    counts.count(texts(LINES))
    words = counts.close()
    rng = np.random.default_rng(0)
    arguments = Arguments(
        dim=dim, loss=loss, model="supervised", wordNgrams=word_ngrams, bucket=buckets, minn=minn,
        maxn=maxn,
    )  # fmt: skip
    rows = rng.normal(size=(len(words) + buckets, dim)).astype(np.float32)
    output = rng.normal(size=(len(words.labels), dim)).astype(np.float32)
    return FastText(arguments, words, rows, output)


def vectors(maxn=4, buckets=20, dim=3):
    """Word vectors, with n-grams of characters unless maxn is 0."""
    counts = TokenCounts()
    counts.count(texts(LINES))
    words = counts.close()
    rng = np.random.default_rng(1)
    arguments = Arguments(dim=dim, bucket=buckets, minn=3 if maxn else 0, maxn=maxn)
    rows = rng.normal(size=(len(words) + buckets, dim)).astype(np.float32)
    output = rng.normal(size=(len(words), dim)).astype(np.float32)
    return FastText(arguments, words, rows, output)


def coded(rows, dim, dsub, norms):
    """Rows as codes, of random centroids."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 256, (rows, -(-dim // dsub)), np.uint8)
    centroids = rng.normal(size=256 * dim).astype(np.float32)
    if not norms:
        return Quantized(codes, centroids, dim, dsub)
    lengths = np.abs(rng.normal(size=256)).astype(np.float32)
    return Quantized(codes, centroids, dim, dsub, codes[:, 0], lengths)


def quantized():
    """Classifiers that are quantised in several ways, the last one cut down."""
    whole = classifier(buckets=20)
    rows, labels = len(whole.input), len(whole.output)
    v, pairs = whole.vocabulary, np.array([[17, 1], [3, 0], [5, 2]], np.int32)
    cut = Vocabulary(v.strings, v.all_counts, v.nwords, v.tokens, v.label_prefix, pairs)
    return [
        replace(whole, input=coded(rows, 3, 2, False)),
        replace(whole, input=coded(rows, 3, 3, True), output=coded(labels, 3, 2, False)),
        replace(whole, vocabulary=cut, input=coded(len(v) + 3, 3, 2, True)),
    ]


def seeds():
    """Files of all kinds."""
    models = [classifier(buckets=4), classifier("hs", 1, 0), vectors(), vectors(0, 0), *quantized()]
    return [encode(model) for model in models]
