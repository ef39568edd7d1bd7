"""The routes of the inference container, over Starlette."""

import asyncio
import functools
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smalgos.learning.model import Model
from smalgos.serving.invoke import Refused, invoke
from smalgos.serving.models import Models
from smalgos.serving.settings import Settings

LOG = logging.getLogger("smalgos.serving")
ACCESS_LOG = logging.getLogger("smalgos.serving.access")

# Answers that take no longer are given by the thread of all connections: handing a request of
# 200 KB to another one takes half a millisecond, and pings can wait that long.
AT_ONCE = 4e-3
SHORT = 16 << 10  # bytes of a request that is taken to be of that kind until it has been seen
LATER = 0.1  # seconds that a line for a request may wait to be written
LINGER = 2.0  # seconds that a client may go on sending what nobody reads, until it reads the answer
CLOSING = (408, 413)  # refusals of a body that is not read to its end
FAILED = "the request failed, and the log says why"
GONE = 499  # in the access log: the client has left before it was answered
VARIANT = {"x-amzn-invoked-production-variant": "AllTraffic"}  # what the original's hosting adds
TARGET = "x-amzn-sagemaker-target-model"

T = TypeVar("T")
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def application(model: Model | None, settings: Settings) -> "Watched":
    """What answers all requests.

    Parameters
    ----------
    model : Model or None
        None: models come and go by requests (a multi-model endpoint).
    settings : Settings

    Returns
    -------
    Watched
        An ASGI application.
    """
    server = Server(model, settings)
    routes = [
        Route("/ping", Methods(GET=server.ping)),
        Route("/execution-parameters", Methods(GET=server.execution_parameters)),
        Route("/endpoints/{name}/invocations", Methods(POST=server.endpoint)),
    ]
    if model is None:
        routes += [
            Route("/models", Methods(GET=server.list_models, POST=server.load_model)),
            Route("/models/{name}", Methods(GET=server.show_model, DELETE=server.unload_model)),
            Route("/models/{name}/invoke", Methods(POST=server.invoke_model)),
        ]
    else:
        routes.insert(0, Route("/invocations", Methods(POST=server.invocations)))
    return Watched(Router(routes, redirect_slashes=False, default=nothing_here))


