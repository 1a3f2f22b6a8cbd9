"""Sagittal and coronal volumes, which napari cannot show in their place in the patient."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image
from napari_sam2_adapters.widgets.annotation.strokes import add_strokes
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.docks.turned import direction_in, lies_across, turn_back
from napari_sam2_adapters.widgets.loading.file_layers import image_layer

AXIAL = np.diag([1.0, 1.5, 3.0, 1.0])


def taken_as(codes: str, folder: Path) -> Path:
    """A volume whose voxels are stored in this order."""
    tilt = np.eye(4)
    tilt[:2, :2] = [[0.98, -0.199], [0.199, 0.98]]
    tilt[:3, 3] = 5, -6, 7
    values = np.random.default_rng(0).integers(0, 400, (12, 10, 8)).astype(np.int16)
    image = nibabel.Nifti1Image(values, tilt @ AXIAL)
    there = axcodes2ornt(tuple(codes))
    image = image.as_reoriented(ornt_transform(io_orientation(image.affine), there))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / f"{codes}.nii.gz")
    return folder / f"{codes}.nii.gz"


@pytest.mark.parametrize(
    ("codes", "across"),
    [("RAS", False), ("LPS", False), ("ASR", True), ("PIR", True), ("RSA", True)],
)
def test_a_volume_is_shown_and_its_labels_lie_on_it(
    make_napari_viewer_proxy, tmp_path: Path, codes: str, across: bool
) -> None:
    viewer = make_napari_viewer_proxy()
    path = taken_as(codes, tmp_path)
    file = read_image(path)
    shown = image_layer(file)
    assert bool(shown.notice) is across
    (image,) = shown.add_to(viewer)  # napari inverts the matrix of the slice on show here
    strokes = add_strokes(viewer, image, take_picture(image))
    strokes.data[2, 3:5, 4] = 2
    (saved,) = strokes.save(str(tmp_path / "strokes.nii.gz"), plugin="napari-sam2-adapters")
    wanted, found = nibabel.load(path), nibabel.load(saved)
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
    assert found.shape == wanted.shape


def test_slices_of_a_plane_and_of_little_tilt_are_seen() -> None:
    turned = Geometry((1.0, 1.0), direction=((0.0, 1.0), (-1.0, 0.0)))
    assert not lies_across(turned)
    assert not lies_across(Geometry((1.0, 1.0, 1.0)))


def test_layers_of_other_axes_are_left_alone() -> None:
    metadata = {"napari_sam2_adapters": {"direction": np.eye(3)[[1, 0, 2]].tolist()}}
    assert direction_in({}) is None
    plane = np.diag([2.0, 3.0, 1.0])
    np.testing.assert_array_equal(turn_back(plane, metadata, "YX"), plane)
    turned = turn_back(np.diag([1.0, 2.0, 3.0, 4.0, 1.0]), metadata, "TZYX")
    np.testing.assert_array_equal(turned[1:3, 1:3], [[0, 3], [2, 0]])
