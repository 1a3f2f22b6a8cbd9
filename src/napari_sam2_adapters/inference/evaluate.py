"""Scoring a segmenter on images with known labels, as the laboratory does and as the field does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo, Normalization, PredictConfig
from napari_sam2_adapters.data.axes import label_axes, plane_indices, read_plane
from napari_sam2_adapters.data.pairs import Pair, ZeroIs, check_zero_is
from napari_sam2_adapters.inference.outputs import label_shape
from napari_sam2_adapters.inference.predict import check_image, predict
from napari_sam2_adapters.metrics import (
    UNLABELLED,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_over_images,
    mean_score,
)
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.wording import counted

__all__ = ["ImageScore", "Scores", "class_indices", "evaluate", "score_images", "summarize"]


@dataclass(frozen=True)
class ImageScore:
    """Confusion matrix (classes, classes) of one image, true classes in rows."""

    name: str
    confusion: NDArray[np.int64]

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice per class; NaN where a class is in neither image."""
        return dice_per_class(self.confusion)


@dataclass(frozen=True)
class Scores:
    """Scores of a set of images.

    Attributes
    ----------
    lab_miou
        Mean IoU over all classes from one confusion matrix over the whole set.
    dice, iou
        Per class name: mean over the images in which the class is true or predicted.
    mean_dice
        Mean of ``dice`` over all classes.
    images
        Number of images.
    """

    lab_miou: float
    dice: dict[str, float]
    iou: dict[str, float]
    mean_dice: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; None for a class that is nowhere."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else round(value, 6)

        return {
            "lab_miou": plain(self.lab_miou),
            "mean_dice": plain(self.mean_dice),
            "dice": {name: plain(value) for name, value in self.dice.items()},
            "iou": {name: plain(value) for name, value in self.iou.items()},
            "images": self.images,
        }


def evaluate(
    segmenter: Segmenter,
    pairs: Iterable[Pair],
    *,
    zero_is: ZeroIs,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
) -> Scores:
    """Segment images and score them; arguments as `score_images`."""
    scored = list(
        score_images(segmenter, pairs, zero_is=zero_is, normalization=normalization, config=config)
    )
    return summarize(scored, segmenter.classes)


def score_images(
    segmenter: Segmenter,
    pairs: Iterable[Pair],
    *,
    zero_is: ZeroIs,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    on_plan: Callable[[MemoryPlan], None] | None = None,
) -> Generator[ImageScore, None, None]:
    """Segment one image after the other and yield its confusion matrix.

    Of a list of pairs all are looked at before the first is segmented, so that what is wrong with the last one is not found after hours.

    Parameters
    ----------
    segmenter
        The network.
    pairs
        Images with true label values.
    zero_is
        ``unlabelled``: pixels labelled 0 do not count; ``background``: 0 is a class.
    normalization, config, on_plan
        As in `predict`; each image has a plan.

    Raises
    ------
    ValueError
        When an image does not fit the model, has a label that the model does not know, or its labels have another
        shape; the sentence names the image.
    """
    labels_alone = {"probabilities": False, "uncertainty": False}  # which nobody would look at
    config = (config or PredictConfig()).model_copy(update=labels_alone)
    for pair in pairs if isinstance(pairs, Sequence) else ():
        _check_pair(segmenter, pair)
        axes = label_axes(pair.axes)
        for index in plane_indices(pair.labels.shape, axes):
            class_indices(
                read_plane(pair.labels, axes, index), segmenter.classes, zero_is, pair.name
            )
    for pair in pairs:
        _check_pair(segmenter, pair)
        try:
            predicted = predict(
                segmenter,
                pair.image,
                axes=pair.axes,
                normalization=normalization,
                config=config,
                rgb=pair.rgb,
                on_plan=on_plan,
                on_notice=partial(_warn_of, pair.name),
            ).labels
        except ValueError as error:
            raise ValueError(f"{pair.name} cannot be scored: {error}") from error
        yield ImageScore(pair.name, _compare(pair, predicted, segmenter.classes, zero_is))


def summarize(scored: Sequence[ImageScore], classes: Sequence[ClassInfo]) -> Scores:
    """Bring the scores of images together.

    Raises
    ------
    ValueError
        When there are none, or none of their pixels is labelled.
    """
    if not scored:
        raise ValueError("There are no images to score. Give at least one image with labels.")
    if not any(s.confusion.any() for s in scored):
        raise ValueError(
            f"No pixel of {counted(len(scored), 'image')} is labelled, so there is nothing to score. "
            "Give labels with a class, or say that 0 is background."
        )
    names = [c.name for c in classes]
    dice = mean_over_images([s.dice for s in scored])
    iou = mean_over_images([iou_per_class(s.confusion) for s in scored])
    whole = np.sum([s.confusion for s in scored], axis=0)
    return Scores(
        lab_miou=mean_score(iou_per_class(whole)),
        dice=dict(zip(names, dice.tolist(), strict=True)),
        iou=dict(zip(names, iou.tolist(), strict=True)),
        mean_dice=mean_score(dice),
        images=len(scored),
    )


def _warn_of(name: str, notice: str) -> None:
    warnings.warn(f"{name}: {notice}", stacklevel=4)  # where images are scored


def _check_pair(segmenter: Segmenter, pair: Pair) -> None:
    plain = label_shape(pair.image.shape, pair.axes)
    if tuple(pair.labels.shape) != plain:
        raise ValueError(
            f"The labels of {pair.name} have shape {tuple(pair.labels.shape)} but the image needs {plain}. "
            "Give labels with one value for each pixel."
        )
    try:
        check_image(segmenter, pair.image, pair.axes, pair.rgb)
    except ValueError as error:
        raise ValueError(f"{pair.name} cannot be scored: {error}") from error


def _compare(
    pair: Pair, predicted: NDArray[Any], classes: Sequence[ClassInfo], zero_is: ZeroIs
) -> NDArray[np.int64]:
    """Confusion matrix over all planes, of which one at a time is in memory."""
    axes = label_axes(pair.axes)
    total = np.zeros((len(classes), len(classes)), np.int64)
    for index in plane_indices(predicted.shape, axes):
        truth = read_plane(pair.labels, axes, index)
        total += confusion_matrix(
            class_indices(truth, classes, zero_is, pair.name),
            class_indices(read_plane(predicted, axes, index), classes, "background", pair.name),
            len(classes),
        )
    return total


def class_indices(
    labels: NDArray[Any], classes: Sequence[ClassInfo], zero_is: ZeroIs, name: str
) -> NDArray[np.int16]:
    """Class indices of label values; -1 for negative values and, if 0 is unlabelled, for 0.

    Raises
    ------
    ValueError
        When a label has no class, or ``zero_is`` is neither ``unlabelled`` nor ``background``.
    """
    check_zero_is(zero_is)
    indices = np.full(labels.shape, UNLABELLED, np.int16)
    known = labels < 0
    if zero_is == "unlabelled":
        known |= labels == 0
    for index, info in enumerate(classes):
        here = (labels == info.value) & ~known
        indices[here] = index
        known |= here
    if not known.all():
        strange = np.unique(labels[~known])
        raise ValueError(
            f"{name} has the label {strange[0]}, which is no class of the adapter "
            f"(it knows {', '.join(f'{c.value} {c.name}' for c in classes)}). Correct the labels, or say what 0 means."
        )
    return indices
