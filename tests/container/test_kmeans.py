"""K-Means in the container: log lines, scores, an earlier model, bad input."""

import json
import re

import numpy as np
import pytest

import smalgos
from smalgos.algorithms import load_model
from tests.container.box import CSV, RECORDIO, Box, records, table

PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] "
# The platform's own, each of which must find a number.
METRICS = {
    "test:msd": r"#quality_metric: host=\S+, test msd <loss>=(\S+)",
    "test:ssd": r"#quality_metric: host=\S+, test ssd <loss>=(\S+)",
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
}


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 0], [8, 0, 0], [0, 8, 0]])
    return (centres[np.arange(n) % 3] + rng.normal(size=(n, 3))).astype(np.float32)


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "ml", "kmeans")
    box.hyperparameters(
        k="3", feature_dim="3", mini_batch_size="50", eval_metrics='["msd", "ssd"]',
        _tuning_objective_metric="test:msd", force_dense="True",
    )  # fmt: skip
    return box


def test_lines_of_the_original(box, monkeypatch, capsys):
    box.channel("train", {"a.pbr": records(rows())}, RECORDIO)
    box.channel("test", {"a.csv": table(rows(90, 1))}, f"{CSV};label_size=0")
    out = box.trained(monkeypatch, capsys)
    attempts = [rf"local kmeans attempt #{i}\. Current mean square distance \S+" for i in range(10)]
    number = r"\d+\.\d+"
    expected = [
        r"smalgos container train, base directory \S+",
        r"Reading default configuration from \S+: \{.*'extra_center_factor': 'auto'.*\}",
        r"Merging with provided configuration from \S+hyperparameters\.json: \{.*\}",
        r"Final configuration: \{.*'k': '3'.*\}",
        r"Using default worker\.",
        r"Loaded iterator creator application/x-recordio-protobuf for content type \(.*\)",
        r"Loaded iterator creator text/csv for content type \(.*\)",
        r"Checkpoint loading and saving are disabled\.",
        r"Create Store: local",
        r"Number of GPUs being used: 0",
        r"Setting up with params: \{.*\}",
        r"'extra_center_factor' was set to 'auto', evaluated to 10\.",
        r"'local_lloyd_num_trials' was set to 'auto', evaluated to 10\.",
        r"number of center slices 1",
        rf"Iter 10: Short term msd {number}\. Long term msd {number}",
        r"processed a total of 600 examples",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        r"#throughput_metric: host=algo-1, train throughput=\S+ records/second",
        r"shrinking 30 centers into 3",
        *attempts,
        r"finished shrinking process\. Mean Square Distance = \d+",
        r"#quality_metric: host=algo-1, train msd <loss>=\S+",
        *4 * [r"[a-z: -]+ took: \d+\.\d{4}%, \(\d+\.\d{6} secs\)"],
        r"TOTAL took: \S+",
        r"#train_score \(algo-1\) : \('data_msd', \S+\)",
        r"#train_score \(algo-1\) : \('data_ssd', \S+\)",
        r"#quality_metric: host=algo-1, train data_msd <loss>=\S+",
        r"#quality_metric: host=algo-1, train data_ssd <loss>=\S+",
        r"#test_score \(algo-1\) : \('msd', \S+\)",
        r"#test_score \(algo-1\) : \('ssd', \S+\)",
        r"#quality_metric: host=algo-1, test msd <loss>=\S+",
        r"#quality_metric: host=algo-1, test ssd <loss>=\S+",
        r"Serializing model to \S+model\.safetensors",
    ]
    said = "".join(f"{s}\n" for s in out.splitlines() if not s.startswith("#metrics "))
    said = re.sub(f"^{PREFIX}", "", said, flags=re.MULTILINE)
    assert re.fullmatch("".join(f"{e}\n" for e in expected), said), said
    model = load_model(box.model)
    told = {name: float(re.search(e, out)[1]) for name, e in METRICS.items()}
    ssd = (np.min(model.distances(rows(90, 1)), axis=1).astype(float) ** 2).sum()
    assert told["test:ssd"] == pytest.approx(ssd, rel=1e-5)
    assert told["test:msd"] == pytest.approx(ssd / 90, rel=1e-5)
    assert f"train msd <loss>={model.msd}" in out
    entries = [json.loads(s[9:]) for s in out.splitlines() if s.startswith("#metrics ")]
    assert {e["Dimensions"]["Algorithm"] for e in entries} == {"AWS/KMeansWebscale"}
    assert [e["Dimensions"].get("Meta") for e in entries] == [
        "init_train_data_iter", "training_data_iter", "test_data_iter", None
    ]  # fmt: skip
    assert {"initialize.time", "update.time", "_shrink.time", "finalize.time", "setuptime",
            "totaltime", "epochs"} <= set(entries[-1]["Metrics"])  # fmt: skip


