# Everything here happens inside the clone: the environment is .venv, what a demo writes is in var/.
#
#   make demo                    a simulated burst, followed up
#   make demo ALERT=burst.xml    the same with another VOEvent
#   make demo ALERT=gw           a gravitational wave's sky map, field by field; gw-retracted: taken back in the middle
#   make rehearse                a heavy night with all that can go wrong, and its report
#   make test lint bench         for developers
#   make docs                    the documentation as a site
#   make test-long               the tests that take minutes
#   PYTHON=python3.12 make ...   another Python than python3; 3.11 or newer

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
SET_UP_BY := pyproject.toml constraints.txt
ALERT ?=
TESTS ?=
JOBS ?= 3
# A worker that has crashed or was ended is not replaced: pytest-xdist would then wait for ever, and name no test.
# Pytest's plugin for unittest would read before each test which Twisted is there: 0.8 ms. No test is a `TestCase`; one
# that is called Test... is refused.
PYTEST := $(BIN)/pytest -p no:unittest --numprocesses=$(JOBS) --max-worker-restart=0

# A Python that may not keep what it has compiled compiles PYROS anew in each program that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-sites rehearse picture test test-long lint bench docs clean distclean
.DEFAULT_GOAL := help

help:
	@echo "make demo              see a simulated burst followed up (ALERT=file.xml: another alert; ALERT=gw: a sky map)"
	@echo "make demo-sites        see two sites with three telescopes share requests out, and what an alert moves"
	@echo "make rehearse          rehearse a heavy night, on virtual time; its report is var/rehearsal/report.md"
	@echo "make picture           draw README's picture of the console anew, from the demo"
	@echo "make test              run the tests (TESTS=tests/cli: only those)"
	@echo "make test-long         run the tests that take minutes"
	@echo "make lint              ruff, mypy --strict, the layers of the imports"
	@echo "make docs              the documentation as a site, in build/site"
	@echo "make bench             measure the speed, quickly"
	@echo "make clean             remove caches, builds and what demos have written"
	@echo "make distclean         remove the environment .venv too"
	@echo "PYTHON=python3.12 make ...  uses another Python than python3 (3.11 or newer)"

demo-sites: $(VENV)/.pyros
	@$(BIN)/python tools/demo_sites.py

demo: $(VENV)/.pyros
	@$(BIN)/pyros demo $(if $(ALERT),--alert "$(ALERT)")

rehearse: $(VENV)/.pyros
	@$(BIN)/pyros rehearse --report var/rehearsal

picture: $(VENV)/.pyros-dev
	$(BIN)/python tools/console_picture.py

test-long: $(VENV)/.pyros-dev
	$(PYTEST) --timeout=3600 -o faulthandler_timeout=3630 -m long $(TESTS)

docs: $(VENV)/.pyros-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the documentation: build/site/index.html"

test: $(VENV)/.pyros-dev
	$(PYTEST) --dist=loadfile --no-loadscope-reorder $(TESTS)

lint: $(VENV)/.pyros-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.pyros-dev
	$(BIN)/python bench/agents.py --quick
	$(BIN)/python bench/alert_to_slew.py --quick
	$(BIN)/python bench/alerts.py --quick
	$(BIN)/python bench/archive.py --quick
	$(BIN)/python bench/console.py --quick
	$(BIN)/python bench/instruments.py --quick
	$(BIN)/python bench/internet.py --quick
	$(BIN)/python bench/planning.py --quick
	$(BIN)/python bench/rules.py --quick
	$(BIN)/python bench/sites.py --quick
	$(BIN)/python bench/skymaps.py --quick
	$(BIN)/python bench/tls.py --quick
	$(BIN)/python bench/wan.py --quick
	$(BIN)/python bench/jobs.py --quick
	$(BIN)/python bench/images.py --quick
	$(BIN)/python bench/views.py --quick
	$(BIN)/python bench/console_browser.py --quick

# A stamp for each way of installing: make does nothing when neither the environment nor what it is made from changed.
$(VENV)/.pyros: $(SET_UP_BY) | $(BIN)/python
	@echo "Installing PYROS in $(VENV) (once)"
	@$(PIP) install --constraint constraints.txt --editable ".[console]"
	@touch $@

$(VENV)/.pyros-dev: $(SET_UP_BY) | $(BIN)/python
	@echo "Installing PYROS and its developers' tools in $(VENV) (once)"
	@$(PIP) install --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@ $(VENV)/.pyros

$(VENV)/.pyros-docs: $(SET_UP_BY) | $(BIN)/python
	@echo "Installing PYROS and what makes its documentation in $(VENV) (once)"
	@$(PIP) install --constraint constraints.txt --editable ".[console,docs]"
	@touch $@ $(VENV)/.pyros

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "make: no $(PYTHON) here; name a Python 3.11 or newer: PYTHON=python3.12 make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1); PYROS needs 3.11 or newer: PYTHON=python3.12 make ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf build dist var/demo-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache comet/plugins/dropin.cache

distclean: clean
	rm -rf $(VENV)
