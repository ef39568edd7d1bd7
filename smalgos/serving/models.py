"""The models of a multi-model endpoint, which come and go by requests."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smalgos.algorithms import files_of, load_model
from smalgos.errors import UserError
from smalgos.learning.model import Model
from smalgos.serving.invoke import Refused, warm_up

PAGE = 100  # models that are listed at a time
# Memory that loading takes, over the size of the file: the file as it is, and the arrays.
LOADING = 2


@dataclass(eq=False)
class Entry:
    """A model that is loaded.

    Parameters
    ----------
    name : str
        The platform's, opaque.
    url : str
        Where it was found.
    model : Model
    """

    name: str
    url: str
    model: Model
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def described(self) -> dict[str, str]:
        """As the platform wants it told."""
        return {"modelName": self.name, "modelUrl": self.url}

    @contextmanager
    def used(self) -> Iterator[Model]:
        """The model, while a request needs it."""
        self.users += 1
        self.idle.clear()
        try:
            yield self.model
        finally:
            self.users -= 1
            if not self.users:
                self.idle.set()


class Models:
    """The models that are loaded, by their names."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._loading: set[str] = set()

    def get(self, name: str) -> Entry:
        """The model of that name; `Refused` with 404 when it is not loaded."""
        if name not in self._entries:
            raise Refused(404, f"model {name!r} is not loaded")
        return self._entries[name]

    def page(self, token: str) -> dict[str, Any]:
        """Some models in the order of their names, from that of the token on."""
        names = sorted(name for name in self._entries if name >= token)
        told: dict[str, Any] = {"models": [self._entries[n].described() for n in names[:PAGE]]}
        return told | ({"nextPageToken": names[PAGE]} if len(names) > PAGE else {})

    async def load(
        self, body: bytes, aside: Callable[[Callable[[], Model]], Awaitable[Model]]
    ) -> None:
        """Load the model that a request describes.

        Parameters
        ----------
        body : bytes
            ``{"model_name": "...", "url": "/opt/ml/models/.../model"}``
        aside : callable
            Awaits the result of a function on another thread.

        Raises
        ------
        Refused
            400: the request or the file cannot be used. 409: the name is taken. 507: there is not
            memory enough.
        """
        name, url = _described(body)
        if name in self._entries or name in self._loading:
            raise Refused(409, f"model {name!r} is loaded already")
        self._loading.add(name)
        try:
            self._entries[name] = Entry(name, url, await aside(lambda: _load(url)))
        finally:
            self._loading.discard(name)

    async def unload(self, name: str) -> None:
        """Let go of a model, when the requests at work on it are done."""
        entry = self.get(name)
        del self._entries[name]
        if entry.users:
            await entry.idle.wait()
        del entry
        gc.collect()


def _described(body: bytes) -> tuple[str, str]:
    try:
        told = json.loads(body)
        name, url = told["model_name"], told["url"]
    except (ValueError, RecursionError, KeyError, TypeError):
        name = url = None
    if not (isinstance(name, str) and name and isinstance(url, str) and url):
        raise Refused(400, 'give {"model_name": "...", "url": "..."}, both strings')
    return name, url


def _load(url: str) -> Model:
    try:
        needed = LOADING * sum(file.stat().st_size for file in files_of(url))
        free = free_memory()
        if free is not None and needed > free:
            raise Refused(
                507, f"the model needs {needed} bytes of memory, of which {free} are left"
            )
        model = load_model(url)
        warm_up(model)
    except MemoryError as e:
        raise Refused(507, f"there is not memory enough for {url}") from e
    except (OSError, ValueError) as e:
        said = str(e) if isinstance(e, UserError) else f"{url}: cannot be read: {e}"
        raise Refused(400, said) from e
    return model


def free_memory() -> int | None:
    """Bytes that this process may still take, by the machine and by its control group; or None."""
    found = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) << 10)
    most, held = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if most and held and most[0] != "max":
        found.append(max(int(most[0]) - int(held[0]), 0))
    return min(found, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
