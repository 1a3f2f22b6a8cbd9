"""Arrays that results are written into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.axes import check_axes

if TYPE_CHECKING:  # tidying needs these arrays, but no PyTorch
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = [
    "Outputs",
    "Prediction",
    "Writable",
    "allocate_outputs",
    "bytes_in_memory",
    "check_outputs",
    "label_shape",
]


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
    plain = label_shape(shape, axes)
    values = max(c.value for c in segmenter.classes)
    return Prediction(
        labels=np.zeros(plain, np.min_scalar_type(values)),
        probabilities=np.zeros((segmenter.n_classes, *plain), np.float16)
        if config.probabilities
        else None,
        uncertainty=np.zeros(plain, np.float16) if config.uncertainty else None,
    )


def check_outputs(
    segmenter: Segmenter, shape: tuple[int, ...], axes: str, outputs: Outputs | Prediction
) -> None:
    """Refuse arrays that cannot take the results of an image.

    Raises
    ------
    ValueError
        When a shape is not that of `allocate_outputs`, or the labels are of a type that cannot hold the class values.
    """
    plain = label_shape(shape, axes)
    for what, array, wanted in (
        ("labels", outputs.labels, plain),
        ("probabilities", outputs.probabilities, (segmenter.n_classes, *plain)),
        ("uncertainty", outputs.uncertainty, plain),
    ):
        if array is not None and tuple(array.shape) != wanted:
            raise ValueError(
                f"The output for the {what} has shape {tuple(array.shape)} but the image needs {wanted}. "
                "Make it with allocate_outputs, or in this shape."
            )
    dtype = getattr(outputs.labels, "dtype", None)
    largest = max(c.value for c in segmenter.classes)
    # numpy would wrap 300 to 44 in 8 bits without a word.
    if dtype is not None and (np.dtype(dtype).kind not in "iu" or np.iinfo(dtype).max < largest):
        raise ValueError(
            f"The output for the labels is {dtype}, which does not hold the class value {largest}. "
            f"Make it {np.min_scalar_type(largest)} or a larger whole number."
        )


def label_shape(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Shape of the labels of an image: the image's without the channels."""
    check_axes(shape, axes)
    return tuple(int(n) for n, axis in zip(shape, axes, strict=True) if axis != "C")


def bytes_in_memory(array: object) -> int:
    """What an output takes of the main memory: nothing where it lies on the disk; others than NumPy's may tell by an attribute of this name."""
    if isinstance(array, np.ndarray):
        return array.nbytes
    return int(getattr(array, "bytes_in_memory", 0))
