"""A folder of programs of our own that the shell scripts find before the system's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script with programs (name and text) put before the system's: ``run_script("x.sh", "a", id="…")``."""

    def run(
        script: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        **programs: str,
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
            program.chmod(0o755)
        return subprocess.run(
            ["bash", str(SCRIPTS / script), *arguments],
            capture_output=True,
            encoding="utf-8",
            check=False,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **(environment or {})},
        )

    return run
