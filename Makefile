# Everything is installed into .venv, from nothing but Python >= 3.10, git and make.

PYTHON ?= python3
# Some of what others need is not for Python 3.10.
MINOR := 10
lint docs docs-serve docs-test peers parity downstream follow: MINOR := 11
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml hatch_build.py NOTICE LICENSE README.md \
	$(shell find fork equinox -name '*.py')
# Some fixtures take long, and so the tests of a file stay together.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile
# Shows in the pages what was measured.
record = cp $(1) docs && $(PYTHON) -m docs.tables

COMMANDS := help demo inside test test-fast lint docs docs-serve docs-test format pictures tables tree pr check follow \
	upstream-suite matrix bench peers parity downstream dist release-check lock clean python
.PHONY: $(COMMANDS)
# They share environments, and pip is not made for that.
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make demo       install the fork into .venv, and train on handwritten digits"
	@echo "make inside     look inside three networks, before and after a better initialisation"
	@echo "make test       install the fork, and run all tests"
	@echo "make test-fast  only those that take about a minute in all"
	@echo "make lint       check this repository and the fork by ruff, pyright and others"
	@echo "make docs       build the site into build/site"
	@echo "make docs-serve build the site, and serve it while it is being written"
	@echo "make docs-test  build the site, and look at it in a browser"
	@echo "make pictures   draw those pictures of the documentation that are out of date"
	@echo "make tables     write what was measured into the pages of the documentation"
	@echo "make format     format this repository"
	@echo "make bench      measure what initialisation costs; with CASES=..., only these"
	@echo "make peers      measure how other libraries initialise, for docs/migration.md"
	@echo "make parity     check that what other libraries draw is still as recorded"
	@echo "make downstream use libraries that are built on Equinox, on the fork and on upstream"
	@echo "make dist       build what a release consists of"
	@echo "make release-check       do what a release does, but for publishing"
	@echo "make lock       pin what a release is built with by its hashes"
	@echo "make tree       renew what an editable installation uses, after an edit changed"
	@echo "make pr CHECKOUT=...     check the pull request on a copy of a checkout of upstream"
	@echo "make matrix [PYTHONS=...] run the tests on each Python, with the oldest and newest JAX"
	@echo "make upstream-suite CHECKOUT=... compare upstream's tests on the fork and on upstream"
	@echo "make check [TARGETS=...] say to which versions of upstream the edits apply"
	@echo "make follow VERSION=...  try the fork on another release of upstream"
	@echo "make clean      remove .venv and all that was built"

demo: $(VENV)/fork $(VENV)/demo
	$(BIN)/python examples/digits.py

inside: $(VENV)/fork $(VENV)/demo
	$(BIN)/python examples/inside.py

test: $(VENV)/fork $(VENV)/test
	$(PYTEST)

test-fast: $(VENV)/fork $(VENV)/test
	$(PYTEST) -k "not test_examples" tests/test_*.py tests/fork/test_codemod.py tests/fork/test_docs.py

lint: $(VENV)/fork $(VENV)/test $(VENV)/lint
	rm -rf build/lint
	$(BIN)/python -m fork tree build/lint
	$(BIN)/ruff check . build/lint/equinox
	$(BIN)/ruff format --check . build/lint/equinox
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/typos

