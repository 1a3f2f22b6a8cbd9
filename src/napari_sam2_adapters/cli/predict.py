"""``sam2-adapters predict``: segment a folder of images with a trained adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_sam2_adapters.batch.reasons import disk_is_unusable
from napari_sam2_adapters.cli.extent import Extent, read_extent
from napari_sam2_adapters.cli.files import (
    Device,
    Images,
    MemoryShare,
    Model,
    Overwrite,
    Pattern,
    SettingsFile,
    check_output_folder,
    list_images,
)
from napari_sam2_adapters.cli.finishing import Finishing, settle_finishing
from napari_sam2_adapters.cli.prediction import (
    OWN_TILE,
    PlanShown,
    files_to_write,
    how_to_go_on,
    mask_format,
    prediction_settings,
    without_results,
)
from napari_sam2_adapters.cli.settings import (
    Sections,
    build_settings,
    read_sections,
    settings_flags,
)
from napari_sam2_adapters.cli.terminal import (
    FAILED,
    JobFailedError,
    errors,
    progress_bar,
    sentence,
)
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.tile_progress import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["predict"]

_FINISHING = "After the network"
_EXTRAS = ("probabilities", "uncertainty")
_Outcome = Literal["done", "there", "failed"]


@settings_flags(defaults=OWN_TILE, predict=PredictConfig)
def predict(  # noqa: PLR0913, PLR0917 (a flag each)
    flags: Sections,
    model: Model,
    images: Images,
    output: Annotated[Path, typer.Option(help="Folder for the masks, one per image.")],
    pattern: Pattern = "*",
    settings: SettingsFile = None,
    device: Device = "auto",
    memory_share: MemoryShare = None,
    masks_as: Annotated[
        str | None,
        typer.Option(
            help="tif, ome.tif, ome.zarr, png, npz, nii.gz or nrrd. Default: tif.",
            show_default=False,
        ),
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="The same as --masks-as png; it keeps no pixel size.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="TOP:BOTTOM,LEFT:RIGHT",
            help="Segment only these pixels of each plane, such as 0:512,100:612; the rest of the mask is 0.",
        ),
    ] = None,
    planes: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:STOP",
            help="Segment only these planes of a stack, or the one of a number, counted from 0; the rest of the mask is 0.",
        ),
    ] = None,
    min_size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CLASS=]PIXELS",
            help="Smaller objects take the class around them; without CLASS, of all classes but background. May be repeated.",
            rich_help_panel=_FINISHING,
        ),
    ] = None,
    fill_holes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CLASS=]PIXELS",
            help="Holes of up to so many pixels are filled; otherwise as --min-size.",
            rich_help_panel=_FINISHING,
        ),
    ] = None,
    only_largest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Only the largest object of this class stays, such as an organ. May be repeated.",
            rich_help_panel=_FINISHING,
        ),
    ] = None,
    instances: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Number the objects of this class, in a file NAME_objects. May be repeated.",
            rich_help_panel=_FINISHING,
        ),
    ] = None,
    volumes: Annotated[
        bool,
        typer.Option(
            "--volumes",
            help="Objects go through the slices of a stack, which is then held in memory.",
            rich_help_panel=_FINISHING,
        ),
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Write NAME_measured.csv: sizes, places and grey values of objects, or else of classes.",
            rich_help_panel=_FINISHING,
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Segment a folder of images; each mask has the name of its image and, but for PNG, its pixel size and place.

    Files that are there already are left alone. An image that fails does not stop the others.
    """
    sections = read_sections(settings, flags)
    paths = without_results(list_images(images, pattern), images, output)
    extent = read_extent(region, planes)
    asked = build_settings(PredictConfig, sections, "predict")

    from napari_sam2_adapters.atomic import remove_orphans
    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import load_adapter, read_header

    chosen, described = choose_device(device), read_header(model)
    config = prediction_settings(sections, described)
    finishing = settle_finishing(
        described.classes,
        min_size=min_size or (),
        fill_holes=fill_holes or (),
        only_largest=only_largest or (),
        instances=instances or (),
        volumes=volumes,
        measured=measure,
    )
    outputs = _plan_outputs(paths, output, mask_format(masks_as, png=png), asked, finishing)
    check_output_folder(output)
    remove_orphans(output)  # of runs that were killed
    segmenter, header = load_adapter(model, device=chosen)
    console().print(f"{model.name} on {describe_device(chosen)}")
    again = how_to_go_on(outputs, overwrite=overwrite)
    job = _Job(segmenter.folded(), header, config, finishing, extent, overwrite)
    show_plan = PlanShown(console())
    with progress_bar() as bar:
        every = bar.add_task("images", total=len(paths))
        tiles = bar.add_task("tiles", total=None)
        try:
            for path, files in zip(paths, outputs, strict=True):
                bar.reset(tiles, description=path.name, total=None)
                with closing(job.take(path, files)) as steps:
                    for tile in steps:
                        if tile.plan is not None:
                            show_plan(tile.plan)
                        bar.update(tiles, completed=tile.done, total=tile.total)
                bar.advance(every)
        except (KeyboardInterrupt, OSError) as error:
            far = f"Segmented {job.counts['done']} of {counted(len(paths), 'image')} into {output}; {again}"
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(f"Stopped. {far}") from error
            if not disk_is_unusable(error):
                raise
            raise JobFailedError(f"{sentence(error)} {far}") from error
    _report(job.counts, len(paths), output)
    if job.counts["failed"]:
        raise typer.Exit(FAILED)


