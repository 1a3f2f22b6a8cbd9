# make demo   fine-tune and segment the bundled sample, no network needed after installation
# make app    napari with the sample loaded
# make test   style, types, structure and tests
# make lowest the tests with the lowest versions that pyproject.toml allows, in an environment of its own
# make bench  speed and memory against baselines, in less than half an hour, into benchmarks/results
# Each sets up .venv with what it needs. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS_APART := --ignore tests/widgets --ignore tests/scripts
TESTS_ON_SCREEN := tests/widgets tests/scripts

.PHONY: demo app test lowest bench clean

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
	$(BIN)/pytest -n 2 --dist loadfile $(TESTS_APART)
	bash scripts/on_virtual_screen.sh $(BIN)/pytest -n 2 --dist loadfile $(TESTS_ON_SCREEN)

# Libraries of years ago warn of what has changed since.
lowest: $(VENV)-lowest/.with-lowest
	bash scripts/system_packages.sh test
	$(VENV)-lowest/bin/pytest -n 2 --dist loadfile -o filterwarnings=default $(TESTS_APART)
	bash scripts/on_virtual_screen.sh $(VENV)-lowest/bin/pytest -n 2 --dist loadfile -o filterwarnings=default $(TESTS_ON_SCREEN)

bench: $(VENV)/.with-bench
	$(BIN)/python benchmarks/performance.py --json benchmarks/results/performance.jsonl

$(VENV)/.with-% $(VENV)-lowest/.with-%: pyproject.toml scripts/set_up.sh
	bash scripts/set_up.sh "$(PYTHON)" "$(@D)" "$*"

clean:
	rm -rf $(VENV) $(VENV)-lowest demo-output build dist
