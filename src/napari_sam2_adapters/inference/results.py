"""From logits to what is written: labels and, where there is an array for them, probabilities and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.inference.outputs import Outputs, Prediction
from napari_sam2_adapters.inference.uncertainty import normalized_entropy, softmax

__all__ = ["ResultRows", "Results", "strongest"]

_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Results:
    """Results of a part of a plane.

    Attributes
    ----------
    row, column
        Its first pixel.
    labels
        ``(h, w)`` class values.
    probabilities
        ``(classes, h, w)``, or None.
    uncertainty
        ``(h, w)``, or None.
    """

    row: int
    column: int
    labels: NDArray[np.integer]
    probabilities: NDArray[np.floating] | None = None
    uncertainty: NDArray[np.floating] | None = None

    def write(
        self, outputs: Outputs | Prediction, key: tuple[Any, ...], rows: slice, columns: slice
    ) -> None:
        """Write some of its rows and columns, counted in the plane, into the place of the outputs that the key says."""
        part = (
            slice(rows.start - self.row, rows.stop - self.row),
            slice(columns.start - self.column, columns.stop - self.column),
        )
        outputs.labels[key] = self.labels[part]
        if outputs.probabilities is not None and self.probabilities is not None:
            outputs.probabilities[(slice(None), *key)] = self.probabilities[(slice(None), *part)]
        if outputs.uncertainty is not None and self.uncertainty is not None:
            outputs.uncertainty[key] = self.uncertainty[part]


class ResultRows:
    """Collects the results of a row of tiles, so that outputs with chunks are written in whole rows.

    Parameters
    ----------
    outputs
        They tell what is computed, and in which types.
    values
        Value of each class.
    columns
        Those of all tiles.
    """

    def __init__(
        self, outputs: Outputs | Prediction, values: NDArray[np.integer], columns: slice
    ) -> None:
        self._values, self._columns = values, columns
        self._probabilities, self._uncertainty = (
            None if array is None else np.dtype(getattr(array, "dtype", np.float32))
            for array in (outputs.probabilities, outputs.uncertainty)
        )
        self._row: Results | None = None

    def decide(self, row: int, column: int, logits: NDArray[np.float32]) -> Results:
        """Results of logits (classes, h, w) whose first pixel lies at (row, column)."""
        labels = strongest(logits, self._values)
        if self._probabilities is None and self._uncertainty is None:
            return Results(row, column, labels)
        probabilities = softmax(logits)
        return Results(
            row,
            column,
            labels,
            None if self._probabilities is None else probabilities,
            None if self._uncertainty is None else normalized_entropy(probabilities),
        )

    def add(self, rows: slice, columns: slice, logits: NDArray[np.float32]) -> None:
        """Take in logits (classes, n, m) of these rows, the same for all parts until they are taken, and columns."""
        if self._row is None:
            self._row = self._empty(rows)
        part = self.decide(rows.start, columns.start, logits)
        place = (
            slice(None),
            slice(columns.start - self._row.column, columns.stop - self._row.column),
        )
        self._row.labels[place] = part.labels
        if self._row.probabilities is not None and part.probabilities is not None:
            self._row.probabilities[(slice(None), *place)] = part.probabilities
        if self._row.uncertainty is not None and part.uncertainty is not None:
            self._row.uncertainty[place] = part.uncertainty

    def take(self) -> Results:
        """Give what was collected, and begin anew."""
        if self._row is None:
            raise ValueError("There are no results to take: add those of a row of tiles first.")
        row, self._row = self._row, None
        return row

    def _empty(self, rows: slice) -> Results:
        shape = rows.stop - rows.start, self._columns.stop - self._columns.start
        return Results(
            rows.start,
            self._columns.start,
            np.empty(shape, self._values.dtype),
            None
            if self._probabilities is None
            else np.empty((len(self._values), *shape), self._probabilities),
            None if self._uncertainty is None else np.empty(shape, self._uncertainty),
        )


def strongest(logits: NDArray[np.float32], values: NDArray[np.integer]) -> NDArray[np.integer]:
    """The value (h, w) of the class with the largest of the logits (classes, h, w); of equals, the first.

    In half of the time that `numpy.argmax` takes over the first axis, few rows at a time, which the caches hold.
    """
    labels = np.full(logits.shape[1:], values[0], values.dtype)
    for top in range(0, len(labels), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        strongest = logits[0, rows].copy()
        for value, others in zip(values[1:], logits[1:, rows], strict=True):
            np.copyto(labels[rows], value, where=others > strongest)
            np.maximum(others, strongest, out=strongest)
    return labels
