"""The platform's files: what may be missing, what must be right."""

import json

import pytest

from smalgos.container.config import read_settings
from smalgos.container.layout import Layout
from smalgos.errors import UserError
from tests.container.box import CSV, RECORDIO, Box


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "ml", "pca")


def settings(box, **environment):
    environment = {**box.environment, **environment}
    return read_settings(Layout.of(environment), environment)


def test_nothing_but_the_algorithm_is_needed(box):
    found = settings(box)
    assert found.host == "algo-1"
    assert (found.job.algorithm, found.job.hyperparameters, found.job.channels) == ("pca", {}, {})
    assert found.job.checkpoint is None
    assert found.job.checkpoint_seconds == 60
    assert found.job.model_dir == box.base / "model"
    assert not found.job.facts["tuning"]


def test_the_base_directory_is_opt_ml():
    assert str(Layout.of({}).base) == "/opt/ml"


def test_what_a_real_job_has(box):
    box.hyperparameters(feature_dim="4", num_components="2", _tuning_objective_metric="x:y")
    box.config(
        "inputdataconfig.json",
        {
            "train": {
                "ContentType": "text/csv;label_size=0",
                "TrainingInputMode": "FastFile",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            },
            "test": {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO"},
            "model": {},
        },
    )
    resource = {
        "current_host": "algo-1",
        "current_instance_type": "ml.c5.xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [],
        "network_interface_name": "eth0",
        "topology": None,
    }
    box.config("resourceconfig.json", resource)
    box.config("checkpointconfig.json", {"LocalPath": "/opt/ml/checkpoints", "S3Uri": "s3://b/p"})
    job = settings(box, SMALGOS_CHECKPOINT_SECONDS="0.5").job
    data = box.base / "input" / "data"
    told = {n: (c.path, c.content_type, c.mode) for n, c in job.channels.items()}
    assert told == {
        "train": (data / "train", "text/csv;label_size=0", "FastFile"),
        "test": (data / "test", RECORDIO, "Pipe"),
        "model": (data / "model", RECORDIO, "File"),
    }
    assert job.hyperparameters["feature_dim"] == "4"
    assert job.facts["tuning"]
    assert str(job.checkpoint) == "/opt/ml/checkpoints/smalgos-checkpoint-algo-1.safetensors"
    assert job.checkpoint_seconds == 0.5


def test_checkpoints_go_below_the_base_by_default(box):
    box.config("checkpointconfig.json", {})
    box.config("resourceconfig.json", {"hosts": ["algo-1-x7f3k"]})
    expected = box.base / "checkpoints" / "smalgos-checkpoint-algo-1-x7f3k.safetensors"
    assert settings(box).job.checkpoint == expected


def test_several_hosts_are_refused(box):
    path = box.config("resourceconfig.json", {"hosts": ["algo-1", "algo-2"]})
    with pytest.raises(UserError, match=r"2 hosts.*InstanceCount=1") as caught:
        settings(box)
    assert str(path) in str(caught.value)


FILES = ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"]


@pytest.mark.parametrize("name", [*FILES, "checkpointconfig.json"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ('{"a": "1"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a"]', "must hold a JSON object, not a list"),
        ("null", "must hold a JSON object, not null"),
        ("1", "must hold a JSON object, not a number"),
    ],
)
def test_broken_json_names_the_file(box, name, text, said):
    path = box.config(name, text)
    with pytest.raises(UserError, match=said) as caught:
        settings(box)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_name_the_file(box):
    path = box.base / "input" / "config" / "hyperparameters.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=r"hyperparameters\.json: cannot be read"):
        settings(box)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hyperparameters.json", {"k": {}}, "k must be a string, not an object"),
        ("hyperparameters.json", {"k": None}, "k must be a string, not null"),
        ("inputdataconfig.json", {"train": "x"}, "channel train must be an object, not a string"),
        ("inputdataconfig.json", {"train": {"ContentType": 1}}, "ContentType must be a string"),
        (
            "inputdataconfig.json",
            {"train": {"TrainingInputMode": "file"}},
            "TrainingInputMode='file' must be one of File, FastFile, Pipe",
        ),
        (
            "inputdataconfig.json",
            {"train": {"RecordWrapperType": "RecordIO", "ContentType": CSV}},
            "RecordWrapperType=RecordIO",
        ),
        ("resourceconfig.json", {"hosts": "algo-1"}, "hosts must be a list of names"),
        ("resourceconfig.json", {"current_host": 1}, "current_host must be a string"),
        ("checkpointconfig.json", {"LocalPath": []}, "LocalPath must be a string, not a list"),
    ],
)
def test_wrong_types_name_file_and_key(box, name, value, said):
    path = box.config(name, json.dumps(value))
    with pytest.raises(UserError, match=said) as caught:
        settings(box)
    assert str(path) in str(caught.value)


def test_the_algorithm_must_be_named(box):
    with pytest.raises(UserError, match=r"SMALGOS_ALGORITHM is not set.*linear-learner, pca"):
        settings(box, SMALGOS_ALGORITHM="")
    with pytest.raises(UserError, match=r"SMALGOS_ALGORITHM='kmean'.*linear-learner, pca"):
        settings(box, SMALGOS_ALGORITHM="kmean")


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_the_interval_of_checkpoints_is_checked(box, text):
    with pytest.raises(UserError, match="SMALGOS_CHECKPOINT_SECONDS"):
        settings(box, SMALGOS_CHECKPOINT_SECONDS=text)
