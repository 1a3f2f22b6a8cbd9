"""Whether files that were given as images are labels by the look of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from napari_sam2_adapters.data.io import read_labels
from napari_sam2_adapters.data.pairs import MOST_CLASSES
from napari_sam2_adapters.widgets.loading.file_layers import coarsest, nameless_values

__all__ = ["look_like_labels"]

_WORD = re.compile(
    r"(?<![a-z])(labels?|masks?|seg|segmentations?|annotations?|strokes|groundtruth|gt)(?![a-z])"
)
_LARGEST = 8
"""Class values are counted from 1; hardly an image is so dark."""


def look_like_labels(paths: Sequence[Path]) -> bool:
    """Whether the first file holds whole numbers, and names their classes, is called like labels, or has few values and small ones.

    Parameters
    ----------
    paths
        Image files of one kind.
    """
    if not paths:
        return False
    path = paths[0]
    named, folder_named = (
        bool(_WORD.search(name.lower())) for name in (path.name, path.parent.name)
    )
    try:
        labels = read_labels(path)
    except ValueError:  # in colour, in fractions or lossy: no labels, whatever it is called
        return False
    if named or labels.classes:
        return True
    values = nameless_values(coarsest(labels), labels.axes, set())
    # an image has more grey values than that, or larger ones
    return len(values) <= MOST_CLASSES if folder_named else 0 < max(values, default=0) <= _LARGEST
