# Two commands do all on a fresh machine: `make demo` and `make test`. Each sets up what it needs first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: install demo test test-slow test-faults soak check docs bench clean

install: $(STAMP)

# Made again only when the list of dependencies changes; the code itself is used from where it lies.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time this fetches several GB and takes some minutes)"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo,dev]"
	@touch $(STAMP)

demo: install
	@$(BIN)/python -m demo

test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not faults" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: install
	@$(BIN)/python -m pytest -m slow

# Breaks a line of real processes in every way of the table, and writes docs/faults.md from what was measured.
test-faults: install
	@PYTHONPATH=. $(BIN)/python -m pytest tests/faults --keep-faults benchmarks/results/faults.json
	@PYTHONPATH=. $(BIN)/python docs/generate_faults.py

HOURS ?= 1
soak: install
	@PYTHONPATH=.:tests $(BIN)/python benchmarks/soak.py --hours $(HOURS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	@for script in docs/generate.py docs/plc/generate.py docs/plc/generate_rules.py docs/generate_faults.py docs/generate_realtime.py docs/draw_load.py; do PYTHONPATH=. $(BIN)/python $$script || exit 1; done

bench: install
	@for script in $$(ls benchmarks/*.py | grep -v -e conditions.py -e demo_line.py -e soak.py -e realtime.py -e gpu.py); do echo "== $$script"; PYTHONPATH=.:tests $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
