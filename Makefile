# One virtual environment serves every target; it is made anew when the project file changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed
PEERS = $(VENV)/peers

.PHONY: demo test test-all check bench bench-step bench-decode bench-data clean

demo: $(VENV)/demo
	$(BIN)/yxanul run quickstart

test: $(INSTALLED)
	$(BIN)/pytest

test-all: $(INSTALLED)
	$(BIN)/pytest -m "slow or not slow" --timeout 3600

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: bench-step bench-decode bench-data

bench-step: $(PEERS)
	$(BIN)/python benchmarks/step.py

bench-decode: $(PEERS)
	$(BIN)/python benchmarks/decode.py

bench-data: $(PEERS)
	$(BIN)/python benchmarks/data.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(INSTALLED): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(INSTALLED) $(VENV)/demo

# litgpt and transformers want different versions of a package that no benchmark uses.
$(PEERS): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps litgpt
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info
