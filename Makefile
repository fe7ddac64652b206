# Every command of Weir. `make` alone lists them.
#
# Paths are relative and quoted: the clone may lie in a directory with spaces in its name.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

# Images for Python often set this. Then every process here would compile again what it imports,
# and pytest would rewrite all tests again in each of its workers.
export PYTHONDONTWRITEBYTECODE :=

VENV_PYTHON := .venv/bin/python
BIN := .venv/bin
INSTALLED := .venv/.installed
PACKAGES := service-kit protos auth-service job-service cost-service compute-router gpu-worker \
	gateway deploy/local
PROJECTS := $(addsuffix /pyproject.toml,$(PACKAGES))
LOCKS := requirements/bootstrap.txt requirements/dev.txt requirements/model.txt
PROTOS := $(sort $(wildcard protos/weir/*/v*/*.proto))
# What `make test` runs, in this order; BESIDE with the time that the first one leaves.
CHECKS := test-integration test-e2e test-chaos-small
BESIDE := quick test-contract

# These tests wait more than they work, so three files run at once even on two cores. The ones that
# take longest come first, or the last one would run alone.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
LONGEST_FIRST := deploy/local gpu-worker job-service compute-router cost-service gateway \
	auth-service service-kit
INTEGRATION := $(addsuffix /tests/integration,$(LONGEST_FIRST))

.PHONY: help
help: ## list these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

# --- run ------------------------------------------------------------------------------------------

.PHONY: install
install: $(INSTALLED) ## make .venv with everything Weir and its tests need
	@echo "Installed in .venv; next: make demo"

$(INSTALLED): $(LOCKS) $(PROJECTS) deploy/local/install.sh
	@sh deploy/local/install.sh $(PACKAGES)
	@touch $@

.PHONY: demo
demo: $(INSTALLED) ## run real prompts through the whole stack, then show what was decided and billed
	@$(VENV_PYTHON) -m weir_local demo $(OPTIONS)

.PHONY: up
up: $(INSTALLED) ## start Postgres, Valkey, the six services and a cloud (OPTIONS=--no-yotta); repair what died
	@$(VENV_PYTHON) -m weir_local up $(OPTIONS)

.PHONY: down
down: $(INSTALLED) ## stop them; the data stays
	@$(VENV_PYTHON) -m weir_local down

.PHONY: logs
logs: $(INSTALLED) ## follow the logs (NAME=job-service for one service)
	@$(VENV_PYTHON) -m weir_local logs --follow $(NAME)

.PHONY: doctor
doctor: $(INSTALLED) ## check every part, and say what to do about what is wrong
	@$(VENV_PYTHON) -m weir_local doctor

# --- check ----------------------------------------------------------------------------------------

.PHONY: test
test: $(INSTALLED) ## everything below: lint, types, protos-check and all tests
	@MAKE="$(MAKE)" sh deploy/local/checks.sh --beside "$(BESIDE)" $(CHECKS)

.PHONY: quick
quick: $(INSTALLED) ## lint, types, protos-check and unit tests, side by side
	@$(MAKE) --no-print-directory --jobs 2 lint types protos-check test-unit

.PHONY: test-unit
test-unit: $(INSTALLED) ## the tests that need no server
	@$(VENV_PYTHON) -m pytest -q $(wildcard */tests/unit deploy/local/tests/unit) tests/load

.PHONY: test-integration
test-integration: $(INSTALLED) ## each service with a real Postgres and Valkey
	@$(VENV_PYTHON) -m pytest -q $(SIDE_BY_SIDE) \
		$(INTEGRATION) $(filter-out $(INTEGRATION),$(wildcard */tests/integration))

.PHONY: test-contract
test-contract: $(INSTALLED) ## what the services promise each other and the outside
	@$(VENV_PYTHON) -m pytest -q tests/contract

.PHONY: test-e2e
test-e2e: $(INSTALLED) ## the whole system, as processes
	@$(VENV_PYTHON) -m pytest -q --numprocesses 3 --dist loadscope tests/e2e deploy/local/tests/e2e

.PHONY: test-chaos-small
test-chaos-small: $(INSTALLED) ## 1,000 jobs while processes are killed (CHAOS_JOBS, CHAOS_KILLS, CHAOS_SEED)
	@$(VENV_PYTHON) -m pytest -q tests/chaos/test_random_kills.py tests/chaos/test_storms.py

