"""Text to the numbers of its words: ours, Python's own, gensim's."""

import os
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np

from benchmarks.data import NotAtHand, at_hand
from benchmarks.measure import measured, threads

MIN_COUNT = 5


def make(folder: str, size: int) -> None:
    """English novels in one file, of `size` bytes at most; words by Zipf if none are at hand."""
    path = Path(folder, "text")
    try:
        with tarfile.open(at_hand("english_novels/novels.tar.xz")) as tar:
            members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
            text = b"".join(tar.extractfile(m).read() for m in members)
    except NotAtHand:
        rng = np.random.default_rng(0)
        words = [b"w%d" % n for n in rng.zipf(1.3, size // 4) % 60_000]
        text = b"".join(b" ".join(words[i : i + 12]) + b"\n" for i in range(0, len(words), 12))
    path.write_bytes(text[: text.rfind(b"\n", 0, size) + 1])


def ours(folder: str) -> dict:
    """Two passes over a text in memory: count, then number."""
    from smalgos.algorithms.blazingtext.token_counts import TokenCounts
    from smalgos.formats.block import Ragged
    from smalgos.kernels.cpu.shared import threads as limited

    data = np.fromfile(Path(folder, "text"), np.uint8)

    def work():
        offsets = np.concatenate(([0], np.flatnonzero(data == ord("\n")) + 1))
        text = Ragged(data, offsets)
        with limited(threads()):
            counts = TokenCounts()
            counts.count(text)
            words = counts.close(MIN_COUNT)
            return words.words, words.ids(text).values

    return _told(folder, work, version("smalgos"))


def python(folder: str) -> dict:
    """``str.split``, a Counter, a dict."""
    text = Path(folder, "text").read_text(errors="surrogateescape")

    def work():
        lines = [line.split() for line in text.split("\n")]
        counts = Counter(word for line in lines for word in line)
        words = [w for w, n in counts.most_common() if n >= MIN_COUNT]
        number = {word: i for i, word in enumerate(words)}
        ids = (number[w] for line in lines for w in line if w in number)
        return words, np.fromiter(ids, np.int32)

    return _told(folder, work, python_version())


def gensim(folder: str) -> dict:
    """Its vocabulary scan over a file of lines, then its numbers."""
    from gensim.models import Word2Vec
    from gensim.models.word2vec import LineSentence

    path = os.path.join(folder, "text")

    def work():
        model = Word2Vec(min_count=MIN_COUNT, workers=threads())
        model.build_vocab(corpus_file=path)
        number = model.wv.key_to_index
        ids = (number[w] for line in LineSentence(path) for w in line if w in number)
        return model.wv.index_to_key, np.fromiter(ids, np.int32)

    return _told(folder, work, version("gensim"))


def _told(folder: str, work, version: str) -> dict:
    size = Path(folder, "text").stat().st_size
    told = measured(work, warm=work, at_least=0.5, bytes=size)
    words, ids = told.pop("value")
    return told | {"version": version, "quality": {"words": len(words), "ids": len(ids)}}
