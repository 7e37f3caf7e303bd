# The same commands without make stand in README.md.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: env demo demo-staged test lint clean

env:
	@$(PYTHON) tools/environment.py

demo: env
	$(RUN) -m no_time_to_train.cli demo

demo-staged: env
	$(RUN) -m no_time_to_train.cli demo --staged

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest

clean:
	rm -rf .venv runs build dist
