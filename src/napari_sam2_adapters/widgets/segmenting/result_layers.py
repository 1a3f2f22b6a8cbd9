"""The layers that hold the results of the Segment dock, and what is remembered of each. Runs on the GUI thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.data.axes import label_axes, plane_indices
from napari_sam2_adapters.inference.rules import PostprocessConfig
from napari_sam2_adapters.widgets.docks.arrays import ResultArrays, with_axis, without_axis
from napari_sam2_adapters.widgets.docks.results import (
    OURS,
    TAKEN,
    Identified,
    add_layer,
    find_own,
    leave_own,
    make_image,
    make_labels,
    make_objects,
)
from napari_sam2_adapters.widgets.segmenting.provenance import covers, same_pixels, title_of
from napari_sam2_adapters.widgets.segmenting.run import Run, number_layers

__all__ = ["ResultLayers"]

ROLE = "segmentation"
_WRITTEN = (ROLE, "objects")
_REST_SHARE = 10
"""A live picture is drawn anew after a rest this many times as long as the drawing took."""


class ResultLayers(QObject):
    """Puts results into layers of our own, keeps what the network gave beside what is shown, and redraws while it comes in.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    lost = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._held: dict[str, tuple[Run, ResultArrays, Any]] = {}
        self.labels: Labels | None = None
        self.run: Run | None = None
        self.loss = ""
        """What the user did to a layer at work, in a sentence, so that the work ends; empty when nothing."""
        self._prepared: tuple[Run, ResultArrays, Callable[[], None]] | None = None
        self._locked: list[Layer] = []
        self._layers: list[Layer] = []
        self._next_drawing = 0.0
        self._owed = False
        self._waiting: list[Callable[[], None]] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._show_next)
        viewer.layers.events.removed.connect(self._forget)
        TAKEN.over.connect(self._take_over)

    def go_on(self, run: Run) -> tuple[Run, ResultArrays | None]:
        """The run after those of the same adapter on the same image, in a layer that is still ours, and their results; locks them."""
        self.loss, self.labels = "", None  # the layer of the last run matters no more
        layer = find_own(self._viewer, ROLE, run.image)
        if layer is None or not (
            _is_of_same_adapter(layer, run) and _is_of_same_pixels(layer, run)
        ):
            return run, None
        self.labels = layer
        entry = layer.metadata[OURS]
        self.lock(run.image)
        held = self.held(layer)
        if held is not None:
            return run.after(entry), held[1]
        planes = plane_indices(run.picture.label_shape, label_axes(run.picture.axes))
        labels = without_axis(layer.data, run.picture.spread)
        return run.after(entry), ResultArrays(labels, labels, frozenset(planes))

    def lock(self, image: Identified) -> None:
        """Let nobody paint in our labels of an image while they are written into: strokes would be lost."""
        self.loss = ""
        for role in _WRITTEN:
            layer = find_own(self._viewer, role, image)
            if layer is not None:
                self._lock(layer)

    def give_up(self, _: object = None) -> None:
        """Hold nothing for a run that has failed, and let the user paint in all layers again."""
        self._prepared = None
        self.release()

    def release(self) -> None:
        """Let the user paint in all layers again."""
        while self._locked:
            self._locked.pop().editable = True

    def prepare(self, run: Run, arrays: ResultArrays, shown: Callable[[], None]) -> None:
        """Know what is about to be done and where it goes; ``shown`` is called when all of it is in the window."""
        self._prepared = run, arrays, shown

    def begin(self, *, lock: bool) -> None:
        """Show the prepared arrays once something is in them: labels first, what else there is one by one below them.

        A run that fails before leaves no empty layer, and the results before it as they are. napari takes up to a tenth of a second for
        each layer, so what is done here comes in turns of its own, and the window is smooth.

        Parameters
        ----------
        lock
            Whether nobody may paint in the labels until the work ends.
        """
        prepared, self._prepared = self._prepared, None
        if prepared is None or self.loss:
            return
        run, arrays, shown = prepared
        self.run, self.labels, self._layers = run, None, []
        self._keep_earlier(run)
        made = self._make_labels(run, arrays)
        if lock:
            self._lock(made)
        self._waiting = [partial(add_layer, self._viewer, made), partial(self._choose, made)]
        self._waiting += [
            step
            for number in number_layers(run, arrays)
            for step in (partial(self._make_numbers, number), self._add_numbers)
        ]
        self._waiting.append(shown)
        self._later.start(0)

    def _lock(self, layer: Layer) -> None:
        if layer.editable:
            layer.editable = False
            self._locked.append(layer)

    def _keep_earlier(self, run: Run) -> None:
        """Leave our layers to the user where this run neither goes on in them nor gives anew all that they hold."""
        layer = find_own(self._viewer, ROLE, run.image)
        if layer is None:
            return
        entry, new = layer.metadata[OURS], run.entry["runs"][-1]
        again = all(covers(new["region"], old["region"]) for old in entry["runs"])
        if not _is_of_same_pixels(layer, run) or not (again or _is_of_same_adapter(layer, run)):
            leave_own(self._viewer, run.image, title_of(entry, new))

    def settle(self, run: Run, arrays: ResultArrays) -> None:
        """Show what came of a run, drawn anew with thumbnails; layers that were removed meanwhile stay away."""
        while self._waiting:
            self._show_next()
        self.release()
        if not self.loss and find_own(self._viewer, ROLE, run.image) is not None:
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
            **run.common,
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
        common = run.common
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
            self._lose("was removed")

    def _take_over(self, layer: Layer) -> None:
        """Write no more into a layer that has become the user's, nor into what is behind it."""
        entry = layer.metadata[OURS]
        self._held.pop(str(layer.unique_id), None)
        for identity, (run, arrays, face) in list(self._held.items()):
            if entry.get("role") == "objects" and entry["image"] == str(run.image.unique_id):
                self._held[identity] = run, _without_objects(arrays), face
        if layer in self._locked:
            self._lose("was painted in")

    def _lose(self, what: str) -> None:
        """Let the work end whose layer is not ours any more."""
        self.labels = None
        self.loss = f"Stopped, because its layer {what}." if self._locked else ""
        self.lost.emit()


def _is_of_same_adapter(layer: Layer, run: Run) -> bool:
    return bool(layer.metadata[OURS]["tensors_sha256"] == run.header.tensors_sha256)


def _is_of_same_pixels(layer: Layer, run: Run) -> bool:
    """Whether all runs in a layer were of the array that this one is of."""
    new, before = run.entry["runs"][-1], layer.metadata[OURS]["runs"]
    return tuple(layer.data.shape) == run.picture.layer_shape and all(
        same_pixels(new, old) for old in before
    )


def _without_objects(arrays: ResultArrays) -> ResultArrays:
    """Results whose objects are numbered anew the next time, in an array of their own."""
    return replace(arrays, objects=None, object_classes={}, rules=PostprocessConfig())
