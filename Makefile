# Two commands: `make demo` shows the pipeline on drawn pictures, `make test` runs all tests. Both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint setup clean

demo: setup
	$(BIN)/python scripts/demo.py

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGUMENTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_figures.py

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pipeline,dev]'
	@touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
