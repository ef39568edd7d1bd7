"""Training jobs of boosted trees: what is read, what is said, what is left."""

import io
import os
import re
import signal
import tarfile

import numpy as np
import pytest
import xgboost

from smalgos.algorithms import load_model
from smalgos.container import folds
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.container.own_lines import XGBoostLines
from smalgos.formats.block import Block
from smalgos.formats.content_type import blocks_writer
from smalgos.learning.folds import parts
from tests.container.box import CSV, RECORDIO, Box, numbers, records

LIBSVM = "text/libsvm"
PARQUET = "application/x-parquet"
X, SCORE = numbers(300)
Y = (SCORE > 0).astype(np.float32)
X_VAL, SCORE_VAL = numbers(120, seed=1)
Y_VAL = (SCORE_VAL > 0).astype(np.float32)
LOGISTIC = {"objective": "binary:logistic", "num_round": "3", "max_depth": "3"}


def gaps(x):
    """Rows in which much is missing."""
    return np.where(x < -0.5, np.float32(np.nan), x)


def cells(x, y, delimiter=",", weights=None):
    """CSV text with empty cells for what is missing."""
    lines = []
    for i, row in enumerate(x.tolist()):
        weight = [] if weights is None else [f"{weights[i]:.9g}"]
        written = ["" if v != v else f"{v:.9g}" for v in row]
        lines.append(delimiter.join([f"{y[i]:.9g}", *weight, *written]) + "\n")
    return "".join(lines)


def pairs(x, y, first=0, weights=None):
    """libsvm text without what is missing."""
    lines = []
    for i, row in enumerate(x.tolist()):
        label = f"{y[i]:.9g}" + ("" if weights is None else f":{weights[i]:.9g}")
        lines.append(
            " ".join([label, *(f"{j + first}:{v:.9g}" for j, v in enumerate(row) if v == v)])
        )
    return "\n".join(lines) + "\n"


def parquet(x, y):
    file = io.BytesIO()
    blocks_writer(PARQUET)(file, [Block.of(x, y)])
    return file.getvalue()


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "ml", "xgboost")
    box.hyperparameters(**LOGISTIC)
    return box


def rounds(out):
    """[(number, {name: text})] of the lines of rounds."""
    found = re.findall(r"^\[(\d+)\]\t(.*)$", out, re.MULTILINE)
    return [(int(n), dict(part.split(":") for part in told.split("\t"))) for n, told in found]


def test_lines_and_model(box, monkeypatch, capsys):
    box.hyperparameters(**LOGISTIC, eval_metric="logloss,error,accuracy")
    box.channel("train", {"a.csv": cells(X, Y)}, CSV)
    box.channel("validation", {"a.csv": cells(X_VAL, Y_VAL)}, "text/csv; label_size=1")
    out = box.trained(monkeypatch, capsys)
    assert "\nINFO:root:Determined delimiter of CSV input is ','\n" in out
    assert "\nINFO:root:Single node training.\n" in out
    assert "\nINFO:root:Train matrix has 300 rows and 4 columns\n" in out
    assert "\nINFO:root:Validation matrix has 120 rows\n" in out
    assert "#metrics" not in out
    assert "#quality_metric" not in out
    said = rounds(out)
    assert [n for n, _ in said] == [0, 1, 2]
    names = [
        f"{split}-{m}"
        for split in ("train", "validation")
        for m in ("error", "logloss", "accuracy")
    ]
    assert list(said[0][1]) == names
    assert all(re.fullmatch(r"\d\.\d{5}", text) for _, told in said for text in told.values())
    # As the platform looks for it, in logs that show tabs so.
    shown, number = out.replace("\t", "#011"), r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
    found = re.findall(rf".*\[[0-9]+\].*#011validation-logloss:{number}.*", shown)
    assert found == [told["validation-logloss"] for _, told in said]

    assert box.leftovers() == []
    booster = xgboost.Booster(model_file=str(box.model))
    for split, x, y in (("train", X, Y), ("validation", X_VAL, Y_VAL)):
        data = xgboost.DMatrix(x, y)
        np.testing.assert_allclose(
            booster.predict(data), load_model(box.model).predict(Block.of(x))["score"], rtol=1e-6
        )
        booster.set_param({"eval_metric": "logloss"})
        told = float(booster.eval(data).rpartition(":")[2])
        assert float(said[-1][1][f"{split}-logloss"]) == pytest.approx(told, abs=2e-5)


def test_the_default_content_type_is_libsvm(box, monkeypatch, capsys):
    box.channel("train", {"part-0": pairs(gaps(X), Y)})
    out = box.trained(monkeypatch, capsys)
    assert "delimiter" not in out
    assert [list(told) for _, told in rounds(out)] == [["train-logloss"]] * 3


