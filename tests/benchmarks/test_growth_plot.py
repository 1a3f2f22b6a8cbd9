from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from growth_plot import plot_growth
from PIL import Image

TIME, MEMORY = (0, 114, 178), (213, 94, 0)


def row(axis: str, **values: float) -> dict[str, float | str]:
    return {"axis": axis, "side": 512, "slices": 1, "classes": 3, **values}


def test_a_straight_line_is_drawn_straight_and_the_latest_measurement_counts(
    tmp_path: Path,
) -> None:
    sides = (512, 1024, 2048, 4096)
    rows = [row("side", side=side, computing=side**2 / 1e6, peak_mb=100 + side) for side in sides]
    rows.insert(0, row("side", side=4096, computing=999, peak_mb=9999))  # measured earlier
    plot_growth(tmp_path / "growth.png", rows)
    picture = np.asarray(Image.open(tmp_path / "growth.png").convert("RGB")).astype(int)
    assert picture.shape == (640, 1320, 3)
    blue = np.argwhere((np.abs(picture - TIME) < 8).all(-1))
    assert np.corrcoef(blue[:, 1], -blue[:, 0])[0, 1] > 0.999
    assert blue[:, 1].max() - blue[:, 1].min() > 200
    assert (np.abs(picture - MEMORY) < 8).all(-1).sum() > 300
    assert blue[:, 1].max() < 440  # the panels of slices and classes have no points


@pytest.mark.parametrize("most", [0.03, 0.7, 1.0, 9.0, 64.0, 12345.0])
def test_any_range_has_a_few_grid_lines(tmp_path: Path, most: float) -> None:
    rows = [row("classes", classes=c, computing=most * c / 32, peak_mb=most) for c in (2, 8, 32)]
    plot_growth(tmp_path / "growth.png", rows)
    picture = np.asarray(Image.open(tmp_path / "growth.png").convert("RGB"))
    panel = picture[46:257, 880 + 100 : 1320 - 30]
    grid = (panel == (0xE3, 0xE6, 0xEB)).all(-1).mean(axis=1) > 0.5
    assert 4 <= grid.sum() <= 10
