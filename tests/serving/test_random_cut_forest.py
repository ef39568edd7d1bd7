"""Requests to Random Cut Forest: the original's bodies, plain and verbose."""

import io
import json

import numpy as np
import pytest

from smalgos import RandomCutForest, shingle
from smalgos.batch.transform import Transform
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import CSV, RECORDIO, writer
from smalgos.formats.protobuf import message_classes
from smalgos.formats.recordio import read_records
from smalgos.formats.responses import JSON, JSON_LINES
from smalgos.serving.invoke import Refused, invoke, warm_up

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
ASKED = np.array([[0, 0, 0, 0], [1, 0, 0, 2], [0, 9, 0, 0]], np.float32)
SPARSE = [
    {"data": {"features": {"keys": np.flatnonzero(row).tolist(), "shape": [4],
                           "values": row[row != 0].tolist()}}}
    for row in ASKED
]  # fmt: skip
BODIES = {
    CSV: ["".join(",".join(f"{v:.9g}" for v in row) + "\n" for row in ASKED.tolist())],
    JSON: [
        json.dumps({"instances": [{"features": row} for row in ASKED.tolist()]}),
        json.dumps({"instances": SPARSE}),
    ],
    JSON_LINES: ["".join(json.dumps({"features": row}) + "\n" for row in ASKED.tolist())],
    RECORDIO: [
        writer(RECORDIO, label_size=0)(Block.of(ASKED)),
        writer(RECORDIO, label_size=0)(Block.of(Csr.of(ASKED))),
    ],
}  # fmt: skip
KINDS = [(kind, body) for kind, bodies in BODIES.items() for body in bodies]


@pytest.fixture(scope="module")
def model():
    return RandomCutForest(num_trees=50, num_samples_per_tree=64).fit(X).model_


@pytest.fixture(scope="module")
def scores(model):
    return model.scores(ASKED)


@pytest.mark.parametrize(("kind", "body"), KINDS)
def test_scores(model, scores, kind, body):
    body = body if isinstance(body, bytes) else body.encode()
    reply = json.loads(invoke(model, body, kind, JSON).body)
    assert list(reply) == ["scores"]
    assert [list(row) for row in reply["scores"]] == [["score"]] * 3
    said = [row["score"] for row in reply["scores"]]
    np.testing.assert_allclose(said, scores, rtol=1e-6)
    assert said[2] > 2 > said[0]
    lines = invoke(model, body, kind, JSON_LINES).body.splitlines()
    assert [json.loads(line)["score"] for line in lines] == said
    cells = invoke(model, body, kind, CSV).body.splitlines()
    assert [float(cell) for cell in cells] == said


def test_records(model, scores):
    reply = invoke(model, BODIES[RECORDIO][0], RECORDIO, RECORDIO)
    record = message_classes().Record
    found = [record.FromString(raw) for raw in read_records(io.BytesIO(reply.body), "reply")]
    assert [list(row.label) for row in found] == [["score"]] * 3
    values = [row.label["score"].float32_tensor.values[0] for row in found]
    np.testing.assert_allclose(values, scores, rtol=1e-6)


def test_verbose(model, scores):
    reply = json.loads(invoke(model, BODIES[CSV][0].encode(), CSV, f"{JSON};verbose=true").body)
    names = ["score", "predicted_label", "attribution_high", "attribution_low"]
    for row, score in zip(reply["scores"], scores, strict=True):
        assert list(row) == names
        parts = np.add(row["attribution_high"], row["attribution_low"])
        assert parts.sum() == pytest.approx(score, rel=1e-5)
    assert [row["predicted_label"] for row in reply["scores"]] == [0, 0, 1]
    assert int(np.argmax(reply["scores"][2]["attribution_high"])) == 1


def test_batch(model, scores):
    transform = Transform(model, content_type=CSV, accept=JSON_LINES, label_size=0)
    lines = b"".join(transform(io.BytesIO(BODIES[CSV][0].encode()))).splitlines()
    np.testing.assert_allclose([json.loads(line)["score"] for line in lines], scores, rtol=1e-6)


def test_shingles_are_asked_whole():
    series = X[:, :1]
    model = RandomCutForest(num_trees=50, shingle_size=4, num_samples_per_tree=8).fit(series).model_
    body = writer(CSV, label_size=0)(Block.of(shingle(series[:9], 4)))
    reply = json.loads(invoke(model, body, CSV, JSON).body)
    want = model.scores(series[:9])[3:]
    np.testing.assert_allclose([row["score"] for row in reply["scores"]], want, rtol=1e-6)
    with pytest.raises(Refused, match="1 features, where the model takes 4"):
        invoke(model, b"1\n2\n", CSV, JSON)


def test_warm_up(model):
    assert warm_up(model) > 10
