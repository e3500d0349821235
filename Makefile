# `make` lists the targets. PYTHON=… names the interpreter to use, 3.11 or newer.

.DEFAULT_GOAL := help
# A process starts a third faster from compiled modules, which some containers switch off.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv run test test-ci test-fast lint format bench schemas lock clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Number of processes that run tests in parallel; tests/support/scheduling.py defines `auto`.
WORKERS := auto
IN_PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

venv: $(READY) ## Make the virtual environment from requirements.lock

$(READY): requirements.lock pyproject.toml
	@python=$$(.ci/find-python $(PYTHON)) && $$python -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## Start everything, play a conversation, stay until Ctrl-C (ONCE=1: end after it)
	@$(BIN)/im run $(if $(ONCE),--once)

test: lint ## Check the sources and run all tests, those on real servers included (WORKERS=n)
	$(BIN)/pytest $(IN_PARALLEL)

test-ci: lint ## As test; a failed test on real servers runs once more, without other tests
	$(BIN)/python -m tests.support.repeated_run $(IN_PARALLEL)

test-fast: lint ## Check the sources and run the unit and property tests, without servers
	$(BIN)/pytest --numprocesses=$(WORKERS) tests/unit tests/property

lint: $(READY) ## Check the sources alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure everything in interleaved rounds, and write docs/benchmarks
	$(BIN)/python -m benchmarks

schemas: $(READY) ## Write JSON Schemas, docs/openapi.json, docs/asyncapi.json and the table of metrics
	$(BIN)/python -m schemas.json_schema
	$(BIN)/python -m schemas.asyncapi.document
	$(BIN)/python -m gateway.http.openapi
	$(BIN)/python -m backends.monitoring.metrics_page

lock: $(READY) ## Resolve the Python packages and the servers' artifacts anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --generate-hashes \
		--no-header --no-annotate --upgrade --output-file requirements.lock
	uv pip compile pyproject.toml --constraint requirements.lock --universal --generate-hashes \
		--no-header --no-annotate --output-file requirements.image.lock
	$(BIN)/python -m devstack.lock

clean: ## Stop what runs here and remove all that was made
	@if [ -x $(BIN)/im ]; then $(BIN)/im down; $(BIN)/python -m devstack.processes .im; fi
	rm -rf .im $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
