# One door to everything one does with this repository; `make help` lists it.

# Paths are as they were given, for make itself cannot carry one with a space in it.
STATE_DIR ?= .state
BASE_PORT ?=
DRIVER ?=
COMPUTES ?=
CONFIG ?=
VENV ?= .venv
PYTHON ?= python3

export DRIVER
export PROTONOVA_STATE_DIR := $(STATE_DIR)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
PY := $(VENV)/bin/python
PROTONOVA := $(VENV)/bin/protonova
UP := $(if $(BASE_PORT),--base-port $(BASE_PORT)) $(if $(DRIVER),--driver $(DRIVER)) \
      $(if $(COMPUTES),--computes $(COMPUTES)) $(if $(CONFIG),--config "$(CONFIG)")
INPUTS := pyproject.toml tools/contracts.py $(shell find protos -name '*.proto')
# An environment that was moved, or whose Python has gone, is made anew whatever its files' times say.
USABLE := $(shell tools/make-venv.sh --usable $(VENV) && echo yes)

.DEFAULT_GOAL := help
.PHONY: help install up down status logs test lint format bench simulate chaos tempest contracts clean FORCE

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "To each: STATE_DIR=$(STATE_DIR) BASE_PORT=8774 DRIVER=auto|libvirt|fake"

install: $(VENV)/.installed ## Install into .venv (as root on Debian also what libvirt needs)
	@tools/prepare.sh $(VENV)

$(VENV)/.installed: $(INPUTS) $(if $(USABLE),,FORCE)
	@tools/make-venv.sh $(PYTHON) $(VENV)
	@echo "installing into $(VENV)"
	@$(PY) -m pip install -q -e '.[client,postgresql,mysql]'
	@$(PY) -m compileall -q src
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PY) -m pip install -q -e '.[client,postgresql,mysql,telemetry,dev]'
	@touch $@

up: install ## Start a cloud in the background and boot a first server in it
	@$(PROTONOVA) up --detach $(UP)
	@tools/first-server.sh $(PROTONOVA) "$(STATE_DIR)"

down: ## Stop the cloud
	@$(PROTONOVA) down

status: ## Show the processes of the cloud
	@$(PROTONOVA) status

logs: ## Follow the logs of the cloud
	@$(PROTONOVA) logs --follow

test: install $(VENV)/.installed-dev ## Run all checks and tests
	@$(PY) tools/test.py

lint: $(VENV)/.installed-dev ## Run the checks of the code alone
	@$(PY) tools/test.py --only ruff --only format --only mypy --only imports --only contracts

format: $(VENV)/.installed-dev ## Bring the code into form
	@$(VENV)/bin/ruff check -q --fix . ; $(VENV)/bin/ruff format .

bench: install $(VENV)/.installed-dev ## Measure a cloud of its own; prints JSON and a table
	@$(PY) -m benchmarks $(BENCH)

simulate: $(VENV)/.installed-dev ## Replay a day of a region of 100,000 hosts by several ways to choose hosts
	@$(PY) -m pip install -q -e '.[bench]'
	@$(PY) -m benchmarks.simulate --out "$(STATE_DIR)/simulation" $(SIMULATE)

chaos: install $(VENV)/.installed-dev ## Kill processes of a cloud of its own while servers live in it
	@CHAOS_KILLS=$${CHAOS_KILLS:-40} CHAOS_CLAIMS=$${CHAOS_CLAIMS:-2000} \
		CHAOS_REQUESTS=$${CHAOS_REQUESTS:-5000} CHAOS_SEQUENCES=$${CHAOS_SEQUENCES:-500} \
		CHAOS_POINTS=$${CHAOS_POINTS:-all} $(PY) -m pytest -q -s tests/chaos tests/functional/region

tempest: install ## Run tempest's compute tests and write docs/conformance.md
	@tools/tempest.sh $(VENV)

contracts: $(VENV)/.installed-dev ## Generate code from protos/ and record the contracts' descriptor
	@$(PY) tools/contracts.py
	@$(PY) tools/descriptor.py --write

clean: ## Remove what was built, but neither the cloud's state nor .venv
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov coverage.xml
	@find src tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +
