"""Memory that ends where an array ends, and limits on how much of it there is.

A kernel that reads or writes a single byte behind its array would go unnoticed in ordinary
memory. Arrays made here end at a page that cannot be touched, so that it ends the process instead.
"""

import ctypes
import math
import mmap
import resource
import threading
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
NO_ACCESS = 0  # PROT_NONE
TURNS = 512  # arrays of one size class that can be in use at the same time, ...
MOST = 64 << 20  # ... unless they take more bytes than this together
_libc = ctypes.CDLL(None, use_errno=True)


class Fence:
    """What the modules under test take for NumPy: all of it, but for `empty`.

    The memory of an array is used again for the one `TURNS` arrays of its size class later.

    Attributes
    ----------
    allocated : int
        Bytes asked for since it was last set.
    """

    def __init__(self) -> None:
        self.__dict__.update(vars(np))
        self.allocated = 0
        self.empty = self._empty
        self._regions: dict[int, list[mmap.mmap]] = {}
        self._turns: dict[int, int] = {}
        self._lock = threading.Lock()

    def _empty(self, shape: Any, dtype: Any = np.float64) -> np.ndarray:
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        n_bytes = int(count) * np.dtype(dtype).itemsize
        room = PAGE << max(0, (n_bytes - 1) // PAGE).bit_length()
        with self._lock:
            self.allocated += n_bytes
            regions = self._regions.setdefault(room, [])
            turn = self._turns.get(room, 0)
            if turn == len(regions):
                regions.append(_region(room))
            self._turns[room] = (turn + 1) % max(4, min(TURNS, MOST // room))
        return np.ndarray(shape, dtype, regions[turn], room - n_bytes)


def _region(room: int) -> mmap.mmap:
    """`room` bytes in front of a page that cannot be touched."""
    region = mmap.mmap(-1, room + PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(region))
    if _libc.mprotect(ctypes.c_void_p(start + room), PAGE, NO_ACCESS):
        raise OSError(ctypes.get_errno(), "mprotect")
    return region


def limit_memory(more: int) -> None:
    """From now on, let the process have so many bytes more of memory, touched or not."""
    with open("/proc/self/statm") as statm:
        size = int(statm.read().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.getrlimit(resource.RLIMIT_AS)[1]))
