"""What the commands that segment with an adapter have in common: ``predict``, ``batch`` and ``evaluate``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_sam2_adapters.cli.settings import build_settings
from napari_sam2_adapters.cli.terminal import errors
from napari_sam2_adapters.config import PredictConfig, advise_on_views

if TYPE_CHECKING:
    from rich.console import Console

    from napari_sam2_adapters.models.memory_plan import MemoryPlan
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = [
    "OWN_TILE",
    "PlanShown",
    "files_to_write",
    "how_to_go_on",
    "known_format",
    "mask_format",
    "prediction_settings",
    "without_results",
]

OWN_TILE = {"tile_size_px": "that of the adapter"}
"""What `prediction_settings` takes where no tile is given."""


def without_results(paths: list[Path], images: Path, results: Path) -> list[Path]:
    """The images without the masks of an earlier start, where their folder lies below that of the images.

    Raises
    ------
    ValueError
        When there are only masks.
    """
    folder = results.resolve()
    if images.resolve() not in folder.parents:
        return paths
    found = [path for path in paths if folder not in path.resolve().parents]
    if not found:
        raise ValueError(f"Only masks lie in {images}, no images. Choose the images' folder.")
    return found


class PlanShown:
    """Prints the memory plan of the first image, of later ones that take larger tiles or more pixels at once than any before, and others that do not fit.

    Parameters
    ----------
    console
        Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._largest_px = self._most_pixels = 0
        self._unfit: set[tuple[int, int]] = set()

    def __call__(self, plan: MemoryPlan) -> None:
        """Take the plan of an image."""
        parts = plan.side_px, plan.at_once
        pixels = plan.at_once * plan.side_px**2
        more = plan.side_px > self._largest_px or pixels > self._most_pixels
        if more or not (plan.fits or parts in self._unfit):
            self._console.print(plan.sentence)
        self._largest_px = max(plan.side_px, self._largest_px)
        self._most_pixels = max(pixels, self._most_pixels)
        if not plan.fits:
            self._unfit.add(parts)


def known_format(masks_as: str) -> str:
    """The ending of masks that was asked for.

    Raises
    ------
    ValueError
        When there is no such format.
    """
    from napari_sam2_adapters.batch.job import LabelFormat

    formats = get_args(LabelFormat)
    if masks_as not in formats:
        raise ValueError(
            f"--masks-as takes {', '.join(formats)}, got {masks_as!r}. Choose one of them."
        )
    return masks_as


def mask_format(masks_as: str | None, *, png: bool) -> str:
    """The ending of masks by the two flags of ``predict``, TIFF without one.

    Raises
    ------
    ValueError
        When there is no such format, or the flags ask for two.
    """
    if png and masks_as not in (None, "png"):
        raise ValueError(f"--png and --masks-as {masks_as} ask for two formats. Give one of them.")
    return "png" if png else known_format(masks_as or "tif")


def files_to_write(files: Mapping[str, Path], *, overwrite: bool) -> dict[str, Path]:
    """Of the files for an image those that are not there, or with ``overwrite`` all.

    Raises
    ------
    ValueError
        When the name of one is longer than any file's can be.
    OSError
        When the system cannot say whether one is there.
    """
    from napari_sam2_adapters.batch.plan import name_too_long

    for file in files.values():
        if refusal := name_too_long(file):
            raise ValueError(refusal)
    return {kind: file for kind, file in files.items() if overwrite or not file.exists()}


def how_to_go_on(outputs: Iterable[Mapping[str, Path]], *, overwrite: bool) -> str:
    """What a run that is stopped leaves to do; asked before it begins, since afterwards nobody can tell which of the files that it was to replace are new."""
    if not overwrite:
        return "the same command goes on with the others."
    from napari_sam2_adapters.batch.plan import name_too_long

    written = (file for files in outputs for file in files.values())
    if any(not name_too_long(file) and file.exists() for file in written):
        return "the same command makes all of them anew."
    return "the same command without --overwrite goes on with the others."


def prediction_settings(sections: dict[str, Any], header: AdapterHeader) -> PredictConfig:
    """The settings for prediction; the tile is that of the model file unless another one was given. What speaks against them is said."""
    given = sections.get("predict") or {}
    config = build_settings(
        PredictConfig, {"predict": {"tile_size_px": header.tile_size_px, **given}}, "predict"
    )
    advice = advise_on_views(header.training, config.test_time_augmentation)
    if advice:
        errors().print(advice)
    return config
