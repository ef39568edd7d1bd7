"""Small valid files of every kind that there is, to start from."""

import gzip
import re
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import smalgos
from smalgos.formats import csv, protobuf
from smalgos.formats.block import Block, Csr, Ragged
from smalgos.formats.recordio import MAGIC_BYTES, frame
from smalgos.learning import files
from tests.fuzz import small_boosters, vector_files
from tests.fuzz.properties import unsealed
from tests.reference.protobuf import field, message, split_frame, varint

FLOAT32, FLOAT64, INT32, BYTES = 2, 3, 7, 9


def _strings(*items: str) -> Ragged:
    return Ragged.of([np.frombuffer(s.encode(), np.uint8) for s in items], np.uint8)


def _entry(tag: int, value: bytes) -> bytes:
    return message(tag, message(1, b"values") + message(2, value))


def messages() -> list[bytes]:
    """Records without their frames, in spellings that our writer never uses."""
    floats = struct.pack("<3f", 1.5, -2.0, 3e38)
    doubles = struct.pack("<3d", 1.5, 1e300, float("nan"))
    packed = message(FLOAT32, message(1, floats))
    single = b"".join(field(1, 5, floats[i : i + 4]) for i in (0, 4, 8))
    ones = b"".join(field(1, 0, varint(n)) for n in (1, -2, 300))
    keys = message(2, varint(2) + varint(300) + varint(7)) + message(3, varint(40) + varint(10))
    small = message(1, varint(5)) + message(2, varint(1)) + field(3, 0, b"\x02")
    groups = field(9, 5, b"abcd") + field(8, 3, field(1, 0, b"\x01") + field(7, 3, b""))
    return [
        _entry(1, packed),
        _entry(1, message(FLOAT32, single)) + _entry(2, message(INT32, ones)),
        _entry(1, message(FLOAT64, message(1, doubles[:8]) + message(1, doubles[8:]))),
        _entry(1, message(FLOAT64, keys + message(1, doubles))),
        _entry(1, message(INT32, small)),
        # the last tensor of the oneof wins, and so does the last entry of the key
        _entry(1, message(INT32, ones) + packed),
        _entry(1, message(BYTES, message(1, b"x"))) + _entry(1, packed),
        message(1, message(2, packed) + message(1, b"valves")) + _entry(1, packed),
        groups + _entry(1, packed),
        message(3, b"row 7") + _entry(1, packed) + message(4, b"{}") + message(5, b"none"),
    ]


def recordio() -> list[bytes]:
    """Files of records."""
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(4, 3))
    sparse = Csr.of(np.where(dense > 0, dense, 0).astype(np.float32))
    labels = np.arange(4, dtype=np.float32)
    blocks = [
        Block.of(dense.astype(np.float32), labels),
        Block.of(dense, np.stack([labels, labels], axis=1)),
        Block.of((dense * 100).astype(np.int32)),
        Block.of(sparse, labels).replace(
            uid=_strings("a", "", "row", "4"), metadata=_strings("", "x=1", "", "")
        ),
    ]
    files_ = [protobuf.encode(block) for block in blocks]
    magic = _entry(1, message(FLOAT32, message(1, MAGIC_BYTES * 3)))
    split = b"".join(split_frame(b"\x1a\x02" + b"ab" + m) for m in (magic, magic, magic))
    whole = [*files_, split, b"".join(map(frame, messages()[:2])), files_[0][:-1]]
    framed = [bytes([n]) + m * n for m in messages() for n in (1, 5)]
    return [b"\0" + file for file in whole] + framed


CSV_TEXTS = (
    b"1,2.5,-3\n0,.5,5.\n",
    b'1,"2.5",-3\r\n0," 1",2\r\n',
    b"\xef\xbb\xbf1,2e3,3E-5\n1,1e400,-4.9e-324\n",
    b"1, nan,inf\n0,-Infinity ,+7\n\n\n",
    b"1,0.12345678901234567,123456789012345678901234567890\n2,16777217,16777219.0000000000001\n",
    b"1,,3\n,2,\n",
    b'1,"2\n",3\n4,"5""",6',
    b"1,2_0,3\n1,\xd9\xa3,\xff\n",
    b"a,b,c\n1,2,3\n",
    b"7\n8\n",
    b"0,1\n1,1\n2,1\n",
)


def table() -> list[bytes]:
    """Files of CSV, behind a byte for the options."""
    block = Block.of(
        np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), np.arange(4.0)
    )
    texts = [*CSV_TEXTS, csv.encode(block)]
    plain = [bytes([code]) + text for text in texts for code in (0x01, 0x0C)]
    return [
        *plain,
        b"\x11" + csv.encode(block, delimiter=";"),
        b"\x21" + csv.encode(block, delimiter="\t"),
        b"\x81" + "1,2.5\r\n-3,4\n".encode("utf-16"),
        b"\x41" + "1,\xe4\n".encode("latin-1"),
    ]


