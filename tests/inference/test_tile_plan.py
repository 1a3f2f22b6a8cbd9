from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.inference import tile_plan
from napari_sam2_adapters.inference.outputs import Outputs
from napari_sam2_adapters.inference.predict import allocate_outputs, predict, predict_tiles
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.inference.tile_plan import plan_tiles, smaller_tile
from napari_sam2_adapters.inference.tiled_run import TiledRun
from napari_sam2_adapters.models import memory


@pytest.fixture
def usable(monkeypatch):
    """Say how many bytes may be used."""
    return lambda n: monkeypatch.setattr(memory, "usable_memory", lambda device: n)


def test_a_tile_is_measured_once_for_a_network(tiny_segmenter, monkeypatch):
    segmenter, passes = tiny_segmenter(), []
    segmenter.register_forward_pre_hook(lambda module, inputs: passes.append(inputs[0].shape))
    first = plan_tiles(segmenter, PredictConfig())
    assert plan_tiles(segmenter, PredictConfig(tile_size_px=896)).needed_bytes == pytest.approx(
        4 * first.needed_bytes, rel=0.01
    )
    assert passes == [(1, 1, 224, 224)]


def test_an_image_no_larger_than_the_sample_is_not_measured(tiny_segmenter):
    segmenter, passes = tiny_segmenter(), []
    segmenter.register_forward_pre_hook(lambda module, inputs: passes.append(inputs[0].shape))
    predict(segmenter, data.camera()[:200, :224])
    assert passes == [(1, 1, 200, 224)]


def test_the_plan_tells_what_a_pass_takes(tiny_segmenter):
    """Estimated from a sample of 224², against what the tensors of a tile of 448² take."""
    segmenter = tiny_segmenter("hp").folded()
    tile = np.zeros((1, 1, 448, 448), np.float32)
    peak = memory.peak_bytes(
        segmenter.device, lambda: tile_plan.run_network(segmenter, tile, "none")
    )
    assert peak < plan_tiles(segmenter, PredictConfig()).needed_bytes < 2 * peak


def test_the_number_of_tiles_is_as_asked_or_chosen(tiny_segmenter, usable):
    segmenter = tiny_segmenter()
    usable(10**12)
    assert plan_tiles(segmenter, PredictConfig()).at_once == 1  # on the CPU
    assert plan_tiles(segmenter, PredictConfig(batch_size=6)).at_once == 6
    one = plan_tiles(segmenter, PredictConfig()).needed_bytes
    usable(int(2.5 * one))
    assert plan_tiles(segmenter, PredictConfig(batch_size=6)).at_once == 2
    assert plan_tiles(segmenter, PredictConfig(batch_size=6), most=1).at_once == 1


def test_a_gpu_takes_as_many_as_fit(tiny_segmenter, usable, monkeypatch):
    segmenter = tiny_segmenter()
    one = plan_tiles(segmenter, PredictConfig()).needed_bytes
    monkeypatch.setattr(type(segmenter), "device", torch.device("meta"))
    usable(10**12)
    monkeypatch.setitem(
        tile_plan._MEASURED, segmenter, {("meta", "none", 1): one / 448**2 / memory._MARGIN}
    )
    assert plan_tiles(segmenter, PredictConfig()).at_once == 16
    assert plan_tiles(segmenter, PredictConfig(tile_size_px=896)).at_once == 4
    assert plan_tiles(segmenter, PredictConfig(tile_size_px=4096)).at_once == 1
    usable(int(5.5 * one))
    assert plan_tiles(segmenter, PredictConfig()).at_once == 5


def test_arrays_in_the_main_memory_take_nothing_of_a_gpus(tiny_segmenter, usable, monkeypatch):
    segmenter, image = tiny_segmenter(), data.camera()
    one = plan_tiles(segmenter, PredictConfig()).needed_bytes
    outputs = allocate_outputs(segmenter, image.shape, "YX", PredictConfig(probabilities=True))
    outputs = Outputs(
        outputs.labels,
        np.broadcast_to(outputs.probabilities[:1], (99, *outputs.probabilities.shape[1:])),
    )
    usable(one + 1)
    cuda = torch.device("cuda", 0)
    for device, side in ((torch.device("cpu"), 128), (cuda, 448)):
        monkeypatch.setattr(type(segmenter), "device", device)
        per_pixel = {(str(device), "none", 1): one / 448**2 / memory._MARGIN}
        monkeypatch.setitem(tile_plan._MEASURED, segmenter, per_pixel)
        run = TiledRun(
            *(segmenter, image, "YX", [(0.0, 255.0)], PredictConfig(), outputs, Region()),
            live=False,
        )
        assert run.config.tile_size_px == side


