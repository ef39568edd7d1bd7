"""6.3 million files that are wrong on purpose, against the compiled readers."""

import json

import pytest

from tests.fuzz.launch import launch, scaled

# Whole files of each kind, and lines of CSV for its kernel alone; and parts that stay short.
LENGTHS = {
    "recordio": (2_000_000, 4),
    "csv": (500_000, 2),
    "gzip": (100_000, 1),
    "lines": (1_900_000, 1),
    "libsvm": (500_000, 2),
    "libffm": (200_000, 1),
    "jsonlines": (300_000, 1),
    "json": (300_000, 1),
    "texts": (300_000, 1),
    "model": (500_000, 4),
    "booster": (200_000, 2),
    "fasttext": (100_000, 2),
    "word2vec": (100_000, 1),
}
QUICK = 500


def run(readers, runs, seed, folder, **environment):
    """What the worker counted, for each reader."""
    note = folder / "finding.note"
    options = "--runs", runs, "--seed", seed, "--note", note
    worker = "-m", "tests.fuzz.mutants", *readers
    output = launch(*worker, *options, findings=note, **environment)
    counts = [json.loads(line) for line in output.splitlines()]
    assert [c["reader"] for c in counts] == list(readers)
    for count in counts:
        assert count["runs"] == runs
        assert 0 < count["accepted"] < runs, f"neither good nor bad files: {count}"
    return counts


@pytest.mark.compiled
def test_a_few_of_each(tmp_path):
    run(LENGTHS, QUICK, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "part"), [(r, i) for r, (_, parts) in LENGTHS.items() for i in range(parts)]
)
def test_no_file_breaks_a_reader(reader, part, tmp_path):
    runs, parts = LENGTHS[reader]
    run([reader], scaled(runs // parts), part + 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["recordio", "csv", "lines", "libsvm", "libffm"])
def test_no_file_leads_an_index_astray(reader, tmp_path):
    """What stays in the pages of an array, numba's own checks of every index see."""
    run([reader], scaled(100_000), 100, tmp_path, NUMBA_BOUNDSCHECK="1")
