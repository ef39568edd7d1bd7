# make demo and make test do all the set-up on a fresh machine with Python 3.11 or newer.

VENV := .venv
PY := $(VENV)/bin/python
FOUND := $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# Environments that `make oracles` has built.
ifneq ($(wildcard .oracles/sdk/bin/python),)
export SMALGOS_ORACLE_SDK ?= $(CURDIR)/.oracles/sdk/bin/python
endif

ifneq ($(wildcard .oracles/xgboost17/bin/python),)
export SMALGOS_ORACLE_XGBOOST17 ?= $(CURDIR)/.oracles/xgboost17/bin/python
endif
ifneq ($(wildcard .oracles/xgboost21/bin/python),)
export SMALGOS_ORACLE_XGBOOST21 ?= $(CURDIR)/.oracles/xgboost21/bin/python
endif
ifneq ($(wildcard .oracles/xgboost30/bin/python),)
export SMALGOS_ORACLE_XGBOOST30 ?= $(CURDIR)/.oracles/xgboost30/bin/python
endif

.PHONY: demo test test-slow bench oracles lint clean

# One stamp per set of extras: installed again only when pyproject.toml changes.
$(VENV)/.have-%: pyproject.toml
	@test -n "$(FOUND)" || { echo "smalgos needs Python 3.11 or newer: install it (https://www.python.org/downloads/) and run make again"; exit 1; }
	@test -x $(PY) || $(FOUND) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

demo: $(VENV)/.have-demo
	$(PY) examples/demo.py

test: $(VENV)/.have-test
	$(PY) -m pytest -m "not slow and not gpu"

test-slow: $(VENV)/.have-test $(VENV)/.have-fuzz
	$(PY) -m pytest -m "slow and not gpu"
	NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest -m "not slow and not gpu and not compiled" \
		tests/formats tests/kernels tests/learning
	$(PY) -m coverage report --skip-covered
	NUMBA_BOUNDSCHECK=1 $(PY) -m pytest -m "not slow and not gpu" tests/formats tests/kernels

bench: $(VENV)/.have-bench
	$(PY) benchmarks/run.py

oracles:
	@test -n "$(FOUND)" || { echo "smalgos needs Python 3.11 or newer"; exit 1; }
	PYTHON=$(FOUND) bash tests/oracles.sh

lint: $(VENV)/.have-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean:
	rm -rf $(VENV) .venv-* .oracles build *.egg-info
