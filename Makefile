# Everything runs in .venv in this folder; both `make run` and `make test` set it up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Files with tests that run by themselves; nothing else is imported for those few.
ALONE = $(sort $(shell grep -srl --include='test_*.py' 'mark\.alone' tests))

# Whole files, in the order that tests/conftest.py gives them.
SHARED := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Tests start dozens of processes: what one has compiled, the next need not.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-full check bench bench-live fuzz fuzz-short audit clean

run: $(VENV)/.installed
	$(BIN)/marotte models pull
	$(BIN)/marotte run

test: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/python -m pytest -m "not full and not alone" $(SHARED)
	$(BIN)/python -m pytest -m "not full and alone" $(ALONE)

test-full: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/python -m pytest -m "not alone" $(SHARED)
	$(BIN)/python -m pytest -m alone $(ALONE)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory --jobs 3 --output-sync types-linux types-win32 types-darwin

# Side by side, each with a cache of its own: another platform's types would make one cache worthless.
types-%: $(VENV)/.installed-dev
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$*

bench: $(VENV)/.installed
	$(BIN)/marotte models pull
	$(BIN)/marotte bench --out bench

bench-live: $(VENV)/.installed-dev
	$(BIN)/marotte models pull
	$(BIN)/marotte bench-live --out bench

# Ten minutes a target (tests/fuzz/targets.py), for the night, and half a minute each.
fuzz fuzz-short: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[fuzz]"
	$(BIN)/python -m tests.fuzz all --seconds $(if $(filter fuzz,$@),600,30)

# Asks PyPI or OSV; where neither answers, it says that nothing was looked at.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[audit]"
	$(BIN)/python -m tests.audit

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# What is to be installed, with its extras.
define set_up
	@echo "setting up $(VENV), about a minute"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --config-settings editable_mode=compat --editable "$(1)"
	@# what pip would do on one core, but for what nobody imports; a package's templates need not be Python
	$(BIN)/python -m compileall -qq -j 0 -x '/tests/|/(mypyc?|setuptools|torchgen)/' $(VENV)/lib || true
endef

$(VENV)/.installed: pyproject.toml
	$(call set_up,.)
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(call set_up,.[dev])
	touch $@ $(VENV)/.installed
