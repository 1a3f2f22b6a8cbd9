"""DICOM series that SimpleITK writes: sorted by place, and what is missing is said."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from napari_sam2_adapters.data.formats.registry import format_of, image_stem
from napari_sam2_adapters.data.io import read_image, read_labels, write_labels
from napari_sam2_adapters.data.matching import find_images
from napari_sam2_adapters.data.samples import load_sample

AXIAL = (1, 0, 0, 0, 1, 0)
STEP = (0, 0, 2.5)


@pytest.fixture(scope="module")
def slices():
    """Real slices (5, 40, 30)."""
    image = load_sample("fluorescence").train_images.astype(np.int16)
    return np.concatenate([image, image[:1, ::-1]])[:, :40, :30]


def save(
    folder,
    slices,
    *,
    axes=AXIAL,
    step=STEP,
    places=None,
    series="1.2.826.0.1.4",
    name="T1 axial",
    ending=".dcm",
):
    """Write slices in an order of files that is not that of their places."""
    folder.mkdir(exist_ok=True)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for number, place in enumerate(range(len(slices)) if places is None else places):
        plane = slices[number]
        image = SimpleITK.GetImageFromArray(plane, isVector=plane.ndim == 3)
        image.SetSpacing([0.5, 0.75])
        image = SimpleITK.JoinSeries(image)
        origin = [10 + place * part for part in step]
        tags = {
            "0008|0008": "DERIVED\\SECONDARY",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{number + 1}",
            "0008|0060": "CT",
            "0008|103e": name,
            "0020|000d": "1.2.826.0.1.3",
            "0020|000e": series,
            "0020|0032": "\\".join(f"{part:.6f}" for part in origin),
            "0020|0037": "\\".join(map(str, axes)),
        }
        if plane.ndim == 2:
            tags |= {"0028|1052": "-1024", "0028|1053": "1"}
        else:
            tags |= {"0008|0016": "1.2.840.10008.5.1.4.1.1.7", "0008|0060": "OT"}
        for key, text in tags.items():
            image.SetMetaData(key, text)
        writer.SetFileName(str(folder / f"{series[-1]}i{number * 7 % 11}{ending}"))
        writer.Execute(image)
    return folder


@pytest.mark.parametrize("ending", [".dcm", ".IMA", ""])
def test_a_folder_is_one_volume_at_its_place(tmp_path, slices, ending):
    folder = save(tmp_path / "scan.1", slices, ending=ending)
    (folder / ".DS_Store").touch()
    found = read_image(folder)
    assert (found.axes, found.rgb, found.path, found.notices) == ("ZYX", False, folder, ())
    np.testing.assert_array_equal(found.array, slices)
    assert (found.pixel_size, found.unit) == ((2.5, 0.75, 0.5), "millimeter")
    assert (found.geometry.origin, found.geometry.direction) == ((10, 10, 10), None)
    assert image_stem(folder) == "scan.1"
    np.testing.assert_array_equal(read_labels(folder).array, slices)


@pytest.mark.parametrize(
    ("axes", "step"),
    [
        ((0, 1, 0, 0, 0, -1), (-2.0, 0, 0)),
        ((0.6, 0.8, 0, 0, 0, -1), (-2.4, 1.8, 0)),
        (AXIAL, (0, 0.9, 2.5)),  # a tilted gantry
    ],
)
def test_labels_of_turned_and_tilted_slices_lie_where_the_slices_say(tmp_path, slices, axes, step):
    found = read_image(save(tmp_path / "scan", slices, axes=axes, step=step))
    for name in ("a.nii.gz", "a.nrrd"):
        path = write_labels(
            tmp_path / name,
            np.asarray(found.array) > 0,
            axes="ZYX",
            geometry=found.geometry,
            source=found.path,
        )
        for k, row, column in ((0, 0, 0), (4, 39, 29), (2, 7, 3)):
            forward = int((np.cross(axes[:3], axes[3:]) @ step) > 0)
            number = k if forward else 4 - k
            expected = (
                10
                + np.array(step) * number
                + np.array(axes[:3]) * 0.5 * column
                + np.array(axes[3:]) * 0.75 * row
            )
            if name.endswith("nii.gz"):
                place = nibabel.load(path).affine @ [column, row, k, 1]
                place = place[:3] * [-1, -1, 1]
            else:
                place = SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint(
                    (column, row, k)
                )
            np.testing.assert_allclose(place, expected, atol=1e-4)
            np.testing.assert_array_equal(found.array[k], slices[number])


def test_grey_values_are_rescaled(tmp_path, slices):
    folder = save(tmp_path / "scan", slices)
    for file in folder.iterdir():
        content = file.read_bytes()
        assert content.count(b"-1024 ") == 1
        file.write_bytes(content.replace(b"-1024 ", b"-1000 "))
    np.testing.assert_array_equal(read_image(folder).array, slices + 24)


def test_one_file(tmp_path, slices):
    folder = save(tmp_path / "scan", slices[:1])
    path = next(folder.iterdir())
    for found in (read_image(path), read_image(folder)):
        assert found.axes == "ZYX"
        np.testing.assert_array_equal(found.array, slices[:1])
        assert found.pixel_size[1:] == (0.75, 0.5)


def test_colours(tmp_path):
    rgb = load_sample("tissue").train_images[:3]
    found = read_image(save(tmp_path / "scan", rgb))
    assert (found.axes, found.rgb) == ("ZYXC", True)
    np.testing.assert_array_equal(found.array, rgb)


def test_folders_of_slices_are_found_and_their_slices_are_not(tmp_path, slices):
    for name in ("b10", "b2"):
        save(tmp_path / name, slices, ending="" if name == "b2" else ".dcm")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").write_text("no image")
    (tmp_path / "a.png").touch()

    def names(pattern, folder=tmp_path):
        return [str(path.relative_to(tmp_path)) for path in find_images(folder, pattern)]

    assert names("*") == ["a.png", "b2", "b10"]
    assert names("**/*") == ["a.png", "b2", "b10"]
    assert names("*", tmp_path / "b10") == ["b10"]
    assert len(names("*.dcm", tmp_path / "b10")) == len(names("**/*.dcm")) == 5
    assert format_of(tmp_path / "notes") is None
    assert format_of(tmp_path) is None
    # on a disc, the list of all files in folders below
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert names("**/*") == ["a.png", "b2", "b10"]
    assert format_of(tmp_path) is None


def test_a_file_that_may_not_be_read_hides_no_images(tmp_path, monkeypatch):
    (tmp_path / "README").write_bytes(b"somebody else's")
    (tmp_path / "a.tif").touch()
    opened = Path.open

    def refuse(path, *args, **settings):
        if path.name == "README":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    assert find_images(tmp_path) == [tmp_path / "a.tif"]


def test_several_series_are_named(tmp_path, slices):
    folder = save(tmp_path / "scan", slices)
    save(folder, slices[:2], series="1.2.826.0.1.9", name="scout")
    with pytest.raises(
        ValueError, match=r"2 DICOM series: T1 axial \(5 files, 4i0.dcm …\), scout \(2 files"
    ):
        read_image(folder)


def test_missing_doubled_and_uneven_slices_are_told(tmp_path, slices):
    with pytest.raises(
        ValueError, match=r"lacks slices between 4i7.dcm and 4i3.dcm: the step there is 5 mm"
    ):
        read_image(save(tmp_path / "gap", slices, places=[0, 1, 3, 4, 5]))
    with pytest.raises(ValueError, match="several slices at one place"):
        read_image(save(tmp_path / "double", slices, places=[0, 0, 1, 1, 2]))
    uneven = read_image(save(tmp_path / "uneven", slices, places=[0, 1, 2.2, 3, 4]))
    assert len(uneven.notices) == 1
    assert uneven.notices[0].startswith("The slices lie 2 to 3 mm apart, most between 4i7.dcm")
    assert uneven.pixel_size[0] == pytest.approx(2.5)


def test_odd_files_are_a_sentence_each(tmp_path, slices):
    folder = save(tmp_path / "scan", slices)
    whole = (folder / "4i0.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:200])
    (tmp_path / "b.dcm").write_bytes(b"some text that is no image")
    for name in ("a.dcm", "b.dcm"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as DICOM \([^\n]+export it"):
            read_image(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.dcm").touch()
    with pytest.raises(ValueError, match="holds no DICOM series"):
        read_image(tmp_path / "empty")
    with pytest.raises(ValueError, match="this is written as"):
        write_labels(tmp_path / "l.dcm", slices, axes="ZYX")
    save(folder, slices[:1, :20], places=[7])
    with pytest.raises(ValueError, match=r"scan cannot be read as DICOM \([^\n]+export it"):
        read_image(Path(folder))
