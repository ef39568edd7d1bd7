"""Training jobs of K-Nearest Neighbors: what is said, what is left."""

import re

import numpy as np
import pytest

from smalgos import KNNClassifier, KNNRegressor
from smalgos.algorithms import load_model
from tests.container.box import CSV, RECORDIO, Box, in_order, numbers, records, table

X, SCORE = numbers(600)
Y = np.digitize(SCORE, [-1, 0, 1]).astype(np.float32)
GIVEN = {"k": "5", "predictor_type": "classifier", "sample_size": "600"}


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "ml", "knn")


def trained(box, monkeypatch, capsys, **given):
    return box.trained(monkeypatch, capsys, **GIVEN | given)


def test_lines(box, monkeypatch, capsys):
    box.channel("train", {"a.pbr": records(X[:500], Y[:500])}, RECORDIO)
    box.channel("test", {"a.pbr": records(X[500:], Y[500:])}, RECORDIO)
    out = trained(box, monkeypatch, capsys, sample_size="450")
    in_order(
        out,
        r"INFO \d+\] Using per-worker sample size = 450 \(Available virtual memory = \d+ bytes",
        r"#progress_metric: host=algo-1, completed (\S+) %",
        r"#throughput_metric: host=algo-1, train throughput=(\S+) records/second",
        r"Getting reservoir sample from algo-1\.\.\.",
        r"\.\.\.Got reservoir sample from algo-1: data=\(450, 4\), labels=\(450,\), NaNs=0",
        r"Training index\.\.\.",
        r"\.\.\.Finished training index in \d+ second\(s\)",
        r"Adding data to index\.\.\.",
        r"\.\.\.Finished adding data to index in \d+ second\(s\)",
        r"#test_score \(algo-1\) : \('accuracy', 0\.\d+\)",
        r"#test_score \(algo-1\) : \('macro_f_1\.000', 0\.\d+\)",
        r"#quality_metric: host=algo-1, test accuracy <score>=(0\.\d+)",
        r"#quality_metric: host=algo-1, test macro_f_1\.000 <score>=0\.\d+",
        r'"Algorithm": "AWS/KNN"',
    )
    assert "train_score" not in out


def test_regression(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(X[:500], SCORE[:500])}, CSV)
    box.channel("test", {"a.csv": table(X[500:], SCORE[500:])}, CSV)
    out = trained(box, monkeypatch, capsys, predictor_type="regressor")
    (mse,) = re.findall(r"#quality_metric: host=\S+, test mse <loss>=(\S+)", out)
    said = KNNRegressor().fit(X[:500], SCORE[:500]).predict(X[500:])
    assert float(mse) == pytest.approx(np.mean((said - SCORE[500:]) ** 2), rel=1e-4)


@pytest.mark.parametrize("given", [
    {}, {"sample_size": "100", "index_type": "faiss.IVFFlat"},
    {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "2"},
])  # fmt: skip
def test_the_bytes_of_an_estimator(box, monkeypatch, capsys, given, tmp_path):
    box.channel("train", {"a.pbr": records(X, Y)}, RECORDIO)
    trained(box, monkeypatch, capsys, **given)
    plain = {n: int(v) if v.isdigit() else v for n, v in given.items()}
    KNNClassifier(**{"sample_size": 600} | plain).fit(X, Y.astype(int)).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == box.model.read_bytes()


def test_pipes(box, monkeypatch, capsys):
    box.channel("train", content_type=RECORDIO, mode="Pipe")
    feeding = box.feed("train", records(X, Y), [0])
    trained(box, monkeypatch, capsys, sample_size="50")
    feeding.join(10)
    assert len(load_model(box.model).labels) == 50


@pytest.mark.parametrize(("given", "match"), [
    ({"dimension_reduction_type": "sign"}, "give dimension_reduction_target"),
    ({"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": "601"}, "only 600 rows"),
    ({"k": "601", "sample_size": "700"}, "k=601"),
    ({"feature_dim": "7"}, "feature_dim=7"),
    ({"kk": "7"}, "unknown hyperparameter 'kk'"),
])  # fmt: skip
def test_failures(box, monkeypatch, capsys, given, match):
    box.channel("train", {"a.pbr": records(X, Y)}, RECORDIO)
    box.hyperparameters(**GIVEN | given)
    assert match in box.failed(monkeypatch, capsys)


@pytest.mark.parametrize("missing", GIVEN)
def test_what_is_required(box, monkeypatch, capsys, missing):
    box.channel("train", {"a.pbr": records(X, Y)}, RECORDIO)
    box.hyperparameters(**{n: v for n, v in GIVEN.items() if n != missing})
    assert f"hyperparameter {missing} is required" in box.failed(monkeypatch, capsys)
