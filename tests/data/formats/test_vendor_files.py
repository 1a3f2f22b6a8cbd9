"""Whole files of microscopes through the plug-ins of bioio that people have installed.

CZI is written by ZEISS's own library. For ND2 and LIF there is no writer to be had, so files are laid out here as their public readers say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import dask.array
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats import microscope
from napari_sam2_adapters.data.io import read_image, read_labels, write_labels
from napari_sam2_adapters.data.samples import load_sample

NAMES = ("DAPI", "GFP", "RFP")
SIZES_UM = (2.0, 0.3, 0.25)
SQUARE_UM = (2.0, 0.25, 0.25)
"""ND2 has one size for rows and columns."""


def write_czi(path: Path, values: NDArray[Any], interval_s: float | None = None) -> None:
    """Values (T, C, Z, Y, X) by libCZI."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    deep, down, across = (size * 1e-6 for size in SIZES_UM)
    with czi.create_czi(str(path)) as document:
        for t, c, z in np.ndindex(*values.shape[:3]):
            document.write(values[t, c, z][..., None], plane={"T": t, "C": c, "Z": z})
        document.write_metadata(
            channel_names=dict(enumerate(NAMES[: values.shape[1]])),
            scale_x=across,
            scale_y=down,
            scale_z=deep,
        )


def write_nd2(path: Path, values: NDArray[Any], interval_s: float | None = None) -> None:
    """Values (T, C, Z, Y, X) in chunks, of which the last is the map of all."""
    n_times, n_channels, depth, height, width = values.shape
    bits = values.dtype.itemsize * 8
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * n_channels * bits // 8,
        "uiHeight": height,
        "uiComp": n_channels,
        "uiBpcInMemory": bits,
        "uiBpcSignificant": bits,
        "uiSequenceCount": n_times * depth,
        "eCompression": 2,
    }
    planes = {
        f"a{n}": {"uiCompCount": 1, "uiSampleIndex": n, "uiColor": 255 << 8 * n, "sDescription": NAMES[n], "pFluorescentProbe": {"m_sName": NAMES[n]}}
        for n in range(n_channels)
    }  # fmt: skip
    picture = {
        "bCalibrated": interval_s is not None,
        "dCalibration": SQUARE_UM[-1] if interval_s is not None else -1.0,
        "sPicturePlanes": {"uiCount": n_channels, "sPlaneNew": planes},
    }
    stack = {"eType": 4, "uLoopPars": {"uiCount": depth, "dZLow": 0.0, "dZHigh": (depth - 1) * SIZES_UM[0], "dZStep": SIZES_UM[0], "iType": 0}}  # fmt: skip
    times = {"uiCount": n_times, "dStart": 0.0, "dPeriod": (interval_s or 0.0) * 1000, "dDuration": 0.0}  # fmt: skip
    loops = {"eType": 1, "uLoopPars": times, "ppNextLevelEx": {"": stack}} if n_times > 1 else stack
    chunks = {
        "ImageAttributesLV!": _level({"SLxImageAttributes": attributes}),
        "ImageMetadataSeqLV|0!": _level({"SLxPictureMetadata": picture}),
        "ImageMetadataLV!": _level({"SLxExperiment": loops}),
        "CustomData|AcqTimesCache!": np.arange(n_times * depth, dtype="<f8").tobytes(),
    }
    for number, (t, z) in enumerate(np.ndindex(n_times, depth)):
        pixels = np.ascontiguousarray(np.moveaxis(values[t, :, z], 0, -1))
        chunks[f"ImageDataSeq|{number}!"] = struct.pack("<d", 0) + pixels.tobytes()
    content = _chunk("ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places = b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(content), len(data))
        content += _chunk(name, data, 4072)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(content))
    path.write_bytes(content + _chunk("ND2 FILEMAP SIGNATURE NAME 0001!", places + end, 32))


def _chunk(name: str, data: bytes, name_bytes: int) -> bytes:
    head = struct.pack("<IIQ", 0x0ABECEDA, name_bytes, len(data))
    return head + name.encode().ljust(name_bytes, b"\0") + data


def _level(entries: dict[str, Any]) -> bytes:
    """Entries as variants: type, length of the name, name, value; the first letter of a name says the type."""
    content = b""
    for name, value in entries.items():
        encoded = f"{name}\0".encode("utf-16-le")
        if isinstance(value, dict):
            inner = _level(value)
            length = 2 + len(encoded) + 12 + len(inner)
            content += bytes([11, len(name) + 1]) + encoded
            content += struct.pack("<IQ", len(value), length) + inner + bytes(8 * len(value))
            continue
        kind, packed = {
            bool: (1, lambda v: struct.pack("?", v)),
            int: (3, lambda v: struct.pack("<I", v)),
            float: (6, lambda v: struct.pack("<d", v)),
            str: (8, lambda v: f"{v}\0".encode("utf-16-le")),
        }[type(value)]
        content += bytes([kind, len(name) + 1]) + encoded + packed(value)
    return content


