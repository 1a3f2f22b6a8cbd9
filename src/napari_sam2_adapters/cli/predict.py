"""``sam2-adapters predict``: segment a folder of images with a trained adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import Progress, TaskID

from napari_sam2_adapters.cli.files import (
    Device,
    Images,
    Model,
    Overwrite,
    Pattern,
    SettingsFile,
    list_images,
)
from napari_sam2_adapters.cli.settings import (
    Sections,
    build_settings,
    read_sections,
    settings_flags,
)
from napari_sam2_adapters.cli.terminal import FAILED, errors, progress_bar, sentence
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.config import PredictConfig

if TYPE_CHECKING:
    from napari_sam2_adapters.data.io import ImageFile
    from napari_sam2_adapters.inference.predict import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["predict", "prediction_settings"]

_Outcome = Literal["done", "there", "failed"]


@settings_flags(predict=PredictConfig)
def predict(
    flags: Sections,
    model: Model,
    images: Images,
    output: Annotated[Path, typer.Option(help="Folder for the masks, one per image.")],
    pattern: Pattern = "*",
    settings: SettingsFile = None,
    device: Device = "auto",
    png: Annotated[
        bool, typer.Option("--png", help="Write PNG instead of TIFF; it keeps no pixel size.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Segment a folder of images; each mask is a TIFF with the name and pixel size of its image.

    Files that are there already are left alone. An image that fails does not stop the others.
    """
    sections = read_sections(settings, flags)
    paths = list_images(images, pattern)
    asked = build_settings(PredictConfig, sections, "predict")
    outputs = _plan_outputs(paths, output, ".png" if png else ".tif", asked)

    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import load_adapter

    chosen = choose_device(device)
    segmenter, header = load_adapter(model, device=chosen)
    config = prediction_settings(sections, header)
    output.mkdir(parents=True, exist_ok=True)
    console().print(f"{model.name} on {describe_device(chosen)}")
    job = _Job(segmenter.folded(), header, config, overwrite)
    with progress_bar() as bar:
        every = bar.add_task("images", total=len(paths))
        tiles = bar.add_task("tiles", total=None)
        try:
            for path, files in zip(paths, outputs, strict=True):
                bar.reset(tiles, description=path.name, total=None)
                job.take(path, files, lambda record: _show(record, bar, tiles))
                bar.advance(every)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(
                f"Stopped. {job.counts['done']} of {len(paths)} images were segmented into {output}; "
                f"the same command{' without --overwrite' if overwrite else ''} goes on with the others."
            ) from error
    _report(job.counts, len(paths), output)
    if job.counts["failed"]:
        raise typer.Exit(FAILED)


def prediction_settings(sections: dict[str, Any], header: AdapterHeader) -> PredictConfig:
    """The settings for prediction; the tile is that of the model file unless another one was given."""
    given = sections.get("predict") or {}
    return build_settings(
        PredictConfig, {"predict": {"tile_size_px": header.tile_size_px, **given}}, "predict"
    )


def _plan_outputs(
    paths: list[Path], folder: Path, suffix: str, config: PredictConfig
) -> list[dict[str, Path]]:
    """The files to write for each image, the labels last; refused where two or an image would be one file."""
    from napari_sam2_adapters.data.matching import image_stem

    if any(path.resolve().parent == folder.resolve() for path in paths):
        raise ValueError(
            f"The masks would lie among the images in {folder}. Choose another folder with --output."
        )
    kinds = ("probabilities", "uncertainty")
    outputs = []
    for path in paths:
        stem = image_stem(path)
        files = {kind: folder / f"{stem}_{kind}.tif" for kind in kinds if getattr(config, kind)}
        outputs.append({**files, "labels": folder / f"{stem}{suffix}"})
    names = Counter(file.name for files in outputs for file in files.values())
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(
            f"Results of two images would be called {twice[0]!r}. Choose one of them with --pattern."
        )
    return outputs


def _show(record: TileProgress, bar: Progress, tiles: TaskID) -> None:
    bar.update(tiles, completed=record.done, total=record.total)


def _report(counts: Counter[_Outcome], n_images: int, folder: Path) -> None:
    console().print(f"{counts['done']} of {n_images} images segmented into {folder}.")
    if counts["there"]:
        console().print(
            f"Left alone because their masks are there: {counts['there']}; --overwrite makes them anew."
        )
    if counts["failed"]:
        errors().print(f"Failed, see above: {counts['failed']}.")


@dataclass
class _Job:
    """What all images are segmented with, and how many of them were done, were there or failed."""

    segmenter: Segmenter
    header: AdapterHeader
    config: PredictConfig
    overwrite: bool
    counts: Counter[_Outcome] = field(default_factory=Counter)

    def take(
        self, path: Path, files: dict[str, Path], show: Callable[[TileProgress], None]
    ) -> None:
        """Segment an image unless all its files are there, and count how it went."""
        missing = {
            kind: file for kind, file in files.items() if self.overwrite or not file.exists()
        }
        if not missing:
            self.counts["there"] += 1
            return
        try:
            self._segment(path, missing, show)
        except Exception as error:  # whatever is wrong with one file does not stop the others
            errors().print(f"{path.name} failed: {sentence(error)}")
            self.counts["failed"] += 1
        else:
            self.counts["done"] += 1

    def _segment(
        self, path: Path, files: dict[str, Path], show: Callable[[TileProgress], None]
    ) -> None:
        from napari_sam2_adapters.data.axes import label_axes
        from napari_sam2_adapters.data.io import read_image, write_array, write_labels
        from napari_sam2_adapters.inference.predict import allocate_outputs, predict_tiles

        image = read_image(path)
        axes = label_axes(image.axes)
        if axes != "YX" and any(file.suffix == ".png" for file in files.values()):
            raise ValueError(
                f"PNG holds one plane, but this image has the axes {image.axes}. Leave --png out."
            )
        note = _scale_note(image, self.header)
        if note:
            errors().print(f"{path.name}: {note}")
        found = allocate_outputs(self.segmenter, image.array.shape, image.axes, self.config)
        for record in predict_tiles(
            self.segmenter,
            image.array,
            image.axes,
            normalization=self.header.normalization,
            config=self.config,
            outputs=found,
            rgb=image.rgb,
        ):
            show(record)
            if record.notice:
                errors().print(f"{path.name}: {record.notice}")
        place: dict[str, Any] = {
            "pixel_size": image.pixel_size,
            "unit": image.unit,
            "overwrite": self.overwrite,
        }
        if found.probabilities is not None and "probabilities" in files:
            write_array(files["probabilities"], found.probabilities, axes=f"C{axes}", **place)
        if found.uncertainty is not None and "uncertainty" in files:
            write_array(files["uncertainty"], found.uncertainty, axes=axes, **place)
        if "labels" in files:
            write_labels(files["labels"], found.labels, axes=axes, **place)


def _scale_note(image: ImageFile, header: AdapterHeader) -> str:
    """A sentence when the pixels are of another size than those the adapter knows, else nothing."""
    if not (image.pixel_size and header.pixel_size) or image.unit != header.unit:
        return ""
    here, there = image.pixel_size[-1], header.pixel_size[-1]
    if 2 / 3 < here / there < 3 / 2:
        return ""
    return (
        f"its pixels are {here:g} {image.unit or 'pixel'} wide, but the adapter was trained on {there:g}. "
        "Resize the image if the mask looks wrong."
    )
