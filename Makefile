# Set-up and checks. A newcomer needs two of these: `make serve` and `make test`.
#
#   make serve    environment, install, then a development server on loopback
#   make install  as root: the server into PREFIX, its account and its systemd unit
#   make test     environment, the mail programs the tests talk to, then the whole suite
#   make test-compiled  the suites of what can be compiled, against the compiled wheel
#   make check    the one gate: format, lint, types, layers, tests with branch coverage
#   make fmt      rewrite the code in the house format
#   make docs     draw anew the pages of docs/ that come from the code
#   make bench    the benchmark against Debian's Postfix; compiled where that can be done, unless BENCH_PYTHON names
#                 another environment's Python or ARGS has --plain
#   make venv     the environment for development only
#   make lock     compute requirements/*.txt anew (needs pip-compile)

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PREFIX ?= /opt/postreeve
DESTDIR ?=
# 1: compiled or not at all; 0: plain Python; otherwise compiled where there is a C compiler.
ACCELERATE ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
# Where the compiled wheel is tried out; not for development, where an edit must count at once.
COMPILED ?= build/venv-compiled
# What every message passes through, and what hands it values.
COMPILED_TESTS := $(addprefix tests/,mail smtp policy queue telemetry report net store outbound inbound contract)
LOCK := pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

.DEFAULT_GOAL := help
.PHONY: help python venv serve install peers judges test test-compiled check fmt bench docs lock clean

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
	@PYTHON='$(PYTHON)' ACCELERATE='$(ACCELERATE)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh scripts/deploy.sh

peers:
	@scripts/peers.sh

# Only where somebody asks for them: POSTREEVE_JUDGES=1, or POSTREEVE_REQUIRE_PEERS=1 as continuous integration does.
judges: | python
	@PYTHON='$(PYTHON)' sh scripts/judges.sh

test: venv peers judges
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

test-compiled: peers | python
	@PYTHON='$(PYTHON)' sh scripts/compiled.sh $(COMPILED)
	@$(COMPILED)/bin/postreeve --version --verbose
	$(COMPILED)/bin/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS) $(COMPILED_TESTS)

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports
	$(BIN)/python tools/rfcs.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/port_data.py --check
	$(BIN)/python tools/states.py --check
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

fmt: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: venv
	@python='$(BENCH_PYTHON)'; \
	case "$$python:$(ARGS)" in \
	:*--plain*) ;; \
	:*) if sh scripts/compiler.sh $(BIN)/python; then \
		PYTHON=$(BIN)/python sh scripts/compiled.sh $(COMPILED) && python=$(COMPILED)/bin/python || exit 1; fi ;; \
	esac; \
	exec $(BIN)/python -m bench $${python:+--python $$python} $(ARGS)

# The pages that are drawn from the code.
docs: venv
	$(BIN)/python tools/rfcs.py
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/port_data.py
	$(BIN)/python tools/states.py
	$(BIN)/python tools/knowledge.py
	$(BIN)/python tools/lint_page.py
	$(BIN)/python tools/doctor_page.py
	$(BIN)/python tools/firewall_page.py

# The lock files name no index, link or host: pip finds the files wherever this machine is set up to look, and the hashes
# decide whether they are the right ones.
lock:
	$(LOCK) --extra build --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --extra build --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --constraint requirements/dev.txt --output-file requirements/compile.txt requirements/compile.in
	$(LOCK) --output-file requirements/judges.txt requirements/judges.in

clean:
	rm -rf $(VENV) .venv-judges build .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
