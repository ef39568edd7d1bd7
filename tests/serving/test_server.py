"""Servers in processes of their own, asked over sockets."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from smalgos.errors import PlatformError
from smalgos.serving.server import listening
from tests.serving.client import answered, received, running

CLI = "from smalgos.cli import main; main()"
CSV = {"content-type": "text/csv"}
ROW = b"1,2,3,4\n"
# A server whose model takes a second for a request that begins with 9.
SLOW = """
import sys, time
from smalgos.serving import invoke as core
plain = core._answers
def slow(model, body, *given):
    if body.startswith(b"9"):
        time.sleep(1)
    return plain(model, body, *given)
core._answers = slow
from smalgos.serving import app
app.SHORT = 0
from smalgos.cli import main
main()
"""


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log"
    command = ["-c", CLI, "serve", str(folder / "binary"), "--port", "PORT"]
    with running(command, log, MAX_CONTENT_LENGTH="100000") as server:
        yield server


def ask(server, body=ROW, path="/invocations", **headers):
    return server.request("POST", path, body, CSV | headers)


def head(body_length, path="/invocations"):
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\n"
        f"content-length: {body_length}\r\n\r\n"
    ).encode()


def test_over_a_socket(server):
    answer = ask(server)
    assert (answer.status, answer.type) == (200, "application/json")
    chunked = server.request("POST", "/invocations", iter([b"1,2", b",3,4\n"]), CSV)
    assert chunked == answer or chunked.body == answer.body
    assert ask(server, b"").status == 204
    assert ask(server, b"1,2").status == 400
    assert server.request("GET", "/nothing").status == 404
    assert server.request("GET", "/execution-parameters").status == 200
    assert "server" not in answer.headers


def test_lines_on_standard_output(server):
    ask(server, path="/invocations?n=17")
    deadline = time.monotonic() + 10
    while "n=17" not in server.lines and time.monotonic() < deadline:
        time.sleep(0.05)
    (line,) = [line for line in server.lines.splitlines() if "n=17" in line]
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\S+ \+0000\] "POST /invocations\?n=17 HTTP/1.1" 200 \d+ "-" "-"', line
    )
    assert re.search(r"^\[\S+ \S+ INFO \d+\] ready on http://127.0.0.1:\d+ after", server.lines)


def test_many_requests_over_one_connection(server):
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(head(len(ROW)) + ROW)
            assert answered(connection).startswith(b"HTTP/1.1 200")


def test_bodies_that_are_too_long(server):
    """The answer arrives although the body is not read to its end."""
    assert ask(server, b"1" * 100_001).status == 413
    assert ask(server, b"1" * 5_000_000).status == 413
    chunks = (b"1" * 10_000 for _ in range(100))
    assert server.request("POST", "/invocations", chunks, CSV).status == 413
    with server.connect() as connection:  # told by the header alone
        connection.sendall(head(10**12))
        assert answered(connection).startswith(b"HTTP/1.1 413")
    assert ask(server).status == 200


def test_half_closed_clients_are_answered(server):
    with server.connect() as connection:
        connection.sendall(head(len(ROW)) + ROW)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).startswith(b"HTTP/1.1 200")


def test_clients_that_vanish(server):
    for sent in (b"", b"POST", head(8), head(8) + b"1,2"):
        with server.connect() as connection:
            connection.sendall(sent)
        with server.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert received(connection) in (b"",)
    assert ask(server).status == 200
    assert "Traceback" not in server.lines


def test_slow_clients_hold_up_nobody(server):
    slow = [server.connect() for _ in range(50)]
    try:
        for i, connection in enumerate(slow):
            connection.sendall(head(8)[: 20 + i] if i % 2 else head(8) + b"1,")
        began = time.monotonic()
        assert ask(server).status == 200
        assert time.monotonic() - began < 5
        slow[0].sendall(b"2,3,4\n")
        assert answered(slow[0]).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()


def test_headers_without_end(server):
    for endless in (b"GET /ping HTTP/1.1\r\nx: ", b"GET /", b"POST /invocations HTTP/1.1\r\n"):
        with server.connect() as connection:
            connection.sendall(endless)
            try:
                for _ in range(100):
                    connection.sendall(b"a: b\r\n" * 1000 if b"POST" in endless else b"x" * 10_000)
                answer = received(connection)
            except (ConnectionResetError, BrokenPipeError):
                answer = b""
            assert not answer or b" 400 " in answer
    assert ask(server).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"no http\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
def test_what_is_no_http(server, sent):
    with server.connect() as connection:
        connection.sendall(sent)
        assert b" 400 " in received(connection)
    assert ask(server).status == 200


def test_answers_are_sent_at_once():
    """asyncio turns Nagle's algorithm off only where a socket says that it is TCP."""
    with listening("127.0.0.1", 0) as port, socket.create_connection(port.getsockname()):
        accepted, _ = port.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken():
    with listening("127.0.0.1", 0) as port:
        again = listening("127.0.0.1", port.getsockname()[1])
        with pytest.raises(PlatformError, match="listened on"):
            again.__enter__()


