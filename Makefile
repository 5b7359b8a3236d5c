# `make serve` and `make test` are the only set-up: they need Python 3.11 or later with pip, and nothing else.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000
STORE ?= model_store
PEERS ?= $(HOME)/.cache/drlongformer-peers
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help serve test lint format types unit openapi mutation peers image clean

help: ## Show the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

serve: $(VENV)/.serving ## Serve the embedded model on http://127.0.0.1:8000 (HOST=, PORT=, STORE=)
	$(BIN)/drlongformer serve --host $(HOST) --port $(PORT) --store $(STORE)

test: lint types unit ## Everything that CI runs: lint, types, tests

lint: $(VENV)/.development ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development ## Check types
	$(BIN)/mypy

unit: $(VENV)/.development ## Run the tests (ARGS="-m 'not slow'" leaves out the slow ones)
	$(BIN)/pytest $(ARGS)

format: $(VENV)/.development ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: $(VENV)/.development ## Write docs/openapi.json, the contract that a test compares
	$(BIN)/python -m drlongformer.api.contract > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

mutation: $(VENV)/.development ## Test the tests of queue, batcher, limits and windows; an hour or more (ARGS="'drlongformer.text.windows*'" takes some)
	$(INSTALL) --editable '.[mutation]'
	rm -rf build/mutation && mkdir -p build/mutation
	cp -r service build/mutation/src && cp -r tests build/mutation/tests && cp tests/mutation.toml build/mutation/pyproject.toml
	cd build/mutation && OMP_NUM_THREADS=1 nice -n 19 $(abspath $(BIN))/mutmut run --max-children 1 $(ARGS) && $(abspath $(BIN))/mutmut results

peers: ## Install the servers we are compared with, outside the repository (PEERS=folder)
	$(PYTHON) -m venv $(PEERS)/infinity
	$(PEERS)/infinity/bin/python -m pip install --quiet --requirement loadtests/peers/infinity.txt

image: ## Build the CPU image
	docker build --target cpu --tag drlongformer-service:cpu .

clean: ## Remove the environment and the caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Debian splits ensurepip from python3: without it the environment gets its pip from the pip outside.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or later is needed, {v[0]}.{v[1]} was found: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) >/dev/null || { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $@ install --quiet pip; }

$(VENV)/.serving: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[cpu]'
	@touch $@

$(VENV)/.development: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[cpu,openvino,offline,otel,train,dev]'
	@touch $@
