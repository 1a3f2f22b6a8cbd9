"""The layers that hold the results of the Segment dock, and what is remembered of each. Runs on the GUI thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.data.axes import label_axes, plane_indices
from napari_sam2_adapters.widgets.docks.arrays import ResultArrays, with_axis, without_axis
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.results import (
    OURS,
    add_layer,
    find_own,
    leave_own,
    make_image,
    make_labels,
    make_objects,
)
from napari_sam2_adapters.widgets.docks.store import SUFFIX
from napari_sam2_adapters.widgets.segmenting.provenance import covers

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["ResultLayers", "Run"]

ROLE = "segmentation"
_REST_SHARE = 10
"""A live picture is drawn anew after a rest this many times as long as the drawing took."""


@dataclass(frozen=True)
class Run:
    """What a run is about.

    Attributes
    ----------
    image, picture
        The layer and what was taken from it.
    model, header
        The adapter.
    entry
        For the layers' metadata.
    """

    image: Image
    picture: Picture
    model: Path
    header: AdapterHeader
    entry: Mapping[str, Any]


class ResultLayers(QObject):
    """Puts results into layers of our own, keeps what the network gave beside what is shown, and redraws while it comes in.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    removed = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._held: dict[str, tuple[Run, ResultArrays, Any]] = {}
        self.labels: Labels | None = None
        self.run: Run | None = None
        self._layers: list[Layer] = []
        self._next_drawing = 0.0
        self._owed = False
        self._waiting: list[Callable[[], None]] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._show_next)
        viewer.layers.events.removed.connect(self._forget)

    def earlier(
        self, image: Image, picture: Picture, header: AdapterHeader
    ) -> tuple[Mapping[str, Any], ResultArrays] | None:
        """Metadata and results of earlier runs of this adapter on this image, in a layer that is still ours."""
        layer = find_own(self._viewer, ROLE, image)
        if layer is None or tuple(layer.data.shape) != picture.layer_shape:
            return None
        entry = layer.metadata[OURS]
        if entry.get("tensors_sha256") != header.tensors_sha256:
            return None
        held = self.held(layer)
        if held is not None:
            return entry, held[1]
        planes = plane_indices(picture.label_shape, label_axes(picture.axes))
        labels = without_axis(layer.data, picture.spread)
        return entry, ResultArrays(labels, labels, frozenset(planes))

    def begin(self, run: Run, arrays: ResultArrays, shown: Callable[[], None]) -> None:
        """Show arrays that are about to be written into: labels first, what else there is one by one below them.

        napari takes up to a tenth of a second for each layer, so what is done here comes in turns of its own, and the window is smooth.

        Parameters
        ----------
        run, arrays
            What is about to be done, and where it goes.
        shown
            Called when the labels are in the window.
        """
        self.run, self.labels, self._layers = run, None, []
        self._keep_what_another_adapter_found(run)
        made = self._make_labels(run, arrays)
        self._waiting = [partial(add_layer, self._viewer, made), partial(self._choose, made), shown]
        self._waiting += [
            step
            for number in self._numbers(run, arrays)
            for step in (partial(self._make_numbers, number), self._add_numbers)
        ]
        self._later.start(0)

    def _keep_what_another_adapter_found(self, run: Run) -> None:
        """Leave the layers of another adapter to the user where this run does not give anew all that they hold."""
        layer = find_own(self._viewer, ROLE, run.image)
        if layer is None:
            return
        entry = layer.metadata[OURS]
        new = run.entry["runs"][-1]["region"]
        same = entry.get("tensors_sha256") == run.entry["tensors_sha256"]
        if not same and not all(covers(new, old["region"]) for old in entry.get("runs", ())):
            leave_own(self._viewer, run.image, entry["model"].removesuffix(SUFFIX))

    def settle(self, run: Run, arrays: ResultArrays) -> None:
        """Show what came of a run, drawn anew with thumbnails; layers that were removed meanwhile stay away."""
        while self._waiting:
            self._show_next()
        if find_own(self._viewer, ROLE, run.image) is not None:
            add_layer(self._viewer, self._make_labels(run, arrays))
            self._show_objects(run, arrays)
        for layer in self._layers:
            layer.refresh(highlight=False, extent=False)
        self._owed, self._next_drawing = False, 0.0

    def take_up(self, run: Run) -> None:
        """Know the layer of an earlier run as the one that is worked on."""
        self.run, self.labels = run, find_own(self._viewer, ROLE, run.image)

    def held(self, layer: Layer) -> tuple[Run, ResultArrays] | None:
        """What is behind one of our layers of class labels, as long as nobody has changed it."""
        run, arrays, face = self._held.get(str(layer.unique_id), (None, None, None))
        return (run, arrays) if run and arrays and face is layer.data else None

    def for_image(self, image: Image | None) -> tuple[Run, ResultArrays] | None:
        """What is behind our class labels of an image."""
        layer = None if image is None else find_own(self._viewer, ROLE, image)
        return None if layer is None else self.held(layer)

    def redraw(self, planes: Collection[tuple[int, ...]]) -> None:
        """Draw the layers anew if one of these planes is on show; drawing takes at most a tenth of the time."""
        self._owed |= self._viewer.dims.ndisplay == 3 or self._plane_on_show() in planes
        started = time.monotonic()
        if not self._owed or started < self._next_drawing:
            return
        self._owed = False
        for layer in self._layers:
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        ended = time.monotonic()
        self._next_drawing = ended + _REST_SHARE * (ended - started)

    def _plane_on_show(self) -> tuple[int, ...]:
        """Plane of the labels that napari shows; it lines up the last axes of all layers."""
        if self.labels is None:
            return ()
        place = np.asarray(self.labels.world_to_data(self._viewer.dims.point), dtype=float)
        if self.run is not None and self.run.picture.spread is not None:
            place = np.delete(place, self.run.picture.spread)
        return tuple(int(i) for i in np.round(place[:-2]))

    def _common(self, run: Run) -> dict[str, Any]:
        provenance = {**run.entry, "channel_axis": run.picture.spread}
        return {"place": run.picture.place, "provenance": provenance}

    def _numbers(self, run: Run, arrays: ResultArrays) -> list[dict[str, Any]]:
        """What `make_image` needs for probabilities and uncertainty; the former hidden, for over each other they say nothing."""
        name, common = run.picture.name, {"image": run.image, **self._common(run)}
        numbers = [
            {
                "data": with_axis(array, run.picture.spread),
                "colormap": Colormap(["#000000", info.color], name=f"{info.color} of a class"),
                "visible": False,
                "role": f"probability {info.value}",
                "name": f"{name} – probability of {info.name}",
                **common,
            }
            for info, array in zip(run.header.classes, arrays.probabilities or (), strict=False)
        ]
        if arrays.uncertainty is not None:
            numbers.append(
                {
                    "data": with_axis(arrays.uncertainty, run.picture.spread),
                    "colormap": "inferno",
                    "visible": True,
                    "role": "uncertainty",
                    "name": f"{name} – uncertainty",
                    **common,
                }
            )
        return numbers

    def _show_next(self) -> None:
        """Do the next thing that waits for its turn."""
        if self.labels is None:  # removed by the user meanwhile
            self._waiting = []
        if self._waiting:
            self._waiting.pop(0)()
        if self._waiting:
            self._later.start(0)

    def _choose(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.selection.active = layer

    def _make_numbers(self, wanted: Mapping[str, Any]) -> None:
        self._layers.append(make_image(self._viewer, **wanted))

    def _add_numbers(self) -> None:
        add_layer(self._viewer, self._layers[-1], below=self.labels)

    def _make_labels(self, run: Run, arrays: ResultArrays) -> Labels:
        """Our layer of class labels, which a new run shows at the end of its turn."""
        known = self._held.get(str(self.labels.unique_id)) if self.labels else None
        same = known is not None and known[1].shown is arrays.shown
        if self.labels is not None and known is not None and same and known[0] is run:
            self._held[str(self.labels.unique_id)] = run, arrays, known[2]
            return self.labels
        face = known[2] if known and same else with_axis(arrays.shown, run.picture.spread)
        self.labels = make_labels(
            self._viewer,
            run.image,
            face,
            run.header.classes,
            role=ROLE,
            name=f"{run.picture.name} – SAM2 adapters",
            **self._common(run),
        )
        self._held[str(self.labels.unique_id)] = run, arrays, self.labels.data
        if self.labels not in self._layers:
            self._layers.append(self.labels)
        return self.labels

    def _show_objects(self, run: Run, arrays: ResultArrays) -> None:
        """The layer of single objects; without any, that of an earlier run goes."""
        if arrays.objects is None or not arrays.object_classes:
            stale = find_own(self._viewer, "objects", run.image)
            if stale is not None:
                self._viewer.layers.remove(stale)
            return
        names = {info.value: info.name for info in run.header.classes}
        numbers = sorted(arrays.object_classes)
        common = self._common(run)
        common["provenance"]["together"] = arrays.rules.together
        layer = make_objects(
            self._viewer,
            run.image,
            with_axis(arrays.objects, run.picture.spread),
            {
                "index": numbers,
                "class": [names.get(arrays.object_classes[n], "") for n in numbers],
            },
            role="objects",
            name=f"{run.picture.name} – objects",
            **common,
        )
        add_layer(self._viewer, layer)
        self._choose(layer)
        if layer not in self._layers:
            self._layers.append(layer)

    def _forget(self, event: Any) -> None:
        """Let go of the arrays of a layer that is gone."""
        identity = str(event.value.unique_id)
        self._held.pop(identity, None)
        self._layers = [layer for layer in self._layers if str(layer.unique_id) != identity]
        if self.labels is not None and str(self.labels.unique_id) == identity:
            self.labels = None
            self.removed.emit()
