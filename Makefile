# Set-up and checks. A newcomer needs two of these: `make serve` and `make test`.
#
#   make serve    environment, install, then a development server on loopback
#   make install  as root: the server into PREFIX, its account and its systemd unit
#   make test     environment, the mail programs the tests talk to, then the whole suite
#   make check    the one gate: format, lint, types, layers, tests with branch coverage
#   make fmt      rewrite the code in the house format
#   make docs     draw anew the pages of docs/ that come from the code
#   make bench    the benchmark against Debian's Postfix
#   make venv     the environment for development only
#   make lock     compute requirements/*.txt anew (needs pip-compile)

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PREFIX ?= /opt/postreeve
DESTDIR ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
LOCK := pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --extra build

.DEFAULT_GOAL := help
.PHONY: help python venv serve install peers test check fmt bench docs lock clean

help:
	@sed -n 's/^#   //p' Makefile

# Says what is missing on this machine, and the command that installs it.
python:
	@sh scripts/python.sh '$(PYTHON)' '$(VENV)'

$(BIN)/python: | python
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo 'installing what postreeve needs into $(VENV)'
	@$(PIP) install --quiet --require-hashes -r requirements/runtime.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo 'installing postreeve and its development tools into $(VENV)'
	@$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

venv: $(VENV)/.dev

serve: $(VENV)/.runtime
	@exec $(BIN)/postreeve serve --dev $(ARGS)

install:
	@PYTHON='$(PYTHON)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh scripts/deploy.sh

peers:
	@scripts/peers.sh

test: venv peers
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports
	$(BIN)/python tools/rfcs.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/states.py --check
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

fmt: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv
	$(BIN)/python -m bench $(ARGS)

# The pages that are drawn from the code.
docs: venv
	$(BIN)/python tools/rfcs.py
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/states.py

# The lock files name no index, link or host: pip finds the files wherever this machine is set up to look, and the hashes
# decide whether they are the right ones.
lock:
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
