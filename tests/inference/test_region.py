"""A part of an image comes out as in a run over all of it, and nothing else is read or written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.inference.outputs import Outputs, allocate_outputs
from napari_sam2_adapters.inference.predict import find_limits, predict, predict_tiles
from napari_sam2_adapters.inference.region import Region, settle_region

SMALL = PredictConfig(tile_size_px=128, probabilities=True, uncertainty=True)
GREY = Normalization(mode="range", low=0, high=255)


class Recorded:
    """An array that remembers what was asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.keys = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.keys.append(key)
        return self.array[key]


@pytest.fixture
def stack():
    camera = data.camera()
    return np.stack([camera[:300, :280], camera[100:400, 200:480], camera[200:500, 10:290]])


@pytest.mark.parametrize(
    "region",
    [
        Region(),
        Region(planes=((1,),)),
        Region(rows=slice(100, 140), columns=slice(30, 31)),
        Region(planes=((0,), (2,)), rows=slice(170, 300), columns=slice(0, 279)),
        Region(planes=((2,),), rows=slice(-20, None)),
    ],
)
def test_a_region_is_that_part_of_the_whole(tiny_segmenter, stack, region) -> None:
    segmenter = tiny_segmenter("lw")
    whole = predict(segmenter, stack, axes="ZYX", normalization=GREY, config=SMALL)
    outputs = allocate_outputs(segmenter, stack.shape, "ZYX", SMALL)
    records = list(
        predict_tiles(
            segmenter,
            stack,
            "ZYX",
            normalization=GREY,
            config=SMALL,
            outputs=outputs,
            region=region,
        )
    )
    planes, rows, columns = settle_region(region, stack.shape, "ZYX")
    part = np.zeros(stack.shape, bool)
    for (plane,) in planes:
        part[plane, rows, columns] = True
    np.testing.assert_array_equal(outputs.labels, np.where(part, whole.labels, 0))
    np.testing.assert_array_equal(outputs.uncertainty, np.where(part, whole.uncertainty, 0))
    np.testing.assert_array_equal(outputs.probabilities, np.where(part, whole.probabilities, 0))
    assert records[-1].done == records[-1].total == len(records) - 1  # the first is the plan
    announced = np.zeros(stack.shape[:2], int)
    for record in records:
        announced[(*record.plane, record.rows)] += 1
    np.testing.assert_array_equal(announced, part.any(axis=2))


def test_only_the_tiles_under_the_region_are_read(tiny_segmenter, stack) -> None:
    image = Recorded(stack)
    segmenter = tiny_segmenter("lw")
    outputs = allocate_outputs(segmenter, stack.shape, "ZYX", PredictConfig())
    region = Region(planes=((1,),), rows=slice(280, 290), columns=slice(5, 9))
    for _ in predict_tiles(
        segmenter, image, "ZYX", normalization=GREY, config=SMALL, outputs=outputs, region=region
    ):
        pass
    assert image.keys == [(1, slice(172, 300), slice(0, 128))]


def test_limits_can_be_kept_for_the_next_part(tiny_segmenter, stack) -> None:
    segmenter = tiny_segmenter("lw")
    automatic = Normalization(mode="percentile")
    limits = find_limits(segmenter, stack, "ZYX", automatic)
    image = Recorded(stack)
    outputs = allocate_outputs(segmenter, stack.shape, "ZYX", PredictConfig())
    region = Region(planes=((2,),))
    for _ in predict_tiles(
        segmenter, image, "ZYX", normalization=automatic, config=SMALL, outputs=outputs,
        region=region, limits=limits,
    ):  # fmt: skip
        pass
    assert [key[0] for key in image.keys] == [2]
    expected = predict(segmenter, stack, axes="ZYX", normalization=automatic, config=SMALL)
    np.testing.assert_array_equal(outputs.labels[2], expected.labels[2])


def test_a_live_run_shows_each_tile_at_once_and_ends_as_any_other(tiny_segmenter, stack) -> None:
    segmenter = tiny_segmenter("lw")
    expected = predict(segmenter, stack, axes="ZYX", normalization=GREY, config=SMALL)
    outputs = allocate_outputs(segmenter, stack.shape, "ZYX", SMALL)
    covered = np.zeros(stack.shape, bool)
    for record in predict_tiles(
        segmenter, stack, "ZYX", normalization=GREY, config=SMALL, outputs=outputs, live=True
    ):
        rows, columns = record.changed
        assert (rows.stop - rows.start > 0) == (record.plan is None)
        covered[(*record.plane, rows, columns)] = True
        np.testing.assert_array_equal(outputs.labels > 0, covered)
    np.testing.assert_array_equal(outputs.labels, expected.labels)
    np.testing.assert_array_equal(outputs.probabilities, expected.probabilities)


def test_a_region_survives_a_change_to_smaller_tiles() -> None:
    class Narrow(torch.nn.Module):
        """Looks at one pixel only, and has room for tiles of 128 px."""

        device = torch.device("cpu")
        n_classes = 2

        class config:  # noqa: N801
            input_channels = 1

        def __init__(self) -> None:
            super().__init__()
            from napari_sam2_adapters.config import default_classes

            self.classes = default_classes([1, 2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.numel() > 128 * 128:
                raise torch.OutOfMemoryError("too many")
            return torch.cat([0.5 - x, x - 0.5], dim=1)

    image = data.camera()
    labels = np.zeros(image.shape, np.uint8)
    region = Region(rows=slice(300, 310), columns=slice(200, 400))
    for _ in predict_tiles(
        Narrow(), image, "YX", normalization=GREY, config=PredictConfig(tile_size_px=256),
        outputs=Outputs(labels), region=region,
    ):  # fmt: skip
        pass
    expected = np.zeros_like(labels)
    expected[300:310, 200:400] = np.where(image[300:310, 200:400] / 255 > 0.5, 2, 1)
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        (Region(planes=((3,),)), r"no plane \(3,\).*from \(0,\) to \(2,\)"),
        (Region(planes=()), "no plane. Choose at least one"),
        (Region(rows=slice(300, 400)), "rows 300 to 400 hold nothing"),
        (Region(columns=slice(9, 9)), "columns 9 to 9 hold nothing"),
        (Region(rows=slice(0, 9, 2)), "no step"),
    ],
)
def test_a_region_beside_the_image_is_refused_in_a_sentence(region, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        settle_region(region, (3, 300, 280), "ZYX")
