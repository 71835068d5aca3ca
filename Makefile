# Two commands do all the set-up: `make demo` and `make test`.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# $(call add,PYTHON,EXTRA): what an extra of pyproject.toml adds to an environment, genlab itself left out
extra = $(shell python3 -c "import tomllib; print(*map(repr, tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$(1)']))")
add = if command -v uv >/dev/null; then uv pip install --quiet --python $(1) $(call extra,$(2)); \
	else $(1) -m pip install --quiet --disable-pip-version-check $(call extra,$(2)); fi

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.demo: requirements.lock pyproject.toml scripts/setup.sh
	scripts/setup.sh $(VENV) requirements.lock && touch $@

$(VENV)/.test: requirements.lock requirements-test.lock pyproject.toml scripts/setup.sh
	scripts/setup.sh $(VENV) requirements-test.lock && touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## set up an environment and train a VAE on the built-in digits (under a minute)
	$(BIN)/genlab train
	@echo; echo "To have genlab in this shell:  . $(BIN)/activate"

test: $(VENV)/.test check  ## set up an environment, then run checks and tests (10 to 30 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

check: $(VENV)/.test  ## run lint, format, types, import direction and link checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_links.py

coverage: $(VENV)/.test  ## run the tests and measure their coverage
	$(call add,$(BIN)/python,coverage)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term --cov-report=html

docs: $(VENV)-docs/.made  ## build the documentation site, with search and the API reference, in site/
	$(VENV)-docs/bin/mkdocs build --strict

$(VENV)-docs/.made: pyproject.toml  # read from the source alone: the site needs no torch
	python3 -m venv $(VENV)-docs
	$(call add,$(VENV)-docs/bin/python,docs)
	touch $@

bench: $(VENV)/.demo  ## compare every workload with its floor loop; write the table to docs/performance.md (about an hour)
	$(BIN)/python -m benchmarks.run --docs $(BENCH)

acceptance: $(VENV)/.test  ## reproduce the cheap results on real data (GENLAB_DATA; at most two hours of one core)
	$(BIN)/pytest -m acceptance
	$(BIN)/genlab reproduce --all-cheap

harness: $(VENV)/.test  ## kill, damage, fill and misuse by the thousand; print what failed (several hours on two cores)
	$(BIN)/python -m tests.harness $(HARNESS)

lock:  ## update the pinned dependencies, with hashes (needs uv)
	scripts/lock.sh

clean:  ## remove the environment and caches; keep the runs in outputs/
	rm -rf $(VENV) $(VENV)-docs site .mypy_cache .ruff_cache .pytest_cache dist build

.PHONY: help demo test check coverage docs bench acceptance harness lock clean
