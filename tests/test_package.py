"""What is installed is what stands in the repository."""

import subprocess
import sys
import tomllib
from pathlib import Path

import smalgos
from smalgos.estimators.stubs import stubs

ROOT = Path(__file__).resolve().parent.parent


def test_every_package_is_listed():
    """setuptools packs only what `packages` names."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    mapped = told["package-dir"]
    listed = set()
    for name in told["packages"]:
        top = max((k for k in mapped if name == k or name.startswith(k + ".")), key=len)
        listed.add(ROOT / mapped[top] / Path(*name[len(top) :].strip(".").split(".")))
    found = {
        path.parent
        for top in ("smalgos", "kernels", "formats")
        for path in (ROOT / top).rglob("*.py")
    }
    assert listed == found


def test_stubs_are_current():
    written = (Path(smalgos.__file__).parent / "__init__.pyi").read_text()
    assert written == stubs(), "run python -m smalgos.estimators.stubs"


def test_the_smoke_run():
    """The one that also runs on the oldest dependencies."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "smoke.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
