"""Answers of boosted trees, in the forms of the original's server."""

import io
import json
import re

import numpy as np
import pytest
import xgboost

from smalgos.algorithms import file_of, load_model
from smalgos.algorithms.xgboost.ensemble import Ensemble, mode
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import CSV, RECORDIO, writer
from smalgos.formats.protobuf import message_classes
from smalgos.formats.recordio import read_records
from smalgos.formats.responses import JSON, JSON_LINES
from smalgos.serving.app import application
from smalgos.serving.invoke import Refused, invoke, warm_up
from smalgos.serving.settings import Settings
from tests.serving.client import call

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4)).astype(np.float32)
ROWS = np.array([[1, 2, np.nan, 0.5], [-1, 0, 0.25, -2], [0.5, -2, 1, np.nan]], np.float32)
BODY = b"1,2,,0.5\n-1,0,0.25,-2\n0.5,-2,1,\n"
LABELS = {
    "reg:squarederror": X[:, 0],
    "reg:logistic": X[:, 0] > 0,
    "reg:gamma": np.abs(X[:, 0]) + 0.1,
    "reg:tweedie": np.abs(X[:, 0]),
    "binary:logistic": X[:, 0] > 0,
    "binary:logitraw": X[:, 0] > 0,
    "binary:hinge": X[:, 0] > 0,
    "multi:softmax": np.digitize(X[:, 0], [-0.5, 0.5]),
    "multi:softprob": np.digitize(X[:, 0], [-0.5, 0.5]),
    "count:poisson": np.abs(X[:, 0]).round(),
}
ALL = ("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")


