"""The original's lines: prefix, metrics, and the expressions that the platform finds them with."""

import io
import json
import re
import threading
import warnings

import numpy as np
import pytest

from smalgos.algorithms import algorithm, load_model
from smalgos.container.lines import Counters, Lines, Series, as_string
from smalgos.container.log import LOG, logging_to
from smalgos.container.own_lines import lines_of
from tests.container.box import Box, numbers, records

PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] "

# The platform's own, as attached to training jobs of the original; each must find a number.
COMMON = [
    r"#progress_metric: host=\S+, completed (\S+) %",
    r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
]
OBJECTIVES = [
    r"#quality_metric: host=\S+, epoch=\S+, train \S+_objective <loss>=(\S+)",
    r"#quality_metric: host=\S+, epoch=\S+, validation \S+_objective <loss>=(\S+)",
    r"#quality_metric: host=\S+, validation \S+_objective <loss>=(\S+)",
    r"#quality_metric: host=\S+, test \S+_objective <loss>=(\S+)",
]


def of_splits(*metrics):
    return [f"#quality_metric: host=\\S+, {s} {m}" for s in ("validation", "test") for m in metrics]


SCORES = {
    "binary_classifier": of_splits(
        r"binary_classification_accuracy <score>=(\S+)",
        r"binary_f_\S+ <score>=(\S+)",
        r"precision <score>=(\S+)",
        r"recall <score>=(\S+)",
        r"roc_auc_score <score>=(\S+)",
    ),
    "multiclass_classifier": of_splits(
        r"multiclass_accuracy <score>=(\S+)",
        r"multiclass_top_k_accuracy_\S+ <score>=(\S+)",
        r"dcg <score>=(\S+)",
        r"macro_recall <score>=(\S+)",
        r"macro_precision <score>=(\S+)",
        r"macro_f_\S+ <score>=(\S+)",
    ),
    "regressor": of_splits(
        r"mse <loss>=(\S+)", r"absolute_loss <loss>=(\S+)", r"rmse <loss>=(\S+)"
    ),
}

OBJECTIVE = {
    "binary_classifier": "binary_classification_cross_entropy_objective",
    "multiclass_classifier": "multiclass_cross_entropy_objective",
    "regressor": "mse_objective",
}


def rows(task, n, seed):
    features, score = numbers(n, seed=seed)
    labels = {
        "binary_classifier": score > 0,
        "multiclass_classifier": np.digitize(score, [-1, 1]),
        "regressor": 100 + 10 * score,
    }[task]
    return records(features, labels.astype(np.float32))


@pytest.fixture(params=SCORES)
def task(request):
    return request.param


@pytest.fixture
def box(tmp_path, task):
    box = Box(tmp_path / "ml")
    given = {"num_classes": "3"} if task == "multiclass_classifier" else {}
    box.hyperparameters(predictor_type=task, epochs="3", mini_batch_size="50", **given)
    box.channel("train", {"a.pbr": rows(task, 500, 0)})
    return box


def metrics_of(out):
    return [
        json.loads(s.removeprefix("#metrics ")) for s in out.splitlines() if s[:9] == "#metrics "
    ]


def test_the_platform_finds_its_metrics(box, task, monkeypatch, capsys):
    box.channel("validation", {"a.pbr": rows(task, 200, 1)})
    box.channel("test", {"a.pbr": rows(task, 200, 2)})
    out = box.trained(monkeypatch, capsys)
    for expression in COMMON + OBJECTIVES + SCORES[task]:
        found = re.findall(expression, out)
        assert found, expression
        assert all(np.isfinite(float(number)) for number in found), expression


def test_without_validation_train_is_scored(box, task, monkeypatch, capsys):
    out = box.trained(monkeypatch, capsys)
    assert re.search(r"#quality_metric: host=\S+, train \S+_objective <loss>=(\S+)", out)
    assert f"#train_score (algo-1) : ('{OBJECTIVE[task]}', " in out
    assert "Test data is not provided." in out
    assert ", validation " not in out


