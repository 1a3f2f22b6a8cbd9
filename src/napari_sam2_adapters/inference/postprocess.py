"""Tidying of label images: specks and holes of each class, and single objects by connected components.

Everything works on blocks: each slice on its own, or each volume as a whole. Only one block is in memory, so that a long stack of slices
takes no more than one of them. Pixels belong together where they share a side (in a volume: a face); corners do not join.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.axes import ArrayLike, check_axes, plane_indices
from napari_sam2_adapters.inference.outputs import Writable
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig

__all__ = [
    "Block",
    "BlockDone",
    "ClassRule",
    "PostprocessConfig",
    "block_keys",
    "clean_block",
    "label_objects",
    "postprocess",
]

Block = tuple[int | slice, ...]
"""Index of a slice or a volume in a label array."""


@dataclass(frozen=True)
class BlockDone:
    """A block is tidy.

    Attributes
    ----------
    done, total
        Blocks so far and in all.
    block
        Its index in the labels.
    first_object
        Number of its first object; the others follow.
    object_classes
        Class value of each of its objects (n,).
    """

    done: int
    total: int
    block: Block
    first_object: int
    object_classes: NDArray[np.unsignedinteger[Any]]


def block_keys(
    shape: Sequence[int],
    axes: str,
    together: Literal["slices", "volumes"],
    planes: Sequence[tuple[int, ...]] | None = None,
) -> list[Block]:
    """Index of each slice, or of each volume, in an array of labels.

    Parameters
    ----------
    shape, axes
        Those of the labels, such as ``"TZYX"``.
    together
        Whether Z is cut into slices or kept whole.
    planes
        Only the blocks that hold these planes, as `plane_indices` gives them; None for all.

    Raises
    ------
    ValueError
        When the axes do not name this shape, or hold channels.
    """
    check_axes(tuple(shape), axes)
    if "C" in axes:
        raise ValueError(f"Labels have no channels, but the axes are {axes!r}. Leave out the C.")
    kept = "ZYX" if together == "volumes" else "YX"
    others = [axis for axis in axes if axis not in "YX"]
    keys: dict[str, Block] = {}
    for plane in plane_indices(tuple(shape), axes) if planes is None else planes:
        at = dict(zip(others, plane, strict=True))
        key = tuple(slice(None) if axis in kept else at[axis] for axis in axes)
        keys.setdefault(repr(key), key)  # slices cannot be hashed before Python 3.12
    return list(keys.values())


def postprocess(
    labels: ArrayLike,
    axes: str,
    config: PostprocessConfig,
    *,
    classes: Sequence[int],
    cleaned: Writable,
    objects: Writable | None = None,
    planes: Sequence[tuple[int, ...]] | None = None,
    first_object: int = 1,
) -> Generator[BlockDone, None, None]:
    """Tidy labels block by block, yielding after each.

    Parameters
    ----------
    labels, axes
        Class values as the network gave them; not changed, unless ``cleaned`` is the same array.
    config
        The rules.
    classes
        All class values. A 0 that is not among them marks what was not segmented: it is never spread and never filled.
    cleaned
        Array of the same shape for the tidy class values.
    objects
        Array of the same shape for the numbers of objects, 0 where there is none; needed only where a rule asks for objects.
    planes
        Only the blocks that hold these planes; None for all.
    first_object
        Number of the first object.

    Raises
    ------
    ValueError
        When an array has another shape.
    """
    for what, array in (("cleaned labels", cleaned), ("objects", objects)):
        if array is not None and tuple(array.shape) != tuple(labels.shape):
            raise ValueError(
                f"The array for the {what} has shape {tuple(array.shape)}, but the labels have {tuple(labels.shape)}. "
                "Give one of the same shape."
            )
    keys = block_keys(labels.shape, axes, config.together, planes)
    for done, key in enumerate(keys, 1):
        block = clean_block(np.asarray(labels[key]), config.rules, classes)
        cleaned[key] = block
        found = np.zeros(0, block.dtype)
        if objects is not None:
            numbers, found = label_objects(block, config.object_values, first_object)
            objects[key] = numbers
        yield BlockDone(done, len(keys), key, first_object, found)
        first_object += len(found)


def clean_block(
    labels: NDArray[Any], rules: Sequence[ClassRule], classes: Sequence[int]
) -> NDArray[Any]:
    """A tidy copy of one slice (Y, X) or volume (Z, Y, X): first the specks of every class go, then holes are filled.

    Parameters
    ----------
    labels
        Class values.
    rules
        What to do to which class, in this order.
    classes
        All class values, as in `postprocess`.
    """
    result = labels.copy()
    for rule in rules:
        if rule.smallest_px > 1 or rule.only_largest:
            _absorb(result, rule, set(classes))
    for rule in rules:
        if rule.fill_holes_px:
            _fill_holes(result, rule.value, rule.fill_holes_px, set(classes))
    return result


def label_objects(
    labels: NDArray[Any], values: Sequence[int], first: int = 1
) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """Number the connected objects of some classes in one slice or volume.

    Parameters
    ----------
    labels
        Class values.
    values
        Classes whose objects are numbered, one class after the other.
    first
        Number of the first object.

    Returns
    -------
    numbers
        uint32 of the shape of the labels, 0 outside of objects.
    classes
        Class value of each object (n,), in the order of the numbers.
    """
    from skimage.measure import label

    numbers = np.zeros(labels.shape, np.uint32)
    found: list[int] = []
    for value in values:
        here = labels == value
        components, count = label(here, connectivity=1, return_num=True)
        numbers[here] = components[here] + (first + len(found) - 1)
        found += [value] * count
    return numbers, np.array(found, labels.dtype)


def _absorb(labels: NDArray[Any], rule: ClassRule, classes: set[int]) -> None:
    """Give objects that are too small, or not the largest, the class that surrounds them most, in place."""
    from skimage.measure import label

    components, count = label(labels == rule.value, connectivity=1, return_num=True)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    sizes[0] = 0
    goes = sizes < rule.smallest_px
    if rule.only_largest:
        goes[np.arange(count + 1) != sizes.argmax()] = True
    goes[0] = False
    if not goes.any():
        return
    components[~goes[components]] = 0
    becomes = _most_around(components, labels, classes)
    inside = components > 0
    labels[inside] = [becomes.get(number, rule.value) for number in components[inside].tolist()]


def _most_around(
    components: NDArray[Any], labels: NDArray[Any], classes: set[int]
) -> dict[int, int]:
    """Class with most pixel sides along the outline of each component; components that touch no class are left out."""
    pairs = []
    for axis in range(labels.ndim):
        lower = tuple(slice(None, -1) if a == axis else slice(None) for a in range(labels.ndim))
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(labels.ndim))
        for here, there in ((lower, upper), (upper, lower)):
            outline = (components[here] > 0) & (components[there] != components[here])
            pairs.append(np.stack([components[here][outline], labels[there][outline]], axis=1))
    found, sides = np.unique(np.concatenate(pairs).astype(np.int64), axis=0, return_counts=True)
    most: dict[int, tuple[int, int]] = {}
    for (number, neighbour), count in zip(found.tolist(), sides.tolist(), strict=True):
        if neighbour in classes and count > most.get(number, (0, 0))[0]:
            most[number] = count, neighbour
    return {number: neighbour for number, (_, neighbour) in most.items()}


def _fill_holes(labels: NDArray[Any], value: int, largest: int, classes: set[int]) -> None:
    """Give a class its small holes, in place: what it encloses, away from the border and from what was not segmented."""
    from skimage.measure import label

    components, count = label(labels != value, connectivity=1, return_num=True)
    fill = np.bincount(components.ravel(), minlength=count + 1) <= largest
    fill[0] = False
    for axis in range(labels.ndim):
        if labels.shape[axis] == 1:  # a single slice has no border above and below
            continue
        for end in (0, -1):
            fill[np.unique(components.take(end, axis=axis))] = False
    if 0 not in classes:
        fill[np.unique(components[labels == 0])] = False
    labels[fill[components]] = value
