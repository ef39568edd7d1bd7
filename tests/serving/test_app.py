"""The routes, called without a socket."""

import asyncio
import json
import logging
import time

import pytest

from smalgos.formats.responses import ENCODERS
from smalgos.serving import app as serving
from smalgos.serving.app import AT_ONCE, SHORT, Pace, access_line, application
from smalgos.serving.settings import Settings
from tests.serving.client import acall, call

CSV = {"content-type": "text/csv"}
ROW = b"1,2,3,4\n"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping(app, method):
    answer = call(app, method, "/ping")
    assert (answer.status, answer.body) == (200, b"")


def test_invocations(app):
    answer = call(app, "POST", "/invocations", ROW, CSV)
    assert (answer.status, answer.type) == (200, "application/json")
    assert list(json.loads(answer.body)) == ["predictions"]
    again = call(app, "POST", "/invocations", [b"1,2", b"", b",3,4\n"], CSV)
    assert again.body == answer.body


@pytest.mark.parametrize("accept", ENCODERS)
def test_the_media_type_stands_alone(app, accept):
    assert call(app, "POST", "/invocations", ROW, CSV | {"accept": accept}).type == accept


def test_large_requests_are_answered_aside(app):
    body = ROW * (SHORT // len(ROW) + 1)
    answer = call(app, "POST", "/invocations", body, CSV)
    assert len(json.loads(answer.body)["predictions"]) == SHORT // len(ROW) + 1
    bad = call(app, "POST", "/invocations", body + b"1,2,x,4", CSV)
    assert bad.status == 400


def test_what_is_seen_to_be_short_is_not_handed_over(models):
    pace, model, other = Pace(), models["pca"], models["binary"]
    assert pace.expected(model, SHORT) <= AT_ONCE < pace.expected(model, SHORT + 1)
    assert pace.measured(model, 100_000, lambda: 7) == 7
    assert pace.expected(model, 90_000) <= AT_ONCE < pace.expected(model, 200_000)
    assert pace.expected(other, 90_000) > AT_ONCE
    for _ in range(2):  # one exception does not make the rule, a second one does
        now = pace.expected(model, 90_000)
        pace.measured(model, 100_000, lambda: time.sleep(0.025))
    assert now <= AT_ONCE < pace.expected(model, 90_000)


def test_nothing_asked(app):
    assert call(app, "POST", "/invocations").status == 204
    assert call(app, "POST", "/endpoints/e/invocations").status == 204


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"1,2,3", CSV, 400),
        (b"a;b", CSV, 400),
        (ROW, {"content-type": "image/png"}, 415),
        (ROW, CSV | {"accept": "image/png"}, 406),
        (ROW, CSV | {"content-length": str(7 << 20)}, 413),
    ],
)
def test_refusals_are_one_sentence(app, body, headers, status):
    answer = call(app, "POST", "/invocations", body, headers)
    assert (answer.status, answer.type) == (status, "text/plain")
    assert answer.body
    assert b"\n" not in answer.body
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"1,2,3", CSV, 400),
        (ROW, {"content-type": "image/png"}, 415),
        (ROW, CSV | {"accept": "image/png"}, 406),
        (ROW, CSV | {"content-length": str(7 << 20)}, 413),
    ],
)
def test_errors_as_the_hosting_tells_them(app, body, headers, status):
    plain = call(app, "POST", "/invocations", body, headers)
    answer = call(app, "POST", "/endpoints/any/invocations", body, headers)
    assert (answer.status, answer.type) == (424, "application/json")
    assert answer.headers["x-amzn-errortype"] == "ModelError"
    told = json.loads(answer.body)
    assert told["OriginalStatusCode"] == status
    assert told["OriginalMessage"] == plain.body.decode()
    assert {"Message", "LogStreamArn"} < set(told)


def test_an_endpoint_answers_as_the_container(app):
    plain = call(app, "POST", "/invocations", ROW, CSV)
    answer = call(app, "POST", "/endpoints/any/invocations", ROW, CSV)
    assert (answer.status, answer.type, answer.body) == (200, plain.type, plain.body)
    assert answer.headers["x-amzn-invoked-production-variant"]


@pytest.mark.parametrize("path", ["/", "/ping/", "/invocations/x", "/models", "/models/a", "/%00"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_here(app, method, path):
    answer = call(app, method, path)
    assert (answer.status, answer.type, answer.body) == (404, "application/json", b"{}")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/ping"), ("GET", "/invocations"), ("DELETE", "/endpoints/e/invocations")],
)
def test_other_methods(app, method, path):
    answer = call(app, method, path)
    assert (answer.status, answer.type) == (405, "text/plain")
    assert method not in answer.headers["allow"]


def test_execution_parameters(models):
    def told(**settings):
        app = application(models["pca"], Settings(None, **settings))
        return json.loads(call(app, "GET", "/execution-parameters").body)

    assert told()["BatchStrategy"] == "MULTI_RECORD"
    assert told()["MaxPayloadInMB"] == 6
    assert told(workers=5)["MaxConcurrentTransforms"] >= 5
    assert told(workers=99)["MaxConcurrentTransforms"] == 16  # times 6 MB: within the 100 allowed
    assert told(max_body=1)["MaxPayloadInMB"] == 1


def test_bodies_are_refused_before_they_are_read(models, monkeypatch):
    """Neither what is announced nor what comes in chunks is read to its end."""
    monkeypatch.setattr(serving, "LINGER", 0.01)
    app = application(models["pca"], Settings(None, max_body=20))
    for headers, pieces in ((CSV | {"content-length": "21"}, [b""]), (CSV, [ROW] * 3)):
        answer = call(app, "POST", "/invocations", pieces, headers, silent=True)
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
    assert call(app, "POST", "/invocations", [ROW, ROW], CSV).status == 200


def test_bodies_that_never_end_are_given_up(models, monkeypatch):
    monkeypatch.setattr(serving, "LINGER", 0.01)
    app = application(models["pca"], Settings(None, timeout=0.05))
    assert call(app, "POST", "/invocations", [ROW], CSV, silent=True).status == 408
    answer = call(app, "POST", "/endpoints/e/invocations", [ROW], CSV, silent=True)
    assert json.loads(answer.body)["OriginalStatusCode"] == 408


def test_answers_that_take_too_long_are_given_up(models, monkeypatch):
    monkeypatch.setattr(serving, "SHORT", 0)
    monkeypatch.setattr(serving, "invoke", lambda *a, **k: time.sleep(0.3))
    app = application(models["pca"], Settings(None, timeout=0.05))
    assert call(app, "POST", "/invocations", ROW, CSV).status == 504


def test_slow_requests_do_not_hold_up_others(models, monkeypatch):
    monkeypatch.setattr(serving, "SHORT", 0)
    plain = serving.invoke

    def slow(*args, **kwargs):
        time.sleep(0.5)
        return plain(*args, **kwargs)

    monkeypatch.setattr(serving, "invoke", slow)
    app = application(models["pca"], Settings(None))

    async def both():
        request = asyncio.create_task(acall(app, "POST", "/invocations", ROW, CSV))
        await asyncio.sleep(0.05)
        ping = await acall(app, "GET", "/ping")
        return ping.status, request.done(), (await request).status

    assert asyncio.run(both()) == (200, False, 200)


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("secret"), 500), (MemoryError, 507)])
def test_faults_of_ours_stay_here(models, monkeypatch, caplog, error, status):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(serving, "invoke", broken)
    app = application(models["pca"], Settings(None))
    answer = call(app, "POST", "/invocations", ROW, CSV)
    assert answer.status == status
    assert b"secret" not in answer.body
    assert ("secret" in caplog.text) == (status == 500)
    answer = call(app, "POST", "/endpoints/e/invocations", ROW, CSV)
    assert json.loads(answer.body)["OriginalStatusCode"] == status


def test_faults_of_handlers_are_hidden_too(app, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("secret")

    monkeypatch.setattr(serving, "as_json", broken)
    answer = call(app, "GET", "/execution-parameters")
    assert (answer.status, answer.type) == (500, "text/plain")
    assert b"secret" not in answer.body
    assert "secret" in caplog.text


def test_clients_that_leave(app, caplog):
    caplog.set_level(logging.INFO)
    assert call(app, "POST", "/invocations", [], CSV).status == 0
    assert '" 499 0 ' in caplog.text
    assert "Traceback" not in caplog.text


def test_a_line_for_each_request(app, caplog):
    caplog.set_level(logging.INFO)
    call(app, "GET", "/ping?probe=1", headers={"user-agent": "AHC/2.0"})
    line = caplog.messages[-1]
    assert line.startswith("10.0.0.1 - - [")
    assert line.endswith('+0000] "GET /ping?probe=1 HTTP/1.1" 200 0 "-" "AHC/2.0"')


def test_lines_hold_what_clients_say_without_being_misled():
    scope = {
        "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "client": None,
        "http_version": "1.1", "headers": [(b"user-agent", b'x" 200 9\x1b[0m\xff')],
    }  # fmt: skip
    line = access_line(scope, 404, 2)
    assert line.startswith("- - - [")
    assert line.endswith('404 2 "-" "x\\x22 200 9\\x1b[0mÿ"')
    assert line.isprintable()
