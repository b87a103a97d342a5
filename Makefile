# One virtual environment serves every target; it is made anew when the project file changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/installed
PEERS = $(VENV)/peers

# One process a core; the tests of a file stay together, as they share what the first of them made.
# Files go in their order: the longest ones do not come last.
TOGETHER = $(BIN)/pytest -n logical --maxprocesses 8 --dist loadfile \
	--no-loadscope-reorder

.PHONY: demo test test-all check bench bench-step bench-decode bench-data bench-trainer bench-learning gpu clean

demo: $(VENV)/demo
	$(BIN)/yxanul run quickstart

test: $(INSTALLED)
	$(TOGETHER)

test-all: $(INSTALLED)
	$(TOGETHER) -m "slow or not slow" --timeout 3600

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

bench-trainer: $(PEERS)
	$(BIN)/python benchmarks/trainer.py

# Hours; it goes on where it stopped.
bench-learning: $(PEERS)
	$(BIN)/python benchmarks/learning.py

# On a GPU machine, with its own Python; PART=1..4, each under ten minutes (see benchmarks/gpu.py).
gpu:
	PYTHONPATH=src:benchmarks $(PYTHON) benchmarks/gpu.py --part $(or $(PART),1) $(OPTIONS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	$(BIN)/python -m compileall -q src
	touch $@

$(INSTALLED): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q src
	touch $(INSTALLED) $(VENV)/demo

# litgpt and transformers want different versions of a package that no benchmark uses.
$(PEERS): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps litgpt
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info
