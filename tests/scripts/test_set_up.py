"""The virtual environment that make sets up; Python and pip are played, so nothing is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RunScript = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")

# A Python whose "-m venv" makes an environment with this Python in it. A file "ensurepip" says whether pip comes along.
PLAYED = f"""
here=$(dirname "$0")
case "$1 $2" in
    "-m venv")
        mkdir -p "$3/bin"; cp "$0" "$3/bin/python"
        if [ ! -e "$PLAY/ensurepip" ]; then echo "ensurepip is not available, and much more"; exit 1; fi
        touch "$3/bin/has-pip" ;;
    "-m pip")
        [ -e "$here/has-pip" ] || {{ echo "No module named pip" >&2; exit 1; }}
        shift 2; echo "pip $*" >> "$PLAY/log" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


def installs(folder: Path) -> list[str]:
    lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    return [line.split("install ")[1] for line in lines if " install " in line]


@pytest.mark.parametrize(("extra", "package"), [("run", "-e ."), ("test", "-e .[test]")])
def test_all_is_installed_and_marked_as_done(
    run_script: RunScript, tmp_path: Path, extra: str, package: str
) -> None:
    (tmp_path / "ensurepip").touch()
    venv = tmp_path / "venv"
    play = {"PLAY": str(tmp_path)}
    done = run_script("set_up.sh", "played", str(venv), extra, environment=play, played=PLAYED)
    assert done.returncode == 0, done.stderr
    found = installs(tmp_path)
    assert found[-1] == package
    # with PyTorch there first, building SAM2 does not fetch it a second time
    assert [word in line for word, line in zip(("torch", "sam2"), found[1:3], strict=True)] == [
        True,
        True,
    ]
    assert (venv / f".with-{extra}").exists()


def test_a_missing_venv_package_is_named_in_one_line_each_time(
    run_script: RunScript, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    play = {"PLAY": str(tmp_path)}
    for _ in range(2):  # the first run leaves an environment without pip
        done = run_script("set_up.sh", "played", str(venv), "run", environment=play, played=PLAYED)
        assert done.returncode == 1
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        assert done.stdout == ""
        assert done.stderr == (
            f"Missing system package: {name}. Install it, for example with: apt-get install {name}\n"
        )
    (tmp_path / "ensurepip").touch()
    done = run_script("set_up.sh", "played", str(venv), "run", environment=play, played=PLAYED)
    assert done.returncode == 0, done.stderr


def test_a_failed_installation_is_not_marked_as_done(run_script: RunScript, tmp_path: Path) -> None:
    (tmp_path / "ensurepip").touch()
    venv = tmp_path / "venv"
    offline = PLAYED.replace("shift 2;", 'case "$*" in *sam2*) exit 3;; esac; shift 2;')
    play = {"PLAY": str(tmp_path)}
    done = run_script("set_up.sh", "played", str(venv), "run", environment=play, played=offline)
    assert done.returncode == 3
    assert not (venv / ".with-run").exists()


@pytest.mark.parametrize(
    ("python", "words"), [("exit 1", "Python 3.11 or later is needed"), (None, "There is no 'p'")]
)
def test_an_old_or_missing_python_is_named_in_one_line(
    run_script: RunScript, tmp_path: Path, python: str | None, words: str
) -> None:
    programs = {} if python is None else {"p": python}
    done = run_script("set_up.sh", "p", str(tmp_path / "venv"), "run", **programs)
    assert done.returncode == 1
    assert words in done.stderr
    assert "make PYTHON=python3.12" in done.stderr
    assert done.stderr.count("\n") == 1
