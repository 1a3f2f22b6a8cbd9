"""Resident memory of whole commands, each a process of its own, against what --memory-share allows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process's peak")

_COMMAND = """
import sys
from pathlib import Path
from napari_sam2_adapters.cli import main
try:
    main()
finally:
    print(Path("/proc/self/status").read_text(), file=sys.stderr)
"""
_SETTINGS = """
classes: [{value: 1, name: dark}, {value: 2, name: bright}]
train: {steps: 2, batch_size: 8, crop_size_px: 224, validate_every: 2, held_out_fraction: 0}
model: {adapter: hp}
"""


def peak_mb(command: list[str], allowed_mb: float) -> float:
    """Highest resident memory of a command that may take so much."""
    share = allowed_mb * 1e6 / psutil.virtual_memory().total
    ran = subprocess.run(
        [sys.executable, "-c", _COMMAND, *command, "--device", "cpu", "--memory-share", str(share)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (peak,) = (line.split()[1] for line in ran.stderr.splitlines() if line.startswith("VmHWM"))
    return int(peak) * 1024 / 1e6


@pytest.mark.parametrize("allowed_mb", [1200, 1280])  # tiles of 320 and of 672 px
def test_predict_stays_below_its_share(trained: Path, tmp_path: Path, allowed_mb: float) -> None:
    """It takes 1590 MB where it may, by tiles as large as they are asked for."""
    image = np.random.default_rng(0).integers(0, 255, (1400, 1400), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image)
    command = ["predict", "--model", str(trained), "--images", str(tmp_path / "a.tif")]
    command += ["--tile-size-px", "1344", "--output", str(tmp_path / "masks")]
    assert peak_mb(command, allowed_mb) < allowed_mb
    assert (tmp_path / "masks" / "a.tif").is_file()


def test_train_stays_below_its_share(tmp_path: Path) -> None:
    """It takes 1950 MB where it may, by eight crops at a time."""
    image = np.random.default_rng(0).integers(0, 255, (512, 512), np.uint8)
    for kind, array in (("images", image), ("labels", image // 128 + 1)):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "a.tif", array)
    (tmp_path / "settings.yaml").write_text(_SETTINGS)
    output = tmp_path / "a.adapter.safetensors"
    command = ["train", "--images", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    command += ["--settings", str(tmp_path / "settings.yaml"), "--output", str(output)]
    assert peak_mb(command, 1400) < 1400
    assert output.is_file()
