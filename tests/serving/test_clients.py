"""The original's clients, unmodified, against a server."""

import json
import os
import subprocess

import pytest

from tests.serving.client import running
from tests.serving.conftest import D

CLI = "from smalgos.cli import main; main()"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["binary", "pca"])
def server(request, folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log"
    command = ["-c", CLI, "serve", str(folder / request.param), "--port", "PORT"]
    with running(command, log) as server:
        server.envelope = {"binary": "predictions", "pca": "projections"}[request.param]
        yield server


def test_boto3(server):
    boto3 = pytest.importorskip("boto3")
    botocore = pytest.importorskip("botocore")
    client = boto3.client(
        "sagemaker-runtime", region_name="us-east-1",
        aws_access_key_id="any", aws_secret_access_key="any",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )  # fmt: skip

    def invoke(body, **arguments):
        return client.invoke_endpoint(EndpointName="any", Body=body, **arguments)

    answer = invoke(b"1,2,3,4\n5,6,7,8", ContentType="text/csv")
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"]
    assert len(json.loads(answer["Body"].read())[server.envelope]) == 2
    answer = invoke(b"1,2,3,4", ContentType="text/csv", Accept="text/csv")
    assert answer["ContentType"] == "text/csv"
    assert invoke(b"1,2,3,4")["ContentType"] == "application/json"  # no content type given
    assert invoke(b"", ContentType="text/csv")["ResponseMetadata"]["HTTPStatusCode"] == 204
    for arguments, status in (
        ({"ContentType": "text/csv", "body": b"1,x,3,4"}, 400),
        ({"ContentType": "image/png", "body": b"1"}, 415),
        ({"ContentType": "text/csv", "Accept": "image/png", "body": b"1,2,3,4"}, 406),
        ({"ContentType": "text/csv", "body": b"1" * (7 << 20)}, 413),
    ):
        body = arguments.pop("body")
        with pytest.raises(client.exceptions.ModelError) as caught:
            invoke(body, **arguments)
        told = caught.value.response
        assert told["OriginalStatusCode"] == status
        assert told["OriginalMessage"]
        assert told["ResponseMetadata"]["RetryAttempts"] == 0


# Run by the interpreter that has the SDK: every serializer with every deserializer.
SDK = '''
import json, sys, urllib.request
import numpy as np
import scipy.sparse
from sagemaker import serializers as s, deserializers as d
from sagemaker.amazon.common import RecordDeserializer, RecordSerializer

url, width = sys.argv[1], int(sys.argv[2])
X = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
instances = [{"features": row.tolist()} for row in X]
entry = {"keys": list(range(width)), "shape": [width]}
sparse = [{"data": {"features": {**entry, "values": row.tolist()}}} for row in X]
requests = [
    (s.CSVSerializer(), X), (s.CSVSerializer(), X.tolist()), (RecordSerializer(), X),
    (RecordSerializer(), X.astype(float)), (RecordSerializer(), X[0]),
]
known = json.loads(sys.argv[3])
if "application/json" in known:
    requests += [(s.JSONSerializer(), {"instances": rows}) for rows in (instances, sparse)]
if "application/jsonlines" in known:
    requests += [(s.JSONLinesSerializer(), rows) for rows in (instances, sparse)]
if "text/libsvm" in known:
    lines = "\\n".join(" ".join(f"{i}:{v!r}" for i, v in enumerate(r)) for r in X.tolist())
    requests.append((s.LibSVMSerializer(), lines))


def numbers(value):
    """All numbers of an answer, keys in order."""
    if isinstance(value, dict):
        return [n for k in sorted(value) for n in numbers(value[k])]
    if isinstance(value, (list, tuple)):
        return [n for v in value for n in numbers(v)]
    if hasattr(value, "label"):
        return [n for k in sorted(value.label) for n in value.label[k].float32_tensor.values]
    return [float(value)]


for serializer, rows in requests:
    body = serializer.serialize(rows)
    body = body.read() if hasattr(body, "read") else body
    body = body.encode() if isinstance(body, str) else body
    answers = []
    for deserializer in (
        d.JSONDeserializer(), d.JSONLinesDeserializer(), RecordDeserializer(), d.CSVDeserializer(),
        d.NumpyDeserializer(dtype=float, accept="text/csv"), d.PandasDeserializer(),
        d.BytesDeserializer(), d.StringDeserializer(), d.StreamDeserializer(),
    ):
        accept = ", ".join(deserializer.ACCEPT)
        headers = {"Content-Type": serializer.CONTENT_TYPE, "Accept": accept}
        answer = urllib.request.urlopen(urllib.request.Request(url, body, headers))
        kind = type(deserializer).__name__
        got = deserializer.deserialize(answer, answer.headers["Content-Type"])
        if kind == "StreamDeserializer":
            got = got[0].read()
        if kind in ("JSONDeserializer", "JSONLinesDeserializer", "RecordDeserializer"):
            answers.append(numbers(got))
            n = len(got) if isinstance(got, list) else 0
        elif kind in ("CSVDeserializer", "NumpyDeserializer"):
            flat = np.sort(np.asarray(got, float).ravel())
            np.testing.assert_allclose(flat, np.sort(answers[0]), rtol=1e-6)
        elif kind == "PandasDeserializer":  # it takes the first row for a header
            assert got.shape == (n - 1, len(answers[0]) // n), got
        else:
            assert len(got)
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], rtol=1e-6)
print("asked", len(requests))
'''


@pytest.mark.skipif(
    "SMALGOS_ORACLE_SDK" not in os.environ,
    reason="SMALGOS_ORACLE_SDK names no Python with sagemaker 2.257.6 and scipy",
)
def test_the_original_sdk(server, tmp_path):
    from smalgos.formats.content_type import types

    script = tmp_path / "sdk.py"
    script.write_text(SDK)
    url = f"http://127.0.0.1:{server.port}/invocations"
    command = [os.environ["SMALGOS_ORACLE_SDK"], "-W", "ignore", str(script)]
    command += [url, str(D), json.dumps(types())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:] + server.lines[-2000:]
    assert int(done.stdout.split()[-1]) >= 5