docs: $(VENV)/fork $(VENV)/docs
	$(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/fork $(VENV)/docs
	$(BIN)/python -m mkdocs serve

docs-test: docs $(VENV)/test
	@command -v chromedriver >/dev/null || \
		{ echo "error: this needs Chromium and ChromeDriver, in Debian the packages chromium and chromium-driver" >&2; exit 2; }
	$(PYTEST) tests/site

pictures: $(VENV)/fork $(VENV)/demo
	$(BIN)/python -m docs.pictures

tables: python
	$(PYTHON) -m docs.tables

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Only what an editable installation uses: `make test` builds a wheel of its own.
tree: $(VENV)/test
	$(BIN)/python -m fork tree build/tree --link

pr: $(VENV)/test
	@test -n "$(CHECKOUT)" || { echo "usage: make pr CHECKOUT=..." >&2; exit 2; }
	rm -rf build/pr
	$(BIN)/python -m fork review "$(CHECKOUT)" --scratch build/pr \
		$(if $(CHECKS),--checks $(CHECKS))

# Resumes an interrupted run of the same commit.
matrix: python
	$(PYTHON) tests/matrix.py $(PYTHONS)
	$(if $(PYTHONS),,$(call record,build/matrix/matrix.json))

upstream-suite: $(VENV)/test
	@test -n "$(CHECKOUT)" || { echo "usage: make upstream-suite CHECKOUT=..." >&2; exit 2; }
	rm -rf build/suite
	$(BIN)/python -m fork suite "$(CHECKOUT)" --scratch build/suite
	$(call record,build/suite/suite.json)

check: $(VENV)/test
	$(BIN)/python -m fork check $(TARGETS)

follow: $(VENV)/test
	@test -n "$(VERSION)" || { echo "usage: make follow VERSION=... [CHECKOUT=...]" >&2; exit 2; }
	rm -rf build/follow
	$(BIN)/python -m fork follow "$(VERSION)" $(if $(CHECKOUT),"$(CHECKOUT)") --scratch build/follow

# The page shows a run of all cases.
ifndef CASES
bench: MINOR := 11
endif
bench: $(VENV)/fork $(VENV)/test $(if $(CASES),,build/peers/fork $(VENV)/demo)
	$(BIN)/python benchmarks/bench.py $(CASES)
ifndef CASES
	$(call record,build/benchmarks.json)
	$(BIN)/python -m docs.pictures
endif
	$(BIN)/python benchmarks/bench.py --judge

build/peers/done: Makefile | python
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/python -m pip install --quiet \
		torch==2.13.0 flax==0.12.8 keras==3.15.1 dm-haiku==0.0.17
	touch $@

build/peers/fork: build/peers/done $(SOURCES)
	build/peers/bin/python -m pip install --quiet .
	touch $@

peers: build/peers/fork
	build/peers/bin/python tests/parity/peers.py
	$(PYTHON) -m docs.tables

parity: build/peers/fork $(VENV)/fork $(VENV)/test
	build/peers/bin/python tests/parity/peers.py --check
	$(PYTEST) tests/parity

downstream: python
	$(PYTHON) -m venv --clear build/downstream
	build/downstream/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/downstream/bin/python -m pip install --quiet . --group downstream
	build/downstream/bin/python -m pip check
	build/downstream/bin/python tests/downstream/compare.py
	$(call record,build/downstream.json)

# What a release consists of, built by tools that are pinned by their hashes.
DIST := env -u SOURCE_DATE_EPOCH -u HATCH_BUILD_NO_HOOKS build/dist/venv/bin/python -m build --no-isolation --skip-dependency-check
dist: python
	rm -rf build/dist
	$(PYTHON) -m venv build/dist/venv
	build/dist/venv/bin/python -m pip install --quiet --require-hashes --only-binary=:all: --no-deps -r .github/build.txt
	$(DIST) --outdir build/dist

# What the release workflow does, but for publishing. Builds twice, the second time not
# by way of the source distribution, and beside a file that belongs to nobody.
release-check: dist $(VENV)/release
	build/dist/venv/bin/python -m fork.release
	trap 'rm -f stray.env' EXIT INT TERM; echo > stray.env; $(DIST) --sdist --wheel --outdir build/dist/again
	cmp build/dist/*.whl build/dist/again/*.whl
	cmp build/dist/*.tar.gz build/dist/again/*.tar.gz
	$(BIN)/python -m twine check --strict build/dist/*.whl build/dist/*.tar.gz
	$(PYTHON) -m venv build/dist/installed
	build/dist/installed/bin/python -m pip install --quiet build/dist/*.whl
	cd build/dist && installed/bin/python -I ../../tests/fork/installed.py

# After a tool was pinned to another version.
lock: $(VENV)/lock
	cd .github && ../$(BIN)/uv pip compile --quiet --no-deps --universal --generate-hashes \
		--python-version 3.10 --custom-compile-command "make lock" build.in -o build.txt

# Else `make tests` would say that there is nothing to be done.
FOLDERS := $(filter-out $(COMMANDS),$(patsubst %/,%,$(wildcard */)))
.PHONY: $(FOLDERS)
$(FOLDERS):
	@echo "error: there is no target '$@'; 'make' lists them" >&2; exit 2

clean:
	rm -rf $(VENV) build dist

# Says in one line if there is no suitable Python, or if .venv was made by another.
python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, $(MINOR)))" 2>/dev/null || \
		{ echo "error: $(PYTHON) is not Python >= 3.$(MINOR); say which is by 'make PYTHON=...'" >&2; exit 2; }
	@test ! -e $(VENV) || test "`$(BIN)/python -V 2>&1`" = "`$(PYTHON) -V 2>&1`" || \
		{ echo "error: $(VENV) was not made by `$(PYTHON) -V`; run 'make clean', or say by which by 'make PYTHON=...'" >&2; exit 2; }

$(VENV)/pip: | python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

# An editable installation stays one.
$(VENV)/fork: $(VENV)/pip $(SOURCES) | python
	$(BIN)/python -m pip install --quiet `$(BIN)/python -m pip list --editable --format=freeze | \
		sed -n 's/^equinox==.*/--no-deps --editable/p'` .
	touch $@

$(VENV)/demo $(VENV)/test $(VENV)/lint $(VENV)/docs $(VENV)/release $(VENV)/lock: $(VENV)/pip pyproject.toml | python
	$(BIN)/python -m pip install --quiet --group $(@F)
	touch $@
