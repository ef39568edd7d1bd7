"""Skip-gram with negative sampling from a file of sentences: ours, gensim's, fastText's."""

import gzip
import re
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import NotAtHand, at_hand
from benchmarks.measure import measured, threads

SENTENCE, WORD = re.compile(r"[.!?;]|\n\s*\n"), re.compile(r"[a-z](?:[a-z']*[a-z])?")
MIN_COUNT, SUBSAMPLING = 5, 1e-3
AT_ONCE = 512  # analogies


def make(folder: str, words: int) -> None:
    """Sentences of English novels, one a line, lower case, of `words` words at most."""
    if Path(folder, "sentences").exists():  # another case made it
        return
    try:
        with tarfile.open(at_hand("english_novels/novels.tar.xz")) as tar:
            members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
            text = b"\n".join(tar.extractfile(m).read() for m in members)
        parts = SENTENCE.split(text.decode(errors="replace").lower())
        sentences = [WORD.findall(part) for part in parts]
    except NotAtHand:
        drawn = np.random.default_rng(0).zipf(1.3, words) % 5_000
        sentences = [[f"w{n}" for n in drawn[i : i + 12]] for i in range(0, words, 12)]
    lines, count = [], 0
    for sentence in sentences:
        if len(sentence) > 1 and count + len(sentence) <= words:
            lines.append(" ".join(sentence))
            count += len(sentence)
    Path(folder, "sentences").write_text("\n".join(lines) + "\n")


def told(folder: str, answer: dict[str, Any], words: list[str], vectors: Any) -> dict[str, Any]:
    """The answer of a cell, with what its vectors are worth."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    number = {word: i for i, word in enumerate(words)}
    try:
        quality = {"word pairs": pairs(number, unit), "analogies": analogies(number, unit)}
    except NotAtHand:
        quality = {}
    return answer | {"quality": quality}


def pairs(number: dict[str, int], unit: np.ndarray) -> float:
    """Spearman's correlation of cosines with what people say of the pairs of WordSim-353."""
    from scipy.stats import spearmanr

    said, cosine = [], []
    for line in at_hand("word_similarity/wordsim353.tsv").read_text().splitlines():
        a, b, score = (*line.lower().split("\t"), "", "")[:3]
        if a in number and b in number:
            said.append(float(score))
            cosine.append(float(unit[number[a]] @ unit[number[b]]))
    return float(spearmanr(said, cosine).statistic) if len(said) > 2 else 0.0


def analogies(number: dict[str, int], unit: np.ndarray) -> float:
    """Share of Google's analogies a : b = c : d whose d is nearest to b - a + c (3CosAdd)."""
    with gzip.open(at_hand("word_similarity/questions-words.txt.gz"), "rt") as file:
        asked = [line.lower().split() for line in file]
    known = [[number[w] for w in q] for q in asked if len(q) == 4 and all(w in number for w in q)]
    right = 0
    for first in range(0, len(known), AT_ONCE):
        q = np.array(known[first : first + AT_ONCE])
        scores = (unit[q[:, 1]] - unit[q[:, 0]] + unit[q[:, 2]]) @ unit.T
        np.put_along_axis(scores, q[:, :3], -np.inf, axis=1)
        right += int((scores.argmax(axis=1) == q[:, 3]).sum())
    return right / len(known) if known else 0.0


def counted(folder: str, epochs: int) -> int:
    """Words of the text, over all epochs."""
    return epochs * len(Path(folder, "sentences").read_bytes().split())


def ours(
    folder: str, epochs: int, deterministic: bool, mode: str, n_jobs: int = 0, seed: int = 0
) -> dict:
    """The estimator, from the file to vectors; with 0 jobs, as many threads as all cells have."""
    from smalgos import Word2Vec

    path = Path(folder, "sentences")
    given = {
        "mode": mode, "vector_dim": 100, "window_size": 5, "negative_samples": 5,
        "min_count": MIN_COUNT, "sampling_threshold": SUBSAMPLING, "learning_rate": 0.025,
        "deterministic": deterministic, "n_jobs": n_jobs or threads(), "random_state": seed,
    }  # fmt: skip
    answer = measured(
        lambda: Word2Vec(**given, epochs=epochs).fit(path),
        warm=lambda: Word2Vec(**given | {"min_count": 1}, epochs=1).fit(["a b c", "b c a"]),
        rows=counted(folder, epochs),
    )
    model = answer["value"]
    return {"version": version("smalgos")} | told(
        folder, answer, list(model.vocabulary_), model.vectors_
    )


def gensim(
    folder: str, epochs: int, lists: bool, mode: str, n_jobs: int = 0, seed: int = 0
) -> dict:
    """Its Word2Vec, of lists of words in memory or of the file."""
    from gensim.models import Word2Vec

    path = str(Path(folder, "sentences"))
    given: dict[str, Any] = {
        "sg": int(mode == "skipgram"), "vector_size": 100, "window": 5, "negative": 5,
        "min_count": MIN_COUNT, "sample": SUBSAMPLING, "alpha": 0.025, "epochs": epochs,
        "workers": n_jobs or threads(), "seed": seed + 1,
    }  # fmt: skip
    text = {"corpus_file": path}
    if lists:
        text = {"sentences": [line.split() for line in Path(path).read_text().splitlines()]}
    answer = measured(lambda: Word2Vec(**given, **text), rows=counted(folder, epochs))
    vectors = answer["value"].wv
    return {"version": version("gensim")} | told(
        folder, answer, vectors.index_to_key, vectors.vectors
    )


def fasttext(folder: str, epochs: int, mode: str, seed: int = 0) -> dict:
    """Its package, without n-grams of characters."""
    from fasttext import train_unsupervised

    answer = measured(
        lambda: train_unsupervised(
            str(Path(folder, "sentences")), model=mode, dim=100, ws=5, neg=5, lr=0.025,
            minCount=MIN_COUNT, t=SUBSAMPLING, epoch=epochs, minn=0, maxn=0, bucket=0,
            thread=threads(), verbose=0,
        ),
        rows=counted(folder, epochs),
    )  # fmt: skip
    model = answer["value"]
    return {"version": version("fasttext-wheel")} | told(
        folder, answer, model.get_words(), model.get_input_matrix()
    )
