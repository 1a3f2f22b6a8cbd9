"""What Qt needs of the system is found, installed or named; no package is installed by these tests."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RunScript = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")

SCRIPT = Path(__file__).parents[2] / "scripts" / "system_packages.sh"
LIBRARIES = re.findall(r"^need \S+ (\S+)$", SCRIPT.read_text("utf-8"), re.MULTILINE)
LINUX, NOT_ROOT = "echo Linux", "echo 1000"
SCREEN = {"DISPLAY": ":7"}


def listing(libraries: list[str]) -> str:
    """An ldconfig that prints these first, and then more than a pipe holds."""
    lines = "".join(f"\\t{name} (libc6,x86-64) => /lib/{name}\\n" for name in libraries)
    return f"printf '{lines}'; seq -f '\tlibother%g.so.1 (libc6) => /lib/x' 20000"


def test_all_that_is_there_is_found_in_a_long_list(run_script: RunScript) -> None:
    done = run_script(
        "system_packages.sh",
        "window",
        environment=SCREEN,
        ldconfig=listing(LIBRARIES),
        uname=LINUX,
        id=NOT_ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_missing_is_named_in_one_line(run_script: RunScript) -> None:
    some = [name for name in LIBRARIES if "EGL" not in name and "cursor" not in name]
    done = run_script(
        "system_packages.sh",
        "window",
        environment=SCREEN,
        ldconfig=listing(some),
        uname=LINUX,
        id=NOT_ROOT,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Missing system packages: libegl1 libxcb-cursor0. Install them" in done.stderr


def test_root_installs_what_is_missing_and_nothing_else(run_script: RunScript) -> None:
    done = run_script(
        "system_packages.sh",
        "test",
        ldconfig=listing(LIBRARIES[1:]),
        uname=LINUX,
        id="echo 0",
        apt_get='echo "apt-get $*" >&2',
        xvfb_run="true",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["apt-get update -qq", "apt-get install -y -qq libgl1"]


def test_without_a_screen_a_window_is_refused_in_one_line(run_script: RunScript) -> None:
    done = run_script(
        "system_packages.sh",
        "window",
        environment={"DISPLAY": "", "WAYLAND_DISPLAY": ""},
        ldconfig=listing(LIBRARIES),
        uname=LINUX,
        id=NOT_ROOT,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "xvfb-run make app" in done.stderr


def test_elsewhere_than_on_linux_nothing_is_asked_for(run_script: RunScript) -> None:
    assert run_script("system_packages.sh", "window", uname="echo Darwin").returncode == 0
