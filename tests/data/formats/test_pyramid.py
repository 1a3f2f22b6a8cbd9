"""Which pixels coarser levels take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2_adapters.data.formats.ngff import Level
from napari_sam2_adapters.data.formats.pyramid import (
    aligned_blocks,
    halved_levels,
    sampled_indices,
)


@given(
    length=st.integers(1, 300),
    factors=st.lists(st.sampled_from([1, 1.5, 2, 3, 4]), min_size=1, max_size=4),
    centred=st.booleans(),
    scale=st.sampled_from([0.1, 1, 7.3]),
    origin=st.sampled_from([0, -12.5, 1e4]),
)
def test_each_pixel_is_taken_from_where_it_lies(
    length: int, factors: list[float], centred: bool, scale: float, origin: float
) -> None:
    levels, shapes, total = [Level("0", (scale,), (origin,))], [(length,)], 1.0
    for factor in factors:
        total *= factor
        shift = scale * (total - 1) / 2 if centred else 0
        levels.append(Level("n", (scale * total,), (origin + shift,)))
        shapes.append((max(1, int(length / total)),))
    kept = np.arange(length)
    for level, shape, indices in zip(
        levels[1:], shapes[1:], sampled_indices(levels, shapes, 0), strict=True
    ):
        wanted = level.translation[0] + level.scale[0] * np.arange(shape[0])
        away = np.abs(origin + scale * kept[None] - wanted[:, None])  # of all that may be taken
        kept = kept[indices]
        np.testing.assert_allclose(
            np.abs(origin + scale * kept - wanted), away.min(axis=1), atol=scale * 1e-5
        )
        assert (np.diff(kept) >= 0).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_levels_of_whole_factors_stay_in_place(factor: int) -> None:
    levels = [Level("n", (1.0 * factor**n,), ((factor**n - 1) / 2,)) for n in range(4)]
    shapes = [(300 // factor**n,) for n in range(4)]
    kept = np.arange(300)
    for n, indices in enumerate(sampled_indices(levels, shapes, 0), start=1):
        kept = kept[indices]
        centres = (factor**n - 1) / 2 + factor**n * np.arange(len(kept))
        assert (np.abs(kept - centres) <= factor ** (n - 1)).all()


@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    data=st.data(),
    most=st.sampled_from([1, 100, 4000]),
)
def test_blocks_cover_an_array_once_in_whole_chunks(shape: list[int], data, most: int) -> None:
    grain = [data.draw(st.integers(1, 50)) for _ in shape]
    seen = np.zeros(shape, int)
    for block in aligned_blocks(shape, grain, np.dtype(np.uint8), most):
        seen[block] += 1
        assert all(part.start % g == 0 for part, g in zip(block, grain, strict=True) if part.start)
        whole = np.prod([part.stop - part.start for part in block])
        assert whole <= max(most, np.prod(grain))
    assert (seen == 1).all()


def test_thick_sections_are_halved_last() -> None:
    levels = halved_levels((40, 4096, 2000), "ZYX", (40.0, 10.0, 10.0), (0.0, 5.0, 0.0))
    assert [shape for _, shape in levels] == [
        (40, 4096, 2000),
        (40, 2048, 1000),
        (40, 1024, 500),
        (20, 512, 250),
    ]
    assert levels[3][0].scale == (80, 80, 80)
    assert levels[3][0].translation == (20, 40, 35)
