# make demo     watch it: a key server, a sender, three receivers and a stranger, with real ESP
# make check    lint, types and pure tests: two minutes on two cores
# make test     everything: check, tests that need root or a guest kernel, all lab scenarios
# make bench    the benchmarks
# make lab      all lab scenarios (one: netns-lab/run NAME)
# make venv     the virtual environment .venv with the locked requirements and gkmd itself
# make system   the Debian packages of the lab
# make lock     renew requirements.lock (to run gkmd) and requirements-test.lock (and to test it)
# make clean    remove what was built; make distclean: the virtual environment, too
#
# PYTHON=... chooses the Python (3.11 or later) that the virtual environment is made from.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.gkmd-installed
export PYTHON

.PHONY: help demo check test bench lab venv system lock clean distclean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

demo: system venv
	@netns-lab/run 01-first-light

check: venv
	@$(VENV)/bin/python scripts/stages.py check

test: system venv
	@$(VENV)/bin/python scripts/stages.py test

bench: venv
	@$(VENV)/bin/python -m bench

lab: system venv
	@netns-lab/run

system:
	@scripts/system lab

venv: $(INSTALLED)

$(INSTALLED): requirements-test.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "venv: $(PYTHON) is older than Python 3.11; name another one: make PYTHON=..."; exit 1; }
	@scripts/system venv
	@if $(VENV)/bin/python -m pip --version > /dev/null 2>&1; then echo "venv: bringing $(VENV) up to date"; \
	else echo "venv: making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear $(VENV); fi
	@echo "venv: installing the requirements of requirements-test.lock, checked by their hashes"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	@echo "venv: installing gkmd itself, editable"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# pip-tools is not one of our requirements: it gets an environment of its own.
LOCK := build/lock/bin
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(LOCK)/pip-compile -q --all-build-deps --allow-unsafe \
    --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock:
	@$(PYTHON) -m venv build/lock && $(LOCK)/pip install -q --disable-pip-version-check pip-tools
	@$(COMPILE) --extra portal --extra stripe --extra test --output-file requirements-test.lock pyproject.toml
	@$(COMPILE) --extra portal --constraint requirements-test.lock --output-file requirements.lock pyproject.toml

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis netns-lab/artefacts
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
