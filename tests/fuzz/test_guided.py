"""200 000 inputs for each reader, led to new code by coverage; in parts that go on from another."""

import pytest

from tests.fuzz.launch import launch, scaled

RUNS, PARTS = 200_000, 4


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Inputs that reached something new, for all parts."""
    return tmp_path_factory.mktemp("corpora")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("reader", ["recordio", "csv", "jsonlines", "json", "model"])
def test_no_input_breaks_a_reader(reader, part, corpora):
    pytest.importorskip("atheris", reason="atheris has no wheel for this platform")
    corpus = corpora / reader
    options = "--runs", scaled(RUNS // PARTS), "--seed", part + 1, "--corpus", corpus
    findings = corpora / f"{reader}-finding-"
    worker = "-m", "tests.fuzz.guided", reader
    launch(*worker, *options, findings=findings, NUMBA_DISABLE_JIT="1")
