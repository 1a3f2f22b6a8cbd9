"""``sam2-adapters predict``: segment a folder of images with a trained adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["predict", "prediction_settings"]


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

    Masks that are there already are left alone. An image that fails does not stop the others.
    """
    sections = read_sections(settings, flags)
    paths = list_images(images, pattern)
    targets = _plan_targets(paths, output, ".png" if png else ".tif")

    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import load_adapter

    chosen = choose_device(device)
    segmenter, header = load_adapter(model, device=chosen)
    job = _Job(segmenter.folded(), header, prediction_settings(sections, header), overwrite)
    console().print(f"{model.name} on {describe_device(chosen)}")
    failed = job.run(paths, targets)
    if failed:
        raise typer.Exit(FAILED)


def prediction_settings(sections: dict[str, Any], header: AdapterHeader) -> PredictConfig:
    """The settings for prediction; the tile is that of the model file unless another one was given."""
    given = sections.get("predict") or {}
    return build_settings(
        PredictConfig, {"predict": {"tile_size_px": header.tile_size_px, **given}}, "predict"
    )


def _plan_targets(paths: list[Path], folder: Path, suffix: str) -> list[Path]:
    """The mask's path of each image, refused where it would be that of an image or of two masks."""
    from napari_sam2_adapters.data.matching import image_stem

    stems = [image_stem(path) for path in paths]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise ValueError(
            f"Two images are called {twice[0]!r}, and their masks would be one file. Choose one of them with --pattern."
        )
    if any(path.resolve().parent == folder.resolve() for path in paths):
        raise ValueError(
            f"The masks would lie among the images in {folder}. Choose another folder with --output."
        )
    return [folder / f"{stem}{suffix}" for stem in stems]


@dataclass
class _Job:
    """What all images are segmented with."""

    segmenter: Segmenter
    header: AdapterHeader
    config: PredictConfig
    overwrite: bool

    def run(self, paths: list[Path], targets: list[Path]) -> int:
        """Segment every image, and say how it went; gives the number of those that failed."""
        outcomes: Counter[Literal["done", "there", "failed"]] = Counter()
        targets[0].parent.mkdir(parents=True, exist_ok=True)
        with progress_bar() as bar:
            every = bar.add_task("images", total=len(paths))
            tiles = bar.add_task("tiles", total=None)
            for path, target in zip(paths, targets, strict=True):
                bar.reset(tiles, description=path.name, total=None)
                if target.exists() and not self.overwrite:
                    outcomes["there"] += 1
                else:
                    outcomes["done" if self._try(path, target, bar, tiles) else "failed"] += 1
                bar.advance(every)
        console().print(
            f"{outcomes['done']} of {len(paths)} images segmented into {targets[0].parent}."
        )
        if outcomes["there"]:
            console().print(
                f"{outcomes['there']} masks were there already and were left alone; --overwrite makes them anew."
            )
        if outcomes["failed"]:
            errors().print(f"{outcomes['failed']} images failed, see above.")
        return outcomes["failed"]

    def _try(self, path: Path, target: Path, bar: Progress, tiles: TaskID) -> bool:
        try:
            self._segment(path, target, bar, tiles)
        except (
            Exception
        ) as error:  # one bad file, whatever is wrong with it, does not stop the others
            errors().print(f"{path.name} failed: {sentence(error)}")
            return False
        return True

    def _segment(self, path: Path, target: Path, bar: Progress, tiles: TaskID) -> None:
        from napari_sam2_adapters.data.axes import label_axes
        from napari_sam2_adapters.data.io import read_image, write_array, write_labels
        from napari_sam2_adapters.inference.predict import allocate_outputs, predict_tiles

        image = read_image(path)
        note = _scale_note(image, self.header)
        if note:
            errors().print(f"{path.name}: {note}")
        outputs = allocate_outputs(self.segmenter, image.array.shape, image.axes, self.config)
        for record in predict_tiles(
            self.segmenter,
            image.array,
            image.axes,
            normalization=self.header.normalization,
            config=self.config,
            outputs=outputs,
            rgb=image.rgb,
        ):
            bar.update(tiles, completed=record.done, total=record.total)
            if record.notice:
                errors().print(f"{path.name}: {record.notice}")
        axes = label_axes(image.axes)
        for what, array, names in (
            ("probabilities", outputs.probabilities, f"C{axes}"),
            ("uncertainty", outputs.uncertainty, axes),
        ):
            if array is not None:
                write_array(
                    target.with_name(f"{target.stem}_{what}.tif"),
                    array,
                    axes=names,
                    pixel_size=image.pixel_size,
                    unit=image.unit,
                    overwrite=self.overwrite,
                )
        # The labels come last: where they lie, the image is done.
        write_labels(
            target,
            outputs.labels,
            axes=axes,
            pixel_size=image.pixel_size,
            unit=image.unit,
            overwrite=self.overwrite,
        )


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
