import numpy as np
import pytest


@pytest.mark.parametrize(("key", "rgb"), [("fluorescence", False), ("tissue", True)])
def test_a_sample_opens_with_strokes_on_top(make_napari_viewer_proxy, key: str, rgb: bool) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-sam2-adapters", key)
    image, dense, strokes = viewer.layers
    assert image.rgb is rgb
    assert not dense.visible
    assert strokes.visible
    assert viewer.layers.selection.active == strokes
    shape = image.data.shape[:3]
    assert dense.data.shape == strokes.data.shape == shape
    assert set(np.unique(strokes.data)) == {0, 1, 2, 3}
    assert list(strokes.features["class"]) == ["background", "nucleus", "border"]
    share = np.count_nonzero(strokes.data) / strokes.data.size
    assert 0.001 < share < 0.2  # painted, not dense
    painted = strokes.data > 0
    assert (strokes.data[painted] == dense.data[painted]).mean() > 0.9
