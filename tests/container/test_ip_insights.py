"""IP Insights in the container: log lines, resumes, an earlier model, requests, bad input."""

import json
import re
from hashlib import sha256

import numpy as np
import pytest

import smalgos
from smalgos.algorithms import load_model
from smalgos.serving.invoke import Refused, invoke
from tests.container.box import CSV, Box

PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] "
# The platform's own, each of which must find a number.
METRICS = {
    "validation:discriminator_auc": r"#quality_metric: host=\S+, epoch=\S+, validation "
    r"discriminator_auc <score>=(\S+)",
    "train:binary_classification_accuracy": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ "
    r"train binary_classification_accuracy <score>=(\S+)",
    "train:binary_classification_cross_entropy": r"#quality_metric: host=\S+, epoch=\S+, "
    r"batch=\S+ train binary_classification_cross_entropy <loss>=(\S+)",
    "train:binary_classification_accuracy:epoch": r"#quality_metric: host=\S+, epoch=\S+, train "
    r"binary_classification_accuracy <score>=(\S+)",
    "train:binary_classification_cross_entropy:epoch": r"#quality_metric: host=\S+, epoch=\S+, "
    r"train binary_classification_cross_entropy <loss>=(\S+)",
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
}
GIVEN = {
    "num_entity_vectors": "40", "vector_dim": "16", "epochs": "2", "mini_batch_size": "50",
    "random_negative_sampling_rate": "2", "batch_metrics_publish_interval": "20",
    "learning_rate": "0.05", "_num_gpus": "auto", "_kvstore": "auto_gpu",
}  # fmt: skip


def logins(n=330, seed=0):
    rng = np.random.default_rng(seed)
    users = rng.integers(10, size=n)
    return [(f"user_{u}", f"10.{20 * u}.{rng.integers(4)}.{rng.integers(256)}") for u in users]


def table(pairs, comma=","):
    return "".join(f"{user}{comma}{address}\n" for user, address in pairs)


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path / "ml", "ipinsights")
    box.hyperparameters(**GIVEN)
    return box


def test_lines_of_the_original(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(logins())}, CSV)
    box.channel("validation", {"a.csv": table(logins(90, 1), ", ")}, CSV)
    out = box.trained(monkeypatch, capsys)
    number = r"\d\.\d+(e-\d+)?"

    def told(epoch, batch):
        at = rf"#quality_metric: host=algo-1, epoch={epoch}, batch={batch} train "
        return [
            rf"{at}binary_classification_accuracy <score>={number}",
            rf"{at}binary_classification_cross_entropy <loss>={number}",
        ]

    def speed(epoch, batch):
        return (
            rf"Epoch\[{epoch}\] Batch \[{batch}\]\tSpeed: \d+\.\d\d samples/sec\t"
            r"binary_classification_accuracy=\d\.\d{6}\t"
            r"binary_classification_cross_entropy=\d\.\d{6}"
        )

    def epoch(i):
        at = f"#quality_metric: host=algo-1, epoch={i},"
        return [
            *told(i, 0), speed(i, 20), *told(i, 20),
            rf"Epoch\[{i}\] Train-binary_classification_accuracy=\d\.\d{{6}}",
            rf"Epoch\[{i}\] Train-binary_classification_cross_entropy=\d\.\d{{6}}",
            rf"Epoch\[{i}\] Time cost=\d+\.\d{{3}}",
            rf"{at} train binary_classification_accuracy <score>={number}",
            rf"{at} train binary_classification_cross_entropy <loss>={number}",
            rf"{at} validation discriminator_auc <score>={number}",
            rf"#progress_metric: host=algo-1, completed {50 * (i + 1)} % of epochs",
            r"#throughput_metric: host=algo-1, train throughput=\S+ records/second",
        ]  # fmt: skip

    expected = [
        r"smalgos container train, base directory \S+",
        r"Reading default configuration from \S+: \{.*'mini_batch_size': '5000'.*\}",
        r"Merging with provided configuration from \S+hyperparameters\.json: \{.*\}",
        r"Final configuration: \{.*'vector_dim': '16'.*\}",
        r"Using default worker\.",
        r"Loaded iterator creator text/csv for content type \(.*\)",
        r"Checkpoint loading and saving are disabled\.",
        r"Create Store: local",
        r"Number of GPUs being used: 0",
        *epoch(0), *epoch(1),
        r"Test data is not provided\.",
        r"Serializing model to \S+model\.safetensors",
    ]  # fmt: skip
    said = "".join(f"{s}\n" for s in out.splitlines() if not s.startswith("#metrics "))
    said = re.sub(f"^{PREFIX}", "", said, flags=re.MULTILINE)
    assert re.fullmatch("".join(f"{e}\n" for e in expected), said), said
    found = {name: float(re.findall(e, out)[-1]) for name, e in METRICS.items()}
    assert found["validation:discriminator_auc"] > 0.95
    notes = load_model(box.model).notes
    assert notes["auc_curve"][-1] == found["validation:discriminator_auc"]
    assert notes["loss_curve"][-1] == found["train:binary_classification_cross_entropy:epoch"]
    entries = [json.loads(s[9:]) for s in out.splitlines() if s.startswith("#metrics ")]
    assert {e["Dimensions"]["Algorithm"] for e in entries} == {"ipinsights"}
    counted = [e["Metrics"] for e in entries if "Total Records Seen" in e["Metrics"]][-1]
    # Each of 330 rows is four pairs; of 7 batches, each makes four steps.
    assert counted["Total Records Seen"]["sum"] == 2 * 4 * 330
    assert counted["Max Batches Seen Between Resets"]["sum"] == 4 * 7


