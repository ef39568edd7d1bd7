"""Tables and lists in a terminal of a known width."""

import pytest

from smalgos.cli.text import listed, number, pairs, paragraph, size, table


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_table_aligns_numbers_to_the_right() -> None:
    rows = [["a", 1, 0.25], ["longer", 12, 1234567.0]]
    assert table(rows, ["name", "n", "share"]).splitlines() == [
        "name     n        share",
        "a        1         0.25",
        "longer  12  1.23457e+06",
    ]


def test_wide_headers_are_stacked() -> None:
    rows = [[0.001, 2, "x"]]
    text = table(rows, ["lr_scheduler_minimum_lr", "lr_scheduler_step", "name"])
    assert text.splitlines() == [
        "       lr_",
        "scheduler_         lr_",
        "  minimum_  scheduler_",
        "        lr        step  name",
        "     0.001           2  x",
    ]


def test_a_header_that_fits_stays_in_one_line() -> None:
    assert len(table([[1, 2]], ["learning_rate", "mini_batch_size"]).splitlines()) == 2


def test_pairs_wrap_beside_the_names() -> None:
    text = pairs([("a", "one two three four five six seven eight"), ("bcd", "")], indent=2)
    assert text.splitlines() == [
        "  a    one two three four five six seven",
        "       eight",
        "  bcd",
    ]


def test_paragraph_breaks_no_word() -> None:
    name = "binary_classifier_model_selection_criteria"
    assert name in paragraph(f"see {name} and more", indent=4).splitlines()[1]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345, "12.3 kB"),
     (5_000_000, "5.0 MB"), (7_200_000_000_000, "7200.0 GB")],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_words() -> None:
    assert [number(v) for v in (True, 3, 0.1, 1 / 3, "x")] == ["true", "3", "0.1", "0.333333", "x"]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"], "or") == "a"
    assert listed([]) == ""
