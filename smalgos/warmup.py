"""Compile ahead: tiny jobs through the code that real ones run, until the cache holds all kernels.

Nothing here knows an algorithm: its table of hyperparameters says which jobs there are. Words
choose between kernels, numbers hardly ever do, so there is a job for each word that a
hyperparameter may take.
"""

import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smalgos._jit import COMPILED
from smalgos.algorithms import algorithm, load_model
from smalgos.algorithms.answering import reading
from smalgos.batch import answers
from smalgos.container.job import ChannelConfig, Job, Outcome, execute
from smalgos.errors import AlgorithmError, RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import stream
from smalgos.formats.content_type import TEXT, types
from smalgos.formats.csv_texts import joined, texts_of
from smalgos.formats.io import read, write
from smalgos.formats.responses import ENCODERS
from smalgos.formats.shuffling import MANY, permutation
from smalgos.learning.model import Algorithm
from smalgos.learning.parameters import REQUIRED
from smalgos.learning.state import Spec

N_ROWS, N_FEATURES = 96, 64  # features enough for PCA to sketch
SPLITS = ("train", "validation", "test")
SMALL = {
    "epochs": 1, "mini_batch_size": 32, "num_classes": 3, "num_trees": 50, "partition": "shuffled",
    "buckets": 100, "min_count": 1, "fields": [N_FEATURES // 2, N_FEATURES // 2],
    "num_entity_vectors": 100,
}  # fmt: skip
# What a word may ask for.
MORE: tuple[dict[str, Any], ...] = (
    {},
    {"num_class": 2},
    {"dimension_reduction_target": 2},
    {"faiss_index_pq_m": 2},
    {"shingle_size": 2},
    {"fill_values": [0.0] * N_FEATURES},
    {f"{group}_init_{how}": 0.1
     for group in ("bias", "linear", "factors") for how in ("scale", "value")},
)  # fmt: skip


@dataclass(frozen=True)
class Warmed:
    """What warming up one part took.

    Parameters
    ----------
    jobs : int
    compiled, found : int
        Kernels that were compiled, and that the cache held already.
    seconds : float
    """

    jobs: int
    compiled: int
    found: int
    seconds: float


def warm_formats() -> Warmed:
    """Write some rows in each format, and read them."""
    return _measured(_readings())


def warm_algorithm(name: str) -> Warmed:
    """Train tiny models of an algorithm, in all its varieties, and let them answer.

    Raises
    ------
    UserError
        When there is no such algorithm.
    """
    return _measured(_trainings(algorithm(name)))


def _measured(jobs: Iterable[Any]) -> Warmed:
    began, before = time.perf_counter(), _kernels()
    count = sum(1 for _ in jobs)
    compiled, found = np.subtract(_kernels(), before).tolist()
    return Warmed(count, compiled, found, time.perf_counter() - began)


def _kernels() -> tuple[int, int]:
    """Kernels that this process has compiled so far, and loaded from the cache."""
    if not COMPILED:
        return 0, 0
    from numba.core.dispatcher import Dispatcher

    modules = [m for name, m in list(sys.modules.items()) if name.startswith("smalgos.")]
    kernels = {v for m in modules for v in vars(m).values() if isinstance(v, Dispatcher)}
    misses = sum(sum(k.stats.cache_misses.values()) for k in kernels)
    hits = sum(sum(k.stats.cache_hits.values()) for k in kernels)
    return misses, hits


# The rows -----------------------------------------------------------------------------------------


def dense_rows() -> Block:
    """Rows that any algorithm for numbers can learn from, labelled 0 and 1 in turn."""
    n = np.arange(N_ROWS * N_FEATURES).reshape(N_ROWS, N_FEATURES)
    features = np.round(np.sin(n * n), 4).astype(np.float32)
    features[::2, -1] = features[1::2, -2] = 0  # never both, as categories: trees bundle these
    return Block.of(features, np.arange(N_ROWS, dtype=np.float32) % 2)


def sparse_rows() -> Block:
    """The same without the negative features, as `Csr`."""
    dense = dense_rows()
    return dense.replace(features=Csr.of(np.maximum(dense.features, 0)))


def text_rows(a: Algorithm) -> Block:
    """Rows of texts for an algorithm: a few labelled words, or who came from where."""
    words = [f"__label__{i % 2} a{i % 7} b{i % 5} a{i % 3}" for i in range(N_ROWS)]
    if len(a.texts) == 1:
        return Block({a.texts[0]: joined([(line + "\n").encode() for line in words * 4])})
    logins = [[f"user{i % 7}", f"10.0.{i % 5}.{i}"] for i in range(N_ROWS)]
    return Block(texts_of(a.texts, [[cell.encode() for cell in row] for row in logins]))


# The jobs -----------------------------------------------------------------------------------------


def _readings() -> Iterator[None]:
    dense, sparse = dense_rows(), sparse_rows()
    several = dense.replace(labels=np.stack([dense.labels, dense.labels], axis=1))
    with tempfile.TemporaryDirectory(prefix="smalgos-") as folder:
        file = Path(folder) / "rows"
        for content_type, block in itertools.product(types(), (dense, sparse, several)):
            with contextlib.suppress(UserError):  # not every format has sparse rows
                write(file, block, content_type=content_type)
                read(file, content_type)
                yield
        write(file, Block({"text": joined([b"a b\n"])}), content_type=TEXT)
        read(file, TEXT)
        yield
    permutation(MANY, (0, 0))
    yield
    for encode in ENCODERS.values():
        encode({"score": dense.labels, "projection": dense.features})
        yield


def _trainings(a: Algorithm) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="smalgos-") as folder:
        files = {}
        if a.texts:
            files["texts"] = Path(folder) / "texts"
            write(files["texts"], text_rows(a), content_type=a.content_type)
        else:
            for name, block in (("dense", dense_rows()), ("sparse", sparse_rows())):
                files[name] = Path(folder) / f"{name}.pbr"
                write(files[name], block)
                write(Path(folder) / f"{name}-1.pbr", block.replace(labels=block.labels + 1))
        first, model = Path(folder) / "first", Path(folder) / "model"
        for given, (name, file) in itertools.product(varieties(a), files.items()):
            earlier = first if given.get("process_type") == "update" else None
            out = model if first.exists() else first
            try:
                yield train_and_ask(a, given, file, out, earlier)
            except UserError as e:
                if not isinstance(e.__cause__, RowError):
                    raise
                # Not every loss takes a label of 0.
                yield train_and_ask(a, given, Path(folder) / f"{name}-1.pbr", out, earlier)