def test_batches_are_running_means(box, monkeypatch, capsys):
    box.hyperparameters(**GIVEN | {"batch_metrics_publish_interval": "27", "epochs": "1"})
    box.channel("train", {"a.csv": table(logins())}, CSV)
    out = box.trained(monkeypatch, capsys)
    last = re.findall(METRICS["train:binary_classification_accuracy"], out)[-1]
    assert re.findall(METRICS["train:binary_classification_accuracy:epoch"], out) == [last]


def test_same_bytes_as_the_estimator(box, monkeypatch, capsys, tmp_path):
    box.channel("train", {"a.csv": table(logins()[:150]), "b.csv": table(logins()[150:])}, CSV)
    box.trained(monkeypatch, capsys)
    given = {name: float(v) if "." in v else int(v) for name, v in GIVEN.items() if name[0] != "_"}
    estimator = smalgos.IPInsights(**given, shuffle=False).fit(logins())
    estimator.save(tmp_path / "m")
    files = tmp_path / "m", box.model
    assert len({sha256(file.read_bytes()).hexdigest() for file in files}) == 1


def test_an_earlier_model_goes_on(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(logins())}, CSV)
    box.channel("validation", {"a.csv": table(logins(90, 1))}, CSV)
    earlier = smalgos.IPInsights(
        num_entity_vectors=40, vector_dim=16, mini_batch_size=50, epochs=20, learning_rate=0.05
    ).fit(logins())
    folder = box.channel("model")
    folder.mkdir(exist_ok=True)
    earlier.save(folder / "model.safetensors")
    out = box.trained(monkeypatch, capsys)
    first = float(re.search(METRICS["train:binary_classification_cross_entropy"], out)[1])
    assert first < 0.6 * np.log(2)
    box.hyperparameters(**GIVEN | {"num_entity_vectors": "41"})
    code, out = box.run(monkeypatch, capsys)
    assert code == 1
    assert "num_entity_vectors=41: the model to go on from has 40" in out


