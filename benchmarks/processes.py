"""Cases of `performance.py` that need processes of their own (`children.py`): memory, large images, stacks, the first start."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from against_sam2 import CLASSES
from children import SCALING, TILE_PX
from cold_start import START

from napari_sam2_adapters.config import ModelConfig
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter

__all__ = ["PROCESSES", "Setting", "answer", "save_start"]


@dataclass(frozen=True)
class Setting:
    """How the cases are measured.

    Attributes
    ----------
    threads
        Of PyTorch.
    side
        Of large images (px).
    large_on
        The backbone that large images and stacks go through, with LW: ``mobile`` or ``tiny`` (random weights).
    """

    threads: int
    side: int
    large_on: str = "mobile"

    def named(self, name: str) -> str:
        """The name of a row of large images: those of one name are compared over time, and the latest counts."""
        return name if self.large_on == "mobile" else f"{name}_{self.large_on}"


_FLAT = 1.2
"""How much more memory may be taken when the side doubles and still be called flat: by calculation a row of tiles held whole makes it 1.27."""
CHILD = str(Path(__file__).with_name("children.py"))


def step_memory(setting: Setting) -> list[dict[str, Any]]:
    """A training step of LW against one of every parameter."""
    ours, theirs = (_run_apart(f"step_{what}", 224, setting) for what in ("lw", "full"))
    return [_against("step_memory", "peak_mb", ours, theirs, 0.7, "every parameter trained, AdamW")]


def huge_tiled(setting: Setting) -> list[dict[str, Any]]:
    """A huge image from a zarr into a zarr, against bare passes over its tiles, and the same with half the side."""
    rows = []
    for length in (setting.side // 2, setting.side):
        found = _run_apart("tiled", length, setting)
        ratio = round(found["seconds"] / found["bare_seconds"], 3)
        rows.append(
            {
                "name": setting.named("huge_tiled"),
                "baseline": f"bare network passes over the same tiles, LW on {setting.large_on}",
                "side": length,
                **found,
                "ratio": ratio,
                "bar": 1.10,
                "ok": ratio <= 1.10 and found["peak_mb"] <= 1500,
            }
        )
    return rows


def huge_tiled_flat(setting: Setting) -> list[dict[str, Any]]:
    """Peaks of images of half and of all of the width, in turns; both are read row by row of tiles, as large ones are.

    In pages of 4 kB: those of 2 MB count in full when anything in them is touched, and chance decides what lies together.
    """
    side = setting.side
    peaks: dict[int, list[float]] = {side // 2: [], side: []}
    for _ in range(3):
        for width, found in peaks.items():
            told = _run_apart("rows_of_tiles", width, setting, THP_MEM_ALLOC_ENABLE="0")
            found.append(told["peak_mb"])
    narrow, wide = ({"peak_mb": statistics.median(found)} for found in peaks.values())
    baseline = (
        f"peak memory over the model of an image {side // 2} px wide, LW on {setting.large_on}"
    )
    row = _against(setting.named("huge_tiled_flat"), "peak_mb", wide, narrow, _FLAT, baseline)
    more = {"side": side, "peaks_mb": peaks[side], "baseline_peaks_mb": peaks[side // 2]}
    return [row | more]


def monai_tiled(setting: Setting) -> list[dict[str, Any]]:
    """Time and memory against MONAI's sliding windows: same tiles, overlap, window and network."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "monai": []}
    for _ in range(2):
        for what, runs in found.items():
            runs.append(_run_apart(f"sliding_{what}", setting.side, setting))
    ours, theirs = (
        {key: statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mb")}
        for runs in found.values()
    )
    baseline = f"monai's sliding_window_inference, LW on {setting.large_on}"
    rows = [
        _against(setting.named("monai_tiled_seconds"), "seconds", ours, theirs, 1.0, baseline),
        _against(setting.named("monai_tiled_memory"), "peak_mb", ours, theirs, 0.4, baseline),
    ]
    return [row | {"side": setting.side} for row in rows]


def stack(setting: Setting) -> list[dict[str, Any]]:
    """64 slices of 512² as a stack against as many single predictions, from a zarr into a zarr."""
    found = _run_apart("stack", 512, setting)
    row = _against(
        setting.named("stack"),
        "seconds",
        found,
        {"seconds": found["bare_seconds"]},
        1.0,
        f"64 single predictions, LW on {setting.large_on}",
    )
    return [row]


def start(setting: Setting) -> list[dict[str, Any]]:
    """Import, open an adapter and segment 224², each time in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        model = save_start(Path(folder))
        megabytes = model.stat().st_size / 1e6
        runs = [answer(["-c", START, str(model)], setting.threads) for _ in range(5)]
    seconds = statistics.median(run["seconds"] for run in runs)
    return [
        {
            "name": "start",
            "baseline": f"import, open an adapter of {megabytes:.1f} MB, first 224² result, HP on mobile",
            "seconds": round(seconds, 2),
            "computing": round(statistics.median(run["computing"] for run in runs), 2),
            "ratio": None,
            "bar": 4.0,
            "ok": seconds <= 4.0,
        }
    ]


PROCESSES: dict[str, tuple[str, Callable[[Setting], list[dict[str, Any]]]]] = {
    "step_memory": ("every parameter trained; bar 0.7", step_memory),
    "huge_tiled": (
        "bare passes over the same tiles; bar 1.10, 1.5 GB",
        huge_tiled,
    ),
    "huge_tiled_flat": (
        "peak memory of an image of half the width; bar 1.2",
        huge_tiled_flat,
    ),
    "monai_tiled": ("monai's sliding windows; bar 1.0 for time, 0.4 for memory", monai_tiled),
    "stack": ("64 single predictions; bar 1.0", stack),
    "start": ("fresh processes; bar 4 s", start),
}
"""What it is measured against, and what measures it."""


def save_start(folder: Path) -> Path:
    """Write the adapter that is opened at a start, HP on mobile; gives its file."""
    model = folder / f"start{SUFFIX}"
    segmenter = build_segmenter(ModelConfig(), CLASSES)
    save_adapter(model, segmenter, normalization=SCALING, tile_size_px=TILE_PX)
    return model


def _against(
    name: str,
    what: str,
    ours: dict[str, float],
    theirs: dict[str, float],
    bar: float,
    baseline: str,
) -> dict[str, Any]:
    ratio = ours[what] / theirs[what]
    return {
        "name": name,
        "baseline": baseline,
        what: round(ours[what], 2),
        f"baseline_{what}": round(theirs[what], 2),
        "ratio": round(ratio, 3),
        "bar": bar,
        "ok": ratio <= bar,
    }


def _run_apart(what: str, side: int, setting: Setting, **variables: str) -> dict[str, float]:
    arguments = [CHILD, what, str(side), str(setting.threads), setting.large_on]
    return answer(arguments, setting.threads, **variables)


def answer(arguments: list[str], threads: int, **variables: str) -> dict[str, float]:
    """The last line that a new Python prints, as JSON; with an error it shows what was printed besides.

    Parameters
    ----------
    arguments
        Of Python.
    threads
        Of its OpenMP.
    variables
        Of its environment besides ours.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | variables
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed, see above.")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
