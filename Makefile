# make demo   fine-tune and segment the bundled sample, no network needed after installation
# make app    napari with the sample loaded
# make test   style, types, structure and tests
# make bench  speed and memory against baselines, in less than half an hour, into benchmarks/results
# Each sets up .venv with what it needs. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo app test bench clean

demo: $(VENV)/.with-run
	$(BIN)/sam2-adapters demo --output demo-output --overwrite

app: $(VENV)/.with-all
	bash scripts/system_packages.sh window
	$(BIN)/python scripts/open_napari.py

test: $(VENV)/.with-test
	bash scripts/system_packages.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari-sam2-adapters
	$(BIN)/pytest -n 2 --dist loadfile --ignore tests/widgets --ignore tests/scripts
	bash scripts/on_virtual_screen.sh $(BIN)/pytest -n 2 --dist loadfile tests/widgets tests/scripts

bench: $(VENV)/.with-bench
	$(BIN)/python benchmarks/performance.py --json benchmarks/results/performance.jsonl

$(VENV)/.with-%: pyproject.toml scripts/set_up.sh
	bash scripts/set_up.sh "$(PYTHON)" "$(VENV)" "$*"

clean:
	rm -rf $(VENV) demo-output build dist
