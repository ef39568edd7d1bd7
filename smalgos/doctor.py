"""What this machine offers and whether the library works on it, for `smalgos doctor`.

Each section is a function that gives findings. Nothing heavy is imported above: who settled what
numba compiles for can only be told before `smalgos._jit` is imported.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

CPU_NAME, CPU_FEATURES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"
V4, V3 = "x86-64-v4", "x86-64-v3"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    name, said : str
        What was looked at, what was found.
    advice : str
        What to do, or what to know.
    broken : bool
        Whether the library does not work as it is.
    """

    name: str
    said: str
    advice: str = ""
    broken: bool = False


Section: TypeAlias = tuple[str, Iterator[Finding]]


def examine() -> Iterator[Section]:
    """(title, findings) of each section; the self-test only where nothing is broken before it."""
    given = {name: os.environ[name] for name in (CPU_NAME, CPU_FEATURES) if name in os.environ}
    settled = "smalgos._jit" in sys.modules
    late = "numba" in sys.modules and not settled
    broken = False

    def watched(findings: Iterator[Finding]) -> Iterator[Finding]:
        nonlocal broken
        for finding in guarded(findings):
            broken |= finding.broken
            yield finding

    yield "Software", watched(software())
    if broken:
        return
    import smalgos._jit  # noqa: F401  (settles what numba reads, so before numba)

    yield "Processor", watched(processor({} if settled else given, late))
    yield "Linear algebra", watched(blas())
    yield "Compiled code", watched(cache())
    yield "GPU", watched(gpu())
    if not broken:
        yield "Self-test", watched(self_test())


