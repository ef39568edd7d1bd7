"""The one way to compile a kernel, and where compiled code is kept.

Importing this module settles, before numba is imported, what numba reads from the
environment: the folder of its disk cache, the processor it compiles for, the threading
layer. What the user has set already is left alone (`smalgos doctor` shows all of it).
"""

import atexit
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Value-safe rewrites: sums may be re-ordered and multiply-adds fused, but NaN stays NaN.
SAFE = {"reassoc", "contract", "arcp", "nsz"}


def _sources() -> list[Path]:
    here = Path(__file__).resolve().parent
    # Installed: inside the package. In a checkout: beside it.
    folders = [p for n in ("kernels", "formats") for p in (here / n, here.parent / n) if p.is_dir()]
    files = [p for folder in folders for p in folder.rglob("*.py")]
    return sorted(files + [here / f"{name}.py" for name in ("_bits", "_jit", "_linking")])


def _cache_root() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    root = Path(given) if given else Path.home() / ".cache"
    for folder in (root / "smalgos", Path(tempfile.gettempdir()) / f"smalgos-{os.getuid()}"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="smalgos-"))


def _linked(cache: Path) -> Path:
    """A folder with links to all files of a cache that cannot be written to, as in an image.

    numba leaves alone what it cannot write to, even to read it.
    """
    folder = Path(tempfile.mkdtemp(prefix="smalgos-"))
    atexit.register(_remove, folder, os.getpid())
    for path in cache.rglob("*"):
        if path.is_file():
            link = folder / path.relative_to(cache)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a process that was forked off
        shutil.rmtree(folder, ignore_errors=True)


def _cpu_name() -> str | None:
    """x86-64-v4 with AVX-512, x86-64-v3 with AVX2: LLVM's own choice for some processors
    schedules the tile kernel at half its speed, and a cache for a level is portable."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return None
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= set(flags):
        return "x86-64-v4"
    return "x86-64-v3" if {"avx2", "fma", "bmi2"} <= set(flags) else None


def _settle() -> None:
    if "numba" in sys.modules:
        return
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is not None:
        if os.path.isdir(given) and not os.access(given, os.W_OK):
            os.environ["NUMBA_CACHE_DIR"] = str(_linked(Path(given)))
    else:
        # numba sees no edits in other files: the folder is keyed by the content of all of them.
        # The bounds-check flag is not in numba's own key, so it is in ours.
        key = hashlib.sha256(b"".join(p.read_bytes() for p in _sources())).hexdigest()[:16]
        mode = os.environ.get("NUMBA_BOUNDSCHECK", "0")
        os.environ["NUMBA_CACHE_DIR"] = str(_cache_root() / f"numba-{key}-{mode}")
    name = _cpu_name()
    if name and "NUMBA_CPU_NAME" not in os.environ and "NUMBA_CPU_FEATURES" not in os.environ:
        # An explicit (empty) feature list keeps numba from adding the host's own features.
        os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = name, ""


_settle()

import numba  # noqa: E402  (after the environment is settled)

COMPILED: bool = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]

KNOWN = (0, 68)  # the last numba whose insides `smalgos._linking` is known to fit


@functools.cache
def _linking() -> Callable[..., Any] | None:
    """The decorator of kernels that are optimised with those they call, if there is one."""
    if not COMPILED or numba.version_info.short > KNOWN:
        return None
    from smalgos._linking import linked

    return linked


def kernel(function: F | None = None, /, **options: Any) -> Any:
    """Compile a module-level function: cached on disk, without the GIL, NaN-safe.

    Parameters
    ----------
    function : callable
        A function over arrays and numbers. Everything it needs is an argument.
    **options
        Passed to `numba.njit`, over the defaults.

    Returns
    -------
    callable
    """
    defaults: dict[str, Any] = dict(cache=True, nogil=True, fastmath=SAFE, error_model="numpy")
    options = defaults | options
    linked = _linking() if "inline" not in options else None
    make: Any = functools.partial(linked or numba.njit, **options)
    return make if function is None else make(function)
