# Needs git, make and Python 3.11 or newer; everything else is fetched into .venv from the locks.
# A stamp in .venv is touched only after its install has finished, so an interrupted one is done again.

VENV := .venv
BIN := $(VENV)/bin
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
SWEEPGRAD := $(BIN)/sweepgrad
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PROJECT := $(VENV)/.project-installed
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
WORKERS ?= 2
SLOW_WORKERS ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run ui bench peers test test-slow fuzz docs lab pictures architecture reference inject histories mutate checked lint format types lock hooks clean distclean notebooks

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

run: $(RUNTIME) $(PROJECT) ## Install, then sweep the Spotify songs, rank the runs and judge the winner once
	@$(SWEEPGRAD) train experiment=spotify_sweep
	@$(SWEEPGRAD) leaderboard
	@$(SWEEPGRAD) finalize
	@echo "make ui opens these runs in MLflow"

ui: $(RUNTIME) $(PROJECT) ## Look at the runs in MLflow
	@$(SWEEPGRAD) ui

# Without cached bytecode each worker would rewrite the asserts of all tests.
test test-slow: export PYTHONDONTWRITEBYTECODE :=

test: lint checked ## Check style and types, then run all tests but the slow ones
	@echo "testing …"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

# They start processes and wait for them: one worker more keeps the cores busy. No worker need read the other modules.
test-slow: $(DEV) $(PROJECT) ## Run the slow tests
	@echo "testing, the slow ones …"
	@$(BIN)/python -m pytest -q -n $(SLOW_WORKERS) --dist worksteal -m slow \
		$$(grep -rl --include='test_*.py' 'mark\.slow' tests) || { code=$$?; [ $$code -eq 5 ] || exit $$code; }  # 5: there are none

# Meanwhile another core compiles the engine, where it changed, so that no two test workers do so at once.
COMPILE_ENGINE = from sweepgrad import engine; [engine.load("native", dtype) for dtype in ("float32", "float64")]

checked: $(DEV) $(PROJECT)
	@$(BIN)/python -c '$(COMPILE_ENGINE)' & compiler=$$!; \
	$(MAKE) --no-print-directory types; code=$$?; wait $$compiler && exit $$code

lint: $(DEV) $(PROJECT) ## Check style and formatting
	@echo "checking style …"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --check; echo "make format fixes this"; exit 1; }

format: $(DEV) ## Fix style and formatting where that is safe
	@$(BIN)/ruff check --fix --quiet --exit-zero
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --quiet

fuzz: $(DEV) $(PROJECT) ## Attack the program with FUZZ (100000) random inputs; those that fail stay in tests/fuzz/corpus/
	@$(BIN)/python -m tests.fuzz.run --n $(or $(FUZZ),100000)

inject: $(DEV) $(PROJECT) ## Let every write, rename, fsync, lock and allocation fail once (hours; ARGS="sync --every 1000": minutes)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.faults.campaign $(ARGS)

histories: $(DEV) $(PROJECT) ## Check histories of two processes that are killed at random (ARGS="--histories 500")
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.histories.checker $(ARGS)

mutate: $(DEV) $(PROJECT) ## Run the tests on changed sources, and write docs/mutation.md (an hour; ARGS="split --again")
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.mutation.campaign $(ARGS)

types: $(DEV) $(PROJECT) ## Check types
	@echo "checking types …"
	@$(BIN)/mypy --no-error-summary

COMPILE := $(UV) pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)

lock: $(VENV)/.made ## Write the locks from pyproject.toml (UPGRADE=1 takes newer versions)
	@echo "resolving …"
	@$(COMPILE) pyproject.toml --group build --output-file requirements.lock
	@$(COMPILE) pyproject.toml --group build --extra dev --constraints requirements.lock --output-file requirements-dev.lock
	@$(COMPILE) --group uv --output-file requirements-uv.lock
	@! grep -nE '://|^-|^/| @ ' requirements*.lock || { echo "a lock names a place, not only versions and hashes"; exit 1; }

