"""Where previews lie."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.docks.results import is_own
from napari_sam2_adapters.widgets.fine_tuning.messages import Place, Previewed
from napari_sam2_adapters.widgets.fine_tuning.preview import PreviewLayer


def value_on(labels: Labels, image: Image, place: tuple[int, ...]) -> int:
    """The label where a pixel of an image lies."""
    found = np.round(labels.world_to_data(image.data_to_world(place))).astype(int)
    return int(labels.data[tuple(found)])


def test_a_preview_of_slices_with_channels_is_on_the_slice_that_it_is_of() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((5, 3, 20, 30)), axis_labels=tuple("zcyx"), scale=(2, 1, 0.5, 0.5)
    )
    preview = PreviewLayer(
        viewer, 0, image, take_picture(image, channel_axis=1), 1, default_classes([1])
    )
    for plane in (4, 1):
        place = Place((plane,), slice(2, 6), slice(3, 9))
        preview.show(Previewed(place, np.full((4, 6), plane, np.uint8)))
    preview.add(None)
    layer = viewer.layers[-1]
    assert is_own(layer)
    for plane, channel in ((4, 0), (4, 2), (1, 1)):
        assert value_on(layer, image, (plane, channel, 3, 4)) == plane
    assert not value_on(layer, image, (3, 0, 3, 4))
