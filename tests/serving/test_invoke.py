"""Requests without HTTP."""

import io
import json
import threading

import numpy as np
import pytest

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import CSV, RECORDIO, types, writer
from smalgos.formats.protobuf import message_classes
from smalgos.formats.recordio import read_records
from smalgos.formats.responses import ENCODERS, JSON, JSON_LINES
from smalgos.serving.invoke import CELLS, Refused, Reply, invoke, warm_up
from tests.serving.conftest import MODELS, D

ROWS = np.random.default_rng(5).normal(size=(7, D)).astype(np.float32)
BODY = b"".join(b",".join(b"%.9g" % v for v in row) + b"\n" for row in ROWS.tolist())


def refused(model, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        invoke(model, *args, **kwargs)
    return caught.value


def parsed(reply):
    """{field: array} of a reply in any type."""
    if reply.type == JSON:
        (rows,) = json.loads(reply.body).values()
    elif reply.type == JSON_LINES:
        rows = [json.loads(line) for line in reply.body.splitlines()]
    elif reply.type == CSV:
        return np.loadtxt(reply.body.decode().splitlines(), delimiter=",", ndmin=2)
    else:
        record = message_classes().Record
        found = [record.FromString(r) for r in read_records(io.BytesIO(reply.body), "reply")]
        rows = [{k: list(v.float32_tensor.values) for k, v in r.label.items()} for r in found]
    return {name: np.array([np.ravel(r[name]) for r in rows]) for name in rows[0]}


@pytest.mark.parametrize("accept", ENCODERS)
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_the_models(models, name, accept):
    model = models[name]
    expected = model.predict(Block.of(ROWS))
    reply = invoke(model, BODY, CSV, accept)
    assert (reply.status, reply.type) == (200, accept)
    found = parsed(reply)
    if accept == CSV:
        columns = [np.reshape(expected[f], (len(ROWS), -1)) for f in expected]
        np.testing.assert_array_equal(found.astype(np.float32), np.hstack(columns))
    else:
        assert set(found) == set(expected)
        for field, values in expected.items():
            np.testing.assert_array_equal(
                found[field].astype(np.float32), np.reshape(values, (len(ROWS), -1))
            )


def test_every_type_that_can_be_written_can_be_asked_in(models):
    expected = invoke(models["pca"], BODY, CSV)
    asked = 0
    for content_type in types():
        write = writer(content_type, label_size=0)
        for block in (Block.of(ROWS), Block({"features": Csr.of(ROWS)})):
            try:
                body = write(block)
            except UserError:
                continue
            reply = invoke(models["pca"], body, content_type, JSON)
            for name, values in parsed(expected).items():
                np.testing.assert_allclose(parsed(reply)[name], values, rtol=1e-5, atol=1e-6)
            asked += 1
    assert asked >= 3


def test_dense_and_sparse_rows_in_one_request(models):
    dense = {"features": ROWS[0].tolist()}
    sparse = {"data": {"features": {"values": [1.5], "keys": [1], "shape": [ROWS.shape[1]]}}}
    lines = [json.dumps(row) for row in (dense, sparse, sparse, dense)]
    replies = [invoke(models["pca"], line.encode(), JSON_LINES) for line in lines]
    alone = [parsed(reply)["projection"][0] for reply in replies]
    together = parsed(invoke(models["pca"], "\n".join(lines).encode(), JSON_LINES))
    np.testing.assert_allclose(together["projection"], alone, rtol=1e-5, atol=1e-6)


def test_documented_examples(models):
    """The shapes of the original's answers, key by key."""
    one = BODY.splitlines()[0]
    binary = json.loads(invoke(models["binary"], one, CSV).body)
    assert list(binary) == ["predictions"]
    assert list(binary["predictions"][0]) == ["score", "predicted_label"]
    assert isinstance(binary["predictions"][0]["score"], float)
    assert isinstance(binary["predictions"][0]["predicted_label"], int)
    several = json.loads(invoke(models["multiclass"], one, CSV).body)
    assert len(several["predictions"][0]["score"]) == 3
    assert isinstance(several["predictions"][0]["predicted_label"], int)
    (regression,) = json.loads(invoke(models["regressor"], one, CSV).body)["predictions"]
    assert list(regression) == ["score"]
    (projected,) = json.loads(invoke(models["pca"], one, CSV).body)["projections"]
    assert [type(v) for v in projected["projection"]] == [float, float]
    line = invoke(models["binary"], one, CSV, JSON_LINES).body
    assert line.count(b"\n") == 1
    assert json.loads(line) == binary["predictions"][0]


def test_nothing_asked(models):
    assert invoke(models["pca"], b"", CSV) == Reply(204, b"", "")
    assert invoke(models["pca"], b"", "image/png") == Reply(204, b"", "")


def test_defaults(models):
    assert invoke(models["pca"], BODY, CSV).type == JSON
    assert invoke(models["pca"], BODY, CSV, "*/*", default=CSV).type == CSV
    assert invoke(models["pca"], BODY, CSV, default=JSON_LINES).type == JSON_LINES
    assert invoke(models["pca"], BODY, CSV, "image/png, text/csv;q=0.5").type == CSV


def test_newline_behind_csv_in_batch_jobs_alone(models):
    plain = invoke(models["pca"], BODY, CSV, CSV).body
    assert not plain.endswith(b"\n")
    assert plain.count(b"\n") == len(ROWS) - 1
    assert invoke(models["pca"], BODY, CSV, CSV, batch=True).body == plain + b"\n"
    assert invoke(models["pca"], BODY, CSV, JSON_LINES).body.endswith(b"\n")


def test_a_bare_record(models):
    framed = writer(RECORDIO)(Block.of(ROWS[:1]))
    size = int.from_bytes(framed[4:8], "little")
    bare = framed[8 : 8 + size]
    expected = invoke(models["pca"], framed, RECORDIO)
    assert invoke(models["pca"], bare, RECORDIO) == expected


def test_labels_of_records_are_passed_over(models):
    labelled = writer(RECORDIO)(Block.of(ROWS, np.ones(len(ROWS), np.float32)))
    plain = writer(RECORDIO)(Block.of(ROWS))
    assert invoke(models["pca"], labelled, RECORDIO) == invoke(models["pca"], plain, RECORDIO)


@pytest.mark.parametrize("silent", ["", "application/octet-stream"])
def test_the_body_tells_what_the_header_does_not(models, silent):
    assert invoke(models["pca"], BODY, silent).status == 200
    framed = writer(RECORDIO)(Block.of(ROWS))
    assert invoke(models["pca"], framed, silent).status == 200
    assert refused(models["pca"], b"\x89PNG\r\n", silent).status == 415


@pytest.mark.parametrize(
    ("content_type", "accept", "status"),
    [
        ("image/png", "", 415),
        ("text/csv; what=1", "", 415),
        ("text/csv; label_size=many", "", 415),
        ("no type", "", 415),
        ("text/csv", "image/png", 406),
        ("text/csv", "text/csv;q=0", 406),
        ("text/csv", "q=", 406),
    ],
)
def test_types_that_are_refused(models, content_type, accept, status):
    e = refused(models["pca"], BODY, content_type, accept)
    assert e.status == status
    assert e.said
    assert "\n" not in e.said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"1,2,x,4", "the request, row 1, column 3"),
        (b"1,2,3,4\n1,2,3\n", "row 2"),
        (b"1,2,,4", "empty"),
        (b"a,b,c,d", "header"),
        (b"1,2,3", "3 features, where the model takes 4"),
        (b"0,1,2,3,4", "did you leave the label in"),
        (b"1,2,3,4\n1,nan,3,4", "row 2"),
        (b"1,2,3,inf", "row 1"),
        (b"\n\n", "no rows"),
        (b"\xff\xfe\x00", ""),
    ],
)
def test_bodies_that_are_refused(models, body, said):
    e = refused(models["pca"], body, CSV)
    assert e.status == 400
    assert said in e.said
    assert refused(models["binary"], body, CSV).status == 400


