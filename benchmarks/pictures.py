"""Pictures of the best, the median and the worst test image: image, truth and result side by side.

Only those of DSB2018 (CC0) and of the package's sample may go into a repository; the other data sets are for research use.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scoring import ImageResult

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.inference.overlay import draw_overlay

__all__ = ["WHICH", "picture_paths", "write_pictures"]

WHICH = ("best", "median", "worst")


def picture_paths(folder: Path, name: str) -> dict[str, Path]:
    """Where the pictures of a row go.

    Raises
    ------
    SystemExit
        When one is there already: it is not replaced.
    """
    paths = {which: folder / f"{name}-{which}.png" for which in WHICH}
    for path in paths.values():
        if path.exists():
            raise SystemExit(f"{path} exists already. Give another folder with --pictures.")
    return paths


def write_pictures(
    paths: dict[str, Path], results: list[ImageResult], classes: tuple[ClassInfo, ...]
) -> None:
    """Write a picture for each of `WHICH`, by the Dice of the foreground; images without foreground are left out."""
    ranked = sorted(
        (r for r in results if not np.isnan(r.foreground_dice)), key=lambda r: -r.foreground_dice
    )
    if not ranked:
        raise SystemExit("No test image has foreground, so there is nothing to draw.")
    places = dict(zip(WHICH, (0, len(ranked) // 2, len(ranked) - 1), strict=True))
    for which, path in paths.items():
        result = ranked[places[which]]
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_overlay(
            path,
            [np.asarray(result.item.image)],
            {"truth": [result.item.labels], "result": [result.labels]},
            classes,
            [f"{which}: {result.item.name[:24]}, Dice {result.foreground_dice:.3f}"],
        )