def test_a_run_line_by_line(box, task, monkeypatch, capsys):
    """The order of the original's lines, of the kinds that users read or parse."""
    box.channel("validation", {"a.pbr": rows(task, 200, 1)})
    out = box.trained(monkeypatch, capsys)
    objective = OBJECTIVE[task]
    epochs = []
    for epoch, percent in enumerate((33, 66, 100)):
        epochs += [
            rf"#quality_metric: host=algo-1, epoch={epoch}, train {objective} <loss>=\S+",
            rf"#quality_metric: host=algo-1, epoch={epoch}, validation {objective} <loss>=\S+",
            rf"#early_stopping_criteria_metric: host=algo-1, epoch={epoch}, criteria=\S+, value=.+",
            rf"(Epoch {epoch}: Loss improved. Updating best model\n)?",
            rf"Saving model for epoch: {epoch}",
            rf"#progress_metric: host=algo-1, completed {percent} % of epochs",
            r"#throughput_metric: host=algo-1, train throughput=\S+ records/second",
        ]
    expected = [
        r"smalgos container train, base directory \S+",
        r"Reading default configuration from \S+: \{.*'epochs': '15'.*\}",
        r"Merging with provided configuration from \S+hyperparameters\.json: \{.*'epochs': '3'.*\}",
        r"Final configuration: \{.*'epochs': '3'.*\}",
        r"Using default worker\.",
        r"Loaded iterator creator application/x-recordio-protobuf for content type \(.*\)",
        r"Checkpoint loading and saving are disabled\.",
        r"Create Store: local",
        r"Number of GPUs being used: 0",
        r"Scaling model computed with parameters:\n(.*\n)+?.*\}",
        *epochs,
        rf"#validation_score \(algo-1\) : \('{objective}', \S+\)",
        r"(#validation_score \(algo-1\) : .*\n)+",
        rf"#quality_metric: host=algo-1, validation {objective} <loss>=\S+",
        r"(#quality_metric: .*\n)+",
        r"Best model found for hyperparameters: \{.*\"learning_rate\": .*\}",
        r"Test data is not provided\.",
        r"Serializing model to \S+model\.safetensors",
    ]
    pattern = "".join(e if e.endswith((r"\n)+", r"\n)?")) else f"{e}\n" for e in expected)
    said = "".join(f"{s}\n" for s in out.splitlines() if not s.startswith("#metrics "))
    said = re.sub(f"^{PREFIX}", "", said, flags=re.MULTILINE)
    assert re.fullmatch(pattern, said), said


def test_metrics_of_all_models(box, task, monkeypatch, capsys):
    box.channel("validation", {"a.pbr": rows(task, 200, 1)})
    out = box.trained(monkeypatch, capsys)
    metrics = metrics_of(out)
    for entry in metrics:
        assert list(entry) == ["StartTime", "EndTime", "Dimensions", "Metrics"]
        assert entry["StartTime"] <= entry["EndTime"]
        dimensions = entry["Dimensions"]
        assert dimensions["Algorithm"] == "Linear Learner"
        assert (dimensions["Host"], dimensions["Operation"]) == ("algo-1", "training")
        for series in entry["Metrics"].values():
            assert set(series) == {"sum", "count", "min", "max"}
    models = load_model(box.model).notes["hyperparameters"]["num_models"]
    for split in ("train", "validation"):
        name = f"{split}_{OBJECTIVE[task]}"
        told = [e for e in metrics if name in e["Metrics"]]
        seen = [(e["Dimensions"]["epoch"], e["Dimensions"]["model"]) for e in told]
        assert seen == [(epoch, model) for epoch in range(3) for model in range(models)]
        first = re.search(rf"epoch=0, {split} {OBJECTIVE[task]} <loss>=(\S+)", out)
        assert float(first[1]) == told[0]["Metrics"][name]["sum"]
    meta = [e["Dimensions"].get("Meta") for e in metrics]
    assert meta.count("init_train_data_iter") == 1
    assert meta.count("training_data_iter") == 3
    last = metrics[-1]["Metrics"]
    assert last["epochs"]["sum"] == 3
    assert last["update.time"]["count"] == 3
    assert {"initialize.time", "finalize.time", "setuptime", "totaltime"} <= set(last)
    assert last["totaltime"]["sum"] >= last["update.time"]["sum"]


