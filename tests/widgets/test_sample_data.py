import numpy as np
import pytest
from napari.utils.notifications import notification_manager


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


def test_a_hint_says_what_to_do_next(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-sam2-adapters", "fluorescence")
    image, truth, strokes = viewer.layers
    hint = notification_manager.records[-1].message
    painted = int(strokes.data.any(axis=(1, 2)).sum())
    others = len(strokes.data) - painted
    assert f"The first {painted} of {len(strokes.data)} slices have strokes" in hint
    assert f"try it on the other {others}." in hint
    for named in (strokes.name, truth.name, "Layers ▸ Segment ▸ Fine-tune"):
        assert named in hint
    assert image.metadata["licence"] == "CC0-1.0"