LIBSVM_TEXTS = (
    b"1 1:2.5 3:-3\n0 2:.5 7:5.\n",
    b"-1:0.5 qid:3 1:2e3 # note\r\n1:2 qid:3 12345678:nan\r\n",
    b"\xef\xbb\xbf# first\n\n1 3:4 2:1\n 0\t1:1 \n",
    b"1 2147483646:1 0:0.12345678901234567\n",
    b"3:1 4:2\n7 1:1\n",
    b"1 1:1 1:2\n",
    b"1 0000000001:123456789012345678901234567890\n0 999999999999:1\n",
    b"1 1:x\n",
)


def libsvm() -> list[bytes]:
    """Files of libsvm, behind a byte for the options."""
    return [bytes([code]) + text for text in LIBSVM_TEXTS for code in range(4)]


def libffm() -> list[bytes]:
    """The same with fields, behind a byte for the options."""
    entry = re.compile(rb"([ \n])(\d+:)")
    return [data[:1] + entry.sub(rb"\g<1>7:\g<2>", data[1:]) for data in libsvm()]


JSON_ROWS = (
    '{"features": [1.5, 16, -14e0]}',
    '{"data": {"features": {"values": [0.5, 1e400, 23.0], "shape": [3]}}}',
    '{"data": {"features": {"keys": [2, 0, 2], "shape": [3], "values": [23, -1.5, 1]}}}',
    '{"data": {"features": {"shape": [3], "values": []}}}',
    '{"id": "\\u00e4", "features": [1, 2, 16777217], "label": null}',
    '{"features": [0.12345678901234567, 123456789012345678901234567890, -0]}',
)
JSON_BAD = (
    '{"features": [1, "2", 3]}',
    '{"features": [1, NaN, 3]}',
    '{"features": [1, 2, 3, 4]}',
    '{"data": {"features": {"keys": [3], "shape": [3], "values": [1]}}}',
    '{"data": {"features": {"keys": [0], "shape": [2147483648], "values": [1]}}}',
    '{"features": [1, 2, 3], "features": [1, 2, 3]}',
    "[" * 3000,
)


def json_lines() -> list[bytes]:
    """Lines of JSON, behind a byte for the width."""
    mixed = "\r\n\n".join(JSON_ROWS).encode()
    pairs = [f"{JSON_ROWS[0]}\n{row}\n".encode() for row in (*JSON_ROWS, *JSON_BAD)]
    texts = [b"\xef\xbb\xbf" + mixed, *pairs]
    return [bytes([width]) + text for text in texts for width in (0, 3)] + [b"\2" + mixed]


def json_documents() -> list[bytes]:
    """Documents of JSON, behind a byte for the width."""
    lists = [", ".join(JSON_ROWS), "", *(f"{JSON_ROWS[0]}, {row}" for row in JSON_BAD)]
    texts = [f'{{"instances": [{rows}], "configuration": {{}}}}\n'.encode() for rows in lists]
    return [bytes([width]) + text for text in texts for width in (0, 3)] + [b"\2" + texts[0]]


def packed() -> list[bytes]:
    """Files of records and of CSV packed, behind a byte for the content type."""
    records = [b"\0" + gzip.compress(data[1:]) for data in recordio() if data[0] == 0]
    return records + [b"\1" + gzip.compress(text) for text in CSV_TEXTS]


def model_parts() -> list[tuple[dict[str, np.ndarray], dict[str, object]]]:
    """Arrays and metadata of models, one with its training state."""
    floats = np.arange(6, dtype=np.float32)
    settings = {"epochs": 2, "learning_rate": "auto", "wd": 0.0, "f_beta": 1.0}
    notes = {"hyperparameters": settings, "feature_names": ["a", "b"], "epochs": 1, "model": 0}

    def linear(outputs: int, loss: str, kind: str, **more: object) -> tuple[dict, dict]:
        arrays = {
            "coef": floats[: 2 * outputs].reshape(2, outputs),
            "intercept": np.arange(outputs, dtype=np.float64),
            "shift": np.ones(2, np.float32),
        }
        scalars = {"threshold": 0.5, "loss": loss, "predictor_type": kind}
        return arrays, _meta("linear-learner", scalars, notes | more)

    components = {
        "v": floats[:4].reshape(2, 2),
        "s": np.array([2.0, 1.0]),
        "mean": np.zeros(2, np.float32),
    }
    settings_of_pca = {"hyperparameters": {"num_components": 2}}
    return [
        linear(1, "logistic", "binary_classifier", classes=["no", "yes"]),
        linear(3, "softmax_loss", "multiclass_classifier"),
        linear(1, "squared_loss", "regressor"),
        (components, _meta("pca", {"trace": 5.0, "n": 9}, settings_of_pca)),
        *_trained(),
    ]


