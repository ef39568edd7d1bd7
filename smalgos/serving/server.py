"""The server: one process, or several that share a port."""

import gc
import importlib.util
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from smalgos.container.log import LineFormatter
from smalgos.errors import AlgorithmError, PlatformError, UserError
from smalgos.serving.settings import Settings

LOG = logging.getLogger("smalgos.serving")
NEEDED = ("starlette", "uvicorn", "httptools")  # of the extra `serve`

# The platform kills 30 seconds behind SIGTERM. Requests at work get most of them.
PATIENCE = 25
AT_LAST = 28.0
KEEP_ALIVE = 65  # seconds that a connection may be idle: longer than the pools of most clients
BACKLOG = 2048
POLL = 0.5  # seconds between two looks at whether to stop
AGAIN = 1.0  # seconds before a worker is started anew that never got ready


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """``serve`` as the platform calls it: the model below ``/opt/ml``, settings by variables.

    Returns
    -------
    int
        The exit code.
    """
    try:
        settings = Settings.of(environment)
        with logging_to_stdout(settings.log_level):
            if argv:
                raise UserError(f"unknown arguments {' '.join(argv)}: serve takes none")
            return run(settings)
    except (UserError, PlatformError) as e:
        with logging_to_stdout(logging.INFO):
            LOG.error("%s", e)
        return 1


def run(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    UserError
        When the model cannot be loaded, or something needed is not installed.
    PlatformError
        When the port cannot be listened on.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed: run pip install 'smalgos[serve]'")
    with listening(settings.host, settings.port) as port:
        if settings.workers > 1:
            return supervise(settings, port)
        serve(settings, port)
    return 0


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on which clients may connect from now on: they wait until they are accepted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Said to be TCP, or asyncio leaves Nagle's algorithm on: 40 ms for each small answer.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen(BACKLOG)
        except OSError as e:
            said = f"{host}:{port} cannot be listened on: {e.strerror}; is another server running?"
            raise PlatformError(said) from e
        yield made


@contextmanager
def logging_to_stdout(level: int) -> Iterator[None]:
    """Lines of the log on standard output; those of requests as they are."""
    lines, requests = (logging.StreamHandler(sys.stdout) for _ in range(2))
    lines.setFormatter(LineFormatter())
    root, access = logging.getLogger(), logging.getLogger("smalgos.serving.access")
    before = root.level, access.propagate
    root.addHandler(lines)
    access.addHandler(requests)
    root.setLevel(level)
    access.propagate = False
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        root.removeHandler(lines)
        access.removeHandler(requests)
        root.setLevel(before[0])
        access.propagate = before[1]


# One process --------------------------------------------------------------------------------------


def serve(settings: Settings, port: socket.socket, ready: Any = None) -> None:
    """Load the model, warm it up, then accept requests.

    Parameters
    ----------
    settings : Settings
    port : socket
        Listening.
    ready : event, optional
        Set when requests are accepted.
    """
    import uvicorn

    from smalgos.algorithms import file_of, load_model
    from smalgos.serving.app import application
    from smalgos.serving.invoke import warm_up
    from smalgos.serving.protocol import Protocol

    began = time.monotonic()
    server: uvicorn.Server | None = None

    def stop(*_: Any) -> None:
        if server is None:
            sys.exit(0)
        server.should_exit = True

    with stopping(stop):
        model = None
        if settings.model is not None:
            file = settings.model if settings.ensemble else file_of(settings.model)
            model = load_model(file)
            if not warm_up(model):
                raise AlgorithmError(f"{settings.model}: the model answers no request")
        app = application(model, settings)
        # What is loaded by now stays: the collector need not go through all of it again and again.
        gc.collect()
        gc.freeze()
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        if multiprocessing.parent_process() is not None:
            threading.Thread(target=_stop_as_orphan, args=(stop,), daemon=True).start()
        host, number = port.getsockname()[:2]
        LOG.info("ready on http://%s:%d after %.1f s", host, number, time.monotonic() - began)
        if ready is not None:
            ready.set()
        server.run([port])
        app.write_lines()


def _stop_as_orphan(stop: Any) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    stop()


@contextmanager
def stopping(stop: Any) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask to stop, and end the process when that takes too long.

    uvicorn puts its own handlers in the place of these and, when it has stopped, raises the signal
    again: then these keep the process from dying of it, and it ends with exit code 0.
    """

    def handle(number: int, frame: Any) -> None:
        stop()
        last = threading.Timer(AT_LAST, os._exit, (1,))
        last.daemon = True
        last.start()

    asked = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, handle) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Several processes --------------------------------------------------------------------------------


class Worker:
    """A process that serves.

    Parameters
    ----------
    settings : Settings
    port : socket
    """

    def __init__(self, settings: Settings, port: socket.socket) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share locks and half a numba
        self.ready = context.Event()
        self.process = context.Process(
            target=_work, args=(settings, port, self.ready), name="smalgos-serving"
        )
        self.process.start()


def _work(settings: Settings, port: socket.socket, ready: Any) -> None:
    with logging_to_stdout(settings.log_level):
        try:
            serve(settings, port, ready)
        except (UserError, PlatformError) as e:
            LOG.error("%s", e)
            sys.exit(1)


def supervise(settings: Settings, port: socket.socket) -> int:
    """Keep as many workers running as asked for, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings
    port : socket
        Listening; the workers accept from it.

    Returns
    -------
    int
        The exit code: 1 when no worker ever got ready.
    """
    asked = threading.Event()
    proven = False  # whether any worker got ready: then one that does not has met bad luck
    failed = False
    with stopping(asked.set):
        workers = [Worker(settings, port) for _ in range(settings.workers)]
        while not asked.is_set() and not failed:
            wait([w.process.sentinel for w in workers], POLL)
            proven = proven or any(w.ready.is_set() for w in workers)
            for i, worker in enumerate(workers):
                if worker.process.exitcode is None or asked.is_set():
                    continue
                if not proven:
                    failed = True
                    break
                LOG.error("a worker died (exit code %s): it is replaced", worker.process.exitcode)
                if not worker.ready.is_set():
                    asked.wait(AGAIN)
                workers[i] = Worker(settings, port)
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + AT_LAST
        for worker in workers:
            worker.process.join(max(deadline - time.monotonic(), 0))
            worker.process.kill()
    return int(failed)
