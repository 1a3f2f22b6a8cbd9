"""Files of microscopes, read lazily by the plug-ins of bioio that are installed.

The extra `bioio` brings those with free licences (ND2, LIF). The one for CZI is under the GPL and that for Olympus files needs Java;
who wants them installs them beside it.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bioio
import numpy as np
from bioio_base.exceptions import UnsupportedFileFormatError

from napari_sam2_adapters.data.axes import without_alpha
from napari_sam2_adapters.data.formats.elements import EAGER_BYTES
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.units import unit_name

__all__ = ["read"]

_EXTRA = "pip install 'napari-sam2-adapters[bioio]'"
_PLUGINS = {
    ".czi": ("bioio-czi", "under the GPL; pip install bioio-czi"),
    ".nd2": ("bioio-nd2", _EXTRA),
    ".lif": ("bioio-lif", _EXTRA),
}
_OTHERS = ("bioio-bioformats", "under the GPL, needs Java; pip install bioio-bioformats")
_NAMED_SCENES = 5
# what it warns of on its way is in its errors
logging.getLogger("bioio.bio_image").setLevel(logging.ERROR)


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Open the first scene; pixels of large images are read when they are looked at.

    Axes of length 1 other than Y and X are left out. Lengths are micrometres where the plug-in does not name another unit.

    Raises
    ------
    ValueError
        When no plug-in is installed that reads the file, or the file is damaged or has channels in colour.
    """
    try:
        image: Any = bioio.BioImage(path)
        array, axes = image.dask_data, str(image.dims.order)
        scenes = [str(name) for name in image.scenes]
        names = tuple(str(name) for name in image.channel_names or ())
        geometry = _geometry(image, "".join(_kept(array.shape, axes)))
    except UnsupportedFileFormatError as error:
        raise ValueError(_unsupported(path)) from error
    except Exception as error:  # each plug-in raises what its library does
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{path} cannot be read ({reason}). It may be damaged; open it in the microscope's program and save it again."
        ) from error
    array, axes, rgb = _without_single_axes(array, axes, path)
    if array.nbytes <= EAGER_BYTES:
        array = np.asarray(array)
    return ImageFile(
        array,
        axes,
        path,
        rgb,
        geometry,
        channel_names=names if "C" in axes and not rgb else (),
        notices=_scene_notice(scenes),
    )


def _unsupported(path: Path) -> str:
    """A sentence about a file that no plug-in takes."""
    plugin, how = _PLUGINS.get(path.suffix.lower(), _OTHERS)
    if find_spec(plugin.replace("-", "_")) is None:
        return f"{path} cannot be read by the plug-ins of bioio that are installed. It needs {plugin} ({how})."
    return f"{path} cannot be read by {plugin}. It may be damaged or of another kind; open it in the microscope's program and save it again."


def _kept(shape: tuple[int, ...], axes: str) -> list[str]:
    return [axis for axis, n in zip(axes, shape, strict=True) if n > 1 or axis in "YX"]


def _without_single_axes(array: Any, axes: str, path: Path) -> tuple[Any, str, bool]:
    """The array without axes of length 1, colours called C, and whether there are any."""
    kept = _kept(array.shape, axes)
    array = array[tuple(slice(None) if axis in kept else 0 for axis in axes)]
    if "S" in kept and "C" in kept:
        raise ValueError(
            f"{path} has colours in each of its channels (axes {axes}). Save one channel as a file of its own."
        )
    rgb = "S" in kept
    found = "".join(kept).replace("S", "C")
    array = without_alpha(array, found) if rgb else array
    return array, found, rgb


def _geometry(image: Any, axes: str) -> Geometry | None:
    sizes = image.physical_pixel_sizes
    across, down, deep = sizes.X, sizes.Y, sizes.Z
    if not (_is_length(across) and _is_length(down)) or _never_calibrated(image):
        return None
    named = image.dimension_properties.X.unit
    plane = (float(down), float(across))
    volume = (float(deep) if _is_length(deep) else float(across), *plane)
    interval = image.time_interval
    seconds = interval.total_seconds() if hasattr(interval, "total_seconds") else interval
    if seconds is None and "T" in axes:
        seconds = _seconds_between_frames(image)
    step = float(seconds) if "T" in axes and _is_length(seconds) else None
    return Geometry(
        volume if "Z" in axes else plane,
        unit_name(str(named)) if named is not None else "micrometer",
        time_step=step,
        time_unit=None if step is None else "second",
    )


def _never_calibrated(image: Any) -> bool:
    """Whether an ND2 says that nobody measured its pixels, which bioio gives as 1 µm."""
    about = image.xarray_dask_data.attrs.get("unprocessed")
    metadata = about.get("metadata") if isinstance(about, dict) else None
    channels = getattr(metadata, "channels", None) or ()
    return any(not all(channel.volume.axesCalibrated[:2]) for channel in channels)


def _seconds_between_frames(image: Any) -> float | None:
    """The step of the time axis where the plug-in gives places on it, as that for LIF does, but no interval."""
    places = image.xarray_dask_data.coords.get("T")
    if places is None or places.dtype.kind != "f":
        return None  # whole numbers count the frames
    return float(places[1] - places[0])


def _is_length(value: Any) -> bool:
    return value is not None and 0 < float(value) < float("inf")


def _scene_notice(scenes: list[str]) -> tuple[str, ...]:
    if len(scenes) < 2:
        return ()
    names = ", ".join(scenes[:_NAMED_SCENES])
    more = f" and {len(scenes) - _NAMED_SCENES} more" if len(scenes) > _NAMED_SCENES else ""
    return (
        f"It holds {len(scenes)} scenes ({names}{more}), and this is the first. Save the others as files of their own.",
    )
