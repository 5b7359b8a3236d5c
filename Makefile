# `make serve` and `make test` are the only set-up: they need Python 3.11 or later with pip, and nothing else.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000
STORE ?= model_store
PEERS ?= $(HOME)/.cache/drlongformer-peers
ENGINE ?= docker
TARGET ?= cpu
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help serve test site lint format types unit openapi mutation peers dashboards lock image sbom rehearse airgap clean

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

site: $(VENV)/.development ## Build the documentation as a site that needs no network, in build/site/
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet

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

dashboards: $(VENV)/.development ## Write Grafana's dashboards from deploy/grafana/dashboards.py
	$(BIN)/python -m deploy.grafana.dashboards

lock: $(VENV)/.development ## Write deploy/image/requirements/: versions and hashes of everything in the images, within constraints.txt
	$(INSTALL) --editable '.[images]'
	UV=$(BIN)/uv deploy/image/lock

peers: ## Install the servers we are compared with, outside the repository (PEERS=folder)
	$(PYTHON) -m venv $(PEERS)/infinity
	$(PEERS)/infinity/bin/python -m pip install --quiet --requirement loadtests/peers/infinity.txt

image: ## Build an image (TARGET=cpu|gpu|tools, ENGINE=docker|podman|buildah, ARGS for the engine)
	$(ENGINE) build --target $(TARGET) --tag drlongformer-service:$(TARGET) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
		--build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) $(ARGS) .

sbom: ## Copy an image's bill of materials (CycloneDX) and list of licences into build/bill/ (TARGET=, ENGINE=)
	mkdir -p build/bill/$(TARGET)
	for file in sbom.cdx.json licences.md; do $(ENGINE) run --rm --network none --entrypoint cat drlongformer-service:$(TARGET) \
		/usr/share/doc/drlongformer/$$file > build/bill/$(TARGET)/$$file || exit 1; done

rehearse: $(VENV)/.development ## Start the composition for real, ask, scrape, restart and swap under load, count (ARGS="--compose podman-compose")
	$(BIN)/python -m loadtests.rehearsal $(ARGS)

airgap: $(VENV)/.serving ## One archive for a host without a network (IMAGES=, ENGINE=, EXTRAS=, PRIVATE_KEY=; docs/airgap.md)
	BIN=$(BIN) STORE=$(STORE) ENGINE=$(ENGINE) IMAGES="$(IMAGES)" EXTRAS="$(EXTRAS)" PRIVATE_KEY="$(PRIVATE_KEY)" deploy/airgap/build

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
	$(INSTALL) --editable '.[cpu,openvino,offline,otel,ray,signing,train,docs,dev]'
	@touch $@
