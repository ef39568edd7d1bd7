"""The entry point: fast to start, short in its errors."""

import json
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest

from smalgos.cli import Commands, main
from smalgos.errors import AlgorithmError, PlatformError, UserError

HEAVY = {"numba", "numpy", "scipy", "sklearn", "pyarrow", "google.protobuf", "tqdm"}


def imported_by(*arguments: str) -> set[str]:
    """Modules that a fresh process holds after a command."""
    code = (
        "import json, sys\n"
        "from smalgos.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["doctor", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & HEAVY


@pytest.mark.parametrize("arguments", [["algorithms"], ["describe", "linear-learner"]])
def test_what_only_tells_compiles_nothing(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & {"numba", "sklearn", "pyarrow"}


def test_every_command_has_help(invoke: Any) -> None:
    said = invoke("--help").stdout
    for name, command in main.commands.items():
        assert f"  {name} " in said
        assert command.help
        assert invoke(name, "--help").exit_code == 0
    assert "..." not in said.replace("[ARGS]...", "")  # no summary is cut off


def test_version(invoke: Any) -> None:
    assert invoke("--version").stdout == f"smalgos {version('smalgos')}\n"


@pytest.mark.parametrize("kind", [UserError, PlatformError])
def test_errors_of_user_and_machine_are_one_line(kind: Any, invoke: Any) -> None:
    from click.testing import CliRunner

    @click.group(cls=Commands)
    def group() -> None:
        pass

    @group.command()
    def fail() -> None:
        raise kind("what is wrong")

    said = CliRunner().invoke(group, ["fail"])
    assert (said.exit_code, said.stderr) == (1, "Error: what is wrong\n")


def test_faults_of_ours_keep_their_traceback() -> None:
    from click.testing import CliRunner

    @click.group(cls=Commands)
    def group() -> None:
        pass

    @group.command()
    def fail() -> None:
        raise AlgorithmError("our fault")

    assert isinstance(CliRunner().invoke(group, ["fail"]).exception, AlgorithmError)


def test_warnings_are_one_line() -> None:
    from click.testing import CliRunner

    @click.group(cls=Commands)
    def group() -> None:
        pass

    @group.command()
    def warn() -> None:
        warnings.warn("mind the label", stacklevel=1)

    shown = warnings.showwarning
    assert CliRunner().invoke(group, ["warn"]).stderr == "Warning: mind the label\n"
    assert warnings.showwarning is shown


def test_the_installed_script_runs() -> None:
    script = Path(sys.executable).parent / "smalgos"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("smalgos ")
