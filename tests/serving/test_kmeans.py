"""Answers of K-Means, in the forms of the original's server."""

import io
import json

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.algorithms.kmeans import KMeansModel
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import CSV, RECORDIO, writer
from smalgos.formats.protobuf import message_classes
from smalgos.formats.recordio import read_records
from smalgos.formats.responses import JSON, JSON_LINES
from smalgos.serving.invoke import Refused, invoke, warm_up

ROWS = np.array([[1, 2, 2], [9, 0, 0], [0, 0, 0]], np.float32)
BODY = b"1,2,2\n9,0,0\n0,0,0\n"
CLUSTERS, DISTANCES = [1.0, 0.0, 1.0], [3.0, 1.0, 0.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    centres = np.array([[10, 0, 0], [0, 0, 0]], np.float32)
    KMeansModel(
        centres=centres, mass=np.ones(2), shift=np.zeros(3, np.float32), msd=0.5
    ).save(path)  # fmt: skip
    return load_model(path)


def body(model, accept, given=BODY, kind=CSV):
    return invoke(model, given, kind, accept).body


def test_a_json_document(model):
    told = json.loads(body(model, JSON))
    assert told == {
        "predictions": [
            {"closest_cluster": c, "distance_to_cluster": d}
            for c, d in zip(CLUSTERS, DISTANCES, strict=True)
        ]
    }
    assert b'"closest_cluster": 1.0' in body(model, JSON)
    assert body(model, "") == body(model, JSON)


def test_json_lines(model):
    lines = body(model, JSON_LINES).decode().splitlines()
    assert [json.loads(line)["closest_cluster"] for line in lines] == CLUSTERS
    assert [json.loads(line)["distance_to_cluster"] for line in lines] == DISTANCES


def test_csv_has_the_cluster_first(model):
    table = np.loadtxt(body(model, CSV).decode().splitlines(), delimiter=",")
    assert table.tolist() == [list(pair) for pair in zip(CLUSTERS, DISTANCES, strict=True)]


def test_records_have_both_in_the_label_map(model):
    record = message_classes().Record
    found = [record.FromString(r) for r in read_records(io.BytesIO(body(model, RECORDIO)), "reply")]
    for name, want in (("closest_cluster", CLUSTERS), ("distance_to_cluster", DISTANCES)):
        assert [list(r.label[name].float32_tensor.values) for r in found] == [[v] for v in want]


def test_requests_of_all_kinds_have_one_answer(model):
    want = body(model, JSON)
    given = {"instances": [
        {"features": [1, 2.0, 2]},
        {"data": {"features": {"values": [9, 0, 0]}}},
        {"data": {"features": {"keys": [], "shape": [3], "values": []}}},
    ], "configuration": {}}  # fmt: skip
    assert body(model, JSON, json.dumps(given).encode(), JSON) == want
    lines = [json.dumps(instance).encode() for instance in given["instances"]]
    told = [json.loads(body(model, JSON_LINES, line, JSON_LINES)) for line in lines]
    assert told == json.loads(want)["predictions"]
    for block in (Block.of(ROWS), Block.of(Csr.of(ROWS))):
        assert body(model, JSON, writer(RECORDIO, label_size=0)(block), RECORDIO) == want
    assert warm_up(model) > 10


def test_requests_that_cannot_be_answered(model):
    for given, said in ((b"1,2\n", "2 features, where the model takes 3"), (b"1,nan,2\n", "NaN")):
        with pytest.raises(Refused, match=said) as caught:
            invoke(model, given, CSV)
        assert caught.value.status == 400
