from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.data.io import read_image, write_labels


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
def test_a_folder_may_hold_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"slice \xe9.dcm")
    odd.write_bytes(b"1")
    stamp = FileStamp.of(tmp_path)
    assert stamp.matches(tmp_path)
    odd.rename(tmp_path / os.fsdecode(b"slice \xe8.dcm"))
    assert not stamp.matches(tmp_path)


def test_the_other_files_of_an_ome_tiff_count(tmp_path: Path) -> None:
    planes = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
    parts = [tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"]
    tifffile.imwrite(parts[0], planes, metadata={"axes": "ZYX"})
    xml = tifffile.tiffcomment(parts[0])
    names = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{part.name}">urn:uuid:{z}</UUID></TiffData>'
        for z, part in enumerate(parts)
    )
    start = xml.index("<TiffData")
    xml = xml[:start] + names + xml[xml.index("/>", start) + 2 :]
    for part, plane in zip(parts, planes, strict=True):
        tifffile.imwrite(part, plane, description=xml.encode(), metadata=None)
    np.testing.assert_array_equal(read_image(parts[0]).array, planes)
    stamp = FileStamp.of(parts[0])
    assert stamp.matches(parts[0])
    changed = planes[1] + 1
    tifffile.imwrite(parts[1], changed, description=xml.encode(), metadata=None)
    os.utime(parts[1], ns=(0, stamp.mtime_ns + 10**9))
    assert not stamp.untouched(parts[0])
    assert not stamp.matches(parts[0])
    parts[1].unlink()
    assert not stamp.matches(parts[0])
    parts[0].write_bytes(b"II*\0 no more than that")
    assert not stamp.matches(parts[0])
    assert FileStamp.of(parts[0]).matches(parts[0])


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_the_pixels_beside_a_header_count(tmp_path: Path, name: str) -> None:
    """Exported again, an image of the same size has the same header."""
    path = tmp_path / name
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write_labels(path, labels, axes="YX")
    stamp = FileStamp.of(path)
    assert stamp.untouched(path)
    assert stamp.matches(path)
    data = next(other for other in tmp_path.iterdir() if other != path)
    copy = data.read_bytes()
    data.write_bytes(copy[:-9] + bytes(9))
    os.utime(data, ns=(0, stamp.mtime_ns + 10**9))
    assert not stamp.untouched(path)
    assert not stamp.matches(path)
    data.write_bytes(copy)
    os.utime(data, ns=(0, stamp.mtime_ns + 2 * 10**9))
    assert stamp.matches(path)  # copied
    data.unlink()
    assert not stamp.matches(path)
    path.unlink()
    assert not stamp.matches(path)


def test_results_below_a_folder_of_slices_do_not_change_it(tmp_path: Path) -> None:
    """A batch that was given a new folder in it said that the image had changed while it was segmented."""
    (tmp_path / "1.dcm").write_bytes(b"1")
    stamp = FileStamp.of(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "scan.nii.gz").write_bytes(b"labels")
    (tmp_path / ".DS_Store").write_bytes(b"a look into it")
    assert stamp.untouched(tmp_path)
    (tmp_path / "2.dcm").write_bytes(b"2")
    assert not stamp.untouched(tmp_path)


def test_all_that_is_in_an_ome_zarr_counts(tmp_path: Path) -> None:
    chunk = tmp_path / "a.ome.zarr" / "0" / "c" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"1")
    stamp = FileStamp.of(tmp_path / "a.ome.zarr")
    chunk.write_bytes(b"22")
    assert not stamp.untouched(tmp_path / "a.ome.zarr")
