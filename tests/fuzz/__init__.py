"""Hostile bytes for the readers of RecordIO, CSV and model files.

`properties` says what must hold for any input, and everything it does follows from the input alone, so
that a finding is told by its bytes. Two workers look for inputs that break it, each in processes of their own
that may die without taking the tests along:

- `guided`, with the JIT off, lets a coverage-guided fuzzer (atheris) change small files;
- `mutants` feeds the compiled readers files that are wrong on purpose, in memory that ends where the arrays do.

By hand:  NUMBA_DISABLE_JIT=1 python -m tests.fuzz.guided recordio --runs 10000 --seed 1
          python -m tests.fuzz.mutants csv --runs 100000 --seed 1
          python -m tests.fuzz.properties recordio finding.bin
"""
