"""The benchmark runner: one tiny problem from end to end, and what is made of its rows."""

import csv

import pytest

from benchmarks import compare, report, run
from benchmarks.goals import Goal, Results, least, most
from benchmarks.runner import Case, Cell, Row, judge, load, run_case, save

HERE = "tests.test_benchmarks"


def work(seconds: float, loss: float = 0.0) -> dict:
    """A cell that says how long it took."""
    return {"seconds": seconds, "warmup": 1.0, "quality": {"loss": loss}, "version": "7"}


def fail() -> dict:
    """A cell that fails."""
    raise ValueError("no such thing\nand more")


def absent() -> dict:
    """A cell whose library is not there."""
    import a_library_that_is_not_there  # type: ignore[import-not-found]

    return {"seconds": a_library_that_is_not_there.seconds}


def figures() -> dict:
    """Published figures, one of them missed."""
    return {"version": "7", "figures": [["a", 1.0, 1.01, 0.9, 1.1, "why"],
                                        ["b", 1.0, 2.0, 0.9, 1.1, "why"]]}  # fmt: skip


def cell(library: str, function: str, **arguments: float) -> Cell:
    return Cell(library, f"{HERE}:{function}", arguments)


def test_cells_run_in_processes_of_their_own_and_are_interleaved():
    said: list[str] = []
    case = Case(
        "case",
        [
            cell("smalgos", "work", seconds=2.0, loss=0.5),
            cell("quick", "work", seconds=1.0, loss=0.6),
            cell("good", "work", seconds=8.0, loss=0.501),
            cell("broken", "fail"),
            cell("missing", "absent"),
            Cell("elsewhere", f"{HERE}:work", {"seconds": 1.0}, missing="not installed: make it"),
        ],
        within=("loss", 0.005),
    )
    rows = {
        row.library: row for row in run_case("problem", case, rounds=2, threads=1, say=said.append)
    }
    assert rows["smalgos"].seconds == 2.0
    assert rows["smalgos"].ratio == 1.0
    assert rows["smalgos"].rounds == 2
    assert rows["good"].ratio == 4.0
    assert rows["good"].ok
    assert rows["good"].measure("loss") == 0.501
    assert rows["quick"].status.startswith("did not converge")
    assert rows["broken"].status == "failed: ValueError: no such thing"
    assert rows["missing"].status == "not installed: a_library_that_is_not_there"
    assert rows["elsewhere"].status == "not installed: make it"
    order = [line.split(": ")[1] for line in said]
    assert order == ["smalgos", "quick", "good", "broken", "missing", "elsewhere",
                     "good", "quick", "smalgos"]  # fmt: skip


def test_published_figures_become_rows():
    rows = run_case("p", Case("case", [cell("smalgos", "figures")]), rounds=1, threads=1, say=print)
    assert [row.status for row in rows] == ["ok", "outside"]
    assert rows[0].measure("ours") == 1.01
    assert [line.split(" | ")[-1] for line in report.figures(rows)[2:]] == [
        "within |", "**outside** |",
    ]  # fmt: skip


def test_the_best_quality_decides_who_converged():
    losses = ("nan", "1", "1.004", "1.006")
    rows = [Row("p", "c", "any", quality=f"loss={loss}", seconds=1.0) for loss in losses]
    judge(rows, "loss", 0.005)
    assert [row.ok for row in rows] == [False, True, True, False]


def test_results_survive_the_file(tmp_path):
    rows = [Row("p", "c", "smalgos", seconds=0.25, rounds=3, quality="loss=0.5"),
            Row("p", "c", "peer", status="not installed: peer")]  # fmt: skip
    save(rows, tmp_path / "results.csv")
    assert load(tmp_path / "results.csv") == rows


def test_goals_take_the_fastest_peer_that_did_it():
    rows = [
        Row("p", "c", "smalgos", seconds=1.0, ratio=1.0),
        Row("p", "c", "slow", seconds=9.0, ratio=9.0),
        Row("p", "c", "fast", seconds=3.0, ratio=3.0),
        Row("p", "c", "cheat", seconds=0.1, ratio=0.1, status="did not converge: ..."),
    ]
    results = Results(rows)
    assert results.times("c") == 3.0
    assert results.times("c", "slow") == 9.0
    assert results.times("nothing") is None
    assert least(3).met(3.0)
    assert not most(2).met(3.0)


def test_the_report_says_what_is_met_and_what_is_not(monkeypatch):
    class Problem:
        TITLE, ABOUT = "A problem", "About it."
        GOALS = (
            Goal("fast", least(2), lambda r: r.times("c")),
            Goal("faster", least(4), lambda r: r.times("c")),
            Goal("other", least(4), lambda r: r.times("d")),
        )

    monkeypatch.setattr(report.importlib, "import_module", lambda name: Problem)
    rows = [Row("p", "c", "smalgos", seconds=1.0, ratio=1.0, rounds=5, low=0.9, high=1.1),
            Row("p", "c", "peer", "as it comes", "1.2", seconds=3.0, ratio=3.0)]  # fmt: skip
    text = report.text(rows)
    assert "| A problem: fast | >= 2 x | 3 x | met |" in text
    assert "| A problem: faster | >= 4 x | 3 x | **not met** |" in text
    assert "| A problem: other | >= 4 x | not measured |  |" in text
    assert "| peer 1.2 | as it comes | 3 | 3 |" in text
    assert "1 (0.9 to 1.1)" in text


def test_a_tiny_problem_from_end_to_end(tmp_path, capsys):
    assert run.main(["csv", "--quick", "--rounds", "1", "--output", str(tmp_path)]) == 0
    rows = load(tmp_path / "results.csv")
    ours = [row for row in rows if row.ours]
    assert len(ours) == 3
    assert all(row.ok and row.machine for row in ours)
    sums = {row.measure("sum") for row in rows if row.case == "whole numbers" and row.ok}
    assert len(sums) == 1
    written = (tmp_path / "RESULTS.md").read_text()
    assert "### three decimals" in written
    assert str(tmp_path) not in written


def test_an_unknown_problem_is_an_error(capsys):
    with pytest.raises(SystemExit):
        run.main(["no_such_problem"])
    assert "no_such_problem" in capsys.readouterr().err


def write(path, rows):
    names = ("problem", "case", "library", "settings", "seconds", "status")
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for library, case, seconds, status in rows:
            table.writerow({"problem": "p", "case": case, "library": library,
                            "seconds": seconds, "status": status})  # fmt: skip
    return str(path)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (1.0, 1.14, 0),  # within 15 %
        (1.0, 1.16, 1),
        (0.1, 0.14, 0),  # within 50 ms
        (0.1, 0.16, 1),
        (2.0, 1.0, 0),
    ],
)
def test_compare_fails_when_a_case_is_slower(tmp_path, capsys, before, after, code):
    base = write(tmp_path / "base.csv", [("smalgos", "c", before, "ok"), ("peer", "c", 1, "ok")])
    head = write(tmp_path / "head.csv", [("smalgos", "c", after, "ok"), ("peer", "c", 9, "ok")])
    assert compare.main([base, head]) == code
    assert ("SLOWER" in capsys.readouterr().out) == bool(code)


def test_compare_leaves_out_what_failed_and_names_what_is_gone(tmp_path, capsys):
    base = write(tmp_path / "base.csv", [("smalgos", "c", 1, "ok"), ("smalgos", "d", 1, "ok")])
    head = write(tmp_path / "head.csv", [("smalgos", "c", 9, "did not converge")])
    assert compare.main([base, head]) == 0
    assert capsys.readouterr().out.count("gone") == 2