def train_and_ask(
    a: Algorithm, given: Mapping[str, Any], file: Path, folder: Path, earlier: Path | None = None
) -> Outcome:
    """Train on a file, let the model answer it, too.

    Parameters
    ----------
    a : Algorithm
    given : mapping
        Hyperparameters.
    file : Path
        Rows of all channels.
    folder : Path
        For the model.
    earlier : Path, optional
        Folder of an earlier model to go on from.
    """
    given_type = a.content_type if a.texts else None
    channels = {n: ChannelConfig(file, given_type) for n in a.known_channels if n in SPLITS}
    if earlier is not None:
        channels["model"] = ChannelConfig(earlier)
    outcome = execute(Job(a.name, given, channels, folder))
    if outcome.model is None:
        raise AlgorithmError(f"{a.name} made no model of {N_ROWS} rows")
    assert outcome.path is not None  # where there is a model
    model = load_model(outcome.path)  # loading may need kernels, too
    rows = stream(file, a.content_type, **reading(model)) if a.texts else stream(file)
    for _ in answers(model, rows):
        pass
    return outcome


def varieties(a: Algorithm) -> Iterator[dict[str, Any]]:
    """Hyperparameters for tiny jobs: each word of each, one at a time, for each task."""
    spec = Spec.of(text_rows(a) if a.texts else dense_rows(), rows=N_ROWS)
    fields = [f for f in a.parameters.table.values() if not f.transient]
    sizes = {f.name: 2 for f in fields if f.default is REQUIRED and f.kind in (int, float)}
    base = sizes | {n: v for n, v in a.parameters.wired(spec).items() if n in sizes}
    base |= {name: value for name, value in SMALL.items() if name in a.parameters.table}
    tasks = [_words(f) for f in fields if f.choices and f.default is REQUIRED]
    others = [word for f in fields if f.choices and f.default is not REQUIRED for word in _words(f)]
    for task in itertools.product(*tasks):
        for other in ((), *((word,) for word in others)):
            for more in MORE:
                given = base | dict((*task, *other)) | more
                with contextlib.suppress(UserError):  # not every loss fits every task
                    a.parameters(**given)
                    yield given
                    break


def _words(field: Any) -> list[tuple[str, Any]]:
    return [(field.name, [word] if field.kind is list else word) for word in field.choices]
