"""The same bytes of model: from any number of threads, format, block size and way to train."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

import smalgos
from smalgos import formats
from smalgos.algorithms import algorithm as find
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.formats import Block
from smalgos.learning.parameters import REQUIRED

LINEAR = {
    "predictor_type": "binary_classifier", "mini_batch_size": "100", "epochs": "2",
    "shuffle": "false", "drop_last": "true",
}  # fmt: skip
KMEANS = {"k": "5", "mini_batch_size": "700"}
PCA = {"num_components": "4"}
TREES = {"objective": "binary:logistic", "num_round": "5", "subsample": "0.7"}
MACHINE = {"predictor_type": "binary_classifier", "num_factors": "5", "epochs": "2"}
RUNS = [
    ("factorization-machines", MACHINE),
    ("kmeans", KMEANS),
    ("linear-learner", LINEAR),
    ("pca", PCA),
    ("xgboost", TREES),
]
RUN = """
import sys, json, hashlib
from pathlib import Path
from smalgos.container.job import ChannelConfig, Job, execute
algorithm, given, path, out = json.loads(sys.argv[1])
outcome = execute(Job(algorithm, given, {"train": ChannelConfig(Path(path))}, Path(out)))
print(hashlib.sha256(outcome.path.read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same rows as arrays, CSV, gzipped CSV, RecordIO and folders of shards."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((12_000, 9)) * np.geomspace(1, 100, 9) + 3).astype(np.float32)
    y = (X[:, 0] + 2 * rng.standard_normal(12_000) > 3).astype(np.float32)
    block = Block.of(X, y)
    for name in ("rows.csv", "rows.csv.gz", "rows.pbr"):
        formats.write(folder / name, block)
    for suffix in ("csv", "pbr"):
        (folder / suffix).mkdir()
        for i, at in enumerate((0, 17, 5000, 5001)):
            end = [17, 5000, 5001, 12_000][i]
            formats.write(folder / suffix / f"part-{i}.{suffix}", block[at:end])
    return folder, X, y


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_the_wire(name):
    """The container's defaults as arguments of an estimator."""
    table = find(name).parameters.constructor()
    return {n: f.default for n, f in table.items() if f.default != f.library_default
            and f.default is not REQUIRED and n != "epochs"}  # fmt: skip


def trained(algorithm, given, path, out):
    job = Job(algorithm, given, {"train": ChannelConfig(path)}, out)
    return digest(execute(job).path)


@pytest.mark.parametrize(("algorithm", "given"), RUNS)
def test_from_every_format_and_from_the_estimator(algorithm, given, files, tmp_path):
    folder, X, y = files
    found = {
        name: trained(algorithm, given, folder / name, tmp_path / name)
        for name in ("rows.csv", "rows.csv.gz", "rows.pbr", "csv", "pbr")
    }
    if algorithm == "kmeans":
        smalgos.KMeans(k=5, mini_batch_size=700, shuffle=False).fit(X).save(tmp_path / "m")
    elif algorithm == "factorization-machines":
        smalgos.FactorizationMachineClassifier(
            **of_the_wire(algorithm), num_factors=5, epochs=2
        ).fit(X, y).save(tmp_path / "m")
    elif algorithm == "pca":
        smalgos.PCA(num_components=4).fit(X).save(tmp_path / "m")
    elif algorithm == "xgboost":
        estimator = smalgos.BoostedTreesClassifier(num_round=5, subsample=0.7).fit(X, y)
        estimator.save(tmp_path / "xgboost-model")
    else:
        smalgos.LinearLearnerClassifier(
            mini_batch_size=100, epochs=2, shuffle=False, drop_last=True,
            binary_classifier_model_selection_criteria="accuracy",
        ).fit(X, y).save(tmp_path / "m")  # fmt: skip
    found["estimator"] = digest(tmp_path / ("xgboost-model" if algorithm == "xgboost" else "m"))
    assert len(set(found.values())) == 1, found


@pytest.mark.compiled
@pytest.mark.parametrize(("algorithm", "given"), RUNS)
def test_from_any_number_of_threads_each_in_its_own_process(algorithm, given, files, tmp_path):
    folder, _, _ = files
    found = {}
    for n in (1, 2, 8):
        told = [algorithm, {**given, "n_jobs": str(n)}, str(folder / "pbr"), str(tmp_path / str(n))]
        done = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(told)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found[n] = done.stdout.strip()
    assert len(set(found.values())) == 1, found
