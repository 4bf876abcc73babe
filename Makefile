# `make demo` and `make test` do all set-up on a machine with Python 3.11+ and nothing else.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo

.PHONY: demo test fuzz lint format bench chaos figures gpu-study clean

demo: $(READY)  ## the miniature study, from pilot to report
	@test -e $(DEMO)/study.toml || $(BIN)/pipeline init $(DEMO) --template miniature
	@$(BIN)/pipeline plan --workspace $(DEMO)
	@$(BIN)/pipeline advance --watch --workspace $(DEMO)
	@echo "report:  $(DEMO)/RESULTS.md"
	@echo "page:    $(DEMO)/RESULTS.html"
	@echo "figures: $(DEMO)/figures/multiseed-strip.svg $(DEMO)/figures/multiseed-forest.svg"

test: $(READY)  ## the whole suite
	$(BIN)/python -m pytest -n auto

fuzz: $(READY)  ## damaged files by the ten thousand, and a disk that fails at every write
	STUDY_FUZZ=nightly $(BIN)/python -m pytest -q -n0 tests/fuzz tests/pipeline/test_full_disk.py

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## the figures of the README
	$(BIN)/python -m benchmarks.cli
	$(BIN)/python -m benchmarks.validity
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.train

chaos: $(READY)  ## kill -9 of everything, everywhere; takes an hour, best as root on Debian
	$(BIN)/python -m benchmarks.chaos

figures: $(READY)  ## the pictures of the README
	$(BIN)/python -m benchmarks.figures

FOR_MIN ?= 9
STUDY ?= full-study

gpu-study: $(READY)  ## the full study on this machine's GPU, a piece of FOR_MIN minutes at a time
	$(BIN)/python -m benchmarks.full_study --workspace $(STUDY) --for-min $(FOR_MIN)

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on PATH; set PYTHON=/path/to/python3"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "error: $(PYTHON) cannot make virtual environments (on Debian: apt-get install python3-venv)"; exit 2; }
	@echo "installing into $(VENV); the first time takes a few minutes (PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
