"""doctor: what it says of this machine, and of machines where something is wrong."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numba
import pytest

from smalgos import _jit, doctor
from smalgos.doctor import Finding


def test_everything_works_here(invoke: Any) -> None:
    said = invoke("doctor")
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles == [
        "Software", "Processor", "Linear algebra", "Compiled code", "GPU", "Self-test",
        "Everything works.",
    ]  # fmt: skip
    assert f"  numpy           {metadata.version('numpy')}" in lines
    assert max(map(len, lines)) <= 100


def test_what_is_broken_is_marked_and_ends_with_1(
    invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("good", "yes"), Finding("bad", "no", "mend it", broken=True)]
    monkeypatch.setattr(doctor, "examine", lambda: iter([("Things", iter(findings))]))
    said = invoke("doctor")
    assert said.exit_code == 1
    assert "  bad             no\n                  ! mend it\n" in said.stdout
    assert "1 broken, see !" in said.stdout


def test_a_missing_and_an_old_package(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["numba>=0.62", "nothing-of-that-name>=1", "numpy>=999.1", 'x; extra == "test"']
    monkeypatch.setattr(metadata, "requires", lambda name: given)
    found = {f.name: f for f in doctor.software()}
    assert not found["numba"].broken
    assert found["nothing-of-that-name"] == Finding(
        "nothing-of-that-name", "not installed", "run `pip install 'nothing-of-that-name>=1'`", True
    )
    assert found["numpy"].broken
    assert "too old" in found["numpy"].said
    assert "x" not in found


def test_nothing_more_is_looked_at_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["nothing-of-that-name>=1"])
    sections = [(title, list(findings)) for title, findings in doctor.examine()]
    assert [title for title, _ in sections] == ["Software"]


def test_an_error_on_the_way_is_a_finding() -> None:
    def failing() -> Any:
        yield Finding("first", "fine")
        raise RuntimeError("what happened")

    first, second = doctor.guarded(failing())
    assert first.said == "fine"
    assert second.broken
    assert second.said == "RuntimeError: what happened"


@pytest.mark.parametrize(
    ("name", "best", "given", "broken"),
    [
        ("x86-64-v4", "x86-64-v3", {"NUMBA_CPU_NAME": "x86-64-v4"}, True),
        ("x86-64-v3", None, {"NUMBA_CPU_NAME": "x86-64-v3"}, True),
        ("x86-64-v3", "x86-64-v4", {"NUMBA_CPU_NAME": "x86-64-v3"}, False),
        ("generic", "x86-64-v4", {"NUMBA_CPU_NAME": "generic"}, False),
    ],
)
def test_a_level_that_the_processor_lacks(
    name: str, best: str | None, given: dict[str, str], broken: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_jit, "_cpu_name", lambda: best)
    monkeypatch.setattr(numba.config, "CPU_NAME", name)
    *_, found = doctor.processor(given, late=False)
    assert found.said == f"{name}: NUMBA_CPU_NAME is set"
    assert found.broken == broken
    assert bool(found.advice) == broken


def told_by(code: str, **environment: str) -> str:
    """The line about the target that a fresh process gets."""
    more = "import smalgos.doctor as d\nfor title, findings in d.examine():\n"
    more += "    for f in findings:\n        print(f.name, '|', f.said, '|', f.advice)\n"
    more += "    if title == 'Processor': break\n"
    unset = {n: v for n, v in os.environ.items() if not n.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code + more],
        env=unset | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return next(line for line in done.stdout.splitlines() if line.startswith("compiled for"))


def test_who_chose_the_target() -> None:
    assert "NUMBA_CPU_NAME is set" in told_by("", NUMBA_CPU_NAME="generic")
    assert "import smalgos first" in told_by("import numba\n")
    ours = told_by("")
    best = _jit._cpu_name()
    assert ours.startswith(f"compiled for | {best}: " if best else "compiled for | ")
    assert ("chosen by smalgos" in ours) == (best is not None)


@pytest.mark.compiled
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setattr(doctor, "cache_folder", lambda: file / "cache")
    found = {f.name: f for f in doctor.cache()}
    assert found["content"].said == "0 files, 0.0 MB"
    assert found["writable"].broken
    assert "NUMBA_CACHE_DIR" in found["writable"].advice


def test_openblas_that_leaves_avx_512_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    library = {
        "user_api": "blas", "internal_api": "openblas", "version": "0.3", "num_threads": 4,
        "architecture": "Haswell", "filepath": "/x/numpy.libs/libopenblas.so",
    }  # fmt: skip
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [library])
    monkeypatch.setattr(_jit, "_cpu_name", lambda: "x86-64-v4")
    (found,) = doctor.blas()
    assert found.name == "numpy"
    assert found.said == "openblas 0.3, Haswell kernels, 4 threads"
    assert "OPENBLAS_CORETYPE=SkylakeX" in found.advice
    monkeypatch.setattr(_jit, "_cpu_name", lambda: "x86-64-v3")
    (found,) = doctor.blas()
    assert not found.advice


def test_a_quota_below_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_quota", lambda: 0.5)
    cores = {f.name: f for f in doctor.processor({}, late=False)}["cores"]
    assert "quota of 0.5" in cores.said
    assert "n_jobs=1" in cores.advice


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = {f.name: f for f in doctor.gpu()}
    assert found["devices"].said == "none found: there is no nvidia-smi"
    assert not any(f.broken for f in found.values())
