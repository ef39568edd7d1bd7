"""Training jobs of Random Cut Forest: what is said, what is left."""

import json
import re

import numpy as np
import pytest

from smalgos import RandomCutForest
from smalgos.algorithms import load_model
from tests.container.box import CSV, RECORDIO, Box, in_order, numbers, records, table

X, _ = numbers(700)
TESTED = np.concatenate([X[:95], np.full((5, 4), 9, np.float32)])
LABELS = (np.arange(100) >= 95).astype(np.float32)
GIVEN = {"feature_dim": "4", "num_trees": "50", "num_samples_per_tree": "8"}


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "ml", "randomcutforest")


def trained(box, monkeypatch, capsys, **given):
    return box.trained(monkeypatch, capsys, **GIVEN | given)


def test_lines(box, monkeypatch, capsys):
    box.channel("train", {"a.pbr": records(X)}, RECORDIO)
    box.channel("test", {"a.csv": table(TESTED, LABELS)}, "text/csv;label_size=1")
    out = trained(box, monkeypatch, capsys)
    in_order(
        out,
        r"INFO \d+\] Verifying hyperparamemters\.\.\.",
        r"Hyperparameters are correct\.",
        r"Validating that feature_dim agrees with dimensions in training data\.\.\.",
        r"feature_dim is correct\.",
        r"Validating memory limits\.\.\.",
        r"Available memory in bytes: \d+",
        r"Estimated sample size in bytes: 25600$",
        r"Estimated memory needed to build the forest in bytes: 64000$",
        r"Memory limits validated\.",
        r"Initializing Sampler\.\.\.",
        r"Sampler correctly initialized\.",
        r"Sampling training data\.\.\.",
        r"Sampling training data completed\.",
        r"#progress_metric: host=algo-1, completed 100 % ",
        r"#throughput_metric: host=algo-1, train throughput=(\S+) records/second",
        r"Master node: building Random Cut Forest\.\.\.",
        r"Gathering samples\.\.\.",
        r"400 samples gathered",
        r"Building Random Cut Forest\.\.\.",
        r"Random Cut Forest built: $",
        r"\] ForestInfo\{num_trees: 50, num_samples_in_forest: 400, num_samples_per_tree: 8, "
        r"sample_dim: 4, shingle_size: 1, trees_num_nodes: \[(15, ){50}\], trees_depth: "
        r"\[(\d+, ){50}\], max_num_nodes: 15, min_num_nodes: 15, avg_num_nodes: 15, "
        r"max_tree_depth: \d, min_tree_depth: \d, avg_tree_depth: \d, mem_size: \d+\}$",
        r"#test_score \(algo-1\) : \('f1', \d\.\d+\)",
        r"#quality_metric: host=\S+, test accuracy <score>=(\S+)",
        r"#quality_metric: host=\S+, test precision <score>=(\S+)",
        r"#quality_metric: host=\S+, test recall <score>=(\S+)",
        r"#quality_metric: host=\S+, test f1 <score>=(\S+)",
        r"Master node: Serializing the RandomCutForest model",
        r'"fit_model\.time".*"model\.bytes"',
    )
    assert "train_score" not in out
    assert "Test data is not provided" not in out
    said = load_model(box.model).scores(TESTED)
    found = said > said.mean() + 3 * said.std()
    hits = (found & (LABELS == 1)).sum()
    (f1,) = re.findall(r"#quality_metric: host=\S+, test f1 <score>=(\S+)", out)
    assert float(f1) == pytest.approx(2 * hits / (found.sum() + 5), nan_ok=True)
    lines = [line for line in out.splitlines() if line.startswith("#metrics ")]
    assert '"Algorithm": "RandomCutForest"' in lines[-1]
    assert json.loads(lines[-1][9:])["Metrics"]["model.bytes"]["sum"] > 0


def test_only_what_was_asked_for(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(X)}, "text/csv;label_size=0")
    box.channel("test", {"a.pbr": records(TESTED, LABELS)}, RECORDIO)
    out = trained(box, monkeypatch, capsys, eval_metrics='["accuracy"]')
    assert re.findall(r"#quality_metric: host=\S+, test (\w+) ", out) == ["accuracy"]


@pytest.mark.parametrize("given", [
    {}, {"partition": "shuffled", "contamination": "0.02"}, {"time_decay": "0.003"},
    {"shingle_size": "3"},
])  # fmt: skip
def test_the_bytes_of_an_estimator(box, monkeypatch, capsys, given, tmp_path):
    box.channel("train", {"a.csv": table(X)}, "text/csv;label_size=0")
    out = trained(box, monkeypatch, capsys, **given)
    assert "Test data is not provided." in out
    table_of = RandomCutForest.algorithm.parameters.table
    mine = {"partition": "consecutive"} | {n: table_of[n].parse(v) for n, v in given.items()}
    RandomCutForest(num_trees=50, num_samples_per_tree=8, **mine).fit(X).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == box.model.read_bytes()


def test_pipes(box, monkeypatch, capsys, tmp_path):
    box.channel("train", content_type=RECORDIO, mode="Pipe")
    feeding = box.feed("train", records(X), [0])
    trained(box, monkeypatch, capsys)
    feeding.join(10)
    RandomCutForest(num_trees=50, num_samples_per_tree=8, partition="consecutive").fit(X).save(
        tmp_path / "m"
    )
    assert (tmp_path / "m").read_bytes() == box.model.read_bytes()


def test_a_series_is_tested_by_its_shingles(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(X[:, :1])}, "text/csv;label_size=0")
    box.channel("test", {"a.csv": table(TESTED[:, :1], LABELS)}, CSV)
    out = trained(box, monkeypatch, capsys, feature_dim="1", shingle_size="4")
    (accuracy,) = re.findall(r"#quality_metric: host=\S+, test accuracy <score>=(\S+)", out)
    assert float(accuracy) * 97 == pytest.approx(round(float(accuracy) * 97))
    assert "sample_dim: 4, shingle_size: 4" in out


@pytest.mark.parametrize(("given", "match"), [
    ({"feature_dim": "7"}, "feature_dim=7: the train channel has 4 features"),
    ({"feature_dim": "10001"}, "feature_dim='10001'|feature_dim=10001"),
    ({"num_trees": "20"}, "num_trees=20: must be an integer >= 50 and <= 1000"),
    ({"num_trees": "1000"}, "partition=consecutive of 1000 trees needs at least 1000"),
    ({"num_samples_per_tree": "0"}, "num_samples_per_tree=0"),
    ({"trees": "7"}, "unknown hyperparameter 'trees'"),
    ({"eval_metrics": "[auc]"}, "eval_metrics"),
])  # fmt: skip
def test_failures(box, monkeypatch, capsys, given, match):
    box.channel("train", {"a.pbr": records(X)}, RECORDIO)
    box.hyperparameters(**GIVEN | given)
    assert re.search(match, box.failed(monkeypatch, capsys))


@pytest.mark.parametrize(("rows", "match"), [
    (records(TESTED), "test channel, .*no labels: 1 says that a row is an anomaly"),
    (records(TESTED, LABELS + 1), "label 2 is not a whole number from 0 to 1"),
    (records(TESTED[:, :3], LABELS), "3 features, where the train channel has 4"),
])  # fmt: skip
def test_a_test_channel_that_cannot_be_judged(box, monkeypatch, capsys, rows, match):
    box.channel("train", {"a.pbr": records(X)}, RECORDIO)
    box.channel("test", {"a.pbr": rows}, RECORDIO)
    box.hyperparameters(**GIVEN)
    assert re.search(match, box.failed(monkeypatch, capsys))
