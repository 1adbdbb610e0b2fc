# Everything is installed into .venv, from nothing but Python >= 3.10, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml hatch_build.py NOTICE LICENSE README.md \
	$(shell find fork equinox -name '*.py')

.PHONY: demo test lint format tree pr check benchmark clean

demo: $(VENV)/fork $(VENV)/demo
	$(BIN)/python examples/digits.py

test: $(VENV)/fork $(VENV)/test
	$(BIN)/python -m pytest

lint: $(VENV)/fork $(VENV)/test $(VENV)/lint
	rm -rf build/lint
	$(BIN)/python -m fork tree build/lint
	$(BIN)/ruff check . build/lint/equinox
	$(BIN)/ruff format --check . build/lint/equinox
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*
	$(BIN)/zizmor --offline --quiet .github

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# After an edit has changed: renews the package that an editable installation uses.
tree: $(VENV)/test
	rm -rf build/tree
	$(BIN)/python -m fork tree build/tree --link

# The pull request, checked under upstream's own rules: make pr CHECKOUT=...
pr: $(VENV)/test
	@test -n "$(CHECKOUT)" || { echo "usage: make pr CHECKOUT=..." >&2; exit 2; }
	rm -rf build/pr
	$(BIN)/python -m fork review "$(CHECKOUT)" --scratch build/pr \
		$(if $(CHECKS),--checks $(CHECKS))

# To which versions of upstream the pull request applies: make check [TARGETS=...]
check: $(VENV)/test
	$(BIN)/python -m fork check $(TARGETS)

benchmark: $(VENV)/fork
	$(BIN)/python benchmarks/construction.py

clean:
	rm -rf $(VENV) build dist

$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/fork: $(VENV)/pip $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/demo $(VENV)/test $(VENV)/lint: $(VENV)/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --group $(@F)
	touch $@
