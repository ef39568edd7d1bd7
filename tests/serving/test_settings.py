"""The original's variables."""

from pathlib import Path

import pytest

from smalgos.errors import UserError
from smalgos.serving.settings import Settings, cores


def test_defaults():
    assert Settings.of({}) == Settings(
        model=Path("/opt/ml/model"), host="0.0.0.0", port=8080, workers=cores(), timeout=60,
        max_body=6 << 20, accept="", batch=False, fields=(), ensemble=True, log_level=20,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "settings"),
    [
        ({"SAGEMAKER_BASE_DIR": "/base"}, {"model": Path("/base/model")}),
        ({"SAGEMAKER_BIND_TO_PORT": "8123"}, {"port": 8123}),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, {"workers": 3}),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": ""}, {"workers": cores()}),
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "5"}, {"timeout": 5}),
        (
            {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "5", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "7"},
            {"timeout": 7},
        ),
        ({"MAX_CONTENT_LENGTH": "1000"}, {"max_body": 1000}),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"}, {"max_body": 100 << 20}),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, {"max_body": 6 << 20}),
        (
            {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2", "MAX_CONTENT_LENGTH": "9000000"},
            {"max_body": 9000000},
        ),
        ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "Text/CSV"}, {"accept": "text/csv"}),
        (
            {"SAGEMAKER_INFERENCE_OUTPUT": "Predicted_Label, probabilities,labels ,"},
            {"fields": ("predicted_label", "probabilities", "labels")},
        ),
        ({"SAGEMAKER_INFERENCE_ENSEMBLE": "False"}, {"ensemble": False}),
        ({"SAGEMAKER_INFERENCE_ENSEMBLE": "true"}, {"ensemble": True}),
        ({"SAGEMAKER_BATCH": ""}, {"batch": True}),
        ({"SAGEMAKER_BATCH": "True"}, {"batch": True}),
        ({"SAGEMAKER_CONTAINER_LOG_LEVEL": "10"}, {"log_level": 10}),
        ({"SAGEMAKER_MULTI_MODEL": "false"}, {"model": Path("/opt/ml/model")}),
        (
            {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "4"},
            {"model": None, "workers": 1},
        ),
        (
            {"SAGEMAKER_MULTI_MODEL": "true", "MAX_CONTENT_LENGTH": str(50 << 20)},
            {"max_body": 20 << 20},
        ),
    ],
)
def test_variables(variables, settings):
    found = Settings.of(variables)
    assert {name: getattr(found, name) for name in settings} == settings


def test_what_is_given_is_stronger():
    assert Settings.of({"SAGEMAKER_BIND_TO_PORT": "1"}, port=2, model=None).port == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "-1"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "1.5"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "101"),
        ("MAX_CONTENT_LENGTH", "0"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "image/png"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "no type"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "loud"),
    ],
)
def test_bad_variables_are_named(name, value):
    with pytest.raises(UserError, match=name):
        Settings.of({name: value})


def test_threads_are_shared_among_workers():
    assert Settings(None).threads == cores()
    assert Settings(None, workers=1000).threads == 1
