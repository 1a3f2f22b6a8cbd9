"""What an export imports, and what that does besides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REQUIRE = "from napari_sam2_adapters.export.extras import *; require(ONNX, BIOIMAGEIO)"
_HOMES = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "APPDATA", "USERPROFILE")


@pytest.mark.skipif(sys.platform == "win32", reason="the identifier lies elsewhere there")
def test_no_telemetry_of_onnxruntime(tmp_path: Path) -> None:
    """Where it is on, an identifier and a queue of what is to be sent are written into the home folder."""
    given = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    environment = given | dict.fromkeys(_HOMES, str(tmp_path))
    subprocess.run([sys.executable, "-c", _REQUIRE], env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path)]
