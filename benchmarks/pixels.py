"""The labelled pixels that classifiers of single pixels learn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.dataset import Dataset

__all__ = ["MOST_PIXELS", "labelled_pixels"]

MOST_PIXELS = 50_000
"""Of all images together: more than anybody paints."""


def labelled_pixels(
    dataset: Dataset, seed: int, most: int = MOST_PIXELS
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.int16]]]:
    """Training images (C, H, W), the flat places (n,) of the pixels drawn from each, and their class indices (n,).

    Each image gives as many pixels as the next, if it has them, and its classes as they come: drawing them evenly helped polyps and hurt nuclei
    (`results/notes.md`), and ilastik and convpaint do not either.
    """
    rng = np.random.default_rng(seed)
    share = max(1, most // len(dataset.train))
    for region in dataset.train:
        image, labels = dataset.read(region)
        labelled = np.flatnonzero(labels >= 0)
        places = rng.choice(labelled, min(share, labelled.size), replace=False)
        yield image, places, labels.ravel()[places]
