"""What all kernels on the CPU share: arrays, threads, random numbers, sums.

Work is cut into tasks that depend on the data alone, never on the number of threads, and the
results of tasks are combined in order: the same bytes come out for any ``n_jobs``.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError

__all__ = [
    "CHUNK",
    "Lent",
    "all_finite",
    "asarray",
    "blas_single",
    "chunks",
    "device",
    "jobs",
    "readable",
    "run",
    "threads",
    "to_host",
    "total",
    "uniforms",
    "words",
    "xp",
]

T = TypeVar("T")
R = TypeVar("R")

xp = np
device = "cpu"
ENTRIES = 1 << 20  # of an array that a task looks at
CHUNK = 4096  # rows of a task: enough work to pay for handing it to a thread, few enough for cache

_jobs: ContextVar[int | None] = ContextVar("n_jobs", default=None)
_here = threading.local()  # .busy: this thread works inside `run`
_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _forget() -> None:
    """A child process has no threads but the one that forked."""
    global _lock
    _pools.clear()
    _lock = threading.Lock()
    _here.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def asarray(x: Any, dtype: Any = None) -> NDArray[Any]:
    """A C-ordered array on this device; shares memory where it can."""
    return np.ascontiguousarray(x, dtype)


class _Alias:
    """Memory of a read-only array, offered as writable."""

    def __init__(self, x: NDArray[Any]) -> None:
        pointer, _ = x.__array_interface__["data"]
        self.__array_interface__ = {**x.__array_interface__, "data": (pointer, False)}
        self.owner = x


def readable(x: Any, dtype: Any = None) -> NDArray[Any]:
    """A C-ordered, aligned array for a kernel to read, of the type of a writable one.

    numba compiles a kernel once more for read-only arrays (a mapped file, a frozen array). The
    memory is shared where it can be and must not be written to.
    """
    x = np.require(x, dtype, ["C", "A"])
    return x if x.flags.writeable else np.asarray(_Alias(x))


def to_host(*arrays: Any) -> Any:
    """The arrays (or the one array) as NumPy arrays on the host."""
    return arrays[0] if len(arrays) == 1 else arrays


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1


@contextmanager
def threads(n_jobs: int | None) -> Iterator[int]:
    """Limit `run` to a number of threads.

    Holds for the thread that enters it, and for threads started by it in a copy of its context.

    Parameters
    ----------
    n_jobs : int or None
        Number of threads, taken as it is even above the number of cores. None or -1: all cores;
        -2: all but one, and so on.

    Yields
    ------
    int
        The number of threads.
    """
    count = -1 if n_jobs is None else int(n_jobs)
    if count == 0:
        raise UserError("n_jobs=0: give a number of threads, or -1 for all cores")
    if count < 0:
        count = max(1, _cores() + 1 + count)
    token = _jobs.set(count)
    try:
        yield count
    finally:
        _jobs.reset(token)


def jobs() -> int:
    """How many threads `run` takes here."""
    return 1 if getattr(_here, "busy", False) else _jobs.get() or _cores()


def _pool(size: int) -> ThreadPoolExecutor:
    with _lock:
        if size not in _pools:
            _pools[size] = ThreadPoolExecutor(size, thread_name_prefix="smalgos")
        return _pools[size]


def run(f: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results of f for each item, in order, computed by several threads.

    The calling thread takes part. Inside another `run` it works alone.

    Parameters
    ----------
    f : callable
        Thread-safe; worth a thread only where it releases the GIL.
    items : iterable

    Returns
    -------
    list

    Raises
    ------
    Exception
        That of the first item (in order) whose f raised.
    """
    given = list(items)
    count = min(jobs(), len(given))
    if count <= 1:
        return [f(item) for item in given]
    results: list[Any] = [None] * len(given)
    errors: dict[int, BaseException] = {}
    waiting = deque(range(len(given)))

    def work() -> None:
        _here.busy = True
        try:
            while True:
                try:
                    i = waiting.popleft()
                except IndexError:
                    return
                try:
                    results[i] = f(given[i])
                except BaseException as error:
                    errors[i] = error  # what was taken before this one is finished yet
                    waiting.clear()
        finally:
            _here.busy = False

    pool = _pool(count - 1)
    helpers = [pool.submit(work) for _ in range(count - 1)]
    work()
    for helper in helpers:
        if (
            not helper.cancel()
        ):  # one that could not start, since others use the pool, is not missed
            helper.result()
    if errors:
        raise errors[min(errors)]
    return results


