# The only commands to know. Each does its own set-up: it needs python3 and make, nothing else.
#   make demo PORT=8000 DATA=.demo OFFER=my-vessl.yaml
#   make test ARGS="tests/model -x"
#   make test-hub5 ARGS="tests/spawner -x"
#   make bench ARGS="--quick"

PYTHON ?= python3
VENV ?= .venv
VENV_HUB5 ?= .venv-hub5
PORT ?= 8000
DATA ?= .demo
OFFER ?=
ARGS ?=
BENCH ?= credits kubernetes lab
# what a hub of another version can change
HUB5_TESTS := tests/authenticator tests/demo/test_hub_setup.py tests/e2e tests/helm/test_values_hub.py tests/spawner \
	tests/service/test_rights.py --ignore tests/spawner/test_isolation.py \
	--ignore tests/spawner/test_kubernetes_render.py --ignore tests/spawner/test_kubernetes_render_anything.py \
	--ignore tests/spawner/test_kubernetes_render_settings.py --ignore tests/spawner/test_local_render.py

BIN := $(VENV)/bin
SETUP := umask 022; PYTHON='$(PYTHON)' VENV='$(VENV)' sh .ci/setup
SETUP_HUB5 := umask 022; PYTHON='$(PYTHON)' VENV='$(VENV_HUB5)' sh .ci/setup

.DEFAULT_GOAL := help
.PHONY: help demo test test-hub5 lint prove bench labextension wheel lock clean

help:
	@echo 'make demo    a whole hub on this machine (PORT=8000 DATA=.demo OFFER=FILE)'
	@echo 'make test    the test suite (ARGS="..." goes to pytest)'
	@echo 'make test-hub5'
	@echo '             the tests that a hub can change, with JupyterHub 5.5 instead of 6 (ARGS as above)'
	@echo 'make lint    ruff, mypy, the import contracts, and that the reference and the schema are fresh'
	@echo 'make prove   proofs that take an hour (ARGS=--quick for two minutes, ARGS=--help for more)'
	@echo 'make bench   what it costs, beside its limits and peers (ARGS="--quick" BENCH="credits kubernetes lab")'
	@echo 'make labextension'
	@echo '             build the JupyterLab extension; demo, test and wheel do it by themselves'
	@echo 'make wheel   a wheel of everything in dist/'
	@echo 'make lock    write requirements/ anew; with the oldest Python it is for: PYTHON=/usr/bin/python3 on Debian 12'
	@echo 'make clean   remove the virtual environments and caches; the data of the demo stays'

demo:
	@$(SETUP) demo
	@exec $(BIN)/jupyterhub-vessl demo --port '$(PORT)' --data '$(DATA)' $(if $(OFFER),--offer '$(OFFER)')

test:
	@$(SETUP) test
	@exec $(BIN)/python -m pytest $(ARGS)

test-hub5:
	@$(SETUP_HUB5) hub5
	@exec $(VENV_HUB5)/bin/python -m pytest $(if $(findstring tests/,$(ARGS)),,$(HUB5_TESTS)) $(ARGS)

lint:
	@$(SETUP) lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_reference.py --check
	$(BIN)/python docs/make_schema.py --check

prove:
	@$(SETUP) test
	@exec $(BIN)/python tests/prove $(ARGS)

bench:
	@$(SETUP) test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@for name in $(BENCH); do $(BIN)/python benchmarks/$$name.py $(ARGS) || failed=1; done; exit $${failed:-0}

labextension:
	@$(SETUP) labextension

# what an earlier build left would be packed too
wheel: labextension
	@rm -rf build/lib build/bdist.*
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls -t dist/*.whl | head -n 1

lock:
	@$(SETUP) lock

clean:
	rm -rf labextension/build labextension/lib labextension/node_modules labextension/jupyterhub_vessl_lab/labextension
	rm -rf '$(VENV)' '$(VENV_HUB5)' build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