def booster(objective, seed=0):
    """One of the real package."""
    given = {"objective": objective, "max_depth": 2, "seed": seed, "subsample": 0.8, "nthread": 1}
    if objective.startswith("multi:"):
        given["num_class"] = 3
    return xgboost.train(given, xgboost.DMatrix(X, LABELS[objective].astype(float)), 4)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{objective: (booster, model as it is loaded from a folder)}"""
    made = {}
    for objective in LABELS:
        folder = tmp_path_factory.mktemp(objective.replace(":", "-"))
        real = booster(objective)
        (folder / "xgboost-model").write_bytes(real.save_raw("ubj"))
        made[objective] = real, load_model(folder)
    return made


def wanted(real):
    return real.predict(xgboost.DMatrix(ROWS))


def asked(model, accept="", **options):
    reply = invoke(model, BODY, CSV, accept, **options)
    assert reply.status == 200
    return reply.type, reply.body.decode()


def refused(*given, **options):
    with pytest.raises(Refused) as caught:
        invoke(*given, **options)
    return caught.value


@pytest.mark.parametrize("objective", LABELS)
def test_csv_is_the_usual_answer(served, objective):
    real, model = served[objective]
    kind, text = asked(model)
    assert kind == CSV
    assert text.endswith("\n")
    found = np.array([line.split(",") for line in text.splitlines()], np.float32)
    np.testing.assert_allclose(found.squeeze(), wanted(real), rtol=1e-6)
    assert asked(model, "*/*") == asked(model, "text/csv") == (kind, text)
    columns = 3 if objective == "multi:softprob" else 1
    assert found.shape == (3, columns)


def test_json(served):
    real, model = served["reg:squarederror"]
    kind, text = asked(model, JSON)
    assert kind == JSON
    rows = json.loads(text)["predictions"]
    assert [list(row) for row in rows] == [["score"]] * 3
    np.testing.assert_allclose([row["score"] for row in rows], wanted(real), rtol=1e-6)
    real, model = served["multi:softprob"]
    rows = json.loads(asked(model, JSON)[1])["predictions"]
    np.testing.assert_allclose([row["score"] for row in rows], wanted(real), rtol=1e-6)
    lines = asked(model, JSON_LINES)[1].splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert asked(model, default=JSON)[0] == JSON  # SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT


@pytest.mark.parametrize("accept", [CSV, JSON, JSON_LINES])
def test_batch_transform_gets_bare_predictions(served, accept):
    real, model = served["binary:logistic"]
    lines = asked(model, accept, batch=True)[1]
    assert re.fullmatch(r"(0\.\d+\n){3}", lines)
    np.testing.assert_allclose(np.array(lines.split(), float), wanted(real), rtol=1e-6)
    real, model = served["multi:softprob"]
    lines = asked(model, accept, batch=True)[1]
    assert re.fullmatch(r"(\[0\.\d+, 0\.\d+, 0\.\d+\]\n){3}", lines)
    found = [json.loads(line) for line in lines.splitlines()]
    np.testing.assert_allclose(found, wanted(real), rtol=1e-6)
    assert re.fullmatch(
        r"([012]\.0\n){3}", asked(served["multi:softmax"][1], accept, batch=True)[1]
    )


# Requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, ""),
        (BODY, "text/csv; charset=utf-8"),
        (BODY.replace(b",", b";"), CSV),
        (BODY.replace(b",", b"\t"), CSV),
        (BODY.replace(b"\n", b"\r\n").rstrip(), CSV),
        (b"0:1 1:2 3:0.5\n7 0:-1 1:0 2:0.25 3:-2\n0:0.5 1:-2 2:1\n", "text/libsvm"),
        (b"1 0:1 1:2 3:0.5\n1 0:-1 1:0 2:0.25 3:-2\n1 0:0.5 1:-2 2:1", "text/x-libsvm"),
    ],
)
def test_requests(served, body, content_type):
    model = served["reg:squarederror"][1]
    assert invoke(model, body, content_type).body.decode() == asked(model)[1]


def test_what_is_absent_is_missing(served):
    model = served["reg:squarederror"][1]
    here = ~np.isnan(ROWS)
    offsets = np.append(0, here.sum(axis=1).cumsum()).astype(np.int64)
    sparse = Csr(ROWS[here], np.nonzero(here)[1].astype(np.int32), offsets, 4)
    body = writer(RECORDIO, label_size=0)(Block({"features": sparse}))
    assert invoke(model, body, RECORDIO).body.decode() == asked(model)[1]
    dense = writer(RECORDIO, label_size=0)(Block.of(ROWS))
    assert invoke(model, dense, RECORDIO).body.decode() == asked(model)[1]


def test_refusals(served):
    model = served["reg:squarederror"][1]
    assert invoke(model, b"", CSV).status == 204
    assert "did you leave the label in" in refused(model, b"1,1,2,3,4\n", CSV).said
    assert refused(model, b"1,2,3\n", CSV).status == 400
    assert refused(model, b"1,2,x,3\n", CSV).status == 400
    assert refused(model, b"0:1 9:1\n", "text/libsvm").status == 400
    assert refused(model, BODY, "image/png").status == 415
    assert refused(model, BODY, CSV, "image/png").status == 406


# Fields to choose from ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective", ["reg:squarederror", "reg:logistic", "reg:gamma", "reg:tweedie"]
)
def test_predicted_scores(served, objective):
    real, model = served[objective]
    rows = json.loads(asked(model, JSON, fields=("predicted_score",))[1])["predictions"]
    np.testing.assert_allclose(
        [row.pop("predicted_score") for row in rows], wanted(real), rtol=1e-6
    )
    assert rows == [{}] * 3


def chosen(model, *names):
    return json.loads(asked(model, JSON, fields=names)[1])["predictions"]


def test_of_two_classes(served):
    real, model = served["binary:logistic"]
    for row, p in zip(chosen(model, *ALL), wanted(real), strict=True):
        assert list(row) == list(ALL)
        assert row["predicted_label"] == int(p > 0.5)
        assert isinstance(row["predicted_label"], int)
        assert row["labels"] == [0, 1]
        assert row["probability"] == row["raw_score"] == pytest.approx(p, rel=1e-6)
        assert row["probabilities"] == row["raw_scores"] == pytest.approx([1 - p, p], rel=1e-6)


def test_of_several_classes(served):
    real, model = served["multi:softprob"]
    for row, p in zip(chosen(model, *ALL), wanted(real), strict=True):
        assert row["predicted_label"] == int(p.argmax())
        assert row["labels"] == [0, 1, 2]
        assert row["probability"] == row["raw_score"] == pytest.approx(p.max(), rel=1e-6)
        assert row["probabilities"] == row["raw_scores"] == pytest.approx(p.tolist(), rel=1e-6)


@pytest.mark.parametrize("objective", ["binary:logitraw", "binary:hinge", "multi:softmax"])
def test_of_classes_without_probabilities(served, objective):
    real, model = served[objective]
    labels = [0, 1, 2] if objective == "multi:softmax" else [0, 1]
    with pytest.warns(UserWarning, match=f"{objective} has no probability, which is answered"):
        rows = chosen(model, "labels", "raw_score", "raw_scores", "predicted_label", "probability")
    for row, v in zip(rows, wanted(real), strict=True):
        assert row["labels"] == labels
        assert row["raw_score"] == pytest.approx(v, rel=1e-6)
        assert row["raw_scores"] == pytest.approx([1 - v, v], rel=1e-5)
        assert row["predicted_label"] == (int(v > 0) if objective == "binary:logitraw" else v)
        assert isinstance(row["predicted_label"], int if objective == "binary:logitraw" else float)
        assert row["probability"] != row["probability"]


def test_how_chosen_fields_are_written(served):
    model = served["binary:logistic"][1]
    names = ("predicted_label", "probabilities")
    rows = chosen(model, *names)
    kind, text = asked(model, fields=names)
    assert kind == CSV
    wanted = [f'{row["predicted_label"]},"{row["probabilities"]}"' for row in rows]
    assert text == "\n".join(wanted)
    assert asked(model, fields=names, batch=True)[1] == text + "\n"
    swapped = asked(model, fields=names[::-1])[1]
    assert swapped.splitlines()[0] == f'"{rows[0]["probabilities"]}",{rows[0]["predicted_label"]}'
    lines = asked(model, JSON_LINES, fields=names)[1].splitlines()
    assert [json.loads(line) for line in lines] == rows
    body = invoke(model, BODY, CSV, RECORDIO, fields=names).body
    record = message_classes().Record
    found = [record.FromString(r).label for r in read_records(io.BytesIO(body), "reply")]
    assert [list(r["predicted_label"].float32_tensor.values) for r in found] == [
        [row["predicted_label"]] for row in rows
    ]
    np.testing.assert_allclose(
        [list(r["probabilities"].float32_tensor.values) for r in found],
        [row["probabilities"] for row in rows],
        rtol=1e-6,
    )


def test_what_is_not_there_is_nan(served):
    model = served["reg:squarederror"][1]
    names = ("predicted_label", "predicted_score")
    with pytest.warns(UserWarning, match="has no predicted_label"):
        few = asked(model, JSON_LINES, fields=names)[1]
    with pytest.warns(UserWarning, match="has no predicted_label"):
        cells = asked(model, fields=names)[1]
    with pytest.warns(UserWarning, match="has no predicted_label"):
        many = invoke(model, BODY * 40, CSV, JSON_LINES, fields=names).body.decode()
    assert many == few * 40
    assert few.startswith('{"predicted_label": NaN, "predicted_score": ')
    assert cells.startswith("nan,")


def test_objectives_without_fields(served):
    e = refused(served["count:poisson"][1], BODY, CSV, fields=("predicted_score",))
    assert e.status == 500
    assert "count:poisson has no fields" in e.said


# Several models -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """{objective: (boosters, folder)}"""
    made = {}
    for objective in ("reg:squarederror", "multi:softmax", "multi:softprob"):
        folder = tmp_path_factory.mktemp("several")
        real = [booster(objective, seed) for seed in range(11)]
        for i, one in enumerate(real):
            (folder / f"xgboost-model-{i}").write_bytes(one.save_raw("ubj"))
        (folder / "data").mkdir()
        made[objective] = real, folder
    return made


def test_an_ensemble_answers_with_means_or_votes(several):
    for objective, (real, folder) in several.items():
        model = load_model(folder)
        assert isinstance(model, Ensemble)
        votes = np.stack([wanted(one) for one in real])
        found = model.predict(Block.of(ROWS))["score"]
        if objective == "multi:softmax":
            counts = np.stack([(votes == c).sum(axis=0) for c in range(3)])
            np.testing.assert_array_equal(found, counts.argmax(axis=0))
        else:
            np.testing.assert_allclose(found, votes.mean(axis=0), rtol=1e-5)
        assert warm_up(model) > 10


def test_the_first_model_alone(several):
    real, folder = several["reg:squarederror"]
    assert file_of(folder).name == "xgboost-model-0"
    model = load_model(file_of(folder))
    np.testing.assert_allclose(model.predict(Block.of(ROWS))["score"], wanted(real[0]), rtol=1e-6)


def test_chosen_fields_of_an_ensemble(several):
    real, folder = several["multi:softprob"]
    mean = np.mean([wanted(one) for one in real], axis=0)
    for row, p in zip(chosen(load_model(folder), *ALL), mean, strict=True):
        assert row["predicted_label"] == p.argmax()
        assert row["probabilities"] == pytest.approx(p.tolist(), rel=1e-5)


def test_models_that_do_not_go_together(several, served, tmp_path):
    (tmp_path / "xgboost-model-0").write_bytes(booster("reg:squarederror").save_raw("ubj"))
    (tmp_path / "xgboost-model-1").write_bytes(booster("binary:logistic").save_raw("ubj"))
    with pytest.raises(UserError, match=r"its models differ in objective"):
        load_model(tmp_path)


def test_mode():
    votes = np.array([[0, 2, 1], [1, 2, 1], [1, 0, 2], [0, 1, 2]], np.float32)
    np.testing.assert_array_equal(mode(votes), [0, 2, 1])


# The server ---------------------------------------------------------------------------------------


def test_the_servers_settings(served):
    model = served["binary:logistic"][1]
    headers = {"content-type": CSV}
    plain = call(application(model, Settings(None)), "POST", "/invocations", BODY, headers)
    assert (plain.status, plain.type, plain.body.decode()) == (200, CSV, asked(model)[1])
    settings = Settings.of({"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label, labels"}, model=None)
    answer = call(application(model, settings), "POST", "/invocations", BODY, headers)
    assert answer.body.decode().splitlines()[0] in ('0,"[0, 1]"', '1,"[0, 1]"')
    batch = Settings.of({"SAGEMAKER_BATCH": "true"}, model=None)
    answer = call(
        application(model, batch), "POST", "/invocations", BODY, headers | {"accept": JSON}
    )
    assert answer.body == plain.body


def test_a_multi_model_endpoint(several, tmp_path):
    app = application(None, Settings(None))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "xgboost-model").write_bytes(booster("reg:squarederror").save_raw("ubj"))
    for name, folder in (("one", alone), ("many", several["reg:squarederror"][1])):
        told = json.dumps({"model_name": name, "url": str(folder)}).encode()
        assert call(app, "POST", "/models", told).status == 200
        answer = call(app, "POST", f"/models/{name}/invoke", BODY, {"content-type": CSV})
        want = load_model(folder).predict(Block.of(ROWS))["score"]
        np.testing.assert_allclose(np.array(answer.body.split(), float), want, rtol=1e-6)
