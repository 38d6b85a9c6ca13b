# make        sets up .venv, runs the quickstart study, prints its answer and where the report is
# make test-fast   the tests that take no more than about half a second, in a minute
# make test        all but the longest, in some 8 minutes;  make test-all   every test, as CI does
# make test-lowest   the quickstart and what runs the engine, on the lowest versions that pyproject.toml allows
# make lint   ruff and mypy;  make bench   measurements side by side
PYTHON ?= python3
# Python keeps the code that it compiles: otherwise each of the hundreds of processes of the tests compiles it anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
LOWEST := .venv-lowest/bin

quickstart: .venv/installed
	$(BIN)/python -m sweep.launch studies/quickstart.yaml
	$(BIN)/python -m analysis crossover snip random:erk --results results/quickstart
	$(BIN)/python -m analysis report --results results/quickstart

setup: .venv/installed

TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed
	$(TESTS) -m "not long"

test-all: test
	$(TESTS) -m long

test-fast: .venv/installed
	$(TESTS) -m "not slow and not long"

# With a folder of its own for the results; the numbers are not those of the tested versions to the last digit.
test-lowest: .venv-lowest/installed
	rm -rf build/lowest
	$(LOWEST)/python -m sweep.launch studies/quickstart.yaml --results build/lowest
	$(LOWEST)/python -m analysis crossover snip random:erk --results build/lowest/quickstart
	$(LOWEST)/python -m analysis report --results build/lowest/quickstart
	$(LOWEST)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/sweep/engine tests/sweep/test_lowest.py \
		tests/integration/test_faults.py tests/integration/test_machine.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python -m benchmarks

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-lowest/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-lowest build dist *.egg-info

.PHONY: quickstart setup test test-all test-fast test-lowest lint bench clean
