"""Hostile bytes for the readers of RecordIO, CSV, libsvm, JSON and model files.

`properties` says what must hold for any input; all that it does follows from the input's bytes.
Two workers look for inputs that break it, in processes of their own that may die of them:

- `guided`, with the JIT off, lets a coverage-guided fuzzer (atheris) change small files;
- `mutants` gives the compiled readers files that are wrong on purpose (`recordio_files`,
  `csv_files`, `libsvm_files`, `json_files`, `model_files`), in memory that ends where the arrays
  do (`fence`).

What they find becomes a test in `test_regressions`. By hand:

    NUMBA_DISABLE_JIT=1 python -m tests.fuzz.guided recordio --runs 10000 --seed 1
    python -m tests.fuzz.mutants csv --runs 100000 --seed 1
    python -m tests.fuzz.properties recordio finding.bin

SMALGOS_FUZZ_RUNS scales the lengths of the slow tests: 0.01 runs a hundredth.
"""
