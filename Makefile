# One command to set up, one to check. `make` alone lists them all.
# Needs Python 3.11 or newer, its venv module, and make; everything else is installed into $(VENV) from the lock files.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
# A file's tests stay together: what it sets up for all of them, a job with twenty kills for one, is done once. Files go
# out in the order of tests/conftest.py, slow ones first, so that no worker is left alone with one at the end.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage check lint format bench soak browser lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(DEV_STAMP) ## create .venv with everything needed to work on batchrunner

demo: $(RUN_STAMP) ## 20 seconds, no key, no network: a run with faults, a kill, a resume, a bill
	$(BIN)/batchrunner demo $(ARGS)

test: $(DEV_STAMP) ## the whole test suite, on all cores (one part of it: make test ARGS=tests/core)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

coverage: $(DEV_STAMP) ## the same with a coverage report: three times the work
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term $(ARGS)

check: lint ## the quick gate before a commit, under a minute: format, lint, types, floors, fast tests
	$(BIN)/python -m pytest -q -m "not slow" --hypothesis-profile=quick $(PARALLEL) $(ARGS)

lint: $(DEV_STAMP) ## format, lint, types and floors only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(DEV_STAMP) ## rewrite the sources the way `make check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_STAMP) ## measure this machine: throughput, memory, restart (about 20 minutes; ARGS=--quick for less)
	$(BIN)/python bench/run_all.py $(ARGS)

soak: $(DEV_STAMP) ## hours of faults, kills and outages against one checker (three; ARGS="--minutes 5", "--hours 8 --write")
	$(BIN)/python -m tests.soak $(ARGS)

browser: $(DEV_STAMP) ## look at the cost report in a real Chromium, if there is one (ARGS="--pictures DIR", --write)
	$(BIN)/python -m tests.browser $(ARGS)

lock: ## pin requirements/*.txt anew from pyproject.toml (newest versions: make lock UPGRADE=--upgrade)
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip --disable-pip-version-check --quiet install 'pip-tools>=7.5,<8'
	$(LOCK_INPUT) run build dev | $(PIP_COMPILE) -o requirements/dev.txt -
	$(LOCK_INPUT) run | $(PIP_COMPILE) --constraint requirements/dev.txt -o requirements/run.txt -
	$(LOCK_INPUT) build | $(PIP_COMPILE) --constraint requirements/dev.txt -o requirements/build.txt -

clean: ## remove the virtual environments, caches and build leftovers (never a database)
	rm -rf .venv .venv-ci .venv-lock build dist htmlcov .coverage .coverage.*
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find batchrunner migrations tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ------------------------------------------------------------------------------------------------------ behind the scenes

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("batchrunner needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The stamps are redone when a lock file or the package's own metadata changes. dev.txt holds all of run.txt and build.txt.
$(RUN_STAMP): requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(RUN_STAMP) $@

# Public artifacts only, whatever this machine's pip is told: no local wheels, no other index.
PIP_COMPILE := env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u PIP_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	.venv-lock/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options $(UPGRADE)

define LOCK_SCRIPT
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    meta = tomllib.load(file)
wanted = {
    "run": meta["project"]["dependencies"],
    "build": meta["build-system"]["requires"],
    "dev": meta["dependency-groups"]["dev"],
}
for name in sys.argv[1:]:
    print(*wanted[name], sep="\n")
endef
export LOCK_SCRIPT
LOCK_INPUT := .venv-lock/bin/python -c "$$LOCK_SCRIPT"
