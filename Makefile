# On a fresh machine `make demo` and `make test` do all the set-up into .venv by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# pyproject.toml maps grammar/ and backends/ into the package; tools that read files and not
# installations see that package as a copy.
TREE   := build/package

.PHONY: demo test check fmt bench docs fuzz clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,triton]'
	touch $@

demo: $(STAMP)  ## compile an example for both targets, train it on handwritten digits, print the report
	$(BIN)/python examples/digits.py

test: $(STAMP)  ## the test suite, on two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(TREE) && mkdir -p $(TREE)
	cp -rp tensorlang $(TREE)/ && cp -rp backends grammar $(TREE)/tensorlang/
	cd $(TREE) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache
	cd $(TREE) && $(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/.importlinter --no-cache

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every workload against its peers, ratios of one interleaved run
	for name in axial third_order grassmann identities equivariant structured tensor_networks factorised compile_time; do $(BIN)/python -m benchmarks.$$name || exit 1; done

docs: $(STAMP)  ## the pages and parts of pages that show what the compiler prints
	$(BIN)/python -m docs.build
	$(BIN)/python -m docs.build_kernels

N ?= 10000
fuzz: $(STAMP)  ## N random programs, every target against the reference; resumes where it stopped
	$(BIN)/python -m tests.fuzz $(N)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
