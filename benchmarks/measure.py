"""What is measured inside the process of one cell: seconds and memory, apart from warming up."""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def threads() -> int:
    """Threads that the runner allows every library."""
    return int(os.environ["OMP_NUM_THREADS"])


def measured(
    work: Callable[[], Any],
    *,
    warm: Callable[[], Any] | None = None,
    at_least: float = 0.0,
    **facts: Any,
) -> dict[str, Any]:
    """Time a call; of several in a row, the median.

    Parameters
    ----------
    work : callable
    warm : callable, optional
        Called before, once: compiles, loads, starts threads. Reported as ``warmup``.
    at_least : float
        Seconds; short work is repeated until they are over.
    **facts
        Added to the answer: ``bytes`` or ``rows`` that the work handles, for a rate.

    Returns
    -------
    dict
        ``seconds``, ``cpu`` seconds of all threads, ``warmup``, ``peak_mb`` above what was
        resident before the first call, ``rate`` and ``unit`` where the facts tell, ``value`` of
        the last call.
    """
    began = time.perf_counter()
    if warm is not None:
        warm()
    warmup = time.perf_counter() - began
    before = _reset_peak()
    taken: list[float] = []
    value = None
    used = time.process_time()
    while not taken or (sum(taken) < at_least and len(taken) < 50):
        value = None  # let go of the last result first
        began = time.perf_counter()
        value = work()
        taken.append(time.perf_counter() - began)
        if len(taken) == 1:
            peak = _peak() - before
    seconds = statistics.median(taken)
    told = {
        "seconds": seconds,
        "cpu": (time.process_time() - used) / len(taken),
        "warmup": warmup,
        "peak_mb": max(peak, 0) / 1e6,
        "value": value,
    }
    if "bytes" in facts:
        told |= {"rate": facts["bytes"] / seconds / 1e9, "unit": "GB/s"}
    elif "rows" in facts:
        told |= {"rate": facts["rows"] / seconds / 1e6, "unit": "M rows/s"}
    return told


def _reset_peak() -> int:
    """Forget the peak so far, where the system can; bytes that are resident now."""
    try:
        CLEAR.write_text("5")
        return status("VmRSS")
    except OSError:
        return _peak()


def _peak() -> int:
    """Most bytes that were resident at once."""
    try:
        return status("VmHWM")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def status(field: str) -> int:
    """Bytes that the system states of this process (Linux)."""
    line = next(s for s in STATUS.read_text().splitlines() if s.startswith(field))
    return int(line.split()[1]) * 1024