def write_lif(path: Path, values: NDArray[Any], interval_s: float | None = None) -> None:
    """Values (T, C, Z, Y, X) as one block of memory behind a description in XML."""
    lengths = dict(zip("TCZYX", values.shape, strict=True))
    stored = np.ascontiguousarray(values.transpose(0, 2, 1, 3, 4))  # T, Z, C, Y, X
    steps = dict(zip("TZCYX", stored.strides, strict=True))
    known = dict(zip("ZYX", (size * 1e-6 for size in SIZES_UM), strict=True))
    known["T"] = interval_s or 0.0
    root = Element("LMSDataContainerHeader", Version="2")
    top = SubElement(root, "Element", Name="project", Visibility="1")
    element = SubElement(SubElement(top, "Children"), "Element", Name="Series001", Visibility="1")
    image = SubElement(SubElement(element, "Data"), "Image", TextDescription="")
    about = SubElement(image, "ImageDescription")
    channels = SubElement(about, "Channels")
    for number in range(lengths["C"]):
        SubElement(
            channels,
            "ChannelDescription",
            DataType="0",
            ChannelTag="0",
            Resolution=str(values.dtype.itemsize * 8),
            NameOfMeasuredQuantity="",
            Min="0",
            Max="65535",
            Unit="",
            LUTName=NAMES[number],
            IsLUTInverted="0",
            BytesInc=str(number * steps["C"]),
            BitInc="0",
        )
    dimensions = SubElement(about, "Dimensions")
    for number, axis in enumerate("XYZT", 1):
        if lengths[axis] == 1:
            continue
        SubElement(
            dimensions,
            "DimensionDescription",
            DimID=str(number),
            NumberOfElements=str(lengths[axis]),
            Origin="0",
            Length=repr(known[axis] * (lengths[axis] - 1)),
            Unit="s" if axis == "T" else "m",
            BytesInc=str(steps[axis]),
            BitInc="0",
        )
    SubElement(element, "Memory", Size=str(stored.nbytes), MemoryBlockID="MemBlock_1")
    SubElement(SubElement(top, "Memory", Size="0", MemoryBlockID="MemBlock_0"), "none")
    header = tostring(root, encoding="unicode")
    block = "MemBlock_1"
    content = struct.pack("<IIBI", 0x70, 2 * len(header) + 5, 0x2A, len(header))
    content += header.encode("utf-16-le")
    content += struct.pack("<IIBQBI", 0x70, 2 * len(block) + 14, 0x2A, stored.nbytes, 0x2A, len(block))  # fmt: skip
    path.write_bytes(content + block.encode("utf-16-le") + stored.tobytes())


Writer = Callable[..., None]
KINDS = [
    pytest.param("a.czi", write_czi, "bioio_czi", id="czi"),
    pytest.param("a.nd2", write_nd2, "bioio_nd2", id="nd2"),
    pytest.param("a.lif", write_lif, "bioio_lif", id="lif"),
]


@pytest.mark.parametrize(("name", "write", "plugin"), KINDS)
def test_a_stack_in_time_with_channels(
    tmp_path: Path, name: str, write: Writer, plugin: str
) -> None:
    pytest.importorskip(plugin)
    nuclei = load_sample("fluorescence").train_images[:4, :50, :60]
    values = (np.arange(1, 7, dtype=np.uint16).reshape(2, 3, 1, 1, 1) * 256 + nuclei).astype("<u2")
    path = tmp_path / name
    write(path, values, 1.5)
    found = read_image(path)
    assert (found.axes, found.array.dtype, found.rgb) == ("TCZYX", np.uint16, False)
    np.testing.assert_array_equal(np.asarray(found.array), values)
    assert found.channel_names == NAMES
    sizes = SQUARE_UM if name == "a.nd2" else SIZES_UM
    assert found.pixel_size == pytest.approx(sizes)
    assert found.unit == "micrometer"
    assert found.notices == ()
    if name != "a.czi":  # libCZI writes no times
        assert found.geometry is not None
        assert found.geometry.time_step == pytest.approx(1.5)
        assert found.geometry.time_unit == "second"
    labels = write_labels(
        tmp_path / "l.ome.tif", values[:, 0], axes="TZYX", geometry=found.geometry, source=path
    )
    assert read_labels(labels).pixel_size == pytest.approx(sizes)


@pytest.mark.parametrize(("name", "write", "plugin"), KINDS)
def test_a_plain_stack_is_lazy_where_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Writer, plugin: str
) -> None:
    pytest.importorskip(plugin)
    monkeypatch.setattr(microscope, "EAGER_BYTES", 1000)
    nuclei = load_sample("fluorescence").train_images[:3]
    path = tmp_path / name
    write(path, nuclei[None, None], 1.0)
    found = read_image(path)
    assert (found.axes, found.channel_names) == ("ZYX", ())
    assert isinstance(found.array, dask.array.Array)
    np.testing.assert_array_equal(np.asarray(found.array[1]), nuclei[1])
    np.testing.assert_array_equal(np.asarray(found.array), nuclei)
    assert found.pixel_size == pytest.approx(SQUARE_UM if name == "a.nd2" else SIZES_UM)


@pytest.mark.parametrize(("name", "write", "plugin"), KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9])
def test_a_file_that_was_cut_short_is_a_sentence(
    tmp_path: Path, name: str, write: Writer, plugin: str, kept: float
) -> None:
    pytest.importorskip(plugin)
    path = tmp_path / name
    write(path, load_sample("fluorescence").train_images[None, None, :3], 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError, match=rf"{name} cannot be read.*save it again|may be damaged"):
        np.asarray(read_image(path).array)


def test_an_nd2_that_was_never_calibrated_has_no_pixel_size(tmp_path: Path) -> None:
    pytest.importorskip("bioio_nd2")
    path = tmp_path / "a.nd2"
    write_nd2(path, load_sample("fluorescence").train_images[None, None, :1])
    found = read_image(path)
    assert (found.axes, found.pixel_size, found.unit) == ("YX", None, None)
