"""Factorization Machines in the container: log lines, scores, requests, bad input."""

import json
import re

import numpy as np
import pytest

import smalgos
from smalgos import formats
from smalgos.algorithms import load_model
from smalgos.formats import Block, Csr, libffm
from smalgos.serving.invoke import Refused, invoke
from tests.container.box import CSV, RECORDIO, Box, records, table

PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] "
USERS, ITEMS = 8, 12
WIDTH = USERS + ITEMS
SETTINGS = {
    "feature_dim": str(WIDTH), "num_factors": "4", "predictor_type": "binary_classifier",
    "mini_batch_size": "50", "epochs": "4", "linear_lr": "0.05", "factors_lr": "0.05",
    "factors_init_sigma": "0.1",
}  # fmt: skip


def pairs(n=480, seed=0):
    """One-hot rows of users and items, and whether a user of one kind met an item of that kind."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, n), rng.integers(0, ITEMS, n)
    x = np.zeros((n, WIDTH), np.float32)
    x[np.arange(n), users] = x[np.arange(n), USERS + items] = 1
    return x, (users % 2 == items % 2).astype(np.float32)


def sparse(x, y=None):
    return Block.of(Csr.of(x), y)


def written(block, suffix, folder):
    formats.write(folder / f"a{suffix}", block)
    return (folder / f"a{suffix}").read_bytes()


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "ml", "factorization-machines")
    box.hyperparameters(**SETTINGS)
    return box


def told(out):
    said = "".join(f"{s}\n" for s in out.splitlines() if not s.startswith("#metrics "))
    return re.sub(f"^{PREFIX}", "", said, flags=re.MULTILINE)


def test_lines_of_the_original(box, tmp_path, monkeypatch, capsys):
    box.hyperparameters(
        **SETTINGS, batch_metrics_publish_interval="5", _tuning_objective_metric="", _wd="1.0"
    )
    box.channel("train", {"a.pbr": written(sparse(*pairs()), ".pbr", tmp_path)}, RECORDIO)
    box.channel("test", {"a.pbr": written(sparse(*pairs(90, 1)), ".pbr", tmp_path)}, RECORDIO)
    out = box.trained(monkeypatch, capsys)
    number, metric = r"\d+\.\d+(e-\d+)?", "#quality_metric: host=algo-1, "
    names = [
        "binary_classification_accuracy <score>", "binary_classification_cross_entropy <loss>",
        r"binary_f_1\.000 <score>",
    ]  # fmt: skip
    expected = [
        r"smalgos container train, base directory \S+",
        r"Reading default configuration from \S+: \{.*'factors_lr': '0\.0001'.*\}",
        r"Merging with provided configuration from \S+hyperparameters\.json: \{.*\}",
        r"Final configuration: \{.*'num_factors': '4'.*\}",
        r"Using default worker\.",
        r"Loaded iterator creator application/x-recordio-protobuf for content type \(.*\)",
        r"Checkpoint loading and saving are disabled\.",
        r"Number of GPUs being used: 0",
        r"\[Sparse network\] Building a sparse network\.",
        r"Create Store: local",
    ]
    for epoch in range(4):
        for batch in (0, 5):
            expected += [f"{metric}epoch={epoch}, batch={batch} train {n}={number}" for n in names]
        expected += [f"{metric}epoch={epoch}, train {n}={number}" for n in names]
        expected += [
            rf"#progress_metric: host=algo-1, completed {25.0 * (epoch + 1)} % of epochs",
            rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
        ]
    scores = [name.split()[0] for name in names]
    expected += [
        "Pulling entire model from kvstore to finalize",
        *(rf"#test_score \(algo-1\) : \('{name}', {number}\)" for name in scores),
        *(f"{metric}test {n}={number}" for n in names),
        r"Serializing model to \S+model\.safetensors",
    ]
    assert re.fullmatch("".join(f"{e}\n" for e in expected), told(out)), told(out)
    model = load_model(box.model)
    x, y = pairs(90, 1)
    right = float(((model.predict(Block.of(x))["score"] >= 0.5) == y).mean())
    assert f"test binary_classification_accuracy <score>={right}" in out
    entries = [json.loads(s[9:]) for s in out.splitlines() if s.startswith("#metrics ")]
    assert {e["Dimensions"]["Algorithm"] for e in entries} == {"factorization-machines"}
    assert {"initialize.time", "update.time", "finalize.time", "setuptime", "totaltime",
            "epochs"} <= set(entries[-1]["Metrics"])  # fmt: skip
    metas = [e["Dimensions"].get("Meta") for e in entries]
    assert metas.count("training_data_iter") == 4
    assert [m for m in metas if m][::5] == ["init_train_data_iter", "test_data_iter"]


def test_a_regressor_with_validation_rows(box, monkeypatch, capsys):
    box.hyperparameters(**SETTINGS | {"predictor_type": "regressor"})
    x, y = pairs()
    box.channel("train", {"a.pbr": records(x, y)}, RECORDIO)
    box.channel("validation", {"a.csv": table(*pairs(80, 2))}, CSV)
    out = box.trained(monkeypatch, capsys)
    assert "[Sparse network]" not in out
    for name in ("rmse", "mse", "absolute_loss"):
        assert re.search(rf"epoch=0, batch=0 train {name} <loss>=", out)
        assert len(re.findall(rf"epoch=\d, train {name} <loss>=", out)) == 4
        assert len(re.findall(rf"epoch=\d, validation {name} <loss>=", out)) == 4
        assert re.search(rf"host=algo-1, validation {name} <loss>=", out)
    assert "Test data is not provided." in out


def test_the_same_file_from_all_formats_and_the_estimator(box, tmp_path, monkeypatch, capsys):
    x, y = pairs()
    block = sparse(x, y)
    fields = np.repeat([0, 1], [USERS, ITEMS]).astype(np.int32)
    files = {
        name: written(block, suffix, tmp_path)
        for name, suffix in ((RECORDIO, ".pbr"), ("text/libsvm", ".svm"),
                             ("application/x-parquet", ".parquet"))
    }  # fmt: skip
    files["text/libffm"] = libffm.encode(block, fields)
    found = {}
    for kind, data in files.items():
        width = f"; width={WIDTH}; base=0" if kind.startswith("text") else ""
        box.channel("train", {"a": data}, kind + width)
        box.trained(monkeypatch, capsys)
        found[kind] = load_model(box.model).factors
    estimator = smalgos.FactorizationMachineClassifier(
        num_factors=4, epochs=4, mini_batch_size=50, shuffle=False, pad_last=True,
        optimizer="adam", bias_lr=0.1, linear_lr=0.05, factors_lr=0.05, bias_wd=0.01,
        linear_wd=0.001, factors_wd=0.00001, bias_init_sigma=0.01, linear_init_sigma=0.01,
        factors_init_sigma=0.1,
    )  # fmt: skip
    found["estimator"] = estimator.fit(matrix(x), y).factors_
    assert len({a.tobytes() for a in found.values()}) == 1, found


def matrix(x):
    from scipy.sparse import csr_matrix

    return csr_matrix(x)


def test_fields_of_libffm(box, monkeypatch, capsys):
    box.hyperparameters(**SETTINGS | {"interaction": "field_aware"})
    fields = np.repeat([0, 1], [USERS, ITEMS])
    data = libffm.encode(sparse(*pairs()), fields)
    box.channel("train", {"a": data}, "text/libffm")
    box.trained(monkeypatch, capsys)
    model = load_model(box.model)
    assert model.field_of.tolist() == fields.tolist()
    assert model.factors.shape == (WIDTH, 2, 4)
    answer = invoke(model, data.splitlines(keepends=True)[0], "text/libffm")
    want = model.predict(sparse(pairs()[0][:1]))["score"][0]
    assert json.loads(answer.body)["predictions"][0]["score"] == pytest.approx(want)


def test_requests_and_responses(tmp_path):
    x, y = pairs()
    model = smalgos.FactorizationMachineClassifier(num_factors=4).fit(x, y).model_
    score = model.predict(Block.of(x[:1]))["score"][0]
    keys = np.flatnonzero(x[0]).tolist()
    inner = {"features": {"keys": keys, "shape": [WIDTH], "values": [1, 1]}}
    dense = {"features": {"values": x[0].tolist()}}
    want = {"score": pytest.approx(score, rel=1e-5), "predicted_label": int(score >= 0.5)}
    for instance in ({"features": x[0].tolist()}, {"data": inner}, {"data": dense}):
        body = json.dumps({"instances": [instance]}).encode()
        assert json.loads(invoke(model, body, "application/json").body) == {"predictions": [want]}
        lines = json.dumps(instance).encode() + b"\n"
        answer = invoke(model, lines, "application/jsonlines", "application/jsonlines")
        assert json.loads(answer.body) == want
    for kind, body in ((RECORDIO, written(sparse(x[:1]), ".pbr", tmp_path)),
                       (CSV, table(x[:1]).encode())):  # fmt: skip
        assert json.loads(invoke(model, body, kind).body) == {"predictions": [want]}
    answer = invoke(model, written(sparse(x[:1]), ".pbr", tmp_path), RECORDIO, RECORDIO)
    assert answer.status == 200
    assert b"predicted_label" in answer.body
    with pytest.raises(Refused, match="19 features, where the model takes 20"):
        invoke(model, table(x[:1, 1:]).encode(), CSV)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"feature_dim": "21"}, "feature_dim=21: the train channel has 20 features"),
        ({"num_factors": None}, "hyperparameter num_factors is required"),
        ({"predictor_type": None}, "hyperparameter predictor_type is required"),
        ({"num_factor": "4"}, "did you mean num_factors"),
        ({"factors_init_method": "uniform"}, "factors_init_scale is required"),
        ({"bias_init_method": "constant"}, "bias_init_value is required"),
        ({"interaction": "field_aware"}, "needs fields"),
        ({"interaction": "field_weighted", "fields": "[3, 4]"}, "add up to 7"),
        ({"fields": '["a"]'}, "must be a list of whole numbers"),
        ({"linear_lr": "inf"}, "must be a finite number"),
    ],
)
def test_what_cannot_be(given, said, box, monkeypatch, capsys):
    box.hyperparameters(**{k: v for k, v in {**SETTINGS, **given}.items() if v is not None})
    box.channel("train", {"a.pbr": records(*pairs())}, RECORDIO)
    assert said in box.failed(monkeypatch, capsys)


def test_a_label_that_cannot_be(box, monkeypatch, capsys):
    x, y = pairs()
    y[7] = 2
    box.channel("train", {"a.pbr": records(x, y)}, RECORDIO)
    said = box.failed(monkeypatch, capsys)
    assert "a.pbr, row 8: label 2: binary_classifier takes 0 or 1" in said


def test_a_feature_beyond_the_dimension(box, monkeypatch, capsys):
    data = b"1 0:1 19:1\n0 3:1 20:1\n"
    box.channel("train", {"a": data}, f"text/libsvm; width={WIDTH}; base=0")
    said = box.failed(monkeypatch, capsys)
    assert "train/a, row 2: index 20 is beyond the 20 columns" in said
