# The only commands to know. Each does its own set-up: it needs python3 and make, nothing else.
#   make demo PORT=8000 DATA=.demo OFFER=my-vessl.yaml
#   make test ARGS="tests/model -x"
#   make bench ARGS="--quick"

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
DATA ?= .demo
OFFER ?=
ARGS ?=
CONSTRAINTS := requirements/constraints.txt

BIN := $(VENV)/bin
SETUP := umask 022; PYTHON='$(PYTHON)' VENV='$(VENV)' sh .ci/setup

.DEFAULT_GOAL := help
.PHONY: help demo test lint prove bench lock clean

help:
	@echo 'make demo    a whole hub on this machine (PORT=8000 DATA=.demo OFFER=FILE)'
	@echo 'make test    the test suite (ARGS="..." goes to pytest)'
	@echo 'make lint    ruff, mypy, the import contracts and a fresh reference'
	@echo 'make prove   proofs that take an hour (ARGS=--quick for two minutes, ARGS=--help for more)'
	@echo 'make bench   what the credits engine costs, beside its limits and a peer (ARGS="--quick")'
	@echo 'make lock    write $(CONSTRAINTS) anew; with the oldest Python it is for: PYTHON=/usr/bin/python3 on Debian 12'
	@echo 'make clean   remove the virtual environment and caches; the data of the demo stays'

demo:
	@$(SETUP) demo
	@exec $(BIN)/jupyterhub-vessl demo --port '$(PORT)' --data '$(DATA)' $(if $(OFFER),--offer '$(OFFER)')

test:
	@$(SETUP) test
	@exec $(BIN)/python -m pytest $(ARGS)

lint:
	@$(SETUP) lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_reference.py --check

prove:
	@$(SETUP) test
	@exec $(BIN)/python tests/prove $(ARGS)

bench:
	@$(SETUP) test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@exec $(BIN)/python benchmarks/credits.py $(ARGS)

lock:
	@$(SETUP) lock

clean:
	rm -rf '$(VENV)' build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