def test_a_labels_column_can_be_passed_over(models):
    labelled = b"".join(b"1," + line + b"\n" for line in BODY.splitlines())
    expected = invoke(models["pca"], BODY, CSV)
    assert invoke(models["pca"], labelled, "text/csv; label_size=1") == expected


def test_rows_beyond_a_block_are_counted_and_joined(models):
    many = b"1,2,3,4\n" * 20_000
    reply = invoke(models["pca"], many, CSV)
    assert len(json.loads(reply.body)["projections"]) == 20_000
    assert "row 20001" in refused(models["pca"], many + b"1,2,3,nan\n", CSV).said


def test_answers_without_end_are_refused(models, monkeypatch):
    monkeypatch.setattr("smalgos.serving.invoke.CELLS", 10)
    e = refused(models["multiclass"], BODY, CSV)
    assert e.status == 413
    assert CELLS > 10


def test_small_requests_start_no_threads(models, monkeypatch):
    invoke(models["binary"], BODY, CSV)

    def start(self):
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", start)
    for name in ("binary", "pca"):
        assert invoke(models[name], BODY, CSV).status == 200


@pytest.mark.parametrize("name", MODELS)
def test_warm_up_asks_in_every_way(models, name):
    assert warm_up(models[name]) >= 3 * len(ENCODERS)
