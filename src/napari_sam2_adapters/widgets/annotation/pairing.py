"""Which labels layer goes with which image layer: by shape, then by name, then by what is visible."""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari.layers import Image, Labels

__all__ = ["best_labels", "fits", "guess_pairs", "lines_up"]


def fits(image: Image, labels: Labels) -> bool:
    """Whether labels could belong to an image or one of its levels, perhaps with channels on one axis."""
    if labels.multiscale:
        return False
    wanted = tuple(labels.data.shape)
    return lines_up(image, labels) or any(
        shape[:axis] + shape[axis + 1 :] == wanted
        for shape in _level_shapes(image)
        for axis in range(0 if image.rgb else len(shape))
    )


def lines_up(image: Image, labels: Labels) -> bool:
    """Whether labels that fit lie on the slices that they are of: napari takes a missing axis for the first."""
    wanted = tuple(labels.data.shape)
    for shape in _level_shapes(image):
        spread = [(*shape[:axis], 1, *shape[axis + 1 :]) for axis in range(len(shape))]
        if wanted == shape or (not image.rgb and wanted in (shape[1:], *spread)):
            return True
    return False


def best_labels(image: Image, candidates: Sequence[Labels]) -> Labels | None:
    """The labels that fit best; None when none fits, or several do and neither name nor visibility decides.

    Parameters
    ----------
    image
        The image layer.
    candidates
        Labels layers to choose from.
    """
    fitting = [layer for layer in candidates if fits(image, layer)]
    if not fitting:
        return None
    ranks = [
        (lines_up(image, layer), layer.visible, _alike(image.name, layer.name)) for layer in fitting
    ]
    best = max(ranks)
    chosen = [layer for layer, rank in zip(fitting, ranks, strict=True) if rank == best]
    return chosen[0] if len(chosen) == 1 else None


def guess_pairs(images: Sequence[Image], labels: Sequence[Labels]) -> list[tuple[Image, Labels]]:
    """Pairs of images with labels of a like name that fit, each layer in at most one; the likest names first."""
    options = sorted(
        (
            (-_alike(image.name, layer.name), not lines_up(image, layer), not layer.visible, i, j)
            for i, image in enumerate(images)
            for j, layer in enumerate(labels)
            if fits(image, layer)
        ),
    )
    found: dict[int, int] = {}
    for *_, i, j in options:
        if i not in found and j not in found.values():
            found[i] = j
    return [(images[i], labels[j]) for i, j in sorted(found.items())]


def _level_shapes(image: Image) -> list[tuple[int, ...]]:
    """Shapes of all levels, without the colours of RGB."""
    levels = image.data if image.multiscale else [image.data]
    return [tuple(level.shape[: image.ndim]) for level in levels]


def _alike(one: str, other: str) -> float:
    """Share of the words of a name that the other one has too, 0 to 1."""
    first, second = (set(re.findall(r"[a-z]+|\d+", name.lower())) for name in (one, other))
    return len(first & second) / len(first) if first else 0.0