def margins(box, monkeypatch, capsys, **files):
    """Of rows in which much is missing, by the model of a train channel."""
    for content_type, content in files.values():
        box.channel("train", {"a": content}, content_type)
    box.trained(monkeypatch, capsys)
    return load_model(box.model).predict_margin(gaps(X_VAL))


def test_what_is_missing_is_missing_in_all_formats(box, monkeypatch, capsys):
    x = gaps(X)
    kinds = [
        (CSV, cells(x, Y)), (CSV, cells(x, Y, ";")), ("text/csv; delimiter=|", cells(x, Y, "|")),
        (CSV, cells(x, Y, "\t")), (LIBSVM, pairs(x, Y)), ("libsvm", pairs(x, Y, 1)),
        (RECORDIO, records(x, Y)),
    ]  # fmt: skip
    found = [margins(box, monkeypatch, capsys, train=kind) for kind in kinds]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    full = margins(box, monkeypatch, capsys, train=(CSV, cells(X, Y)))
    other = margins(box, monkeypatch, capsys, train=(PARQUET, parquet(X, Y)))
    np.testing.assert_array_equal(other, full)
    assert (full != found[0]).any()


def test_weights(box, monkeypatch, capsys):
    weights = np.where(X[:, 1] > 0, 3, 0.5)
    plain = margins(box, monkeypatch, capsys, train=(CSV, cells(X, Y)))
    box.hyperparameters(**LOGISTIC, csv_weights="1")
    found = [
        margins(box, monkeypatch, capsys, train=kind)
        for kind in ((CSV, cells(X, Y, ",", weights)), (LIBSVM, pairs(X, Y, 0, weights)))
    ]
    np.testing.assert_array_equal(*found)
    assert (found[0] != plain).any()
    # Of CSV alone: the second column of other tables is a feature.
    np.testing.assert_array_equal(
        margins(box, monkeypatch, capsys, train=(PARQUET, parquet(X, Y))), plain
    )


@pytest.mark.parametrize(
    ("content_type", "content", "message"),
    [
        ("text/csv; label_size=2", cells(X, Y), "train channel: label_size=2: rows have one label"),
        ("text/csv; label_size=0", cells(X, Y), "train channel: label_size=0"),
        (CSV, cells(X, Y + 3), "train channel, train/a, row 1: label [34]: binary:logistic takes"),
        (CSV, cells(X[:9], Y) + "x,1,2,3,4\n", "train/a, row 10, column 1: 'x' is not a number"),
        (CSV, "y,a,b\n1,2,3\n", "looks like a header"),
        (CSV, cells(X[:5], Y) + "1,2\n", "train/a, row 6 has 2 columns, the first row has 5"),
        (CSV, "", "no files to read"),
        (CSV, "1\n0\n", "1 column"),
        (LIBSVM, cells(X, Y), "train/a, row 1"),
        (CSV, pairs(X, Y), "train/a, row 1"),
        (None, cells(X, Y), "train/a, row 1"),
        (RECORDIO, records(X), "no labels"),
        ("text/html", "", "'text/html' is not supported"),
    ],
)
def test_what_cannot_be_read(box, monkeypatch, capsys, content_type, content, message):
    box.channel("train", {"a": content}, content_type)
    assert re.search(message.replace("(", r"\("), box.failed(monkeypatch, capsys))


def test_an_empty_channel(box, monkeypatch, capsys):
    box.channel("train", {".hidden": cells(X, Y), "_SUCCESS": ""}, CSV)
    assert box.failed(monkeypatch, capsys).startswith("ClientError: train channel: ")


def test_an_empty_validation_channel(box, monkeypatch, capsys):
    box.channel("train", {"a": cells(X, Y)}, CSV)
    box.channel("validation", {}, CSV)
    assert box.failed(monkeypatch, capsys).startswith("ClientError: validation channel: ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_round": "0"}, "num_round"),
        ({"num_rounds": "1"}, "did you mean num_round"),
        ({"objective": "multi:softmax"}, "num_class=0"),
        ({"objective": "multi:softmax", "num_class": "3"}, ""),
        ({"objective": "count:poisson"}, ""),
        ({"early_stopping_rounds": "2"}, "validation"),
        ({"eval_metric": "no"}, "eval_metric=no"),
        ({"eval_metric": "mlogloss"}, "does not apply to binary:logistic"),
        ({"_kfold": "1"}, "must be an integer >= 2"),
        ({"_kfold": "400"}, "only 300 rows"),
    ],
)
def test_hyperparameters(box, monkeypatch, capsys, given, message):
    box.hyperparameters(**LOGISTIC | given)
    box.channel("train", {"a": cells(X, Y)}, CSV)
    if message:
        assert message in box.failed(monkeypatch, capsys)
    else:
        box.trained(monkeypatch, capsys)