def test_early_stopping_is_told(tmp_path, monkeypatch, capsys):
    box = Box(tmp_path / "ml")
    box.hyperparameters(
        predictor_type="regressor", epochs="50", mini_batch_size="50", num_models="1",
        early_stopping_patience="1", early_stopping_tolerance="0.5",
    )  # fmt: skip
    box.channel("train", {"a.pbr": rows("regressor", 500, 0)})
    out = box.trained(monkeypatch, capsys)
    at = out.index("Early stop condition met. Stopping training.")
    assert "completed 100 % of epochs" in out[at:]
    assert "epoch=" not in out[out.index("#throughput_metric", at) :]


def test_pca_lines(tmp_path, monkeypatch, capsys):
    box = Box(tmp_path / "ml", "pca")
    box.hyperparameters(num_components="2", mini_batch_size="100")
    box.channel("train", {"a.pbr": records(numbers()[0])})
    out = box.trained(monkeypatch, capsys)
    assert "4 feature(s) found in 'data'." in out
    assert "#progress_metric: host=algo-1, completed 100 % of epochs" in out
    assert all(re.search(expression, out) for expression in COMMON)
    assert {e["Dimensions"]["Algorithm"] for e in metrics_of(out)} == {"PCA"}
    assert "by component [" in out


# The pieces ---------------------------------------------------------------------------------------


def test_lines_have_a_prefix_and_metrics_none():
    out = io.StringIO()
    with logging_to(out) as log:
        log.info("two\nlines")
        log.info("#metrics {}")
        warnings.warn("odd", stacklevel=1)
        lines = Lines(algorithm("pca"), "algo-1", log)
        lines.metrics({"a": Series(1, 2.5)}, since=1.0, epoch=0)
    first, second, third, fourth, fifth = out.getvalue().splitlines()
    assert re.fullmatch(PREFIX + "two", first)
    assert str(threading.get_ident()) in first
    assert (second, third) == ("lines", "#metrics {}")
    assert re.fullmatch(PREFIX + "odd", fourth)
    assert "WARNING" in fourth
    told = json.loads(fifth.removeprefix("#metrics "))
    assert told.pop("EndTime") > 1
    assert told == {
        "StartTime": 1.0,
        "Dimensions": {"Algorithm": "PCA", "Host": "algo-1", "Operation": "training", "epoch": 0},
        "Metrics": {"a": {"sum": 3.5, "count": 2, "min": 1, "max": 2.5}},
    }
    assert out.getvalue() == out.getvalue()
    LOG.info("nobody listens any more")
    assert "nobody" not in out.getvalue()


def test_counters_as_in_a_log_of_the_original():
    """Two looks (1000 rows, 11000 rows) and eleven epochs of 14430 rows, batches of 1000."""
    counters = Counters()
    for n in [1000, 11000, *[14430] * 11]:
        counters.add(n, 1000)
    assert {name: series.values for name, series in counters.as_dict().items()} == {
        "Total Records Seen": [170730],
        "Total Batches Seen": [177],
        "Max Records Seen Between Resets": [14430],
        "Max Batches Seen Between Resets": [15],
        "Reset Count": [13],
        "Number of Records Since Last Reset": [14430],
        "Number of Batches Since Last Reset": [15],
    }


def test_counters_before_anything_was_read():
    assert {s.values[0] for s in Counters().as_dict().values()} == {0}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (1e-05, "1e-05"), (15, "15"), ("auto", "auto")]
)
def test_defaults_as_the_platform_spells_them(value, text):
    assert as_string(value) == text


def test_an_algorithm_without_lines_of_its_own_has_the_common_ones():
    class Other:
        name = "other"

    assert lines_of(Other()) is Lines
