# Two commands on a fresh machine: `make run` and `make test`.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ALL := -c constraints.txt -e '.[dev]'

.DEFAULT_GOAL := help
.PHONY: help setup browser run test test-end-to-end test-slow test-faults docs lint format types zoo bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv and install everything, at the locked versions

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null; then \
	  echo "uv pip install $(ALL)"; \
	  UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" \
	    uv pip install --compile-bytecode --python $(BIN)/python $(ALL); \
	else \
	  echo "pip install $(ALL)"; \
	  $(BIN)/python -m pip install $(ALL); \
	fi
	touch $@

browser:  ## install Debian's Chromium where there is none: tests of pages need it
	command -v chromedriver >/dev/null || \
	  (apt-get update -q && apt-get install -q -y --no-install-recommends chromium chromium-driver)

run: setup  ## train the default experiment: no network, no account, no GPU
	$(BIN)/python train.py

test: setup  ## the default test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15

test-end-to-end: setup  ## long tests: the default experiment, the tutorial, the first day by the wheel
	$(BIN)/python -m pytest -m slow tests/test_end_to_end.py tests/test_tutorial.py tests/test_first_day.py

test-slow: setup  ## every long test
	$(BIN)/python -m pytest -m slow

test-faults: setup  ## kills, full disks and hostile files, less than an hour: docs/reliability.md
	$(BIN)/python -m tests.faults

docs: setup  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

lint: setup  ## ruff, format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: setup  ## let ruff write what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: setup  ## pyright
	$(BIN)/pyright

zoo: setup  ## train and pack the models that come with the package
	$(BIN)/python -m benchmarks.zoo

bench: setup  ## every benchmark, written to docs/results.md
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