bench: $(RUNTIME) $(PROJECT) ## Time a training step beside other libraries' (half an hour; make peers adds PyTorch and JAX)
	@$(BIN)/python -m benchmarks.bench

# By pip and not from a lock: they are large, differ from machine to machine, and nothing but a comparison needs
# them. What the lock pins stays as it is; without its hashes, which pip would ask of the peers too.
peers: $(RUNTIME) $(PROJECT) ## Install PyTorch and JAX, for make bench to compare with
	@echo "installing the peers; PyTorch's build with CUDA is 5 GB, one without it already in $(VENV) is kept …"
	@constraints=$$(mktemp) && trap 'rm -f "$$constraints"' EXIT && \
	sed -e '/--hash=/d' -e 's/ *\\$$//' requirements.lock > "$$constraints" && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint "$$constraints" 'sweepgrad[peers]'

pictures: $(DEV) $(PROJECT) ## Draw the README's pictures from the latest sweep (needs chromium)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/pictures/make.py

architecture: $(DEV) $(PROJECT) ## Draw the picture of docs/architecture.md from the imports
	@$(BIN)/python -m tests.structure --draw docs/pictures/architecture.svg

reference: $(DEV) $(PROJECT) ## Write docs/reference/ from the schema and the help of the verbs
	@$(BIN)/python docs/reference.py

docs: $(DEV) $(PROJECT) ## Build the documents as a site, which needs no network to be read
	@$(BIN)/python -m sphinx -q -n -W --keep-going -b html docs build/docs
	@echo "built: build/docs/index.html"

lab: $(DEV) $(PROJECT) ## Ask the lab all its questions, and put findings, pictures and outputs into docs/lab/
	@$(BIN)/python docs/lab/make.py

notebooks: $(DEV) $(PROJECT) ## Write each page of the lab as a notebook into docs/lab/notebooks/
	@$(BIN)/python docs/lab/notebook.py

hooks: ## Have git run make lint before each commit (optional)
	@hook=$$(git rev-parse --git-path hooks)/pre-commit; \
	if [ -e "$$hook" ] && ! grep -q 'make lint' "$$hook"; then echo "$$hook exists already: add 'make lint' to it"; exit 1; fi; \
	mkdir -p "$$(dirname "$$hook")"; \
	printf '#!/bin/sh\nexec make lint\n' > "$$hook"; chmod +x "$$hook"; echo "$$hook runs make lint"

clean: ## Remove caches and build products; runs/ stays
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	@find src tests benchmarks data -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## Remove .venv as well
	@rm -rf $(VENV)

# An environment knows where it stands: in a moved or copied checkout it would go on importing the old one.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
endif

$(VENV)/.made: requirements-uv.lock
	@if [ "$$(cat $@ 2>/dev/null)" != "$(CURDIR)" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    found=; \
	    for python in $(PYTHONS); do \
	        "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$$python && break; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "sweepgrad needs Python 3.11 or newer and found none as: $(PYTHONS)."; \
	        echo "Install one, or say where it is: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.12"; exit 1; \
	    fi; \
	    if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	        echo "$$found has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; \
	        echo "Or say which Python to take: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.12"; exit 1; \
	    fi; \
	    echo "creating $(VENV) with $$("$$found" --version) …"; \
	    "$$found" -m venv --clear $(VENV); \
	fi
	@if [ "$(UV)" = "$(BIN)/uv" ]; then \
	    echo "fetching uv, which installs the rest …"; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock; \
	fi
	@echo "$(CURDIR)" > $@

# $(call install,a lock)
install = echo "installing $$(grep -o '^[a-z0-9-]*==' $(1) | sort -u | wc -l | tr -d ' ') locked packages …" && \
	$(INSTALL) --require-hashes -r $(1)

$(RUNTIME): requirements.lock $(VENV)/.made
	@$(call install,requirements.lock)
	@touch $@

$(DEV): requirements-dev.lock $(VENV)/.made
	@$(call install,requirements-dev.lock)
	@touch $@

# Either lock holds the build backend, so this comes after whichever was installed.
$(PROJECT): pyproject.toml $(VENV)/.made
	@echo "installing sweepgrad …"
	@$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@
