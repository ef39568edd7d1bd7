"""Coverage-guided fuzzing of a reader with the JIT off: small changes that reach new code.

libFuzzer, by way of atheris, keeps inputs that reach new branches in a folder and goes on from
them. It ends the process at the first finding, and writes it beside the folder.
"""

import argparse
import contextlib
import random
import sys
import warnings
from pathlib import Path

import atheris

PACKAGES = ["formats", "learning", "algorithms", "estimators"]
with atheris.instrument_imports(include=[f"smalgos.{name}" for name in PACKAGES]):
    import smalgos
    from smalgos._jit import COMPILED
    from tests.fuzz import model_files, properties, seeds

    for name in smalgos.__all__:  # what would be loaded when first needed
        getattr(smalgos, name)

# Of the longest inputs.
LENGTHS = {"recordio": 512, "csv": 256, "jsonlines": 256, "json": 256, "model": 8192}


def mutate_model(data: bytes, most: int, seed: int) -> bytes:
    """A change of a value in the header's JSON, which changes of bytes seldom leave whole."""
    rng = random.Random(seed)
    header, _, body = data.partition(b"\n")
    changed = data
    if rng.random() < 0.5:
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            changed = model_files.lie(rng, header) + b"\n" + body
    if changed == data or len(changed) > most:
        changed = atheris.Mutate(data, most)
    return changed


def main() -> None:
    """``python -m tests.fuzz.guided READER --runs N --seed S --corpus FOLDER``"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=LENGTHS)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    given = parser.parse_args()
    if COMPILED:
        parser.error("set NUMBA_DISABLE_JIT=1: compiled code does not say what it reaches")
    given.corpus.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(seeds.SEEDS[given.reader]()):
        (given.corpus / f"seed-{i}").write_bytes(data)
    warnings.simplefilter("ignore", RuntimeWarning)  # compiled code overflows without a word
    properties.rates = properties.Rates(memory=32)
    check = properties.PROPERTIES[given.reader]

    def one(data: bytes) -> None:
        check(data)

    options = {
        "runs": given.runs,
        "seed": given.seed,
        "max_len": LENGTHS[given.reader],
        "timeout": 60,
        "artifact_prefix": f"{given.corpus}-finding-",
        "verbosity": 1,
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    of_model = {"custom_mutator": mutate_model} if given.reader == "model" else {}
    atheris.Setup([sys.argv[0], *arguments, str(given.corpus)], one, **of_model)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
