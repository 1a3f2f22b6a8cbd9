from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.plan import find_inputs, plan_items, read_file_list
from napari_sam2_adapters.config import PredictConfig

Make = Callable[..., BatchJob]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A job on a folder of empty files with these names."""

    def made(*names: str, **settings: object) -> BatchJob:
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        standard = {"folder": tmp_path / "images", "output": tmp_path / "results"}
        return BatchJob(model=tmp_path / "m.adapter.safetensors", **{**standard, **settings})

    return made


def names(job: BatchJob, predict: PredictConfig | None = None) -> dict[str, str]:
    return {item.name: item.refusal for item in plan_items(job, predict or PredictConfig())}


def test_images_come_in_natural_order(make: Make) -> None:
    job = make("z10.tif", "z2.png", "notes.txt", ".hidden.tif")
    assert [path.name for path in find_inputs(job)] == ["z2.png", "z10.tif"]
    assert [path.name for path in find_inputs(make(pattern="*.png"))] == ["z2.png"]


def test_subfolders_are_mirrored_and_results_are_no_images(make: Make, tmp_path: Path) -> None:
    output = tmp_path / "images" / "segmented"
    job = make("a/x.tif", "b/x.tif", "y.tif", "segmented/y.tif", subfolders=True, output=output)
    planned = plan_items(job, PredictConfig())
    assert [item.name for item in planned] == ["a/x", "b/x", "y"]
    assert planned[0].outputs["labels"] == output / "a" / "x.tif"
    assert list(names(make(output=output))) == ["y"]


def test_a_folder_of_dicom_slices_is_one_image(make: Make, tmp_path: Path) -> None:
    job = make("a/1.dcm", "a/2.dcm", "b.1/1.dcm", label_format="nii.gz")
    items = plan_items(job, PredictConfig())
    assert [item.source.name for item in items] == ["a", "b.1"]
    assert [item.outputs["labels"].name for item in items] == ["a.nii.gz", "b.1.nii.gz"]
    (item,) = plan_items(make(folder=tmp_path / "images" / "a"), PredictConfig())
    assert (item.name, item.source) == ("a", tmp_path / "images" / "a")
    assert item.outputs["labels"] == tmp_path / "results" / "a.tif"


def test_results_among_the_images_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="among the images"):
        find_inputs(make("a.tif", output=tmp_path / "images" / ".." / "images"))
    job = make(output=tmp_path / "images", folder=None, files=[tmp_path / "images" / "a.tif"])
    assert "is itself an image" in names(job)["a"]


def test_ome_zarr_results_in_an_image_are_refused_but_among_its_labels(
    make: Make, tmp_path: Path
) -> None:
    image = tmp_path / "results.ome.zarr"
    for folder in (image, image / "masks", image / "labels"):  # there is no such image yet
        with pytest.raises(ValueError, match=r"cannot be written into .*--output.*results_masks"):
            plan_items(make("a.tif", output=folder, label_format="ome.zarr"), PredictConfig())
    assert plan_items(make(output=image), PredictConfig())  # as TIFF
    (image / "labels").mkdir(parents=True)
    among = make(output=image / "labels", label_format="ome.zarr")
    assert not plan_items(among, PredictConfig())[0].refusal


def test_results_may_lie_around_the_images(make: Make, tmp_path: Path) -> None:
    job = make("a.tif", "b.tif", output=tmp_path)
    assert [path.name for path in find_inputs(job)] == ["a.tif", "b.tif"]
    assert [item.refusal for item in plan_items(job, PredictConfig())] == ["", ""]


@pytest.mark.parametrize("pattern", ["../*.tif", "/etc/*"])
def test_a_pattern_stays_in_its_folder(make: Make, pattern: str) -> None:
    with pytest.raises(ValueError, match="leads out of it"):
        find_inputs(make("a.tif", pattern=pattern))


def test_images_whose_results_would_be_one_file_are_refused(make: Make) -> None:
    plain = make("a.tif", "a.png", "B.tif", "b.tif", "c.tif", "c_uncertainty.tif", "d.tif")
    refused = {name for name, refusal in names(plain).items() if refusal}
    assert refused == {"a", "B", "b"}
    with_uncertainty = names(plain, PredictConfig(uncertainty=True))
    assert {name for name, refusal in with_uncertainty.items() if refusal} == {
        *("a", "B", "b", "c", "c_uncertainty")
    }
    assert "Rename one of the images" in with_uncertainty["c"]


def test_a_result_whose_name_is_too_long_is_refused_at_once(make: Make) -> None:
    job = make("n" * 245 + ".tif")
    assert not names(job)["n" * 245]
    assert "too long" in names(job, PredictConfig(probabilities=True))["n" * 245]


def test_files_of_several_folders_keep_their_folders(make: Make, tmp_path: Path) -> None:
    make("a/x.tif", "b/x.tif")
    paths = [tmp_path / "images" / name for name in ("a/x.tif", "b/x.tif", "a/x.tif")]
    assert list(names(make(folder=None, files=paths))) == ["a/x", "b/x"]
    assert list(names(make(folder=None, files=paths[:1]))) == ["x"]


def test_a_list_that_leads_out_of_its_folder_leads_no_result_out_of_that_of_the_results(
    tmp_path: Path,
) -> None:
    for name in ("lists/raw/x.tif", "other/y.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    written = tmp_path / "lists" / "list.txt"
    written.write_text("raw/x.tif\n../other/y.tif\n")
    output = tmp_path / "results"
    job = BatchJob(model=tmp_path / "m", files=read_file_list(written), output=output)
    x, y = plan_items(job, PredictConfig())
    assert (x.name, y.name) == ("lists/raw/x", "other/y")
    assert y.outputs["labels"] == output / "other" / "y.tif"
    assert not y.refusal
    assert y.source.samefile(tmp_path / "other" / "y.tif")


def test_either_a_folder_or_files(make: Make, tmp_path: Path) -> None:
    for wrong in ({"folder": None}, {"files": [tmp_path / "a.tif"]}):
        with pytest.raises(ValidationError, match="either a folder or a list"):
            make(**wrong)


def test_lists_of_files(tmp_path: Path) -> None:
    plain, table = tmp_path / "list.txt", tmp_path / "list.csv"
    plain.write_text("a.tif\n\nsub/b ü.tif\r\n", encoding="utf-8")
    assert read_file_list(plain) == [tmp_path / "a.tif", tmp_path / "sub" / "b ü.tif"]
    table.write_text('\ufeffname,Image\nx,"a,b.tif"\ny,/c.tif\n', encoding="utf-8")
    assert read_file_list(table) == [tmp_path / "a,b.tif", Path("/c.tif")]
    table.write_text("name,size\nx,1\n")
    with pytest.raises(ValueError, match="has the columns name,size, but one of image"):
        read_file_list(table)
    table.write_text("image,size\n")
    with pytest.raises(ValueError, match="names no image"):
        read_file_list(table)
    plain.write_text("\n")
    with pytest.raises(ValueError, match="names no image"):
        read_file_list(plain)


def test_a_list_of_paths_as_windows_copies_them(tmp_path: Path) -> None:
    plain = tmp_path / "list.txt"
    plain.write_text('"a b.tif"\r\n"/data/c.tif" \n"\n""\n', encoding="utf-8")
    assert read_file_list(plain) == [tmp_path / "a b.tif", Path("/data/c.tif"), tmp_path / '"']


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ";"), ("utf-16", "\t"), ("utf-16", ",")]
)
def test_a_list_as_spreadsheets_save_it(tmp_path: Path, encoding: str, separator: str) -> None:
    table = tmp_path / "list.csv"
    rows = [("dose", "image"), ("1.5", "Zelle ä.tif"), ("3", "sub/b.tif")]
    table.write_text("\n".join(separator.join(row) for row in rows), encoding=encoding)
    assert read_file_list(table) == [tmp_path / "Zelle ä.tif", tmp_path / "sub" / "b.tif"]


def test_a_list_in_an_old_encoding_is_refused_in_a_sentence(tmp_path: Path) -> None:
    plain = tmp_path / "list.txt"
    plain.write_text("Zelle ä.tif\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"list\.txt is not UTF-8 text .* Save the list as UTF-8"):
        read_file_list(plain)