def _plan_outputs(
    paths: list[Path], folder: Path, masks_as: str, config: PredictConfig, finishing: Finishing
) -> list[dict[str, Path]]:
    """The files to write for each image, the labels last; refused where two or an image would be one file."""
    from napari_sam2_adapters.batch.job import ending_beside
    from napari_sam2_adapters.batch.plan import check_place, file_key
    from napari_sam2_adapters.data.formats.registry import image_stem

    if any(path.resolve().parent == folder.resolve() for path in paths):
        raise ValueError(
            f"The masks would lie among the images in {folder}. Choose another folder with --output."
        )
    check_place(folder, masks_as)
    ending = ending_beside(masks_as)
    beside = {kind: f"_{kind}.{ending}" for kind in _EXTRAS if getattr(config, kind)}
    beside |= finishing.files(ending)
    outputs = []
    for path in paths:
        stem = image_stem(path)
        files = {kind: folder / f"{stem}{end}" for kind, end in beside.items()}
        outputs.append({**files, "labels": folder / f"{stem}.{masks_as}"})
    written = [file for files in outputs for file in files.values()]
    key, count = Counter(map(file_key, written)).most_common(1)[0]
    if count > 1:
        names = dict.fromkeys(repr(file.name) for file in written if file_key(file) == key)
        raise ValueError(
            f"Results of two images would be one file, {' or '.join(names)}. Choose one of them with --pattern."
        )
    return outputs


def _report(counts: Counter[_Outcome], n_images: int, folder: Path) -> None:
    console().print(f"{counts['done']} of {counted(n_images, 'image')} segmented into {folder}.")
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
    finishing: Finishing
    extent: Extent | None
    overwrite: bool
    counts: Counter[_Outcome] = field(default_factory=Counter)

    def take(self, path: Path, files: dict[str, Path]) -> Generator[TileProgress, None, None]:
        """Segment an image unless all its files are there, yielding after each tile; count how it went.

        Raises
        ------
        OSError
            When the disk is full or gone, so that the other images would fail as well.
        """
        from napari_sam2_adapters.batch.segment_file import segment_file

        try:
            missing = files_to_write(files, overwrite=self.overwrite)
            if not missing:
                self.counts["there"] += 1
                return
            left = [file.name for kind, file in files.items() if kind not in missing]
            asked = {kind: kind in missing for kind in _EXTRAS}
            config = self.config.model_copy(update=asked)
            with TemporaryDirectory() as folder:
                raw = Path(folder) / "mask.npz"  # which holds every geometry
                wanted = missing if self.finishing.idle else self._unfinished(missing, raw)
                found = yield from segment_file(
                    self.segmenter,
                    self.header,
                    path,
                    wanted,
                    config,
                    overwrite=self.overwrite,
                    later=[missing[kind] for kind in ("labels", "objects") if kind in missing],
                    part=None if self.extent is None else self.extent.region_of,
                )
                notices = [*found.notices]
                if left:
                    notices.append(
                        f"{', '.join(left)} {'was' if len(left) == 1 else 'were'} there and left alone; --overwrite makes all anew."
                    )
                if not self.finishing.idle:
                    notices.append(
                        self.finishing.finish(raw, path, missing, overwrite=self.overwrite)
                    )
        except Exception as error:  # whatever is wrong with one file does not stop the others
            if disk_is_unusable(error):
                raise
            if isinstance(error, FileExistsError) and not files_to_write(files, overwrite=False):
                errors().print(f"{path.name}: another run has written its mask meanwhile.")
                self.counts["there"] += 1
                return
            errors().print(f"{path.name} failed: {sentence(error)}")
            self.counts["failed"] += 1
        else:
            for notice in filter(None, notices):
                errors().print(f"{path.name}: {notice}")
            self.counts["done"] += 1

    def _unfinished(self, files: dict[str, Path], raw: Path) -> dict[str, Path]:
        """The files that the network gives, with the mask for the time being elsewhere."""
        return {kind: files[kind] for kind in _EXTRAS if kind in files} | {"labels": raw}
