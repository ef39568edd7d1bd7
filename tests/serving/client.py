"""Clients for tests: of the application itself, and of servers in processes of their own."""

import asyncio
import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return self.headers.get("content-type", "")


def call(
    app: Any,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: dict[str, str] | None = None,
    silent: bool = False,
) -> Answer:
    """One request to an ASGI application; `silent`: the rest of the body never comes."""
    return asyncio.run(acall(app, method, path, body, headers, silent))


async def acall(
    app: Any,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: dict[str, str] | None = None,
    silent: bool = False,
) -> Answer:
    """The same within a running loop."""
    path, _, query = path.partition("?")
    pieces = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "root_path": "", "http_version": "1.1",
        "client": ("10.0.0.1", 1), "scheme": "http",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(pieces):
            if silent:
                await asyncio.sleep(3600)
            return {"type": "http.disconnect"}
        taken += 1
        more = silent or taken < len(pieces)
        return {"type": "http.request", "body": pieces[taken - 1], "more_body": more}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    app.write_lines()
    told = {k.decode(): v.decode("latin-1") for k, v in sent[0]["headers"]} if sent else {}
    assert not sent or not sent[-1].get("more_body")
    return Answer(
        sent[0]["status"] if sent else 0, told, b"".join(m.get("body", b"") for m in sent[1:])
    )


class Running:
    """A server in a process of its own.

    Parameters
    ----------
    command : sequence of str
        Behind the interpreter.
    log : Path
        Where its output goes.
    """

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        self.log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [part.replace("PORT", str(self.port)) for part in command]
        environment = {n: v.replace("PORT", str(self.port)) for n, v in environment.items()}
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command], stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )  # fmt: skip

    @property
    def lines(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def wait(self, seconds: float = 120) -> "Running":
        """Until it is ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.request("GET", "/ping").status == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.lines}")

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request over a connection of its own; an iterable body is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            told = {k.lower(): v for k, v in response.getheaders()}
            return Answer(response.status, told, response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, **environment: str) -> Iterator[Running]:
    """A server, until the end of the block."""
    server = Running(command, log, **environment)
    try:
        yield server.wait()
    finally:
        server.process.kill()
        server.process.wait()


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answered(connection: socket.socket) -> bytes:
    """One answer, its head and as much body as that says."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(65536)
        assert part, text
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