def chunks(n: int, size: int = CHUNK) -> list[slice]:
    """Consecutive slices of `size` rows that cover n rows; the last one may be shorter."""
    return [slice(a, min(n, a + size)) for a in range(0, n, size)]


class _Single:
    """Keeps BLAS on one thread while anybody is inside; the last one out puts its limit back."""

    def __init__(self) -> None:
        self.inside = 0
        self.lock = threading.Lock()
        self.limit: Any = None
        self.libraries: Any = None  # looked up once: that takes milliseconds

    def enter(self) -> None:
        import scipy.linalg  # noqa: F401  (it has a BLAS of its own)
        from threadpoolctl import ThreadpoolController

        with self.lock:
            if self.inside == 0:
                if self.libraries is None:
                    self.libraries = ThreadpoolController()
                self.limit = self.libraries.limit(limits=1, user_api="blas")
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.limit.restore_original_limits()


_single = _Single()


@contextmanager
def blas_single() -> Iterator[None]:
    """One BLAS thread: its results change with its thread count."""
    _single.enter()
    try:
        yield
    finally:
        _single.leave()


@lru_cache
def _word(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def _philox(seed: int, purpose: str | int, *counter: int) -> np.random.Philox:
    """Philox4x64-10 (Salmon et al., SC 2011), keyed by seed and purpose."""
    mask = (1 << 64) - 1
    second = _word(purpose) if isinstance(purpose, str) else int(purpose) & mask
    key = np.array([int(seed) & mask, second], np.uint64)
    return np.random.Philox(key=key, counter=np.array([*counter, 0, 0, 0, 0][:4], np.uint64))


def uniforms(
    seed: int, purpose: str | int, epoch: int, first_row: int, n: int, m: int = 1
) -> NDArray[np.float64]:
    """Random numbers that belong to rows: the same however the rows are cut into blocks.

    The first columns do not depend on the number of columns.

    Parameters
    ----------
    seed, purpose, epoch : int, str or int, int
        What the numbers are keyed by; another purpose or epoch gives unrelated numbers.
    first_row : int
        Number of the first row within the pass.
    n, m : int
        Rows, and numbers for each.

    Returns
    -------
    ndarray of float64, shape (n, m)
        Uniform in [0, 1), multiples of 2**-53.
    """
    out = np.empty((n, m))
    for word in range(0, m, 4):  # a counter of (row, word, epoch) gives four numbers
        bits = _philox(seed, purpose, first_row, word // 4, epoch).random_raw(4 * n)
        part = out[:, word : word + 4]
        np.multiply(bits.reshape(n, 4)[:, : part.shape[1]] >> np.uint64(11), 2.0**-53, out=part)
    return out


def words(
    seed: int, purpose: str | int, epoch: int, first_row: int, n: int, m: int
) -> NDArray[np.uint32]:
    """As `uniforms`, but bits, which take half of the time; they do depend on their number.

    Returns
    -------
    ndarray of uint32, shape (n, m)
    """
    counters = -(-m // 8)  # a counter of (row and word, epoch) gives eight words
    bits = _philox(seed, purpose, first_row * counters, 0, epoch).random_raw(4 * counters * n)
    return bits.view(np.uint32).reshape(n, 8 * counters)[:, :m]


def all_finite(x: NDArray[Any]) -> bool:
    """Whether no entry of a float array is NaN or infinite.

    A sum is finite only if all its terms are; where it is not, it may only have overflowed.
    """
    entries = x.reshape(-1)

    def finite(part: slice) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            sum_is = bool(np.isfinite(entries[part].sum()))
        return sum_is or bool(np.isfinite(entries[part]).all())

    return all(run(finite, chunks(len(entries), ENTRIES)))


class Lent(Generic[T]):
    """Scratch that tasks borrow and give back: what the system hands out anew is slow at first.

    Parameters
    ----------
    make : callable
        Makes one more where all are lent.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._free = make, deque[T]()

    def get(self) -> T:
        """Borrow; what is in it has no meaning."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def put(self, scratch: T) -> None:
        """Give back."""
        self._free.append(scratch)


def total(x: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the rows, in float64.

    Parameters
    ----------
    x : ndarray, shape (n, ...)

    Returns
    -------
    ndarray of float64, shape (...)
    """
    out = np.zeros(x.shape[1:])
    for part in run(lambda rows: x[rows].sum(axis=0, dtype=np.float64), chunks(len(x))):
        out += part
    return out
