"""Text classifiers from a file of lines: ours and fastText's package, at the same settings."""

import gzip
import json
import lzma
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import NotAtHand, at_hand
from benchmarks.measure import measured, threads

TOKEN = re.compile(r"\w+|[^\w\s]")
TINY = 300  # lines of made text, where no data are at hand


def newsgroups() -> tuple[list[Any], list[Any]]:
    """Postings to twenty groups, split by date: (text, group)."""
    found = []
    for part in ("train", "test"):
        with lzma.open(at_hand(f"newsgroups20/{part}.jsonl.xz"), "rt") as file:
            rows = [json.loads(line) for line in file]
        found.append([(row["text"], row["group"]) for row in rows])
    return found[0], found[1]


def questions() -> tuple[list[Any], list[Any]]:
    """TREC's questions: (text, what is asked for)."""
    found = []
    for part in ("train", "test"):
        with gzip.open(at_hand(f"trec_qc/{part}.txt.gz"), "rt", encoding="latin-1") as file:
            rows = [line.split(" ", 1) for line in file]
        found.append([(text, label.partition(":")[0]) for label, text in rows])
    return found[0], found[1]


def polarity() -> tuple[list[Any], list[Any]]:
    """Sentences of film reviews: (text, neg or pos), a tenth of them held out."""
    rows = []
    for label in ("neg", "pos"):
        path = at_hand(f"sentence_polarity/rt-polarity.{label}.gz")
        with gzip.open(path, "rt", encoding="latin-1") as file:
            rows += [(line, label) for line in file]
    rows = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    return rows[len(rows) // 10 :], rows[: len(rows) // 10]


SETS = {"newsgroups": newsgroups, "questions": questions, "polarity": polarity}


def make(folder: str, name: str) -> None:
    """Lines with labels, of lower-case tokens, in an order of chance."""
    try:
        parts = SETS[name]()
    except NotAtHand:
        words = [f"w{i} w{i % 7} w{i % 3}" for i in range(TINY)]
        parts = ([(w, f"c{i % 3}") for i, w in enumerate(words)],) * 2
    for part, rows in zip(("train", "test"), parts, strict=True):
        order = np.random.default_rng(0).permutation(len(rows))
        shown = [(" ".join(TOKEN.findall(rows[i][0].lower())), rows[i][1]) for i in order]
        lines = "".join(f"__label__{label.replace(' ', '_')} {text}\n" for text, label in shown)
        Path(folder, f"{name}.{part}").write_text(lines)


def make_model(folder: str, name: str, settings: dict[str, Any]) -> None:
    """Besides, a model of ours in fastText's format."""
    make(folder, name)
    _ours(settings).fit(Path(folder, f"{name}.train")).save_fasttext(Path(folder, "model.bin"))


def _ours(settings: dict[str, Any], **more: Any) -> Any:
    from smalgos import TextClassifier

    return TextClassifier(n_jobs=threads(), shuffle=False, **settings, **more)


def _test(folder: str, name: str) -> tuple[list[str], np.ndarray]:
    rows = [line.split(" ", 1) for line in Path(folder, f"{name}.test").read_text().splitlines()]
    return [row[1] if len(row) > 1 else "" for row in rows], np.array([row[0] for row in rows])


def ours(
    folder: str, name: str, settings: dict[str, Any], seed: int, deterministic: bool
) -> dict[str, Any]:
    """Fit from the file."""
    path = Path(folder, f"{name}.train")
    model = _ours(settings, random_state=seed, deterministic=deterministic)
    told = measured(lambda: model.fit(path), warm=lambda: model.fit(path), at_least=1.0)
    texts, labels = _test(folder, name)
    right = np.char.add("__label__", told.pop("value").predict(texts)) == labels
    return told | {"version": version("smalgos"), "quality": {"accuracy": float(right.mean())}}


# Ours -> fastText's.
NAMES = {
    "vector_dim": "dim", "epochs": "epoch", "learning_rate": "lr", "min_count": "minCount",
    "word_ngrams": "wordNgrams", "buckets": "bucket",
}  # fmt: skip


def fasttext(folder: str, name: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """train_supervised from the file."""
    import fasttext as library

    given = {NAMES[n]: value for n, value in settings.items()}
    path = str(Path(folder, f"{name}.train"))

    def work() -> Any:
        return library.train_supervised(path, thread=threads(), seed=seed, verbose=0, **given)

    told = measured(work, at_least=1.0)
    texts, labels = _test(folder, name)
    found, _ = told.pop("value").predict(texts)
    right = np.array([row[0] for row in found]) == labels
    return told | {"version": _version(), "quality": {"accuracy": float(right.mean())}}


def ours_predicts(folder: str, name: str) -> dict[str, Any]:
    """The likeliest label of each text, from the file of fastText's format."""
    import smalgos

    model = smalgos.load(Path(folder, "model.bin"))
    model.set_params(n_jobs=threads())
    texts, labels = _test(folder, name)
    told = measured(lambda: model.predict_top(texts, 1), warm=lambda: model.predict_top(texts, 1),
                    at_least=0.5, rows=len(texts))  # fmt: skip
    found, chances = told.pop("value")
    return told | _answers(np.char.add("__label__", found[:, 0]), chances, labels, "smalgos")


def fasttext_predicts(folder: str, name: str) -> dict[str, Any]:
    """The same."""
    import fasttext as library

    model = library.load_model(str(Path(folder, "model.bin")))
    texts, labels = _test(folder, name)
    told = measured(lambda: model.predict(texts), at_least=0.5, rows=len(texts))
    found, chances = told.pop("value")
    return told | _answers(np.array([f[0] for f in found]), np.array(chances), labels, "")


def _answers(found: np.ndarray, chances: np.ndarray, labels: np.ndarray, name: str) -> dict:
    quality = {"accuracy": float((found == labels).mean()), "mean chance": float(chances.mean())}
    return {"version": version(name) if name else _version(), "quality": quality}


def _version() -> str:
    for name in ("fasttext-numpy2-wheel", "fasttext-wheel", "fasttext"):
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return "?"