def test_the_metric_of_a_tuning_job_stops_early(box, monkeypatch, capsys):
    noise = np.random.default_rng(0).permutation(Y_VAL)
    given = {"eval_metric": "error,auc", "early_stopping_rounds": "2", "num_round": "50"}
    box.hyperparameters(**LOGISTIC | given, _tuning_objective_metric="validation:logloss")
    box.channel("train", {"a": cells(X, Y)}, CSV)
    box.channel("validation", {"a": cells(X_VAL, noise)}, CSV)
    out = box.trained(monkeypatch, capsys)
    assert "\nSetting up HPO optimized metric to be : logloss\n" in out
    said = rounds(out)
    assert list(said[0][1])[3:] == ["validation-auc", "validation-error", "validation-logloss"]
    values = [float(told["validation-logloss"]) for _, told in said]
    best = int(np.argmin(values))
    assert len(values) == best + 3 < 50
    model = load_model(box.model)
    assert (model.rounds, model.best_iteration) == (best + 1, best)
    assert xgboost.Booster(model_file=str(box.model)).num_boosted_rounds() == best + 1
    curves = model.notes["evals"]
    assert list(curves) == ["validation:auc", "validation:error", "validation:logloss"]
    assert len(curves["validation:logloss"]) == best + 1


def test_it_goes_on_from_an_earlier_model(box, monkeypatch, capsys, tmp_path):
    box.channel("train", {"a": cells(X, Y)}, CSV)
    box.trained(monkeypatch, capsys)
    first, data = load_model(box.model), box.model.read_bytes()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(box.model, "xgboost-model")
    found = set()
    for name, content in (("xgboost-model", data), ("model.tar.gz", archive.getvalue())):
        for old in box.channel("model").iterdir():
            old.unlink()
        box.channel("model", {name: content})
        box.trained(monkeypatch, capsys)
        model = load_model(box.model)
        assert model.rounds == 6
        np.testing.assert_array_equal(model.predict_margin(X, (0, 3)), first.predict_margin(X))
        found.add(box.model.read_bytes())
    assert len(found) == 1
    box.model.unlink()
    box.channel("model", {"model.tar.gz": b"no archive"})
    assert "model.tar.gz: not a" in box.failed(monkeypatch, capsys)


# Cross-validation ---------------------------------------------------------------------------------


def test_cross_validation(box, monkeypatch, capsys):
    box.hyperparameters(**LOGISTIC, _kfold="3", _num_cv_round="2", eval_metric="logloss,error")
    box.channel("train", {"a.csv": cells(X, Y)}, CSV)
    box.channel("validation", {"b.csv": cells(X_VAL, Y_VAL)}, CSV)
    out = box.trained(monkeypatch, capsys)
    assert "INFO:root:Run 2-round of 3-fold cross validation with 420 rows\n" in out
    assert re.findall(r"Train cross validation fold (\d)", out) == list("123123")
    said = rounds(out)
    summaries = [told for n, told in said if n == 3]
    assert [n for n, _ in said] == [*[0, 1, 2] * 3, 3, *[0, 1, 2] * 3, 3, 3]
    assert list(summaries[0]) == [
        "train-error",
        "validation-error",
        "train-logloss",
        "validation-logloss",
    ]
    ends = [float(told["validation-logloss"]) for n, told in said if n == 2]
    for told, part in zip(summaries, (ends[:3], ends[3:], ends), strict=True):
        assert float(told["validation-logloss"]) == pytest.approx(np.mean(part), abs=1e-5)

    files = [f"xgboost-model-{i}" for i in range(6)]
    assert box.leftovers() == sorted(["predictions.csv", *files])
    lines = (box.base / "output" / "data" / "predictions.csv").read_text().splitlines()
    assert all(re.fullmatch(r"[01]\.0{6},0\.\d{6},[01]\.0{6}", line) for line in lines)
    found = np.loadtxt(lines, delimiter=",")
    x, y = np.concatenate([X, X_VAL]), np.concatenate([Y, Y_VAL])
    np.testing.assert_array_equal(found[:, 0], y)
    # Each row's prediction is that of the models that did not see it.
    models = [load_model(box.base / "model" / file) for file in files]
    mean = np.zeros(420)
    for model, out_rows in zip(models, parts(0, 420, 3, 2, y), strict=True):
        mean[out_rows] += model.predict(Block.of(x[out_rows]))["score"] / 2
    np.testing.assert_allclose(found[:, 1], mean, atol=1e-6)
    assert ((found[:, 2] == y).mean()) > 0.7
    # They answer together.
    together = load_model(box.base / "model").predict(Block.of(X_VAL))["score"]
    apart = np.mean([m.predict(Block.of(X_VAL))["score"] for m in models], axis=0)
    np.testing.assert_allclose(together, apart, rtol=1e-6)


@pytest.mark.parametrize(
    ("objective", "more", "labels", "line"),
    [
        ("reg:squarederror", {}, SCORE, r"-?\d+\.\d{6},-?\d+\.\d{6}"),
        (
            "multi:softprob",
            {"num_class": "3"},
            np.digitize(SCORE, [-1, 1]),
            r"[012]\.0{6},[01]\.\d{6},[012]\.0{6}",
        ),
        (
            "multi:softmax",
            {"num_class": "3"},
            np.digitize(SCORE, [-1, 1]),
            r"[012]\.0{6},[01]\.\d{6},[012]\.0{6}",
        ),
        ("binary:hinge", {}, Y, r"[01]\.0{6},[01]\.0{6},[01]\.0{6}"),
    ],
)
def test_predictions_of_what_was_held_out(objective, more, labels, line, tmp_path):
    (tmp_path / "rows.csv").write_text(cells(X, labels))
    given = {"objective": objective, "num_round": "2", "_kfold": "2", **more}
    job = Job("xgboost", given, {"train": ChannelConfig(tmp_path / "rows.csv")}, tmp_path / "model")
    outcome = execute(job)
    assert list(outcome.scores) == ["train", "validation"]
    lines = (tmp_path / "model" / "data" / folds.PREDICTIONS).read_text().splitlines()
    assert len(lines) == len(X)
    assert all(re.fullmatch(line, told) for told in lines), lines[0]


def test_parts():
    classes = np.repeat([0.0, 1.0, 2.0], [50, 30, 21]).astype(np.float32)
    for given in (None, classes):
        found = list(parts(1, 101, 4, 2, given))
        assert [len(rows) for rows in found] == [26, 25, 25, 25] * 2
        for repeat in (found[:4], found[4:]):
            np.testing.assert_array_equal(np.sort(np.concatenate(repeat)), np.arange(101))
        assert not np.array_equal(found[0], found[4])
        if given is not None:
            shares = np.array(
                [np.bincount(classes[rows].astype(int), minlength=3) for rows in found]
            )
            assert (np.ptp(shares, axis=0) <= 1).all()
        again = list(parts(1, 101, 4, 2, given))
        assert all(map(np.array_equal, found, again))


def test_a_bad_row_is_named_where_it_was_read(box, monkeypatch, capsys):
    box.hyperparameters(**LOGISTIC, _kfold="2")
    box.channel("train", {"a.csv": cells(X, Y)}, CSV)
    box.channel("validation", {"b.csv": "7,1,2,3,4\n"}, CSV)
    assert "validation/b.csv, row 1: label 7" in box.failed(monkeypatch, capsys)


# Interruptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{}, {"subsample": "0.7", "booster": "dart", "rate_drop": "0.4"}, {"_kfold": "2"}]
)
def test_stopped_anywhere_it_resumes_to_the_same_bytes(more, tmp_path):
    (tmp_path / "rows.csv").write_text(cells(gaps(X), Y))
    (tmp_path / "more.csv").write_text(cells(X_VAL, Y_VAL))
    channels = {
        n: ChannelConfig(tmp_path / f)
        for n, f in (("train", "rows.csv"), ("validation", "more.csv"))
    }
    given = {**LOGISTIC, "num_round": "4", "early_stopping_rounds": "3", **more}

    def run(name, stop=lambda: False, checkpoint=None):
        job = Job(
            "xgboost",
            given,
            channels,
            tmp_path / name,
            checkpoint=checkpoint,
            checkpoint_seconds=0.0,
        )
        outcome = execute(job, stop=stop)
        return outcome.why, {
            p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()
        }

    why, want = run("whole")
    assert why == "done"
    for n in range(1, 20):
        left = iter(range(n))
        name, kept = f"run-{n}", tmp_path / f"kept-{n}" / "checkpoint.safetensors"
        why, _ = run(name, lambda left=left: next(left, None) is None, kept)
        if why == "done":
            assert n > 5
            return
        assert run(name, checkpoint=kept) == ("done", want), n


def test_sigterm_leaves_the_rounds_so_far(box, monkeypatch, capsys):
    box.hyperparameters(**LOGISTIC | {"num_round": "1000", "save_model_on_termination": "true"})
    box.channel("train", {"a": cells(X, Y)}, CSV)
    told = XGBoostLines.round

    def terminated(self, number, metrics):
        told(self, number, metrics)
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(XGBoostLines, "round", terminated)
    out = box.trained(monkeypatch, capsys)
    assert "Training was asked to stop" in out
    assert 5 <= load_model(box.model).rounds <= 6
    assert box.leftovers() == []
