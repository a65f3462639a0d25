# Everything runs in .venv in this folder; both `make run` and `make test` set it up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-full check bench bench-live clean

run: $(VENV)/.installed
	$(BIN)/marotte models pull
	$(BIN)/marotte run

test: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/python -m pytest -m "not full"

test-full: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin

bench: $(VENV)/.installed
	$(BIN)/marotte models pull
	$(BIN)/marotte bench --out bench

bench-live: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/marotte bench-live --out bench

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable ".[dev]"
	touch $@ $(VENV)/.installed
