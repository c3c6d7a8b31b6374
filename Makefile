# Everything a developer, an operator in a hurry or a CI types.  Needs Python 3.11+ and make only.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DATA ?= .dfs-local
DATANODES ?= 3
WORKERS ?= 2
PEERS ?= .dfs-peers
SEEDS ?= 0-10000
BENCH ?=
UNMARKED := not faults and not soak and not bench
# A test that neither ends nor can be interrupted ends its worker, which shows where all threads are.
BOUNDED := -o faulthandler_timeout=650 -o faulthandler_exit_on_timeout=true

# The first of these that runs, is 3.11 or newer and can make environments.  PYTHON=... overrules.
PYTHONS := python3 python3.13 python3.12 python3.11 python
CAN := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.PHONY: help setup demo test test-faults ha-sim cover lint types format proto docs up down bench bench-scale bench-million bench-peers \
        bench-integrity clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## Make .venv with DFS and its development tools (quick when it is there)

$(STAMP): setup.cfg pyproject.toml dfs/__init__.py
	@python="$(PYTHON)"; \
	for each in $(PYTHONS); do \
	  [ -n "$$python" ] && break; \
	  "$$each" -c '$(CAN)' >/dev/null 2>&1 && python="$$each"; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "DFS needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv)." >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version) (once; a minute or three)"; \
	[ -x $(BIN)/python ] && $(BIN)/python -c '$(CAN)' 2>/dev/null || "$$python" -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## Watch a cluster be hurt, heal, grow, and give every file back
	$(BIN)/dfs-local demo

test: lint  ## Lint, then every test that is done in minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(BOUNDED) -m '$(UNMARKED)'

test-faults: $(STAMP)  ## The long tests: kill -9, full disks, crash points, soak
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'faults or soak'

ha-sim: $(STAMP)  ## Ten thousand histories of failover in a simulator (SEEDS=0-10000)
	$(BIN)/python -m tests.unit.ha.simulate $(SEEDS)

cover: $(STAMP)  ## Tests with line and branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m '$(UNMARKED)'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP)  ## ruff, its formatter, mypy --strict, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

types: $(STAMP)  ## mypy --strict alone
	$(BIN)/mypy

format: $(STAMP)  ## Let ruff put imports and lines in order
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

proto: $(STAMP)  ## Generate dfs/wire/*_pb2* from proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=proto \
	  --python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. \
	  $$(cd proto && find . -name '*.proto' -printf '%P ')

docs: $(STAMP)  ## Write the pages of docs/ that equal the program (commands, api, settings, metrics)
	$(BIN)/python docs/reference.py

up: $(STAMP)  ## Start a cluster on this machine (DATANODES=3 DATA=.dfs-local)
	$(BIN)/dfs-local up --datanodes $(DATANODES) --data $(DATA)

down: $(STAMP)  ## Stop it; its files stay in DATA
	$(BIN)/dfs-local down --data $(DATA)

bench: $(STAMP)  ## Measure every workload against the disk itself (BENCH='--only large,tree --json FILE')
	$(BIN)/python -m bench.run $(BENCH)

bench-scale: $(STAMP)  ## Measure a folder of 100,000 entries, 1,000 idle clients, 64 transfers at once
	$(BIN)/python -m bench.run --scale $(BENCH)

bench-million: $(STAMP)  ## Measure a NameNode with a million files
	$(BIN)/python -m bench.million $(BENCH)

bench-peers: $(STAMP)  ## Install peers in PEERS=.dfs-peers and measure them beside DFS
	$(BIN)/python -m bench.peers.install --into $(PEERS)
	$(BIN)/python -m bench.peers.run --peers $(PEERS) $(BENCH)

bench-integrity: $(STAMP)  ## Measure scrub, heal and stock, with little; in full: bench/RESULTS.md
	$(BIN)/python -m bench.scrub --size 512MiB
	$(BIN)/python -m bench.heal --size 256MiB
	$(BIN)/python -m bench.stock --nodes 20 --blocks 2000
	$(BIN)/python -m bench.repair_plan --blocks 50000

clean:  ## Remove what builds, tests and tools left (not DATA)
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