def test_a_request_is_finished_before_the_end(folder, tmp_path):
    command = ["-c", SLOW, "serve", str(folder / "pca"), "--port", "PORT"]
    with running(command, tmp_path / "log") as server:
        answers = []
        request = threading.Thread(target=lambda: answers.append(ask(server, b"9,2,3,4\n")))
        request.start()
        time.sleep(0.4)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
        request.join()
        assert [a.status for a in answers] == [200]
        assert "Traceback" not in server.lines


@pytest.fixture
def box(folder, tmp_path):
    """A base directory with a model, as the platform makes it."""
    (tmp_path / "model").mkdir()
    data = (folder / "binary" / "model.safetensors").read_bytes()
    (tmp_path / "model" / "model.safetensors").write_bytes(data)
    return tmp_path


def test_a_container_with_workers(box):
    command = ["-c", CLI, "container", "serve"]
    variables = {
        "SAGEMAKER_BASE_DIR": str(box), "SAGEMAKER_BIND_TO_PORT": "PORT",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "2", "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
    }  # fmt: skip
    with running(command, box / "log", **variables) as server:
        answer = ask(server)
        assert (answer.type, answer.body[-1:]) == ("text/csv", b"\n")
        deadline = time.monotonic() + 60
        while server.lines.count("ready on") < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        first = workers_of(server.process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        while server.lines.count("ready on") < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "a worker died" in server.lines
        assert len(workers_of(server.process.pid)) == 2
        assert all(ask(server).status == 200 for _ in range(10))
        last = workers_of(server.process.pid)
        assert server.stop() == 0
        assert not any(os.path.exists(f"/proc/{pid}") for pid in last)


def workers_of(parent):
    """Processes that serve for a supervisor."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "status").read_text()
            command = (process / "cmdline").read_text()
        except OSError:  # it is gone
            continue
        if f"\nPPid:\t{parent}\n" in status and "spawn_main" in command:
            found.append(int(process.name))
    return found


def test_a_multi_model_container(folder, tmp_path):
    variables = {
        "SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_BIND_TO_PORT": "PORT",
        "SAGEMAKER_MULTI_MODEL": "true",
    }  # fmt: skip
    with running(["-c", CLI, "container", "serve"], tmp_path / "log", **variables) as server:
        told = json.dumps({"model_name": "m", "url": str(folder / "pca")})
        assert server.request("POST", "/models", told).status == 200
        assert ask(server, path="/models/m/invoke").status == 200
        assert server.request("DELETE", "/models/m").status == 200
        assert ask(server, path="/models/m/invoke").status == 404
        assert server.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_container_without_a_model_says_so(tmp_path, workers):
    done = subprocess.run(
        [sys.executable, "-c", CLI, "container", "serve"], capture_output=True, text=True,
        env={
            **os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_BIND_TO_PORT": "0",
            "SAGEMAKER_MODEL_SERVER_WORKERS": workers,
        },
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"cannot read {tmp_path}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_bad_variable_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CLI, "container", "serve"], capture_output=True, text=True,
        env={**os.environ, "SAGEMAKER_MODEL_SERVER_WORKERS": "many"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "SAGEMAKER_MODEL_SERVER_WORKERS" in done.stdout


def test_clients_that_say_nothing_are_let_go(folder, tmp_path):
    hasty = "from smalgos.serving import protocol\nprotocol.HEAD_SECONDS = 0.3\n" + CLI
    with running(
        ["-c", hasty, "serve", str(folder / "pca"), "--port", "PORT"], tmp_path / "log"
    ) as server:
        for sent in (b"", b"POST /invocations HTTP/1.1\r\nhost"):
            with server.connect() as connection:
                connection.sendall(sent)
                assert received(connection) == b""
        with server.connect() as connection:  # a second request that stops short
            connection.sendall(head(len(ROW)) + ROW)
            assert answered(connection).startswith(b"HTTP/1.1 200")
            connection.sendall(head(len(ROW))[:20])
            assert received(connection) == b""


def test_what_is_not_installed_is_said(folder):
    hidden = "import sys; sys.modules['uvicorn'] = None\n" + CLI
    done = subprocess.run(
        [sys.executable, "-c", hidden, "serve", str(folder / "pca"), "--port", "0"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'smalgos[serve]'" in done.stderr