class Server:
    """The handlers of requests, and what they share.

    Parameters
    ----------
    model : Model or None
    settings : Settings
    """

    def __init__(self, model: Model | None, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.models = Models()
        self._pace = Pace()
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="smalgos-serving")

    # All containers' -----------------------------------------------------------------------------

    async def ping(self, request: Request) -> Response:
        """200: requests are taken only when the model is loaded and warm."""
        return Bare(200)

    async def execution_parameters(self, request: Request) -> Response:
        """What batch transform asks for."""
        megabytes = max(self.settings.max_body >> 20, 1)
        at_once = self.settings.workers * self.settings.threads
        return as_json(
            {
                # The platform allows for a product of 100.
                "MaxConcurrentTransforms": max(min(at_once, 100 // megabytes), 1),
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": megabytes,
            }
        )

    async def invocations(self, request: Request) -> Response:
        """The model's answer."""
        assert self.model is not None
        return await self.answer(self.model, request)

    async def endpoint(self, request: Request) -> Response:
        """The same as the original's hosting gives it to clients: with its errors and headers."""
        try:
            if self.model is not None:
                response = await self.invocations(request)
            else:
                if TARGET not in request.headers:
                    said = f"This endpoint has several models: name one by {TARGET}."
                    return service_error(400, "ValidationError", {"Message": said})
                response = await self.invoke_named(request.headers[TARGET], request)
        except Refused as e:
            return model_error(e)
        response.headers.update(VARIANT)
        return response

    async def answer(self, model: Model, request: Request) -> Response:
        """What the model says, or `Refused`."""
        body, headers = await self.read(request), headers_of(request.scope)
        call = functools.partial(
            invoke,
            model,
            body,
            headers.get(b"content-type", b"").decode("latin-1"),
            headers.get(b"accept", b"").decode("latin-1"),
            default=self.settings.accept,
            batch=self.settings.batch,
            fields=self.settings.fields,
        )
        limit = self.settings.timeout
        try:
            if self._pace.expected(model, len(body)) <= AT_ONCE:
                reply = self._pace.measured(model, len(body), call)
            else:
                measured = functools.partial(self._pace.measured, model, len(body), call)
                async with asyncio.timeout(limit):
                    reply = await self.aside(measured)
        except TimeoutError as e:
            raise Refused(504, f"there is no answer within {limit:g} seconds") from e
        except MemoryError as e:
            raise Refused(507, "there is not memory enough for this request: send less") from e
        except Refused:
            raise
        except Exception as e:
            LOG.exception("a request failed")
            raise Refused(500, FAILED) from e
        return Bare(reply.status, reply.body, reply.type)

    async def read(self, request: Request) -> bytes:
        """The body, or `Refused` when it is too long or takes too long."""
        limit = self.settings.timeout
        try:
            async with asyncio.timeout(limit):
                return await read_body(request, self.settings.max_body)
        except TimeoutError as e:
            raise Refused(408, f"the request did not arrive within {limit:g} seconds") from e

    async def aside(self, call: Callable[[], Any]) -> Any:
        """The result of a call that takes a while, on another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    # Multi-model endpoints' ----------------------------------------------------------------------

    async def list_models(self, request: Request) -> Response:
        """The models that are loaded, some at a time."""
        return as_json(self.models.page(request.query_params.get("next_page_token", "")))

    async def show_model(self, request: Request) -> Response:
        """One of them."""
        return as_json(self.models.get(request.path_params["name"]).described())

    async def load_model(self, request: Request) -> Response:
        """Load one more."""
        await self.models.load(await self.read(request), self.aside)
        return Bare(200)

    async def unload_model(self, request: Request) -> Response:
        """Let go of one, with its memory."""
        await self.models.unload(request.path_params["name"])
        return Bare(200)

    async def invoke_model(self, request: Request) -> Response:
        """The answer of one of them."""
        return await self.invoke_named(request.path_params["name"], request)

    async def invoke_named(self, name: str, request: Request) -> Response:
        """The answer of the model of that name, which is not unloaded meanwhile."""
        with self.models.get(name).used() as model:
            return await self.answer(model, request)


class Pace:
    """How long a model takes for requests of about a size."""

    def __init__(self) -> None:
        self._seconds: WeakKeyDictionary[Model, dict[int, float]] = WeakKeyDictionary()

    def expected(self, model: Model, size: int) -> float:
        """Seconds that a request of so many bytes should take."""
        unseen = 0.0 if size <= SHORT else AT_ONCE + 1
        return self._seconds.get(model, {}).get(size.bit_length(), unseen)

    def measured(self, model: Model, size: int, call: Callable[[], T]) -> T:
        """The result of `call`, which answers such a request."""
        began = time.perf_counter()
        result = call()
        taken = time.perf_counter() - began
        known, kind = self._seconds.setdefault(model, {}), size.bit_length()
        # A little at a time: one that was held up by others says nothing of the next.
        known[kind] = known.get(kind, taken) * 0.9 + taken * 0.1
        return result


async def read_body(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it turns out to be longer than `limit` bytes."""
    said = f"the body is longer than {limit} bytes: send fewer rows at a time"
    if int(headers_of(request.scope).get(b"content-length", 0)) > limit:
        raise Refused(413, said)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(parts[-1])
        if size > limit:
            raise Refused(413, said)
    return b"".join(parts)


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """{name in lower case: value}, of several the last one."""
    return dict(scope["headers"])


# Responses ----------------------------------------------------------------------------------------


class Bare(Response):
    """A response whose content type is the media type alone: some clients compare it as text."""

    def __init__(self, status: int, body: bytes = b"", media_type: str = "") -> None:
        super().__init__(body, status, {"content-type": media_type} if media_type else {})


class Closing(Bare):
    """A response to a request that is not read to its end.

    A connection that is closed while bytes are unread is reset, and the client may never see the
    response: what it goes on to send is passed over for a while.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


def as_json(value: Any) -> Response:
    """A JSON document."""
    return Bare(200, json.dumps(value).encode(), "application/json")


def refusal(e: Refused) -> Response:
    """One sentence."""
    return (Closing if e.status in CLOSING else Bare)(e.status, e.said.encode(), "text/plain")


def model_error(e: Refused) -> Response:
    """A container's error as the hosting tells clients of it."""
    told = {
        "Message": f'Received client error ({e.status}) from primary with message "{e.said}".',
        "OriginalStatusCode": e.status,
        "OriginalMessage": e.said,
        "LogStreamArn": "",
    }
    return service_error(424, "ModelError", told, closing=e.status in CLOSING)


def service_error(
    status: int, name: str, told: dict[str, Any], *, closing: bool = False
) -> Response:
    """An error in AWS's rest-json protocol."""
    kind = Closing if closing else Bare
    response = kind(status, json.dumps(told).encode(), "application/json")
    response.raw_headers.append((b"x-amzn-errortype", name.encode()))
    return response


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """404."""
    await Bare(404, b"{}", "application/json")(scope, receive, send)


# Around handlers ----------------------------------------------------------------------------------


class Methods:
    """Handlers of the methods of a path.

    Parameters
    ----------
    **handlers
        ``GET=handler``, which also answers HEAD, ``POST=handler``, ...
    """

    def __init__(self, **handlers: Handler) -> None:
        self._handlers = handlers | ({"HEAD": handlers["GET"]} if "GET" in handlers else {})
        self._allowed = ", ".join(self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        handler = self._handlers.get(scope["method"])
        if handler is None:
            response = refusal(Refused(405, f"this path takes {self._allowed}"))
            response.headers["allow"] = self._allowed
        else:
            try:
                response = await handler(Request(scope, receive))
            except Refused as e:
                response = refusal(e)
        await response(scope, receive, send)


class Watched:
    """Writes a line for each request, as the original's servers do, and hides faults of ours.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        status = size = 0

        async def watched(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = GONE
        except Exception:
            LOG.exception("a request failed")
            if status:  # it is too late to say so
                raise
            await refusal(Refused(500, FAILED))(scope, receive, watched)
        finally:
            if ACCESS_LOG.isEnabledFor(logging.INFO):
                self._lines.append(access_line(scope, status, size))
                if len(self._lines) == 1:
                    asyncio.get_running_loop().call_later(LATER, self.write_lines)

    def write_lines(self) -> None:
        """Write the lines that wait: many at once take little more time than one."""
        if self._lines:
            ACCESS_LOG.info("%s", "\n".join(self._lines))
            self._lines.clear()


def access_line(scope: Scope, status: int, size: int) -> str:
    """A line of the combined log format."""
    headers = headers_of(scope)
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    target = printable(path + b"?" + query if query else path)
    client = (scope["client"] or ("-",))[0]
    now = clock(int(time.time()))
    referer, agent = (printable(headers.get(name, b"-")) for name in (b"referer", b"user-agent"))
    request = f"{scope['method']} {target} HTTP/{scope['http_version']}"
    return f'{client} - - [{now}] "{request}" {status} {size} "{referer}" "{agent}"'


@functools.lru_cache(1)
def clock(seconds: int) -> str:
    """The time as lines of the log have it."""
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(seconds))


def printable(text: bytes) -> str:
    """Text of a client, so that it cannot pass for another line or another field."""
    shown = text.decode("latin-1")
    if shown.isprintable() and '"' not in shown:
        return shown
    return "".join(c if c.isprintable() and c != '"' else f"\\x{ord(c):02x}" for c in shown)
