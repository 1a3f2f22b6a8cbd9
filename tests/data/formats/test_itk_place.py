"""Labels of NRRD and MetaImage files lie where their image lies, in the numbers and the units of its header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from napari_sam2_adapters.data.formats.text_header import read_header
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels

DIRECTIONS = "space directions: (0.5,0,0) (0,0.59999999999999998,0.1) (0,0,2)"
HEADS = {
    "micrometres": f'space dimension: 3\n{DIRECTIONS}\nspace units: "um" "um" "um"\nspace origin: (1,2,3)',
    "mixed": f'space dimension: 3\n{DIRECTIONS}\nspace units: "um" "um" "mm"\nspace origin: (1,2,3)',
    "spacings": 'spacings: 0.5 0.6 2\nunits: "um" "um" "um"',
    "corner": 'spacings: 0.5 0.6 2\naxis mins: 7 8 9\ncenterings: cell cell cell\nunits: "nm" "nm" "nm"',
    "no unit": f"space dimension: 3\n{DIRECTIONS}\nspace origin: (1,2,3)",
    "patient": f"space: right-anterior-superior\n{DIRECTIONS}\nspace origin: (1,2,3)",
    "furlongs": f'space dimension: 3\n{DIRECTIONS}\nspace units: "furlong" "furlong" "furlong"',
}
SHAPE = (4, 5, 6)
LABELS = np.arange(120, dtype=np.uint8).reshape(SHAPE)


def _image(path: Path, place: str) -> Path:
    head = f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 6 5 4\n{place}\nencoding: raw\n\n"
    path.write_bytes(head.encode() + LABELS.tobytes())
    return path


def _same_place_for_itk(one: Path, other: Path) -> None:
    a, b = SimpleITK.ReadImage(str(one)), SimpleITK.ReadImage(str(other))
    for index in ((0, 0, 0), (5, 4, 3), (2, 1, 3)):
        there = b.TransformIndexToPhysicalPoint([*index, *[0] * (b.GetDimension() - 3)])[:3]
        assert there == a.TransformIndexToPhysicalPoint(index)


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd", ".nhdr"])
@pytest.mark.parametrize("place", HEADS)
def test_labels_of_an_nrrd_lie_on_it_for_itk(tmp_path: Path, place: str, ending: str) -> None:
    source = _image(tmp_path / "a.nrrd", HEADS[place])
    image = read_image(source)
    path = write_labels(
        tmp_path / f"m{ending}", LABELS, axes="ZYX", geometry=image.geometry, source=source
    )
    _same_place_for_itk(source, path)
    found = read_labels(path)
    assert found.geometry == image.geometry
    np.testing.assert_array_equal(found.array, LABELS)
    before, after = read_header(source).fields, read_header(path).fields
    for name in ("space", "space dimension", "space directions", "space units", "space origin", "spacings", "units", "axis mins", "centerings"):  # fmt: skip
        assert after.get(name) == before.get(name)


@pytest.mark.parametrize(
    "place",
    [HEADS["mixed"].replace("0.1)", "0)"), 'spacings: 0.5 0.6 2\nunits: "um" "um" "mm"'],
)
def test_axes_of_an_nrrd_in_units_of_their_own(tmp_path: Path, place: str) -> None:
    found = read_image(_image(tmp_path / "a.nrrd", place))
    assert found.unit == "micrometer"
    assert found.pixel_size == pytest.approx((2000, 0.6, 0.5))
    origin = None if found.geometry is None else found.geometry.origin
    assert origin == (pytest.approx((3000, 2, 1)) if "origin" in place else None)


def test_probabilities_and_time_have_the_place_of_the_volume(tmp_path: Path) -> None:
    source = _image(tmp_path / "a.nrrd", HEADS["micrometres"])
    image = read_image(source)
    values = np.stack([LABELS, LABELS]).astype(np.float32)
    for name, axes in (("p.nrrd", "CZYX"), ("t.nrrd", "TZYX")):
        path = write_array(
            tmp_path / name, values, axes=axes, geometry=image.geometry, source=source
        )
        found = read_image(path)
        assert found.geometry == image.geometry
        _same_place_for_itk(source, path)


def test_labels_of_a_series_have_its_place(tmp_path: Path) -> None:
    """Time is the fastest axis of the source, as 3D Slicer writes it, and the slowest of the labels."""
    head = (
        "NRRD0005\ntype: uint8\ndimension: 4\nsizes: 2 6 5 4\nspace dimension: 3\nkinds: list domain domain domain\n"
        'space directions: none (0.5,0,0) (0,0.6,0) (0,0,2)\nspace units: "um" "um" "um"\nspace origin: (1,2,3)\n'
        "encoding: raw\n\n"
    )
    source = tmp_path / "a.nrrd"
    series = np.stack([LABELS, 200 - LABELS], axis=-1)
    source.write_bytes(head.encode() + series.tobytes())
    image = read_image(source)
    assert image.axes == "TZYX"
    path = write_labels(
        tmp_path / "m.nrrd", np.asarray(image.array), axes="TZYX", geometry=image.geometry, source=source
    )  # fmt: skip
    found = read_labels(path)
    assert found.geometry == image.geometry
    np.testing.assert_array_equal(found.array, np.moveaxis(series, -1, 0))
    assert read_header(path).fields["space directions"] == "(0.5,0,0) (0,0.6,0) (0,0,2) none"


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_labels_of_a_metaimage_keep_its_numbers(tmp_path: Path, ending: str) -> None:
    image = SimpleITK.GetImageFromArray(LABELS)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((1, 2, 3))
    image.SetDirection([0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1])
    source = tmp_path / "a.mha"
    SimpleITK.WriteImage(image, str(source))
    geometry = read_image(source).geometry
    path = write_labels(
        tmp_path / f"m{ending}", LABELS, axes="ZYX", geometry=geometry, source=source
    )
    _same_place_for_itk(source, path)
    before, after = read_header(source).fields, read_header(path).fields
    for name in ("transformmatrix", "offset", "elementspacing", "centerofrotation"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    ("geometry", "shape"),
    [
        (Geometry((2.0, 0.6, 0.6), "micrometer", (3.0, 2.0, 1.0)), SHAPE),
        (Geometry((2.0, 0.6, 0.5), "micrometer", (3.0, 2.0, 1.0)), (3, 5, 6)),
    ],
)
def test_another_place_or_shape_is_not_the_one_of_the_source(
    tmp_path: Path, geometry: Geometry, shape: tuple[int, ...]
) -> None:
    source = _image(tmp_path / "a.nrrd", HEADS["micrometres"].replace("0.1)", "0)"))
    path = write_labels(
        tmp_path / "m.nrrd", np.ones(shape, np.uint8), axes="ZYX", geometry=geometry, source=source
    )
    found = read_labels(path).geometry
    assert found.unit == "millimeter"
    assert found.pixel_size == pytest.approx(np.multiply(geometry.pixel_size, 1e-3))
