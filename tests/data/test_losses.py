"""What a format cannot hold of a place is said; what it holds is not."""

from pathlib import Path

import pytest

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.losses import lost_in_file, lost_place

STRAIGHT = Geometry((0.5, 0.25), "micrometer", (3.0, 4.0))
TURNED = Geometry((0.5, 0.25), direction=((0.8, -0.6), (0.6, 0.8)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.tif", "for TIFF cannot hold them"),
        ("a.ome.tif", "for TIFF cannot hold them"),
        ("a.ome.zarr", "for OME-Zarr cannot hold them"),
        ("a.npz", ""),
        ("a.nii.gz", ""),
        ("a.nrrd", ""),
    ],
)
def test_a_turn_is_lost_to_others_in_some_formats(name: str, words: str) -> None:
    said = lost_in_file(Path(name), TURNED)
    assert (words in said) if words else not said
    assert not lost_place(Path(name), STRAIGHT)
    assert not lost_in_file(Path(name), None)


TIMED = Geometry((0.5, 0.25), time_step=12.5, time_unit="second")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.tif", True),
        ("a.ome.zarr", True),
        ("a.nii.gz", True),
        ("a.nrrd", False),
        ("a.mha", False),
    ],
)
def test_time_steps_are_lost_in_some_formats(name: str, kept: bool) -> None:
    assert ("keeps no time step" in lost_in_file(Path(name), TIMED)) is not kept
    assert not lost_in_file(Path(name), STRAIGHT)


def test_png_has_no_place_at_all() -> None:
    assert "keeps no pixel size and place" in lost_place(Path("a.png"), STRAIGHT)
    assert not lost_place(Path("a.png"), None)
