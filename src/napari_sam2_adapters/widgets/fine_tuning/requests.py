"""From what the dock's forms say to what the worker is asked."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sam2_adapters.config import ClassInfo, name_anew
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.widgets.docks.layers import pixel_size
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.fine_tuning.messages import TrainingRequest
from napari_sam2_adapters.widgets.fine_tuning.resume import OpenImage
from napari_sam2_adapters.widgets.fine_tuning.runs import SavedRun
from napari_sam2_adapters.widgets.fine_tuning.start_choice import KnownStart
from napari_sam2_adapters.widgets.fine_tuning.training_form import TrainingForm

__all__ = ["classes_to_show", "new_request", "resumed_request"]


def new_request(data: DataForm, training: TrainingForm) -> TrainingRequest:
    """Train with what is chosen.

    Raises
    ------
    ValueError
        When layers cannot be taken.
    """
    picture = data.rows[0].image.picture()
    size, unit = pixel_size(picture)
    known = training.start.known
    return TrainingRequest(
        pairs=data.pairs,
        labels=tuple(data.describe(row.labels.layer) for row in data.rows),
        classes=data.classes,
        model=training.model,
        train=training.train.model_copy(update={"zero_is": data.zero_is}),
        title=f"{picture.name}-{training.model.adapter}",
        pixel_size=size,
        unit=unit,
        start=None if known is None else known.start,
    )


def classes_to_show(
    painted: tuple[ClassInfo, ...], known: KnownStart | None
) -> tuple[ClassInfo, ...]:
    """Classes that a training tells apart: those that are labelled, and those that its adapter knows besides.

    Parameters
    ----------
    painted
        Classes that are labelled.
    known
        The adapter to go on from; None for a fresh one.

    Raises
    ------
    ValueError
        As `name_anew`.
    """
    if known is None:
        return painted
    return name_anew(known.classes, painted, known.start.name)


def resumed_request(run: SavedRun, images: Sequence[OpenImage]) -> TrainingRequest:
    """Finish a run, with the settings and labels that it was started with; the worker reads the labels.

    Parameters
    ----------
    run
        The run.
    images
        The layers of its images.
    """
    card = run.card
    pairs = tuple(
        Pair(picture.array, picture.array, picture.axes, image.name, picture.rgb)
        for (_, picture, _), image in zip(images, card.images, strict=True)
    )
    return TrainingRequest(
        pairs=pairs,
        labels=(),
        classes=card.classes,
        model=card.model,
        train=card.train,
        title=card.title,
        pixel_size=card.pixel_size,
        unit=card.unit,
        resume=run,
    )
