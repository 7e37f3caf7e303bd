# The same commands without make stand in README.md and CONTRIBUTING.md.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: env demo demo-staged test coverage lint lock clean

env:
	@$(PYTHON) tools/environment.py

demo: env
	$(RUN) -m no_time_to_train.cli demo

demo-staged: env
	$(RUN) -m no_time_to_train.cli demo --staged --out runs/demo-staged

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# One process per core, one thread each: on small models threads cost more than they bring.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST)

# Lines and branches that the tests pass through, also in the processes that they start.
coverage: env
	$(PYTEST) -q --cov --cov-report=term --cov-report=html

# New exact versions; needs uv. LIMITS='"torch<=2.14.1"' keeps some of them back.
lock: env
	$(RUN) tools/lock.py $(LIMITS)

clean:
	rm -rf .venv runs build dist htmlcov .coverage
