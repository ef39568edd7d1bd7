"""Requests to K-Nearest Neighbors: the original's bodies, plain and verbose."""

import io
import json

import numpy as np
import pytest

from smalgos import KNNClassifier
from smalgos.batch.transform import Transform
from smalgos.formats.block import Block
from smalgos.formats.content_type import CSV, RECORDIO, writer
from smalgos.formats.protobuf import message_classes
from smalgos.formats.recordio import read_records
from smalgos.formats.responses import JSON, JSON_LINES
from smalgos.serving.invoke import invoke, warm_up

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
ASKED = X[:3]
BODIES = {
    CSV: "".join(",".join(f"{v:.9g}" for v in row) + "\n" for row in ASKED.tolist()),
    JSON: json.dumps({"instances": [
        {"data": {"features": {"values": ASKED[0].tolist()}}},
        {"features": ASKED[1].tolist()}, {"features": ASKED[2].tolist()},
    ]}),
    JSON_LINES: "".join(json.dumps({"features": row}) + "\n" for row in ASKED.tolist()),
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return KNNClassifier(k=3).fit(X, np.arange(40) % 3).model_


@pytest.fixture(scope="module")
def wanted(model):
    said = model.predict(Block.of(ASKED), verbose=True)
    return [{name: values[i].tolist() for name, values in said.items()} for i in range(len(ASKED))]


def close(found, want):
    assert list(found) == list(want)
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", BODIES)
def test_plain(model, wanted, kind):
    reply = json.loads(invoke(model, BODIES[kind].encode(), kind, JSON).body)
    assert list(reply) == ["predictions"]
    for row, want in zip(reply["predictions"], wanted, strict=True):
        close(row, {"predicted_label": want["predicted_label"]})
        assert type(row["predicted_label"]) is float


@pytest.mark.parametrize("space", ["", " "])
def test_verbose(model, wanted, space):
    body = BODIES[CSV].encode()
    reply = invoke(model, body, CSV, f"{JSON};{space}verbose=true")
    assert reply.type == JSON
    for row, want in zip(json.loads(reply.body)["predictions"], wanted, strict=True):
        close(row, want)
    lines = invoke(model, body, CSV, f"{JSON_LINES};{space}verbose=true").body.splitlines()
    for line, want in zip(lines, wanted, strict=True):
        close(json.loads(line), want)
    assert invoke(model, body, CSV, f"{JSON}; verbose=false") == invoke(model, body, CSV, JSON)


@pytest.mark.parametrize("verbose", ["", "; verbose=true"])
def test_records(model, wanted, verbose):
    body = writer(RECORDIO, label_size=0)(Block.of(ASKED))
    reply = invoke(model, body, RECORDIO, RECORDIO + verbose)
    record = message_classes().Record
    for raw, want in zip(read_records(io.BytesIO(reply.body), "reply"), wanted, strict=True):
        found = record.FromString(raw)
        assert not found.features
        said = {name: list(v.float32_tensor.values) for name, v in found.label.items()}
        names = want if verbose else ["predicted_label"]
        assert set(said) == set(names)
        for name in names:
            np.testing.assert_allclose(said[name], np.ravel(want[name]), rtol=1e-6, atol=1e-9)


def test_batch(model, wanted):
    for accept, names in ((JSON_LINES, 1), (f"{JSON_LINES}; verbose=true", 3)):
        transform = Transform(model, content_type=CSV, accept=accept, label_size=0)
        lines = b"".join(transform(io.BytesIO(BODIES[CSV].encode()))).splitlines()
        for line, want in zip(lines, wanted, strict=True):
            close(json.loads(line), dict(list(want.items())[:names]))


def test_warm_up(model):
    assert warm_up(model) > 10
