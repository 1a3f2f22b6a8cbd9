"""Finding images and the label file of each."""

import os
import unicodedata
from pathlib import Path

import pytest

from napari_sam2_adapters.data.formats.registry import image_stem
from napari_sam2_adapters.data.matching import find_images, match_labels


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_images_come_in_natural_order(tmp_path):
    touch(
        tmp_path,
        "cell10.tif",
        "cell2.tif",
        "Cell1.TIF",
        "b.png",
        "a.jpg",
        "notes.txt",
        ".hidden.tif",
    )
    (tmp_path / "folder.tif").mkdir()
    names = [path.name for path in find_images(tmp_path)]
    assert names == ["a.jpg", "b.png", "Cell1.TIF", "cell2.tif", "cell10.tif"]
    assert [path.name for path in find_images(tmp_path, "cell*")] == ["cell2.tif", "cell10.tif"]


def test_subfolders_on_request(tmp_path):
    touch(tmp_path / "one", "x.tif")
    assert [p.name for p in find_images(str(tmp_path), "**/*.tif")] == ["x.tif"]


@pytest.mark.parametrize("pattern", ["**/*", "**/*.zarr", "deep/**/*", "**/deep/**/*", "*/*"])
def test_an_image_folder_is_one_image_that_is_not_walked_into(tmp_path, monkeypatch, pattern):
    """Neither its chunks nor what lies in its labels are images, whatever they are called."""
    image = tmp_path / "deep" / "a.ome.zarr"
    for inner in (".", "1/7", "labels/cells", "inner.zarr/7"):
        (image / inner).mkdir(parents=True, exist_ok=True)
        touch(image / inner, "0", "0.tif", "zarr.json")
    touch(tmp_path / ".hidden", "x.tif")
    walked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: walked.append(str(path)) or scandir(path))
    assert find_images(tmp_path, pattern) == [image]
    if "**" in pattern:
        assert not any("a.ome.zarr" in path for path in walked)


def test_no_images_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"No image fits '\*.tif' in .* Images end in .ome.tif, "):
        find_images(tmp_path, "*.tif")
    with pytest.raises(ValueError, match="is not a folder"):
        find_images(tmp_path / "nowhere")


def test_digits_that_are_no_decimals_are_letters(tmp_path):
    touch(tmp_path, "1²10.tif", "1²2.tif", "٣.tif")
    assert [path.name for path in find_images(tmp_path)] == ["1²2.tif", "1²10.tif", "٣.tif"]


@pytest.mark.parametrize("pattern", ["", "/a/*"])
def test_a_pattern_that_is_none_is_refused(tmp_path, pattern):
    touch(tmp_path, "a.tif")
    with pytest.raises(ValueError, match="is no pattern of file names"):
        find_images(tmp_path, pattern)


@pytest.mark.parametrize(
    ("name", "stem"), [("a.tif", "a"), ("a.ome.tif", "a"), ("a.OME.TIFF", "a"), ("a.b.png", "a.b")]
)
def test_the_stem_leaves_out_the_whole_suffix(name, stem):
    assert image_stem(Path("folder") / name) == stem


def test_labels_are_matched_by_name(tmp_path):
    images = find_images(touch(tmp_path / "images", "a1.tif", "a10.ome.tif", "a2.jpg"))
    labels = touch(tmp_path / "labels", "a1.png", "a2.tif", "a10.tif", "unused.tif")
    pairs = match_labels(images, labels)
    assert [(a.name, b.name) for a, b in pairs] == [
        ("a1.tif", "a1.png"),
        ("a2.jpg", "a2.tif"),
        ("a10.ome.tif", "a10.tif"),
    ]


def test_accents_match_however_they_are_spelt(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Präparat.tif") for form in ("NFC", "NFD"))
    assert composed != apart
    images, labels = touch(tmp_path / "images", composed), touch(tmp_path / "labels", apart)
    assert match_labels([images / composed], labels) == [(images / composed, labels / apart)]


def test_what_has_no_partner_is_named(tmp_path):
    images = find_images(touch(tmp_path / "images", *(f"a{i}.tif" for i in range(8))))
    labels = touch(tmp_path / "labels", "a0.png")
    with pytest.raises(ValueError, match=r"no label file.*a1.tif, .*, a5.tif and 2 more"):
        match_labels(images, labels)
    touch(labels, *(f"a{i}.png" for i in range(8)), "a3.tif")
    with pytest.raises(ValueError, match=r"several label files.*: a3.tif[.]"):
        match_labels(images, labels)
    with pytest.raises(ValueError, match=r"have the name of another image: a1[.]"):
        match_labels([images[1], images[1]], labels)


def test_an_image_is_not_its_own_label(tmp_path):
    folder = touch(tmp_path, "a1.tif", "a2.tif")
    with pytest.raises(ValueError, match=r"are their own label files: a1.tif, a2.tif[.]"):
        match_labels(find_images(folder), folder)