def _meta(name: str, scalars: dict[str, object], notes: dict[str, object]) -> dict[str, object]:
    return {"algorithm": name, "library": "0.1.0", "notes": notes, "scalars": scalars}


def _trained() -> list[tuple[dict, dict]]:
    """Models of two features with their training states."""
    X = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    y = np.arange(8) % 2
    once = dict(num_models=1, epochs=1, mini_batch_size=4)
    fitted = [smalgos.PCA(num_components=2).fit(X)]
    fitted += [smalgos.LinearLearnerClassifier(**once).fit(X, y)]
    fitted += [smalgos.LinearLearnerRegressor(**once, optimizer="sgd").fit(X, y)]
    fitted += [smalgos.KMeans(k=2, extra_center_factor=2).fit(X)]
    fitted += [smalgos.KMeans(k=2, solver="lloyd").fit(X)]
    fitted += [smalgos.KNNClassifier(k=2, index_type="faiss.IVFFlat").fit(X, y)]
    coded = dict(k=2, index_type="faiss.IVFPQ", faiss_index_pq_m=2)
    fitted += [smalgos.KNNRegressor(**coded).fit(X, y)]
    fitted += [smalgos.RandomCutForest(num_trees=50, num_samples_per_tree=4).fit(X)]
    few = dict(num_trees=2, num_samples_per_tree=4, shingle_size=2, internal_shingling=True)
    fitted += [smalgos.StreamingRandomCutForest(**few).fit(X)]
    few = dict(num_trees=2, num_samples_per_tree=4, shingle_size=2)
    fitted += [smalgos.ThresholdedRandomCutForest(**few).fit(X)]
    few = dict(num_factors=2, epochs=1)
    fitted += [smalgos.FactorizationMachineClassifier(**few).fit(X, y)]
    for kind in ("field_aware", "field_weighted"):
        fm = smalgos.FactorizationMachineRegressor(**few, fields=[1, 1], interaction=kind)
        fitted += [fm.fit(X, y)]
    few = dict(vector_dim=2, epochs=1, min_count=1, buckets=9)
    fitted += [smalgos.Word2Vec(**few, subwords=True, max_char=3).fit(["the ball", "a ball"])]
    fitted += [smalgos.TextClassifier(**few).fit(["the ball", "a ball"], [["b"], ["a", "b"]])]
    few = dict(num_entity_vectors=2, vector_dim=4, epochs=1)
    fitted += [smalgos.IPInsights(**few).fit([("a", "192.0.2.1"), ("b", "2001:db8::1")])]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(i)) for i in range(len(fitted))]
        for estimator, path in zip(fitted, paths, strict=True):
            # The state of IP Insights has megabytes however small the model is.
            estimator.save(path, state=not isinstance(estimator, smalgos.IPInsights))
        return [files.read(path) for path in paths]


def model() -> list[bytes]:
    """Model files, as `properties.model` takes them: as they are, and to be sealed."""
    whole = [files.encode(*parts) for parts in model_parts()]
    return [*whole[:1], *map(unsealed, whole)]


TEXTS = (
    (0, b"a b c\n\n__label__1 d\r\n\xc3\xa9\xff\0x"),
    (1, b"one " * 40 + b"\ntwo"),
    (2, b'a, 1.1.1.1\n"b, c" ,2.2.2.2\r\n"d ""e""",\n\n'),
    (2, b"\xef\xbb\xbfx,y\n z ,\xc3\xa9\xff\n"),
    (3, b'one\n"two, three"\n'),
    (4, b'{"source": "a b", "k": 2, "label": [1, "x"]}\n"c"\n{"source": "\\u00e9", "label": 3}'),
    (5, b'{"features": ["a", "b"]}\n{"data": {"features": {"values": ["", "c"]}}}\n'),
    (6, b'{"instances": ["a", {"source": "b", "k": 3}], "configuration": {"k": 2}}'),
    (7, b'{"instances": [{"features": ["a", "b"]}]}'),
)


def texts() -> list[bytes]:
    """Files of rows of texts, behind a byte for their kind."""
    return [bytes([code]) + text for code, text in TEXTS]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "recordio": recordio,
    "csv": table,
    "lines": lambda: [b"1,2.5,-3\n"],
    "libsvm": libsvm,
    "libffm": libffm,
    "jsonlines": json_lines,
    "json": json_documents,
    "texts": texts,
    "gzip": packed,
    "model": model,
    "booster": small_boosters.seeds,
    "fasttext": vector_files.fasttext,
    "word2vec": vector_files.word2vec,
}
