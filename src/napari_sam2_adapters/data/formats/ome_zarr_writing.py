"""Writing OME-Zarr: alone or into the labels of an image, by chunk, and visible only when it is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import DTypeLike, NDArray

from napari_sam2_adapters.atomic import new_partial_folder, publish_folder
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import check_axes
from napari_sam2_adapters.data.formats.ngff import (
    Multiscale,
    Version,
    geometry_attributes,
    image_label,
    ome_attributes,
    parse_multiscale,
    put_under_ome,
)
from napari_sam2_adapters.data.formats.ngff_channels import shown_channels
from napari_sam2_adapters.data.formats.ome_zarr_levels import own_levels, rechunked
from napari_sam2_adapters.data.formats.ome_zarr_target import (
    ensure_labels_group,
    fitting_image,
    followed_image,
    image_of,
    link_to_image,
    list_in_image,
    refuse_replacing,
)
from napari_sam2_adapters.data.formats.pyramid import (
    LevelShape,
    aligned_blocks,
    fill_level,
    sampled_indices,
)
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.formats.zarr_nodes import remove_begun
from napari_sam2_adapters.data.geometry import Geometry

__all__ = ["create_labels", "discard_labels", "finish_labels", "write"]

_ORDER = "TCZYX"
_SPEC_FORMATS: dict[Version, Any] = {"0.4": 2, "0.5": 3}


@dataclass(frozen=True)
class _About:
    """What belongs to an array; as in `Content`."""

    geometry: Geometry | None
    classes: Sequence[ClassInfo]
    source: Path | None
    labels: bool


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write an array block by block with its pyramid; a name in ``IMAGE.ome.zarr/labels/`` adds labels to that image.

    The axes are stored in the order T, C, Z, Y, X.
    """
    order = "".join(axis for axis in _ORDER if axis in content.axes)
    shape = tuple(int(content.array.shape[content.axes.index(axis)]) for axis in order)
    level0 = _create(
        path,
        shape,
        order,
        content.dtype,
        # channels do not follow the levels of an image
        _About(
            content.geometry,
            content.classes if content.labels or content.channel_names else (),
            content.source if content.labels else None,
            content.labels,
        ),
        overwrite=overwrite,
    )
    try:
        stored = _stored_axes(level0)
        for block in aligned_blocks(level0.shape, level0.shards or level0.chunks, level0.dtype):
            level0[block] = _region(content, order, stored, block)
        return finish_labels(level0, path, overwrite=overwrite)
    except BaseException:
        discard_labels(level0)
        raise


def create_labels(
    path: Path,
    shape: Sequence[int],
    axes: str,
    dtype: DTypeLike,
    *,
    geometry: Geometry | None = None,
    classes: Sequence[ClassInfo] = (),
    source: Path | None = None,
    chunks: Sequence[int] | None = None,
    version: Version | None = None,
    overwrite: bool = False,
) -> Any:
    """Begin a label image that is written chunk by chunk and gets its name with :func:`finish_labels`.

    Several processes may write chunks at the same time: each opens the array by its place on the disk,
    ``zarr.open_array(level0.store.root / level0.path, mode="r+")``, and writes whole chunks (shards, where there are some).

    Parameters
    ----------
    path
        Where the labels will lie: ``NAME.ome.zarr``, or ``IMAGE.ome.zarr/labels/NAME`` for an image that is there.
    shape, axes
        Of the labels, the axes in the order T, Z, Y, X. In an image, axes of length 1 may be left out; they are added.
    dtype
        Of the label values, unsigned.
    geometry
        Where the pixels lie; that of the image when the labels go into one.
    classes
        Names and colours of the values.
    source
        Image that the labels belong to; one in OME-Zarr gives its levels, chunks and version.
    chunks
        Pixels of a chunk along each axis; those of the image, or 16 × 512 × 512, when None.
    version
        Of OME-Zarr; that of the image, or 0.4, which most programs read, when None.
    overwrite
        Whether labels of this name may be replaced.

    Returns
    -------
    zarr.Array
        The finest level, filled with 0, in a hidden folder beside the target.

    Raises
    ------
    FileExistsError
        When there are labels of this name and ``overwrite`` is not set.
    ValueError
        When the labels do not fit the image.
    """
    return _create(
        Path(path),
        tuple(int(n) for n in shape),
        axes,
        np.dtype(dtype),
        _About(geometry, classes, source, labels=True),
        chunks=chunks,
        version=version,
        overwrite=overwrite,
    )


