# Two commands are all a fresh machine needs: `make story` and `make test`.
# Set-up goes through pip and one pinned file, constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CORPUS := corpora/sample

.PHONY: story test check train clean
story: .venv/base
	$(BIN)/fabula write --brief examples/midnight.yaml --seed 2

test: .venv/dev
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: .venv/train
	$(BIN)/fabula train recipes/embedded-qlora.yaml --force

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fabula needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/base: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/train: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[train]'
	touch $@ .venv/base

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/base .venv/train

clean:
	rm -rf .venv runs corpora out .mypy_cache .ruff_cache .pytest_cache .hypothesis
