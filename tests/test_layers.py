"""Imports point one way, and importing the package is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What a folder may import of ours. The leaves may be imported by everybody.
LEAVES = {"smalgos.errors", "smalgos._jit", "smalgos._bits"}
ALLOWED = {
    "formats": {"smalgos.formats"},
    "kernels": {"smalgos.kernels"},
    "smalgos/learning": {"smalgos.learning", "smalgos.kernels", "smalgos.formats"},
    "smalgos/algorithms": {
        "smalgos.algorithms", "smalgos.learning", "smalgos.kernels", "smalgos.formats",
    },
    "smalgos/estimators": {
        "smalgos.estimators", "smalgos.algorithms", "smalgos.learning", "smalgos.formats",
        "smalgos",
    },
    "smalgos/plot": {
        "smalgos.plot", "smalgos.estimators", "smalgos.algorithms", "smalgos.learning",
    },
    "smalgos/container": {
        "smalgos.container", "smalgos.algorithms", "smalgos.learning", "smalgos.formats",
    },
    "smalgos/batch": {
        "smalgos.batch", "smalgos.algorithms", "smalgos.learning", "smalgos.formats",
    },
    "smalgos/serving": {
        "smalgos.serving", "smalgos.algorithms", "smalgos.learning", "smalgos.formats",
        # The contract of all containers: where the model is, how lines begin.
        "smalgos.container.layout", "smalgos.container.log",
    },
}  # fmt: skip
HEAVY = (
    "numba", "sklearn", "scipy", "pyarrow", "pandas", "tqdm", "click", "starlette", "uvicorn",
    "matplotlib",
)  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""


def within(name, roots):
    return any(
        name == root or (root != "smalgos" and name.startswith(root + ".")) for root in roots
    )


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_point_down(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            if name.split(".")[0] == "smalgos":
                assert within(name, ALLOWED[folder] | LEAVES), f"{path} imports {name}"
            assert name.split(".")[0] not in ("kernels", "formats", "tests"), f"{path}: {name}"
            if folder != "smalgos/estimators":
                assert name.split(".")[0] != "sklearn", f"{path} imports scikit-learn"


def test_only_the_decorator_calls_numba():
    for folder in ("formats", "kernels", "smalgos"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert "prange" not in text, path
            if path.name != "_jit.py":
                assert "njit" not in text, path


def loaded_by(code):
    """The heavy modules that a fresh process has loaded after running the code."""
    tell = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import smalgos") == []
    assert loaded_by("import smalgos.cli") in ([], ["click"])


def test_figures_load_matplotlib_only_when_they_are_drawn():
    assert "matplotlib" not in loaded_by("import smalgos.plot")


def test_the_container_loads_no_scikit_learn():
    assert "sklearn" not in loaded_by(
        "import smalgos.container.train, smalgos.algorithms\n"
        "for name in smalgos.algorithms.MODULES: smalgos.algorithms.algorithm(name).state"
    )


def test_serving_loads_no_scikit_learn_and_the_web_only_when_a_server_starts():
    assert "sklearn" not in loaded_by("import smalgos.serving.app, smalgos.serving.protocol")
    loaded = loaded_by("import smalgos.serving.server, smalgos.serving.invoke, smalgos.cli")
    assert not {"sklearn", "starlette", "uvicorn"} & set(loaded)