def guarded(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; an error on the way is one, too."""
    try:
        yield from findings
    except Exception as e:
        advice = "install smalgos afresh; if that does not help, report it with this output"
        yield Finding("failed", f"{type(e).__name__}: {e}", advice, broken=True)


# Sections -----------------------------------------------------------------------------------------


def software() -> Iterator[Finding]:
    """Python, the library, and what it requires."""
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("python", f"{platform.python_version()} on {system}, {sys.executable}")
    try:
        requirements = metadata.requires("smalgos") or []
    except metadata.PackageNotFoundError:
        yield Finding("smalgos", "not installed", "run `pip install .` in its folder", broken=True)
        return
    yield Finding("smalgos", f"{metadata.version('smalgos')}, {Path(__file__).parent}")
    for requirement in requirements:
        found = re.match(r"([\w.-]+)(?:>=([\d.]+))?", requirement)
        if found and "extra ==" not in requirement:
            yield _package(found[1], found[2] or "0")


def _package(name: str, least: str) -> Finding:
    advice = f"run `pip install '{name}>={least}'`"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", advice, broken=True)
    if _numbers(version) < _numbers(least):
        return Finding(name, f"{version}, which is too old", advice, broken=True)
    return Finding(name, version)


def _numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)[:3]]


def processor(given: Mapping[str, str], late: bool) -> Iterator[Finding]:
    """Name, cores, and what numba compiles for.

    Parameters
    ----------
    given : mapping
        What the user has set of numba's variables.
    late : bool
        Whether numba was imported before smalgos.
    """
    yield Finding("name", processor_name())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota()
    if quota is not None and usable is not None and quota < usable:
        advice = f"give n_jobs={max(int(quota), 1)}, or the threads wait for each other"
        yield Finding("cores", f"{usable}, but a quota of {quota:g}", advice)
    else:
        yield Finding("cores", f"{usable} of {os.cpu_count()}")
    yield _target(given, late)


def processor_name() -> str:
    """As the processor calls itself."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _quota() -> float | None:
    """Cores that the control group may use: what `docker run --cpus` sets."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def _target(given: Mapping[str, str], late: bool) -> Finding:
    import llvmlite.binding
    import numba

    from smalgos import _jit

    best = _jit._cpu_name()
    config: Any = numba.config
    name = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    advice = ""
    if CPU_NAME in given:
        why = f"{CPU_NAME} is set"
        if (name == V4 and best != V4) or (name == V3 and best is None):
            lacks = "AVX-512" if name == V4 else "AVX2"
            advice = f"this processor lacks {lacks}, and programs would die: unset {CPU_NAME}"
            return Finding("compiled for", f"{name}: {why}", advice, broken=True)
    elif late:
        why = "numba was imported before smalgos, which could not choose"
        advice = "import smalgos first: LLVM's own choice can halve the speed"
    elif CPU_FEATURES in given:
        why = f"{CPU_FEATURES} is set, which leaves the name to LLVM"
    elif best is not None:
        why = "the highest level that this processor has, chosen by smalgos"
    else:
        why = "LLVM's choice: the processor has neither AVX-512 nor AVX2"
    return Finding("compiled for", f"{name}: {why}", advice)


def blas() -> Iterator[Finding]:
    """The libraries behind NumPy and SciPy, and what they run with."""
    import numpy  # noqa: F401  (what is not loaded is not found)
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    from smalgos import _jit

    for library in threadpoolctl.threadpool_info():
        if library["user_api"] != "blas":
            continue
        architecture = library.get("architecture", "")
        said = f"{library['internal_api']} {library['version']}".strip()
        said += f", {architecture} kernels" if architecture else ""
        said += f", {library['num_threads']} threads"
        advice = ""
        if architecture in ("Haswell", "Zen") and _jit._cpu_name() == V4:
            advice = (
                "this processor has AVX-512, which these kernels leave unused: set "
                "OPENBLAS_CORETYPE=SkylakeX before Python starts, and large products take about "
                "half the time"
            )
        yield Finding(Path(library["filepath"]).parent.name.partition(".")[0], said, advice)


def cache() -> Iterator[Finding]:
    """Where compiled kernels are kept."""
    from smalgos import _jit

    folder = cache_folder()
    if not _jit.COMPILED:
        yield Finding("compiler", "off: NUMBA_DISABLE_JIT is set", "unset it: this is very slow")
        return
    files = (
        [p for p in folder.rglob("*") if p.suffix in (".nbi", ".nbc")] if folder.exists() else []
    )
    size = sum(p.stat().st_size for p in files) / 1e6
    yield Finding("folder", str(folder))
    empty = "" if files else "run `smalgos warmup` to compile all kernels now"
    yield Finding("content", f"{len(files)} files, {size:.1f} MB", empty)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield Finding("writable", "yes")
    except OSError as e:
        advice = "set NUMBA_CACHE_DIR to a folder that can be written, or each process compiles"
        yield Finding("writable", f"no: {e.strerror}", advice, broken=not files)


def cache_folder() -> Path:
    """Where numba keeps compiled kernels."""
    import numba

    from smalgos import kernels

    config: Any = numba.config
    return Path(config.CACHE_DIR or Path(kernels.__file__).parent / "cpu" / "__pycache__")


def gpu() -> Iterator[Finding]:
    """Devices, CuPy, and whether this version uses them."""
    from smalgos.kernels import DEVICES

    yield Finding("devices", _devices())
    cupy = [d for d in metadata.distributions() if (d.name or "").startswith("cupy")]
    versions = ", ".join(f"{d.name} {d.version}" for d in cupy)
    if "gpu" not in DEVICES:
        yield Finding("CuPy", versions or "not installed")
        yield Finding("used", "no: this version computes on the processor alone")
        return
    advice = "run `pip install 'smalgos[gpu12]'` (CUDA 12) or 'smalgos[gpu13]' to use a GPU"
    yield Finding("CuPy", versions or "not installed", "" if versions else advice)


def _devices() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "none found: there is no nvidia-smi"
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        return f"none: nvidia-smi failed ({e})"
    return "; ".join(answer.stdout.strip().splitlines()) or "none"


def self_test() -> Iterator[Finding]:
    """A tiny model trained twice, saved, loaded and asked."""
    from smalgos.algorithms import algorithm, load_model
    from smalgos.formats.channel import stream
    from smalgos.formats.io import write
    from smalgos.warmup import dense_rows, train_and_ask, varieties

    a = algorithm("linear-learner")
    given = next(varieties(a))
    with tempfile.TemporaryDirectory(prefix="smalgos-") as name:
        folder = Path(name)
        write(folder / "rows.csv", dense_rows())
        first, second = (
            train_and_ask(a, given | {"n_jobs": n}, folder / "rows.csv", folder / str(n))
            for n in (1, 3)
        )
        assert first.path is not None
        assert second.path is not None
        yield Finding("train, predict", f"{a.name} on {len(dense_rows())} rows: done")
        same = first.path.read_bytes() == second.path.read_bytes()
        advice = "results depend on the number of threads here: please report it with this output"
        yield Finding(
            "same bytes", "from 1 and 3 threads" if same else "no: 1 and 3 threads differ",
            "" if same else advice, broken=not same,
        )  # fmt: skip
        block = next(iter(stream(folder / "rows.csv").open()))
        loaded = load_model(first.path)
        assert first.model is not None
        before, after = (m.predict(block.on(m.k)) for m in (first.model, loaded))
        same = all((before[name] == after[name]).all() for name in before)
        yield Finding(
            "save, load", "the same answers" if same else "other answers than before",
            "" if same else "please report it with this output", broken=not same,
        )  # fmt: skip
