"""train: the container's job from the command line."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smalgos import formats
from smalgos.algorithms import MODULES, algorithm, load_model
from smalgos.cli.train import CtrlC, hyperparameters
from smalgos.container import job
from smalgos.container.interrupt import Interrupted
from smalgos.errors import UserError
from smalgos.warmup import text_rows, varieties


def test_trains_scores_and_says_so(
    tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any
) -> None:
    out = tmp_path / "made" / "here"
    said = invoke(
        "train", "tiny", "--train", rows, "--validation", rows, "--test", rows, "--output", out,
        "-p", "size=3", "-p", "taste=sweet", "--n-jobs", 2,
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    first, *rest = said.stdout.splitlines()
    assert re.fullmatch(r"tiny trained in \d+\.\d s: 2 epochs, 80 rows", first)
    assert "Best model  1 (of 2, counted from 0)" in rest
    assert "Setting     rate=0.5" in rest
    assert f"Model       {out}/model.safetensors" in said.stdout
    assert rest[-2:] == ["Scores    validation  test", "accuracy         0.5   0.5"]
    assert "tiny 100%" in said.stderr  # the bar
    given = load_model(out).notes["hyperparameters"]
    assert given == {
        "size": 3, "epochs": 2, "feature_dim": 2, "flavour": "sweet", "random_state": 0,
    }  # fmt: skip


def test_file_and_assignments(tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any) -> None:
    file = tmp_path / "hyperparameters.json"
    file.write_text(json.dumps({"size": "2", "epochs": "5", "_tuning_objective_metric": "x"}))
    said = invoke(
        "train", "tiny", "--train", rows, "--output", tmp_path, "--hyperparameters", file,
        "-p", "epochs=1",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    given = load_model(tmp_path).notes["hyperparameters"]
    assert (given["size"], given["epochs"]) == (2, 1)
    assert "1 epoch, 40 rows" in said.stdout


@pytest.mark.parametrize(
    ("content", "assignments", "message"),
    [
        (None, ("size",), "-p size: must be NAME=VALUE"),
        (None, ("=3",), "must be NAME=VALUE"),
        (None, ("size=3", "size=4"), "given twice, as 3 and as 4"),
        ("[1]", (), "must hold a JSON object"),
        ("{", (), "not JSON"),
        ("[" * 100_000, (), "not JSON"),
    ],
)
def test_bad_hyperparameters(
    content: str | None, assignments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    file = None
    if content is not None:
        file = tmp_path / "h.json"
        file.write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        hyperparameters(file, assignments)


def test_values_may_hold_equals_and_repeat() -> None:
    assert hyperparameters(None, ("a=b=c", " d = 1 ", "d=1")) == {"a": "b=c", "d": "1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tinny", "-p", "size=1"], "unknown algorithm 'tinny': did you mean tiny?"),
        (["tiny", "-p", "sizes=1"], "unknown hyperparameter 'sizes': did you mean size?"),
        (["tiny", "-p", "size=10"], "size='10'|size=10: must be an integer >= 1 and <= 9"),
        (["tiny"], "hyperparameter size is required: must be an integer >= 1 and <= 9"),
        (["tiny", "-p", "size=1", "--model", "x"], "unknown channel 'model'"),
        (["tiny", "-p", "size=1", "--test", "nowhere.csv"], "test channel: nowhere.csv: no such"),
        (["tiny", "-p", "size=1", "--hyperparameters", "no.json"], "no.json: cannot be read"),
        (["tiny", "-p", "size=1", "--content-type", "text/html"], "'text/html' is not supported"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    tiny_algorithm: str,
    rows: Path,
    tmp_path: Path,
    invoke: Any,
) -> None:
    name, *more = arguments
    said = invoke("train", name, "--train", rows, "--output", tmp_path / "out", *more)
    assert said.exit_code == 1
    assert isinstance(said.exception, SystemExit)
    assert said.stdout == ""
    assert said.stderr.startswith("Error: ")
    assert said.stderr.count("\n") == 1
    assert any(part in said.stderr for part in message.split("|"))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_bad_row_is_named(tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any) -> None:
    with open(rows, "a") as file:
        file.write("1,2,three\n")
    said = invoke("train", "tiny", "--train", rows, "--output", tmp_path / "m", "-p", "size=1")
    assert said.exit_code == 1
    assert said.stderr.splitlines()[-1].startswith("Error: ")  # below the bar, not behind it
    assert "rows.csv, row 41" in said.stderr


def test_log_prints_the_lines_of_the_original(
    tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any
) -> None:
    said = invoke(
        "train", "tiny", "--train", rows, "--test", rows, "--output", tmp_path / "m",
        "-p", "size=1", "--log",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "] #quality_metric: host=algo-1, test accuracy <score>=0.5\n" in said.stdout
    assert "#progress_metric: host=algo-1, completed 100 % of epochs\n" in said.stdout
    assert "Final configuration: {" in said.stdout
    assert "trained in" not in said.stdout
    assert said.stderr == ""


def test_a_checkpoint_is_resumed(
    tiny_algorithm: str, rows: Path, tmp_path: Path, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = functools.partial(job.Job, checkpoint_seconds=0.0)
    monkeypatch.setattr(job, "Job", often)
    arguments = [
        "train", "tiny", "--train", rows, "--output", tmp_path / "m", "-p", "size=1",
        "--checkpoint", tmp_path / "kept", "--log",
    ]  # fmt: skip
    assert invoke(*arguments).exit_code == 0
    first = (tmp_path / "m" / "model.safetensors").read_bytes()
    assert len(list((tmp_path / "kept").iterdir())) == 1
    again = invoke(*arguments)
    assert again.exit_code == 0
    assert "Resumed from the checkpoint" in again.stdout
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == first
    other = invoke(*arguments, "-p", "epochs=3")
    assert other.exit_code == 1
    assert "written with other hyperparameters" in other.stderr


# Ctrl-C -------------------------------------------------------------------------------------------


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_before_training_ends_the_program() -> None:
    with CtrlC(lambda event, **facts: None), pytest.raises(KeyboardInterrupt):
        press()


def test_ctrl_c_once_asks_training_to_stop_and_twice_ends_it() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []
    with CtrlC(lambda event, **facts: seen.append(event)) as watched:
        watched("begin")
        assert not watched.stop()
        press()
        assert watched.stop()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert seen == ["begin"]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_scoring_gives_scoring_up() -> None:
    with CtrlC(lambda event, **facts: None) as watched:
        watched("scoring")
        with pytest.raises(Interrupted):
            press()


PROGRAM = """
import sys, time
from smalgos.algorithms import MODULES
from tests.cli import tiny
MODULES["tiny"], sys.modules["smalgos.algorithms.tiny"] = "tiny", tiny
learn = tiny.TinyState.update
tiny.TinyState.update = lambda *given: (time.sleep(0.05), learn(*given))
from smalgos.cli import main
main()
"""


def test_ctrl_c_in_a_shell_keeps_what_was_learnt(
    tiny_algorithm: str, rows: Path, tmp_path: Path
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "train", "tiny", "--train", rows, "--output",
         tmp_path / "m", "-p", "size=1", "-p", "epochs=1000", "--checkpoint", tmp_path / "c"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True,
    )  # fmt: skip
    assert program.stderr is not None
    said = ""
    while "epoch 1/" not in said:  # the bar after the first epoch
        more = program.stderr.read(1)
        assert more, said
        said += more
    program.send_signal(signal.SIGINT)
    out, rest = program.communicate(timeout=60)
    assert program.returncode == 0
    assert "Stopping, and keeping what was learnt" in rest
    assert "Traceback" not in rest
    assert re.match(r"tiny stopped early, with what was learnt, in .* rows", out)
    assert "the same command goes on from there" in out
    assert len(list((tmp_path / "c").iterdir())) == 1
    epochs = int(re.search(r"(\d+) epoch", out)[1])  # type: ignore[index]
    assert 1 <= epochs < 1000
    assert load_model(tmp_path / "m").notes["hyperparameters"]["epochs"] == 1000


@pytest.mark.parametrize("name", sorted(MODULES))
def test_each_algorithm_from_rows_to_answers(
    name: str, rows: Path, tmp_path: Path, invoke: Any
) -> None:
    a = algorithm(name)
    if a.texts:
        rows = tmp_path / "texts"
        formats.write(rows, text_rows(a)[:40], content_type=a.content_type)
    given = next(varieties(a))
    words = [part for n, v in given.items() for part in ("-p", f"{n}={v}")]
    out = tmp_path / "model"
    known = algorithm(name).known_channels
    unseen = [
        part for split in ("validation", "test") if split in known for part in (f"--{split}", rows)
    ]
    trained = invoke("train", name, "--train", rows, *unseen, "--output", out, *words)
    assert trained.exit_code == 0, trained.output
    assert trained.stdout.startswith(f"{name} trained in ")
    assert name in invoke("inspect", out).stdout
    told = invoke("predict", out, rows, "--label-size", 1)
    assert told.exit_code == 0, told.output
    records = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(records) == 40
    assert set(records[0]) <= set(algorithm(name).fields)


def test_container_train_hands_its_exit_code_on(
    tmp_path: Path, invoke: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setenv("SMALGOS_ALGORITHM", "pca")
    said = invoke("container", "train")
    assert said.exit_code == 1
    assert (tmp_path / "output" / "failure").read_text().startswith("ClientError: ")


def test_the_test_channel_may_be_of_another_type(tmp_path: Path, invoke: Any) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("".join(f"{i % 7},{i % 5}\n" for i in range(300)))
    test.write_text("0,1,1\n0,2,2\n1,90,90\n")
    given: tuple[Any, ...] = (
        "train", "randomcutforest", "--train", train, "--test", test, "--output", tmp_path / "out",
        "--content-type", "text/csv;label_size=0", "-p", "num_trees=50",
    )  # fmt: skip
    said = invoke(*given)
    assert said.exit_code == 1
    assert "3 features, where the train channel has 2" in said.stderr
    said = invoke(*given, "--test-content-type", "text/csv;label_size=1")
    assert said.exit_code == 0, said.output
    assert "accuracy" in said.stdout