def test_a_batch_larger_than_the_rows_is_told(box, monkeypatch, capsys):
    box.hyperparameters(k="3", feature_dim="3")
    box.channel("train", {"a.pbr": records(rows(100))}, RECORDIO)
    out = box.trained(monkeypatch, capsys)
    warned = (
        "Batch size 5000 is bigger than the first batch data. Effective batch size used to "
        "initialize is 100"
    )
    assert re.search(rf"WARNING \d+\] {re.escape(warned)}", out)
    assert "Test data is not provided." in out


def test_exact_iterations(box, monkeypatch, capsys):
    box.hyperparameters(k="3", solver="lloyd", local_lloyd_num_trials="4")
    box.channel("train", {"a.pbr": records(rows())}, RECORDIO)
    out = box.trained(monkeypatch, capsys)
    assert len(re.findall(r"local kmeans attempt #\d\.", out)) == 4
    assert "completed 100 % of epochs" in out
    model = load_model(box.model)
    assert f"train msd <loss>={model.msd}" in out
    told = float(re.search(r"train data_msd <loss>=(\S+)", out)[1])
    assert told == pytest.approx(model.msd, rel=1e-5)


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_an_earlier_model_goes_on(solver, box, tmp_path, monkeypatch, capsys):
    earlier = smalgos.KMeans(k=3, solver=solver).fit(rows() + 1)
    folder = box.channel("model")
    folder.mkdir(exist_ok=True)
    earlier.save(folder / "model.safetensors")
    box.channel("train", {"a.pbr": records(rows(60))}, RECORDIO)
    box.hyperparameters(k="3", solver=solver)
    box.trained(monkeypatch, capsys)
    model = load_model(box.model)
    assert model.mass.sum() == pytest.approx(660 if solver == "webscale" else 60)
    centres = model.centres[np.lexsort(model.centres.round().T)]
    apart = np.abs(
        centres - earlier.cluster_centers_[np.lexsort(earlier.cluster_centers_.round().T)]
    )
    assert apart.max() < (0.5 if solver == "webscale" else 1.6)


def test_the_same_file_as_the_estimators(box, tmp_path, monkeypatch, capsys):
    box.hyperparameters(k="3", mini_batch_size="100", random_state="3")
    box.channel("train", {"a.pbr": records(rows())}, RECORDIO)
    box.trained(monkeypatch, capsys)
    estimator = smalgos.KMeans(k=3, mini_batch_size=100, shuffle=False, random_state=3)
    estimator.fit(rows()).save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == box.model.read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": "3", "feature_dim": "4"}, "feature_dim=4: the train channel has 3 features"),
        ({"feature_dim": "3"}, "hyperparameter k is required"),
        ({"k": "3", "mini_batch_siz": "1"}, "did you mean mini_batch_size"),
        ({"k": "0"}, "k='0'|k=0"),
        ({"k": "601"}, "k=601: n_samples=600"),
        ({"k": "3", "init_method": "k-means"}, "must be one of random, kmeans"),
    ],
)
def test_what_cannot_be(given, said, box, monkeypatch, capsys):
    box.hyperparameters(**given)
    box.channel("train", {"a.pbr": records(rows())}, RECORDIO)
    assert re.search(said, box.failed(monkeypatch, capsys))
