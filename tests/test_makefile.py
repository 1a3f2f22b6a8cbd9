"""What make would do, and what is asked of the code; nothing is run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plan(target: str, venv: Path) -> list[str]:
    """The commands that make would run for a target in a fresh environment."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not here")
    command = [make, "--dry-run", "--no-print-directory", f"VENV={venv}", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.replace(f"{venv}/bin/", "").splitlines()


@pytest.mark.parametrize(
    ("target", "extra"), [("demo", "run"), ("app", "all"), ("test", "test"), ("bench", "bench")]
)
def test_each_target_first_sets_up_the_environment_it_needs(
    tmp_path: Path, target: str, extra: str
) -> None:
    venv = tmp_path / "venv"
    assert plan(target, venv)[0] == f'bash scripts/set_up.sh "python3" "{venv}" "{extra}"'
    venv.mkdir()
    (venv / f".with-{extra}").touch()
    assert not any("set_up.sh" in line for line in plan(target, venv))


def test_the_targets_do_what_the_readme_says(tmp_path: Path) -> None:
    assert "sam2-adapters demo --output demo-output --overwrite" in plan("demo", tmp_path)
    assert plan("app", tmp_path)[-1].endswith("python scripts/open_napari.py")
    assert plan("bench", tmp_path)[-1].startswith("python benchmarks/performance.py --json ")
    checks = ["ruff check .", "ruff format --check .", "mypy", "lint-imports"]
    tests = plan("test", tmp_path)
    assert [line for line in tests if line in checks] == checks
    # windows need a screen, the rest of the tests needs none
    *_, apart, on_screen = tests
    shown = on_screen.split("on_virtual_screen.sh pytest -n 2 --dist loadfile ")[1].split()
    assert apart.split("--ignore ")[1:] == [f"{name} " for name in shown[:-1]] + shown[-1:]
    assert all((ROOT / name).is_dir() for name in shown)


def test_the_lowest_versions_are_tested_apart_with_the_same_tests(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    lines = plan("lowest", venv)
    assert lines[0] == f'bash scripts/set_up.sh "python3" "{venv}-lowest" "lowest"'
    tests = [line.replace(f"{venv}-lowest/bin/", "") for line in lines[-2:]]
    same = [line.replace("-o filterwarnings=default ", "") for line in tests]
    assert same == plan("test", venv)[-2:]


def test_the_environment_gets_the_networks_library_that_the_project_asks_for() -> None:
    script = (ROOT / "scripts" / "set_up.sh").read_text(encoding="utf-8")
    named = re.findall(r"'((?:torch|torchvision|sam2)[<>][^']*)'", script)
    project = PROJECT["project"]
    asked = {*project["dependencies"], *project["optional-dependencies"]["test"]}
    assert {*named} == {name for name in asked if re.match(r"(torch|torchvision|sam2)[<>]", name)}


def test_a_clean_checkout_is_tested_in_a_fresh_environment() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["rm -rf .venv", "make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_warnings_are_errors_types_are_strict_and_the_floors_are_contracts() -> None:
    tools = PROJECT["tool"]
    assert tools["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    assert tools["mypy"]["strict"] is True
    floors = next(c for c in tools["importlinter"]["contracts"] if c["type"] == "layers")
    order = [floor.removeprefix("napari_sam2_adapters.") for floor in floors["layers"]]
    assert order[0].startswith("widgets")
    assert order.index("training") < order.index("inference") < len(order) - 1


def test_every_package_is_on_a_floor() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    floors = next(c for c in contracts if c["type"] == "layers")["layers"]
    named = {part.strip().rpartition(".")[2] for floor in floors for part in floor.split("|")}
    source = ROOT / "src" / "napari_sam2_adapters"
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    assert packages <= named


def test_the_distribution_is_named_as_promised() -> None:
    project = PROJECT["project"]
    assert project["name"] == "napari-sam2-adapters"
    assert project["requires-python"] == ">=3.11"
    assert project["scripts"] == {"sam2-adapters": "napari_sam2_adapters.cli:main"}
    assert PROJECT["build-system"]["build-backend"] == "hatchling.build"
