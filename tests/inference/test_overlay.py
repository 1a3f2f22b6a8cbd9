from __future__ import annotations

import numpy as np
import pytest

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.inference.overlay import overlay_picture

CLASSES = (
    ClassInfo(value=1, name="Background", color="#00ff00"),
    ClassInfo(value=2, name="cell", color="#ff0000"),
)


@pytest.fixture
def labels() -> np.ndarray:
    drawn = np.ones((60, 90), np.uint8)
    drawn[20:40, 30:60] = 2
    return drawn


def test_classes_are_filled_lightly_and_outlined_and_the_background_stays_clear(labels) -> None:
    image = np.full((60, 90), 100, np.uint16)
    image[:, :45] = 0
    picture = overlay_picture(image, "YX", labels, CLASSES)
    assert picture.shape == (60, 90, 3)
    assert picture[5, 5].tolist() == [0, 0, 0]
    assert picture[5, 80].tolist() == [255, 255, 255]
    assert picture[30, 59].tolist() == [255, 0, 0]  # its outline
    red, green, blue = picture[30, 50].tolist()
    assert red == 255
    assert 100 < green == blue < 255


@pytest.mark.parametrize(
    ("shape", "axes", "rgb"),
    [
        ((5, 60, 90), "ZYX", False),
        ((2, 3, 5, 60, 90), "TCZYX", False),
        ((60, 90, 3), "YXC", True),
        ((4, 60, 90), "CYX", False),
    ],
)
def test_the_middle_plane_of_any_image_is_shown(shape, axes, rgb) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, shape, np.uint8)
    plain = tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "C")
    labels = np.ones(plain, np.uint8)
    labels[tuple(n // 2 for n in plain[:-2])][20:40, 30:60] = 2
    picture = overlay_picture(image, axes, labels, CLASSES, rgb=rgb)
    assert picture[30, 59].tolist() == [255, 0, 0]
    if rgb:
        np.testing.assert_array_equal(picture[:15], image[:15])


def test_large_and_empty_images(labels) -> None:
    large = np.kron(labels, np.ones((40, 40), np.uint8))
    assert overlay_picture(large, "YX", large, CLASSES, longest_px=300).shape == (200, 300, 3)
    nothing = np.full((60, 90), np.nan, np.float32)
    assert overlay_picture(nothing, "YX", np.ones_like(labels), CLASSES).max() == 0
    boolean = overlay_picture(labels == 2, "YX", labels, CLASSES)
    assert boolean[5, 5].tolist() == [0, 0, 0]


def test_a_real_picture_stays_recognisable_outside_the_classes() -> None:
    sample = load_sample("fluorescence")
    image, labels = sample.held_out_images[0], sample.held_out_labels[0]
    picture = overlay_picture(image, "YX", labels, sample.classes)
    assert max(picture.shape) <= 512
    clear = overlay_picture(image, "YX", np.zeros_like(labels), sample.classes)
    assert clear.std() > 20
    changed = (picture != clear).any(axis=-1).mean()
    assert 0 < changed < 1
