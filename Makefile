# Everything runs in a virtual environment that is made when it is missing and refreshed when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One test after the other to whoever is free: the order of tests/conftest.py holds, and nobody is left with several slow ones.
PYTEST := $(BIN)/python -m pytest -n auto --maxschedchunk 1

.PHONY: demo test test-all bench lint

# The whole path once: configuration, Verilog, real layers in simulation, a table and build/demo/demo.svg.
demo: $(VENV)/user.stamp
	$(BIN)/gatemill demo -o build/demo

# What must hold before anything lands.
test: $(VENV)/dev.stamp
	$(BIN)/gatemill models get smollm2
	$(PYTEST)

# The same and the long matrix.
test-all: $(VENV)/dev.stamp
	$(BIN)/gatemill models get smollm2
	$(PYTEST) -m "long or not long" --hypothesis-profile new

# The table of figures.
bench: $(VENV)/user.stamp
	$(BIN)/python -m gen.bench

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/user.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/user.stamp
