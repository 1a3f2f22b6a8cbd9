"""NPY and NPZ files of others and of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.formats import numpy_file
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample

CLASSES = (
    ClassInfo(value=1, name="membrane", color="#ff0000"),
    ClassInfo(value=3, name="größer", color="#00ff7f"),
)


@pytest.fixture
def labels() -> np.ndarray[Any, Any]:
    return load_sample("fluorescence").train_labels.reshape(2, 2, 256, 256)


def test_labels_with_everything_come_back(tmp_path: Path, labels: np.ndarray[Any, Any]) -> None:
    geometry = Geometry(
        (2, 0.5, 0.25),
        "micrometer",
        (1, 2, 3),
        ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        0.5,
        "second",
    )
    lazy = dask.array.from_array(labels.astype(np.int64), chunks=(1, 2, 100, 256))
    path = write_labels(tmp_path / "m.npz", lazy, axes="TZYX", geometry=geometry, classes=CLASSES)
    found = read_labels(path)
    assert (found.axes, found.geometry, found.classes) == ("TZYX", geometry, CLASSES)
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, labels)
    with np.load(path, allow_pickle=False) as plain:  # numpy alone
        np.testing.assert_array_equal(plain["array"], labels)
        assert str(plain["axes"]) == "TZYX"
        assert plain["pixel_size"].tolist() == [2, 0.5, 0.25]
        assert plain["class_names"].tolist() == ["membrane", "größer"]


def test_channels_come_before_rows(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 2, 8, 9)).astype(np.float16)  # C, Z, Y, X
    found = read_image(write_array(tmp_path / "p.npz", array, axes="CZYX"))
    assert (found.axes, found.geometry, found.rgb) == ("ZCYX", None, False)
    np.testing.assert_array_equal(found.array, array.transpose(1, 0, 2, 3))


def test_arrays_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, colour = np.ones((5, 20, 30), ">u2"), np.ones((20, 30, 3), np.uint8)
    np.save(tmp_path / "s.npy", stack)
    np.savez(tmp_path / "c.npz", picture=colour)
    assert read_image(tmp_path / "s.npy").axes == "ZYX"
    found = read_image(tmp_path / "c.npz")
    assert (found.axes, found.rgb) == ("YXC", True)
    monkeypatch.setattr(numpy_file, "_EAGER_BYTES", 10)
    mapped = read_image(tmp_path / "s.npy")
    assert isinstance(mapped.array, np.memmap)
    np.testing.assert_array_equal(mapped.array, stack)


def test_what_is_no_image_is_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.ones((3, 3)), b=np.ones((3, 3)))
    np.save(tmp_path / "object.npy", np.array([{"a": 1}, None], dtype=object))
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "line.npy", np.arange(5))
    np.save(tmp_path / "none.npy", np.zeros((0, 5)))
    np.savez(tmp_path / "odd.npz", array=np.ones((3, 3)), axes="ZY")
    np.savez(tmp_path / "size.npz", array=np.ones((3, 3)), axes="YX", pixel_size=[1, -1])
    (tmp_path / "empty.npy").touch()
    (tmp_path / "empty.npz").touch()
    whole = (tmp_path / "two.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "words.npz").write_text("just some words")
    for name, sentence in (
        ("two.npz", r"arrays a, b, but an image is one"),
        ("object.npy", "Python objects are never loaded"),
        ("text.npy", "Convert it"),
        ("line.npy", "2 to 5 axes"),
        ("none.npy", "has no pixels"),
        ("odd.npz", "need Y and then X"),
        ("size.npz", "Correct the pixel size"),
        ("empty.npy", "it is empty"),
        ("empty.npz", "it is empty"),
        ("cut.npz", "not complete"),
        ("words.npz", "Python objects"),
    ):
        with pytest.raises(ValueError, match=rf"{name}.*{sentence}"):
            read_image(tmp_path / name)
