# `make demo` and `make test` set up what they need; both can be interrupted and repeated.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench setup llm develop surrogates

setup: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[llm]'
	touch $@

develop: .venv/developed

.venv/developed: .venv/installed
	$(BIN)/python -m pip install --quiet -e '.[dev,llm]'
	touch $@

llm: setup
	$(BIN)/nascent llm setup

demo: llm
	$(BIN)/nascent demo

# Tests with language models wait for their servers most of the time: a third worker has the cores meanwhile.
test: develop llm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/perf --numprocesses 3 --dist loadfile --no-loadscope-reorder --benchmark-disable

lint: develop
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: develop
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/perf --benchmark-only

# Fits the surrogates to the exact tables in the folder DATA, and reports how good they are.
DATA ?= ../shared/data
surrogates: develop
	$(BIN)/python -m surrogates.fit $(DATA)
	$(BIN)/python -m analysis.surrogate_report $(DATA) --out reports/surrogates
