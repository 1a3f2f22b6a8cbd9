"""Where pixels lie: the affine is the one that ITK and NIfTI state, in the order Z, Y, X."""

import numpy as np
import pytest

from napari_sam2_adapters.data.geometry import Geometry


def test_the_affine_takes_indices_to_the_world():
    turn = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))  # a quarter turn about Z
    place = Geometry((5.0, 0.5, 0.25), "millimeter", origin=(10.0, 20.0, 30.0), direction=turn)
    world = place.affine() @ (2, 4, 8, 1)
    np.testing.assert_allclose(world, (10 + 5 * 2, 20 - 0.25 * 8, 30 + 0.5 * 4, 1))
    assert not place.is_straight


def test_without_direction_it_is_size_and_origin():
    place = Geometry((0.5, 0.25), origin=(1.0, 2.0))
    np.testing.assert_array_equal(place.affine(), [[0.5, 0, 1], [0, 0.25, 2], [0, 0, 1]])
    assert place.is_straight
    assert not Geometry((1.0, 1.0), direction=((-1.0, 0.0), (0.0, 1.0))).is_straight


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pixel_size": (1.0,)}, "2 or 3 positive lengths"),
        ({"pixel_size": (1.0, 0.0)}, "2 or 3 positive lengths"),
        ({"pixel_size": (1.0, float("nan"))}, "2 or 3 positive lengths"),
        ({"pixel_size": (1.0, 1.0), "origin": (0.0, 0.0, 0.0)}, "origin needs 2"),
        ({"pixel_size": (1.0, 1.0), "direction": ((1.0,),)}, "direction needs 2 rows"),
    ],
)
def test_what_is_no_place_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Geometry(**wrong)


def test_it_belongs_to_an_array_with_as_many_axes():
    Geometry((1.0, 2.0, 3.0)).check_axes("TZCYX")
    with pytest.raises(ValueError, match=r"need 2 pixel sizes \(Y, X\)"):
        Geometry((1.0, 2.0, 3.0)).check_axes("CYX")
