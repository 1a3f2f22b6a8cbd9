"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_sam2_adapters"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_FILE = 320
DRAWERS = {"util", "utils", "common", "helpers", "base", "misc"}

HEAVY = ("torch", "torchvision", "sam2", "napari", "qtpy", "skimage", "pydantic", "numpy")


def in_a_new_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=120
    )
    return done.stdout


class TestImport:
    """Importing the package costs next to nothing and has no effect."""

    def test_it_loads_nothing_heavy(self) -> None:
        code = "import json, sys, napari_sam2_adapters; print(json.dumps(list(sys.modules)))"
        assert not set(HEAVY) & set(json.loads(in_a_new_python(code)))

    def test_settings_and_scores_need_no_torch(self) -> None:
        code = (
            "import json, sys, napari_sam2_adapters.config, napari_sam2_adapters.metrics; "
            "print(json.dumps(list(sys.modules)))"
        )
        assert "torch" not in json.loads(in_a_new_python(code))

    def test_public_names_are_there_on_first_use(self) -> None:
        import napari_sam2_adapters as package

        assert package.__all__ == sorted(package.__all__)
        for name in package.__all__:
            assert name in dir(package)
            assert callable(getattr(package, name))
        with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
            _ = package.no_such_name


def test_the_floors_hold() -> None:
    """import-linter's contracts: who may import whom, and that the core knows no screen."""
    # In a process of its own: import-linter switches off all loggers that are there already.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONUTF8": "1",
        },  # it draws its table with lines that C's locale lacks
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


def test_no_file_is_longer_than_one_reads_at_a_sitting() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
    }
    assert not {path: n for path, n in lengths.items() if n > LONGEST_FILE}


def test_no_module_is_a_drawer() -> None:
    names = {part.strip("_") for path in MODULES for part in path.relative_to(SOURCE).parts}
    assert not DRAWERS & {Path(name).stem for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_shipped_code_states_its_errors_and_pickles_nothing(path: Path) -> None:
    """No `assert` that vanishes with -O, no pickle, no handler that says nothing."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), where
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = {alias.name.split(".")[0] for alias in node.names}
            imported.add((getattr(node, "module", None) or "").split(".")[0])
            assert not imported & {"pickle", "cloudpickle", "dill", "shelve"}, where
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, where
            assert not all(isinstance(line, ast.Pass) for line in node.body), where