def test_smaller_tiles_are_taken_and_told_before_anything_fails(tiny_segmenter, usable):
    segmenter, sides = tiny_segmenter(), []
    one = plan_tiles(segmenter, PredictConfig()).needed_bytes
    usable(one // 2)
    segmenter.register_forward_pre_hook(lambda module, inputs: sides.append(inputs[0].shape[-1]))
    image = np.tile(data.camera(), (1, 2))
    outputs = allocate_outputs(segmenter, image.shape, "YX", PredictConfig())
    records = list(predict_tiles(segmenter, image, "YX", outputs=outputs))
    assert set(sides) == {224}
    notices = [record.notice for record in records if record.notice]
    assert len(notices) == 1
    assert "tiles of 224 px are taken" in notices[0]
    assert records[-1].done == records[-1].total == len(records) - 1
    assert [record.plan and record.plan.side_px for record in records[:2]] == [224, None]
    expected = predict(segmenter, image, config=PredictConfig(tile_size_px=224)).labels
    np.testing.assert_array_equal(outputs.labels, expected)


@pytest.mark.parametrize(
    ("side", "half"), [(448, 224), (224, 128), (128, None), (96, None), (1024, 512), (160, 128)]
)
def test_tiles_are_halved_down_to_the_smallest(side, half):
    assert smaller_tile(side, side) == half
    assert smaller_tile(side, 2 * side) == half  # of a tile that the image makes smaller


def test_an_image_that_does_not_go_through_whole_is_cut_as_asked(tiny_segmenter, usable):
    segmenter, seen = tiny_segmenter(), []
    image = data.camera()  # 512², taken whole by tiles of 448 px
    one = plan_tiles(segmenter, PredictConfig()).needed_bytes
    whole = plan_tiles(segmenter, PredictConfig(), window=image.shape)
    assert (whole.side_px, whole.notice) == (512, None)
    assert whole.needed_bytes == pytest.approx(one * (512 / 448) ** 2, rel=0.01)
    usable(int(one * 1.2))
    assert plan_tiles(segmenter, PredictConfig(), window=image.shape).side_px == 448
    segmenter.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2:]))
    with pytest.warns(UserWarning, match="tile of 512 px would take more .* 448 px are taken"):
        predict(segmenter, image)
    assert set(seen) == {(448, 448)}


def test_a_plan_counts_the_pixels_of_tiles_that_are_no_squares(tiny_segmenter):
    segmenter = tiny_segmenter()
    square = plan_tiles(segmenter, PredictConfig(), window=(448, 448)).needed_bytes
    narrow = plan_tiles(segmenter, PredictConfig(), window=(112, 448))
    assert narrow.side_px == 448
    assert narrow.needed_bytes == pytest.approx(square / 4, rel=0.01)


@pytest.mark.parametrize("window", [(448, 448), (64, 672), (1536, 100)])
def test_a_plan_knows_that_a_tilted_thin_tile_is_a_large_view(tiny_segmenter, window):
    segmenter = tiny_segmenter().folded()
    tile, views = np.zeros((1, 1, *window), np.float32), "tilts_and_zooms"
    peak = memory.peak_bytes(
        segmenter.device, lambda: tile_plan.run_network(segmenter, tile, views)
    )
    config = PredictConfig(test_time_augmentation=views)
    assert peak < plan_tiles(segmenter, config, window=window).needed_bytes < 2.1 * peak


@pytest.mark.parametrize("fits", [2, 1, 0])
def test_a_run_that_runs_out_of_memory_gives_what_an_unhindered_one_gives(tiny_segmenter, fits):
    """Half the batches, and at last a copy of the network on the CPU, segment as if nothing had been in the way."""
    image = np.tile(data.camera()[:256], (1, 2))
    config = PredictConfig(tile_size_px=128, batch_size=4, probabilities=True)
    segmenter = tiny_segmenter("hp").folded()
    expected = predict(segmenter, image, config=config)

    class OnSmallDevice(type(segmenter)):
        moved = False

        @property
        def device(self):
            return torch.device("cpu" if self.moved else "meta")

        def to(self, *args, **kwargs):
            self.moved = True
            return super().to(*args, **kwargs)

        def forward(self, image):
            if image.device.type == "meta" and len(image) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory (staged)")
            real = torch.from_numpy(waiting.pop()) if image.device.type == "meta" else image
            return super().forward(real)

    waiting = []
    run_network = tile_plan.run_network

    def remember(segmenter, images, views, **others):
        waiting[:] = [images]  # the device of this test holds no values
        return run_network(segmenter, images, views, **others)

    segmenter.__class__ = OnSmallDevice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_sam2_adapters.inference.network.run_network", remember)
        patch.setattr(tile_plan, "run_network", remember)
        outputs = allocate_outputs(segmenter, image.shape, "YX", config)
        records = list(predict_tiles(segmenter, image, "YX", config=config, outputs=outputs))
    (notice,) = [record.notice for record in records if record.notice]
    assert ("with the CPU" if fits == 0 else f"{fits} tile") in notice
    np.testing.assert_allclose(outputs.probabilities, expected.probabilities, atol=2e-3)
    assert (outputs.labels == expected.labels).mean() > 0.999
    assert records[-1].done == records[-1].total
