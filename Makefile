# make        sets up .venv, runs the quickstart study, prints its answer and where the report is
# make test   every test;  make test-fast   those that take no more than about half a second, in a minute
# make lint   ruff and mypy;  make bench   measurements side by side
PYTHON ?= python3
BIN := .venv/bin

quickstart: .venv/installed
	$(BIN)/python -m sweep.launch studies/quickstart.yaml
	$(BIN)/python -m analysis crossover snip random:erk --results results/quickstart
	$(BIN)/python -m analysis report --results results/quickstart

setup: .venv/installed

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

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

clean:
	rm -rf .venv build dist *.egg-info

.PHONY: quickstart setup test test-fast lint bench clean
