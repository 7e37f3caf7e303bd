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

# One process per core, one thread each: on small models threads cost more than they bring.
test: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile

clean:
	rm -rf .venv runs build dist