def finish_labels(level0: Any, path: Path, *, overwrite: bool = False) -> Path:
    """Write the coarser levels, force all to the disk and give the labels their name.

    Parameters
    ----------
    level0
        The array that `create_labels` gave, or the same opened again.
    path
        As it was given to `create_labels`.
    overwrite
        Whether labels of this name may be replaced.

    Raises
    ------
    FileExistsError
        When labels of this name came to be in the meantime and ``overwrite`` is not set.
    """
    path, draft = Path(path), _draft(level0)
    group = zarr.open_group(str(draft), mode="r+", use_consolidated=False)
    entries = ome_attributes(group.attrs)
    multiscale = parse_multiscale(entries, draft)
    arrays: list[Any] = [group[level.path] for level in multiscale.levels]
    shapes = [tuple(array.shape) for array in arrays]
    along = [sampled_indices(multiscale.levels, shapes, axis) for axis in range(len(shapes[0]))]
    for number in range(1, len(arrays)):
        taken = [indices[number - 1] for indices in along]
        fill_level(arrays[number], arrays[number - 1], taken)
    refuse_replacing(path, overwrite=overwrite)
    image = image_of(path)
    if image is None:
        return publish_folder(draft, path, overwrite=overwrite)
    ensure_labels_group(image, group.metadata.zarr_format)
    publish_folder(draft, path, overwrite=overwrite)
    list_in_image(image, path.name)
    return path


def discard_labels(level0: Any) -> None:
    """Remove labels that `create_labels` began and that are not to be finished; nothing once they have their name."""
    remove_begun(_draft(level0))


def _create(
    path: Path,
    shape: tuple[int, ...],
    axes: str,
    dtype: np.dtype[Any],
    about: _About,
    *,
    chunks: Sequence[int] | None = None,
    version: Version | None = None,
    overwrite: bool,
) -> Any:
    check_axes(shape, axes)
    geometry, source = about.geometry, about.source
    if geometry is not None:
        geometry.check_axes(axes)
    refuse_replacing(path, overwrite=overwrite)
    inside = image_of(path)
    if inside is not None and not about.labels:
        raise ValueError(
            f"{path} lies in the labels of an image, where only whole numbers go. Write it as a file of its own."
        )
    image = followed_image(inside or source)
    if inside is not None and image is None:
        raise ValueError(
            f"{inside} is no OME-Zarr image that labels could go into. Write them as a file of their own."
        )
    if image is not None:
        image = fitting_image(image, shape, axes, geometry, path if inside else None)
    if image is None:
        multiscale, shapes = own_levels(shape, axes, geometry, chunks, version or "0.4")
    else:
        shapes = image.shapes if chunks is None else rechunked(image.shapes, chunks)
        kept = image.multiscale.version if inside else version or image.multiscale.version
        multiscale = replace(image.multiscale, version=kept)
        geometry = image.geometry
    entries = multiscale.attributes(path.name)
    if about.labels:
        link = link_to_image(path, inside, source if image is not None else None)
        entries |= image_label(about.classes, link, multiscale.version)
    elif about.classes:
        entries |= shown_channels(about.classes)
    folder = inside or path.parent
    draft = new_partial_folder(folder)
    try:
        return _begin(draft, multiscale, shapes, dtype, entries, geometry)
    except BaseException:  # such as a full disk, which it would keep full
        remove_begun(draft)
        raise


def _begin(
    draft: Path,
    multiscale: Multiscale,
    shapes: Sequence[LevelShape],
    dtype: np.dtype[Any],
    entries: dict[str, Any],
    geometry: Geometry | None,
) -> Any:
    """The finest level of the arrays of an image, in a folder that is empty yet."""
    group = zarr.open_group(
        str(draft),
        mode="w",
        zarr_format=_SPEC_FORMATS[multiscale.version],
        attributes={
            **put_under_ome(entries, multiscale.version),
            **geometry_attributes(geometry),
        },
    )
    for level, stored in zip(multiscale.levels, shapes, strict=True):
        _new_array(group, level.path, stored, dtype, multiscale)
    return group[multiscale.levels[0].path]


def _new_array(
    group: Any, name: str, stored: LevelShape, dtype: np.dtype[Any], multiscale: Multiscale
) -> None:
    options: dict[str, Any] = {"shape": stored.shape, "chunks": stored.chunks, "dtype": dtype}
    if multiscale.version == "0.4":
        options["compressors"] = Blosc("zstd", 5, Blosc.SHUFFLE)
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    else:
        options["compressors"] = zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")
        options["dimension_names"] = [axis.lower() for axis in multiscale.axes]
        options["shards"] = stored.shards
    group.create_array(name, fill_value=0, **options)


def _stored_axes(level0: Any) -> str:
    group = zarr.open_group(str(_draft(level0)), mode="r", use_consolidated=False)
    return parse_multiscale(ome_attributes(group.attrs), _draft(level0)).axes


def _region(content: Content, order: str, stored: str, block: tuple[slice, ...]) -> NDArray[Any]:
    """A block of the stored array, from an array with other axes in another order."""
    place = dict(zip(stored, block, strict=True))
    index = tuple(place.get(axis, 0) for axis in content.axes)
    here = [axis for axis in content.axes if axis in place]
    wanted = [axis for axis in order if axis in place]
    read = np.asarray(content.array[index]).transpose([here.index(axis) for axis in wanted])
    shape = tuple(
        part.stop - part.start if axis in order else 1
        for axis, part in zip(stored, block, strict=True)
    )
    return read.reshape(shape).astype(content.dtype, copy=False)


def _draft(level0: Any) -> Path:
    """The hidden folder that an array of labels is being written in."""
    return (Path(level0.store.root) / str(level0.path)).parent