# What the long run does; anything in the environment goes before it.
CHAOS_LONG := CHAOS_JOBS=$${CHAOS_JOBS:-10000} CHAOS_KILLS=$${CHAOS_KILLS:-104} \
	CHAOS_FREEZES=$${CHAOS_FREEZES:-52} CHAOS_RESTARTS=$${CHAOS_RESTARTS:-5} CHAOS_RATE=$${CHAOS_RATE:-20} \
	CHAOS_SCALE=$${CHAOS_SCALE:-20}

.PHONY: test-chaos
test-chaos: $(INSTALLED) ## 10,000 jobs, every failpoint, outages, and a build without safeguards that must fail
	@$(CHAOS_LONG) $(VENV_PYTHON) -m pytest -q tests/chaos/test_random_kills.py \
		tests/chaos/test_storms.py tests/chaos/test_failpoints.py tests/chaos/test_outages.py \
		tests/chaos/test_room.py tests/chaos/test_redrives.py tests/chaos/test_paid_once.py
	@$(VENV_PYTHON) -m pytest -q tests/chaos/test_mutation_gate.py
	@WEIR_TEST_SCALE=40 $(VENV_PYTHON) -m pytest -q --timeout 600 job-service/tests/integration/test_duties.py -k races
	@WEIR_TEST_SCALE=40 $(VENV_PYTHON) -m pytest -q compute-router/tests/integration/provider/test_paid_once.py

.PHONY: bench
bench: $(INSTALLED) ## latency and throughput, beside a bare FastAPI of the same run (OPTIONS=--help)
	@$(VENV_PYTHON) tests/load/bench.py $(OPTIONS)

PEERS := build/peers/.installed

.PHONY: bench-peers
bench-peers: $(INSTALLED) $(PEERS) ## our queued jobs beside empty ones of procrastinate and taskiq-redis
	@$(VENV_PYTHON) tests/load/bench_peers.py --python build/peers/bin/python $(OPTIONS)

# Of their own: what we are compared with shall not decide what we run with.
$(PEERS): requirements/peers.txt $(INSTALLED)
	@rm -rf build/peers && mkdir -p build
	@$(VENV_PYTHON) -m uv venv --quiet --python $(VENV_PYTHON) build/peers
	@$(VENV_PYTHON) -m uv pip sync --quiet --python build/peers/bin/python --system-certs --require-hashes $<
	@touch $@

.PHONY: lint
lint: $(INSTALLED) ## style, format, and who may import whom
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(BIN)/lint-imports

.PHONY: types
types: $(INSTALLED) ## mypy, strict
	@$(VENV_PYTHON) -m mypy

# --- contracts ------------------------------------------------------------------------------------

.PHONY: protos
protos: $(INSTALLED) ## write the stubs in protos/gen from protos/weir
	@rm -rf protos/gen/weir/*/
	@sh deploy/local/generate_stubs.sh protos/gen $(PROTOS)

.PHONY: protos-check
protos-check: $(INSTALLED) ## stubs are those of the protos; buf lint; nothing released was broken
	@rm -rf build/protos-check && mkdir -p build/protos-check
	@sh deploy/local/generate_stubs.sh build/protos-check $(PROTOS)
	@diff -r -x py.typed -x __pycache__ build/protos-check protos/gen \
		|| { echo 'protos/gen is not what the protos say. Run: make protos' >&2; exit 1; }
	@cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against released.binpb
	@echo 'The stubs are up to date and nothing that was released is broken.'

.PHONY: env-example
env-example: $(INSTALLED) ## write .env.example from the settings classes
	@$(VENV_PYTHON) deploy/env_example.py > .env.example

.PHONY: protos-image
protos-image: $(INSTALLED) ## at a release: what later contracts must not break
	@cd protos && ../$(BIN)/buf build -o released.binpb

.PHONY: lock
lock: $(INSTALLED) ## find the newest versions that fit and write requirements/*.txt
	@sh deploy/local/lock.sh $(PROJECTS)

# --- containers -----------------------------------------------------------------------------------

# One after the other: all but the first find the libraries built.
.PHONY: images
images: ## build the images that docker-compose.yml runs (docs/compose.md)
	@for service in setup auth-service cost-service compute-router job-service gateway gpu-worker-cpu; do \
		echo "$$service"; docker compose --profile cpu build --quiet "$$service" || exit 1; done

.PHONY: compose-check
compose-check: $(INSTALLED) ## build the images, bring the stack up in Docker, use and disturb it, end it
	@PYTHONPATH=deploy/compose $(VENV_PYTHON) -m compose_check
