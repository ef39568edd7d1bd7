"""Whole runs: files below a base directory in; log lines, model or failure, and exit code out."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from smalgos.algorithms import load_model
from tests.container.box import CSV, RECORDIO, Box, numbers, records, table

BINARY = {"predictor_type": "binary_classifier", "epochs": "2", "mini_batch_size": "50"}
PCA = {"num_components": "2", "mini_batch_size": "100"}


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda box: box.run(monkeypatch, capsys)


@pytest.fixture
def trained(monkeypatch, capsys):
    return lambda box: box.trained(monkeypatch, capsys)


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "ml")
    box.hyperparameters(**BINARY)
    return box


def binary(rows=400, seed=0):
    features, score = numbers(rows, seed=seed)
    return features, (score > 0).astype(np.float32)


# Runs that end well -------------------------------------------------------------------------------


def test_linear_learner_from_records(box, trained):
    box.channel("train", {"part-0.pbr": records(*binary()), "part-1.pbr": records(*binary(200, 1))})
    box.channel("validation", {"part-0.pbr": records(*binary(100, 2))}, RECORDIO)
    box.channel("test", {"part-0.csv": table(*binary(100, 3)[::-1][::-1])}, CSV)
    out = trained(box)
    assert box.leftovers() == []
    model = load_model(box.model)
    assert model.notes["hyperparameters"]["feature_dim"] == 4
    assert "#validation_score (algo-1) : ('binary_classification_accuracy', 0." in out
    assert "#test_score (algo-1) : ('binary_classification_accuracy', 0." in out


def test_pca_from_csv(tmp_path, trained):
    box = Box(tmp_path / "ml", "pca")
    box.hyperparameters(**PCA, feature_dim="4")
    box.channel("train", {"a.csv": table(numbers()[0])}, "text/csv;label_size=0")
    trained(box)
    assert load_model(box.model).v.shape == (4, 2)


def models_of(trained, tmp_path, setups):
    """Bytes of the models of some boxes, each set up by one function."""
    found = []
    for i, setup in enumerate(setups):
        box = Box(tmp_path / f"ml-{i}")
        box.hyperparameters(**BINARY)
        setup(box)
        trained(box)
        found.append(box.model.read_bytes())
    return found


def test_no_source_of_the_same_rows_changes_a_byte(tmp_path, trained):
    x, y = binary()
    whole, first, second = records(x, y), records(x[:130], y[:130]), records(x[130:], y[130:])

    def pipes(box):
        box.channel("train", mode="Pipe")
        box.feed("train", whole, range(6))

    models = models_of(
        trained,
        tmp_path,
        [
            lambda box: box.channel("train", {"a.pbr": whole}),
            lambda box: box.channel("train", {"a.pbr": first, "b.pbr": second}),
            lambda box: box.channel("train", {"a.pbr": whole}, mode="FastFile"),
            lambda box: box.channel("train", {"a.pbr.gz": gzip.compress(whole)}),
            lambda box: box.channel("train", {"a.csv": table(x, y)}, CSV),
            lambda box: box.channel("train", {"a": table(x, y)}, "text/csv; label_size=1"),
            pipes,
        ],
    )
    assert len(set(models)) == 1


def test_pipes_are_read_one_per_pass(box, trained):
    """Scaler and first epoch share one pipe; so do validation, and the final score gets its own."""
    box.channel("train", mode="Pipe")
    box.channel("validation", mode="Pipe")
    box.channel("test", mode="Pipe")
    train = box.feed("train", records(*binary()), range(2))
    validation = box.feed("validation", records(*binary(100, 1)), range(3))
    test = box.feed("test", records(*binary(100, 2)), [0])
    out = trained(box)
    for thread in (train, validation, test):
        thread.join(5)
        assert not thread.is_alive()
    assert "The channel 'train' is in pipe input mode under" in out


def test_it_goes_on_from_an_earlier_model(tmp_path, trained):
    x, y = binary()
    first = Box(tmp_path / "first")
    first.hyperparameters(**BINARY | {"num_models": "1"})
    first.channel("train", {"a.pbr": records(x, y)})
    trained(first)
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(first.model, "model.safetensors")
    models = []
    for i, name in enumerate(["model.tar.gz", "model.safetensors"]):
        box = Box(tmp_path / f"again-{i}")
        box.hyperparameters(
            **BINARY, num_models="1", learning_rate="1e-9", use_lr_scheduler="false"
        )
        box.channel("train", {"a.pbr": records(x, y)})
        folder = box.channel("model", {}, "application/x-sagemaker-model")
        shutil.copy(archive if name.endswith("gz") else first.model, folder / name)
        trained(box)
        models.append(box.model.read_bytes())
        before, after = load_model(first.model), load_model(box.model)
        np.testing.assert_allclose(after.coef, before.coef, rtol=1e-4, atol=1e-6)
    assert models[0] == models[1]


def test_every_hyperparameter_of_the_library_is_taken(box, trained):
    box.hyperparameters(
        **BINARY, random_state="7", n_jobs="1", device="cpu", verbose="1", sagemaker_region="x"
    )
    box.channel("train", {"a.pbr": records(*binary())})
    trained(box)
    assert load_model(box.model).notes["hyperparameters"]["random_state"] == 7


def test_under_tuning_one_model_is_trained(box, trained):
    box.hyperparameters(**BINARY, _tuning_objective_metric="validation:objective_loss")
    box.channel("train", {"a.pbr": records(*binary())})
    trained(box)
    assert load_model(box.model).notes["hyperparameters"]["num_models"] == 1


def test_a_column_that_counts_the_rows_is_warned_of(box, trained):
    x, y = binary()
    x[:, 0] = np.arange(len(x))
    box.channel("train", {"a.csv": table(x, y)}, CSV)
    out = trained(box)
    assert re.search(r" WARNING \d+\] .*train/a\.csv", out)


# Start-up -----------------------------------------------------------------------------------------


def test_no_scikit_learn_pandas_or_pyarrow_is_loaded(box):
    box.channel("train", {"a.pbr": records(*binary())})
    code = (
        "import sys\n"
        "from smalgos.container.train import main\n"
        "assert not {'numba', 'numpy'} & set(sys.modules), 'the first line would wait for these'\n"
        "code = main([])\n"
        "print(sorted({'sklearn', 'pandas', 'pyarrow', 'scipy.optimize'} & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    process = box.start(code)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == "[]"


def test_it_is_a_program(box):
    box.channel("train", {"a.pbr": records(*binary())})
    command = [sys.executable, "-m", "smalgos.container.train", "now"]
    env = {**os.environ, **box.environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert box.failure == "ClientError: unknown arguments now: train takes none"


# Bad input ----------------------------------------------------------------------------------------


def good(box):
    box.channel("train", {"a.pbr": records(*binary())})


def with_hyperparameters(**given):
    def spoil(box):
        good(box)
        box.hyperparameters(**BINARY | given)

    return spoil


def with_train(files, content_type=None):
    return lambda box: box.channel("train", files, content_type)


def with_channel(name, files, content_type=None):
    def spoil(box):
        good(box)
        box.channel(name, files, content_type)

    return spoil


def with_config(name, value):
    def spoil(box):
        good(box)
        box.config(name, value)

    return spoil


def changed(row, *, label=None, feature=None):
    x, y = binary()
    if label is not None:
        y[row] = label
    if feature is not None:
        x[row, 1] = feature
    return x, y


X, Y = binary()
PACKED = gzip.compress(records(X, Y))

BAD = {
    "unknown hyperparameter": (
        with_hyperparameters(mini_batch_siz="10"),
        r"unknown hyperparameter 'mini_batch_siz'.*did you mean mini_batch_size\?",
    ),
    "value out of range": (with_hyperparameters(epochs="0"), r"epochs=0: must be an integer >= 1"),
    "word for a number": (
        with_hyperparameters(learning_rate="fast"),
        r"learning_rate='fast': must be a number > 0",
    ),
    "NaN for a number": (with_hyperparameters(wd="nan"), r"wd=.*nan.*: must be a number"),
    "required hyperparameter missing": (
        lambda box: (good(box), box.hyperparameters(epochs="1")),
        r"predictor_type is required",
    ),
    "feature_dim": (
        with_hyperparameters(feature_dim="5"),
        r"feature_dim=5: the train channel has 4 features",
    ),
    "NaN in RecordIO": (
        with_train({"a.pbr": records(X[:9], Y[:9]), "b.pbr": records(*changed(7, feature=np.nan))}),
        r"train/b\.pbr, row 8: feature 1 is NaN",
    ),
    "infinity in CSV": (
        with_train({"a.csv": table(*changed(7, feature=np.inf))}, CSV),
        r"train/a\.csv, row 8: feature 1 is inf",
    ),
    "label outside": (
        with_train({"a.pbr": records(*changed(300, label=2))}),
        r"train/a\.pbr, row 301: label 2: binary_classifier takes 0 or 1",
    ),
    "feature counts of files differ": (
        with_train({"a.pbr": records(X, Y), "b.pbr": records(X[:, :3], Y)}),
        r"train/b\.pbr.*width 3.*train/a\.pbr.*width 4",
    ),
    "feature counts of channels differ": (
        with_channel("validation", {"v.pbr": records(X[:, :3], Y)}),
        r"validation channel, validation/v\.pbr, row 1: 3 features, where the train channel has 4",
    ),
    "ragged CSV": (with_train({"a.csv": table(X, Y) + "1,2\n"}, CSV), r"train/a\.csv, row 401"),
    "too few rows": (
        with_train({"a.pbr": records(X[:49], Y[:49])}),
        r"49 rows.*mini_batch_size=50",
    ),
    "missing channel": (lambda box: None, r"missing required channel: train"),
    "unknown channel": (
        with_channel("validate", {"v.pbr": records(X, Y)}),
        r"unknown channel 'validate': linear-learner takes train, validation, test, model",
    ),
    "empty channel": (with_train({}), r"train channel: .*/train: no files to read"),
    "channel of empty files": (with_train({"a.pbr": b""}), r"train channel: .*no files to read"),
    "no rows": (with_train({"a.csv": "\n"}, CSV), r"train.*no rows"),
    "folder missing": (
        lambda box: shutil.rmtree(box.channel("train", {})),
        r"train channel: .*/train: no such file or directory",
    ),
    "labels missing": (with_train({"a.pbr": records(X)}), r"the rows have no labels"),
    "test labels missing": (
        with_channel("test", {"t.pbr": records(X)}),
        r"test channel, test/t\.pbr, row 1: no label",
    ),
    "test label outside": (
        with_channel("test", {"t.pbr": records(*changed(20, label=3))}),
        r"test channel, test/t\.pbr, row 21: label 3",
    ),
    "NaN in test": (
        with_channel("test", {"t.pbr": records(*changed(20, feature=np.nan))}),
        r"test channel, test/t\.pbr, row 21: feature 1 is NaN",
    ),
    "infinity in validation": (
        with_channel("validation", {"v.pbr": records(*changed(20, feature=np.inf))}),
        r"validation channel, validation/v\.pbr, row 21: feature 1 is inf",
    ),
    "truncated RecordIO": (
        with_train({"a.pbr": records(X, Y)[:-3]}),
        r"train/a\.pbr.*byte",
    ),
    "not RecordIO": (with_train({"a.pbr": table(X, Y)}), r"train/a\.pbr.*(magic|RecordIO)"),
    "truncated gzip": (
        with_train({"a.pbr.gz": PACKED[:-20]}),
        r"train/a\.pbr\.gz: the gzip data are damaged or cut off",
    ),
    "CSV with a header": (
        with_train({"a.csv": "y,a,b,c,d\n" + table(X, Y)}, CSV),
        r"train/a\.csv.*header",
    ),
    "content type": (
        with_train({"a.png": "{}"}, "image/png"),
        r"train channel: content type 'image/png' is not supported",
    ),
    "two hosts": (with_config("resourceconfig.json", {"hosts": ["a", "b"]}), r"has 2 hosts"),
    "broken JSON": (with_config("hyperparameters.json", "{'a': 1}"), r"hyperparameters\.json: not"),
    "model channel empty": (with_channel("model", {}), r"model channel: .* holds neither model"),
    "model channel no model": (
        with_channel("model", {"model.tar.gz": PACKED}),
        r"model channel: |model\.tar\.gz: this is|model\.tar\.gz: a gzip",
    ),
}


@pytest.mark.parametrize("what", list(BAD))
def test_bad_input_is_one_clear_error(box, run, what):
    spoil, said = BAD[what]
    spoil(box)
    code, out = run(box)
    assert code == 1
    assert box.failure.startswith("ClientError: ")
    assert re.search(said, box.failure), box.failure
    assert len(box.failure) < 1024
    assert "\n" not in box.failure
    assert "Traceback" not in out
    assert f"] {box.failure}" in out
    assert not box.model.exists()
    assert box.leftovers() == []


def test_the_model_channel_gets_nothing_out_of_an_archive_but_the_model(box, run, tmp_path):
    good(box)
    folder = box.channel("model", {})
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for name in ("../escaped", "/tmp/escaped", "model/other"):
            tar.add(__file__, name)
        link = tarfile.TarInfo("model.safetensors")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    code, _ = run(box)
    assert code == 1
    assert "holds no model.safetensors" in box.failure
    assert not list(tmp_path.rglob("escaped"))


def test_a_failure_is_not_overwritten(box, run):
    (box.base / "output").mkdir()
    (box.base / "output" / "failure").write_text("first")
    code, out = run(box)
    assert (code, box.failure) == (1, "first")
    assert "ClientError: missing required channel: train" in out


def test_a_fault_of_ours_has_its_traceback_in_the_log(box, run, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    good(box)
    monkeypatch.setattr("smalgos.container.job.train", broken)
    code, out = run(box)
    assert code == 1
    assert box.failure == "AlgorithmError: ZeroDivisionError: division by zero"
    assert "Traceback" in out


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_a_fault_of_the_machine_is_told_apart(box, run, monkeypatch, error):
    def broken(*_, **__):
        raise error

    good(box)
    monkeypatch.setattr("smalgos.container.job.train", broken)
    assert run(box)[0] == 1
    assert box.failure.startswith("InternalServerError: ")


def test_an_output_folder_that_cannot_be_made_is_told_before_training(box, run, monkeypatch):
    good(box)
    (box.base / "model").write_text("a file where the folder should be")
    monkeypatch.setattr("smalgos.container.job.train", lambda *_, **__: pytest.fail("trained"))
    assert run(box)[0] == 1
    assert "cannot make the folder" in box.failure
