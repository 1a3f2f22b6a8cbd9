"""Arrays that results are written into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.axes import check_axes
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["Outputs", "Prediction", "Writable", "allocate_outputs"]


class Writable(Protocol):
    """A numpy or zarr array that regions are written into."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a region."""
        ...


@dataclass(frozen=True)
class Outputs:
    """Where results go.

    Attributes
    ----------
    labels
        Class values; the image's axes without C.
    probabilities
        (classes, axes of the labels), or None.
    uncertainty
        Normalised entropy from 0 (sure) to 1, shaped as the labels, or None.
    """

    labels: Writable
    probabilities: Writable | None = None
    uncertainty: Writable | None = None


@dataclass(frozen=True)
class Prediction:
    """Results in memory; see `Outputs` for the shapes. Probabilities and uncertainty are float16."""

    labels: NDArray[np.unsignedinteger[Any]]
    probabilities: NDArray[np.float16] | None
    uncertainty: NDArray[np.float16] | None


def allocate_outputs(
    segmenter: Segmenter, shape: tuple[int, ...], axes: str, config: PredictConfig
) -> Prediction:
    """Empty arrays for the results of an image, labels in the smallest type that holds the class values."""
    check_axes(shape, axes)
    plain = tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "C")
    values = max(c.value for c in segmenter.classes)
    return Prediction(
        labels=np.zeros(plain, np.min_scalar_type(values)),
        probabilities=np.zeros((segmenter.n_classes, *plain), np.float16)
        if config.probabilities
        else None,
        uncertainty=np.zeros(plain, np.float16) if config.uncertainty else None,
    )
