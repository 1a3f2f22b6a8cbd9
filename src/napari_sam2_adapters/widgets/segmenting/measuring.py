"""Measuring a labels layer, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.inference.measure import (
    Table,
    join_tables,
    measure,
    total_by_label,
)
from napari_sam2_adapters.inference.ruler import Ruler
from napari_sam2_adapters.widgets.docks.jobs import Pulse
from napari_sam2_adapters.widgets.segmenting.tidying import REPORT_INTERVAL_S

__all__ = ["MeasureBy", "MeasureRequest", "MeasuredLayer", "Measuring", "measure_layer"]

MeasureBy = Literal["volumes", "slices", "totals"]
"""Each label in each volume, in each slice, or each label over all slices; each at its own time where there are several."""


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure; fields as the arguments of `measure`."""

    labels: ArrayLike
    axes: str
    ruler: Ruler
    by: MeasureBy
    image: ArrayLike | None = None
    image_axes: str | None = None
    names: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Measuring:
    """Slices or volumes done, and in all."""

    done: int
    total: int


@dataclass(frozen=True)
class MeasuredLayer:
    """The table, and how far it came."""

    table: Table
    done: int
    total: int


def measure_layer(
    stop: threading.Event, request: MeasureRequest
) -> Generator[Measuring, None, MeasuredLayer]:
    """Measure slice by slice or volume by volume; what is done stays when it is stopped."""
    tables: list[Table] = []
    pulse, done, total = Pulse(REPORT_INTERVAL_S), 0, 0
    for part in measure(
        request.labels,
        request.axes,
        request.ruler,
        together="volumes" if request.by == "volumes" else "slices",
        image=request.image,
        image_axes=request.image_axes,
        names=request.names,
    ):
        tables.append(part.table)
        done, total = part.done, part.total
        if pulse.due():
            yield Measuring(done, total)
        if stop.is_set():
            break
    parts = tables if request.by != "totals" else _totals(tables, request)
    return MeasuredLayer(join_tables(parts), done, total)


def _totals(tables: Sequence[Table], request: MeasureRequest) -> list[Table]:
    """A row per label over all slices, at each time on its own: what is there twice is not twice as large."""
    moments: dict[int, list[Table]] = {}
    for table in tables:
        if len(table.get("index", ())):
            moments.setdefault(int(table["t"][0]) if "t" in table else 0, []).append(table)
    return [_total(moments[moment], moment, request) for moment in sorted(moments)]


def _total(tables: Sequence[Table], moment: int, request: MeasureRequest) -> Table:
    area = f"area_{request.ruler.symbol}2"
    table = total_by_label(tables, [area])
    if "T" in request.axes:
        named: Table = {name: table.pop(name) for name in ("index", "class") if name in table}
        table = {**named, "t": np.full(len(named["index"]), moment), **table}
    if "Z" in request.axes:  # what was an area in each slice is a volume in all of them
        inner = [i for i, axis in enumerate(request.axes) if axis in "ZYX"]
        table[f"volume_{request.ruler.symbol}3"] = table["pixels"] * request.ruler.content(inner)
        table.pop(area)
    return table