@pytest.mark.parametrize(
    ("given", "rows", "said"),
    [
        ({}, "a,10.0.0.1\nb,10.0.0.256\n", r"a.csv, row 2: '10.0.0.256' is no address: IPv4 is"),
        ({}, "a,example.org\n", r"row 1: 'example.org' is no address"),
        ({}, "entity,ip\na,10.0.0.1\n", r"row 1: 'ip' is no address: .* a header line\? Remove it"),
        ({}, "a,10.0.0.1,3\n", r"row 1 has 3 columns, where 2 are expected: entity, ip"),
        ({}, "", r"train channel: .*: no files to read"),
        (
            {"random_negative_sampling_rate": "0", "shuffled_negative_sampling_rate": "0"},
            "a,10.0.0.1\n",
            r"random_negative_sampling_rate \+ shuffled_negative_sampling_rate = 0: must be >= 1",
        ),
        ({"vector_dim": "3"}, "a,10.0.0.1\n", r"vector_dim='?3'?: must be an integer >= 4"),
        (
            {"num_entity_vectors": "250000000", "vector_dim": "16"},
            "a,10.0.0.1\n",
            r"take 14\.9 GiB: a model has 8 GiB at most",
        ),
    ],
)
def test_bad_input(box, given, rows, said, monkeypatch, capsys):
    box.hyperparameters(**GIVEN | given)
    box.channel("train", {"a.csv": rows}, CSV)
    assert re.search(said, box.failed(monkeypatch, capsys))


def test_a_bad_validation_row_is_named(box, monkeypatch, capsys):
    box.channel("train", {"a.csv": table(logins())}, CSV)
    box.channel("validation", {"b.csv": table(logins(9)) + "x,1.2.3\n"}, CSV)
    said = box.failed(monkeypatch, capsys)
    assert re.search(r"validation channel, .*b\.csv, row 10: '1\.2\.3' is no address", said)


# Requests -----------------------------------------------------------------------------------------

JSON, LINES = "application/json", "application/jsonlines"


@pytest.fixture(scope="module")
def model():
    estimator = smalgos.IPInsights(
        num_entity_vectors=40, vector_dim=8, mini_batch_size=50, epochs=5, learning_rate=0.05
    ).fit(logins())
    return estimator.model_, estimator.score_samples([("user_1", "10.20.1.2"), ("é", "::1")])


REQUESTS = {
    CSV: 'user_1, 10.20.1.2\n"é",::1\n',
    JSON: json.dumps({"instances": [
        {"data": {"features": {"values": ["user_1", "10.20.1.2"]}}}, {"features": ["é", "::1"]},
    ]}),
    LINES: '{"features": ["user_1", "10.20.1.2"]}\n{"features": ["é", "::1"]}\n',
}  # fmt: skip


@pytest.mark.parametrize("content_type", REQUESTS)
@pytest.mark.parametrize("verbose", ["", ";verbose=True", "; verbose=True"])
@pytest.mark.parametrize("accept", ["", JSON, LINES])
def test_requests(model, content_type, accept, verbose):
    model, want = model
    if not accept and verbose:
        pytest.skip("there is no type that the parameter could belong to")
    reply = invoke(model, REQUESTS[content_type].encode(), content_type, accept + verbose)
    text = reply.body.decode()
    if accept == LINES:
        said = [json.loads(line) for line in text.splitlines()]
    else:
        assert list(json.loads(text)) == ["predictions"]
        said = json.loads(text)["predictions"]
    np.testing.assert_array_equal(np.float32([row["dot_product"] for row in said]), want)
    names = ["dot_product", "ip_embedding", "entity_embedding"] if verbose else ["dot_product"]
    for row in said:
        assert list(row) == names
        if verbose:
            product = np.dot(row["ip_embedding"], row["entity_embedding"])
            assert product == pytest.approx(row["dot_product"], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("user_1\n", CSV, 400),
        ("user_1,10.0.0\n", CSV, 400),
        ('{"features": ["user_1"]}\n', LINES, 400),
        ('{"features": [1, 2]}\n', LINES, 400),
        ("x", "application/x-recordio-protobuf", 415),
    ],
)
def test_bad_requests(model, body, content_type, status):
    with pytest.raises(Refused) as refused:
        invoke(model[0], body.encode(), content_type)
    assert refused.value.status == status
