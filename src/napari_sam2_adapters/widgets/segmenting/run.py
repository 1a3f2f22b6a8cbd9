"""What a run of the Segment dock is about, and what its layers are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.colormaps import Colormap

from napari_sam2_adapters.widgets.docks.arrays import ResultArrays, with_axis
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.results import LayerId
from napari_sam2_adapters.widgets.docks.turned import direction_in, turned_entry

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["Run", "new_run", "number_layers"]


@dataclass(frozen=True)
class Run:
    """What a run is about.

    Attributes
    ----------
    image, picture
        Which layer it is, and what was taken from it, without pixels.
    model, header
        The adapter.
    entry
        For the layers' metadata.
    """

    image: LayerId
    picture: Picture
    model: Path
    header: AdapterHeader
    entry: Mapping[str, Any]

    @property
    def common(self) -> dict[str, Any]:
        """Keywords that all layers of the run are made with."""
        provenance = {**self.entry, "channel_axis": self.picture.spread}
        return {"place": self.picture.place, "provenance": provenance}

    def after(self, entry: Mapping[str, Any]) -> Run:
        """The same as one more run after those of a layer with this metadata."""
        runs = [*entry.get("runs", ()), *self.entry["runs"]]
        return replace(self, entry={**self.entry, "runs": runs})


def new_run(
    layer: Image, picture: Picture, model: Path, header: AdapterHeader, described: Mapping[str, Any]
) -> Run:
    """A first run.

    Parameters
    ----------
    layer, picture
        The image layer and what was taken from it.
    model, header
        The adapter.
    described
        What `describe_run` says, with ``level`` and ``channel_axis``.
    """
    entry = {
        "model": model.name,
        "tensors_sha256": header.tensors_sha256,
        "runs": [described],
        **turned_entry(direction_in(layer.metadata)),
    }
    return Run(LayerId(layer.unique_id), picture.without_pixels(), model, header, entry)


def number_layers(run: Run, arrays: ResultArrays) -> list[dict[str, Any]]:
    """What `make_image` needs for probabilities and uncertainty; the former hidden, for over each other they say nothing."""
    name, common = run.picture.name, {"image": run.image, **run.common}
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
