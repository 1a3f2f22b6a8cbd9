from __future__ import annotations

import threading
import tracemalloc
from contextlib import closing

import dask.array
import numpy as np
import pytest
import torch
import zarr
from skimage import data

from napari_sam2_adapters.config import ClassInfo, Normalization, PredictConfig
from napari_sam2_adapters.inference import tile_plan, tiled_run
from napari_sam2_adapters.inference.predict import (
    Outputs,
    allocate_outputs,
    find_limits,
    predict,
    predict_tiles,
)

SMALL = PredictConfig(tile_size_px=128, overlap=0.25)


class Threshold(torch.nn.Module):
    """A network that looks at one pixel only: class 1 where it is bright. Tiling cannot change what it says."""

    device = torch.device("cpu")
    n_classes = 2
    classes = (ClassInfo(value=7, name="dark"), ClassInfo(value=300, name="bright"))

    class config:  # noqa: N801
        input_channels = 1

    def __init__(self, most_pixels=None):
        super().__init__()
        self.most_pixels = most_pixels
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        if self.most_pixels and x.numel() > self.most_pixels:
            raise torch.OutOfMemoryError("too many")
        return torch.cat([0.5 - x, x - 0.5], dim=1) * 10


class OnSmallDevice(Threshold):
    """The same on a device in whose memory nothing fits, until it is on the CPU."""

    device = torch.device("meta")

    def forward(self, x):
        if x.device.type != "cpu":
            raise torch.OutOfMemoryError("nothing fits")
        return super().forward(x)

    def to(self, device):
        self.device = torch.device(device)
        return self


class Recorded:
    """An array that remembers which rows were asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.rows = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.rows.append(key[-2])
        return self.array[key]


@pytest.fixture
def camera():
    return data.camera()


@pytest.mark.parametrize("size", [(512, 512), (33, 517), (1000, 30), (128, 129), (5, 4)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_tiled_equals_whole_where_the_receptive_field_allows(camera, size, batch_size):
    image = np.resize(camera, size)
    tiled = predict(Threshold(), image, config=SMALL.model_copy(update={"batch_size": batch_size}))
    whole = predict(Threshold(), image, config=PredictConfig(tile_size_px=1024))
    np.testing.assert_array_equal(tiled.labels, whole.labels)
    assert tiled.labels.dtype == np.uint16  # 300 does not fit into 8 bits
    assert set(np.unique(tiled.labels)) <= {7, 300}


def test_tiled_probabilities_equal_the_networks_own(camera):
    outputs = Outputs(np.zeros(camera.shape, np.uint16), np.zeros((2, 512, 512), np.float32))
    scaled = Normalization(mode="range", low=0, high=255)
    for _ in predict_tiles(
        Threshold(), camera, "YX", normalization=scaled, config=SMALL, outputs=outputs
    ):
        pass
    bright = 1 / (1 + np.exp(-20 * (camera / 255 - 0.5)))
    np.testing.assert_allclose(outputs.probabilities[1], bright, atol=1e-5)


def test_seams_of_a_real_network_are_small(tiny_segmenter, camera):
    settings = {"probabilities": True, "tile_size_px": 224, "overlap": 0.5}
    segmenter = tiny_segmenter("lw")
    tiled = predict(segmenter, camera[:256, :400], config=PredictConfig(**settings))
    p = tiled.probabilities.astype(np.float32)
    # Between neighbouring columns a blended seam may not stand out from the image's own edges.
    jumps = np.abs(np.diff(p, axis=2)).mean(axis=(0, 1))
    assert jumps.max() < 8 * np.median(jumps) + 1e-3
    np.testing.assert_allclose(p.sum(axis=0), 1, atol=5e-3)


def test_a_stack_is_its_planes_one_by_one(tiny_segmenter, camera):
    stack = np.stack([camera[:96, :100], camera[100:196, 200:300], camera[300:396, 10:110]])
    segmenter = tiny_segmenter("lw")
    scaled = Normalization(mode="range", low=0, high=255)
    batched = SMALL.model_copy(update={"batch_size": 2})
    together = predict(segmenter, stack, axes="ZYX", normalization=scaled, config=batched).labels
    assert together.shape == stack.shape
    for plane, labels in zip(stack, together, strict=True):
        alone = predict(segmenter, plane, axes="YX", normalization=scaled, config=SMALL).labels
        # A batch sums in another order than one image: a pixel on the border between classes may change.
        assert (alone == labels).mean() > 0.999


def test_dask_and_zarr_give_what_numpy_gives(tiny_segmenter, camera, tmp_path):
    segmenter = tiny_segmenter("lw")
    image = camera[:200, :180]
    expected = predict(segmenter, image, config=SMALL).labels
    lazy = dask.array.from_array(image, chunks=(64, 64))
    np.testing.assert_array_equal(predict(segmenter, lazy, config=SMALL).labels, expected)
    stored = zarr.create_array(
        str(tmp_path / "i.zarr"), shape=image.shape, chunks=(64, 64), dtype=image.dtype
    )
    stored[:] = image
    np.testing.assert_array_equal(predict(segmenter, stored, config=SMALL).labels, expected)


def test_results_stream_into_zarr(camera, tmp_path):
    target = zarr.create_array(
        str(tmp_path / "o.zarr"), shape=camera.shape, chunks=(128, 128), dtype=np.uint16
    )
    network = Threshold()
    for _ in predict_tiles(network, camera, "YX", config=SMALL, outputs=Outputs(target)):
        pass
    np.testing.assert_array_equal(target[:], predict(network, camera, config=SMALL).labels)


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (Outputs(np.zeros((64, 65), np.uint16)), r"labels has shape \(64, 65\).*needs \(64, 64\)"),
        (Outputs(np.zeros((64, 64), np.uint8)), "uint8, which does not hold the class value 300"),
        (Outputs(np.zeros((64, 64))), "float64, which does not hold"),
        (
            Outputs(np.zeros((64, 64), np.int16), np.zeros((64, 64, 2))),
            r"probabilities has shape .*needs \(2, 64, 64\)",
        ),
        (Outputs(np.zeros((64, 64), int), None, np.zeros(64)), "uncertainty has shape"),
    ],
)
def test_outputs_that_cannot_take_the_result_are_refused_before_the_start(outputs, sentence):
    network = Threshold()
    with pytest.raises(ValueError, match=sentence):
        next(predict_tiles(network, np.zeros((64, 64), np.uint8), "YX", outputs=outputs))
    assert not network.seen


def test_a_small_plane_is_read_once_and_a_large_one_row_of_tiles_by_row(camera, monkeypatch):
    # in range mode no pixel is read for the limits
    scaled = {"normalization": Normalization(mode="range", low=0, high=255), "config": SMALL}
    small = Recorded(camera)
    expected = predict(Threshold(), small, axes="YX", **scaled).labels
    assert small.rows == [slice(0, 512)]
    monkeypatch.setattr(tiled_run, "WHOLE_PLANE_BYTES", camera.nbytes - 1)
    large = Recorded(camera)
    np.testing.assert_array_equal(predict(Threshold(), large, axes="YX", **scaled).labels, expected)
    assert [r.stop - r.start for r in large.rows] == [128] * 5


@pytest.mark.parametrize(
    ("axes", "shape", "channels"),
    [
        ("YXC", (70, 80, 3), 3),
        ("CYX", (2, 70, 80), 2),
        ("TCYX", (2, 3, 70, 80), 3),
        ("TZYX", (2, 2, 70, 80), 1),
    ],
)
def test_channels_and_time(tiny_segmenter, axes, shape, channels):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    config = SMALL.model_copy(update={"probabilities": True, "uncertainty": True})
    result = predict(tiny_segmenter("lw", input_channels=channels), image, axes=axes, config=config)
    plain = tuple(n for n, a in zip(shape, axes, strict=True) if a != "C")
    assert result.labels.shape == plain
    assert result.probabilities.shape == (3, *plain)
    assert result.uncertainty.shape == plain
    assert result.uncertainty.min() >= 0
    assert result.uncertainty.max() <= 1


def test_transparency_is_ignored(tiny_segmenter):
    rgb = data.astronaut()[:64, :64]
    rgba = np.concatenate([rgb, np.full((64, 64, 1), 255, np.uint8)], axis=2)
    segmenter = tiny_segmenter("lw", input_channels=3)
    np.testing.assert_array_equal(
        predict(segmenter, rgba, axes="YXC").labels, predict(segmenter, rgb, axes="YXC").labels
    )


def test_wrong_number_of_channels_is_refused_in_a_sentence(tiny_segmenter):
    with pytest.raises(ValueError, match=r"3 channels but the adapter was trained on 1"):
        predict(tiny_segmenter("lw"), np.zeros((64, 64, 3), np.uint8), axes="YXC")


@pytest.mark.parametrize(
    ("shape", "what"),
    [((300, 1), "300 px high and 1 px wide"), ((2, 1, 400), "1 px high and 400 px wide")],
)
def test_a_line_of_pixels_is_refused_by_the_size_of_the_image(tiny_segmenter, shape, what):
    with pytest.raises(
        ValueError, match=rf"{what}, but .* at least 2×2 px\. Choose a larger image, or"
    ):
        predict(tiny_segmenter("lw"), np.zeros(shape), config=SMALL)


def test_progress_announces_every_row_once_and_cancel_keeps_them(camera):
    network = Threshold()
    outputs = allocate_outputs(network, camera.shape, "YX", SMALL)
    expected = predict(network, camera, config=SMALL).labels
    announced = np.zeros(512, int)
    with closing(predict_tiles(network, camera, "YX", config=SMALL, outputs=outputs)) as tiles:
        for record in tiles:
            announced[record.rows] += 1
            if record.done > record.total // 2:
                break
    assert 0 < announced.sum() < 512
    assert announced.max() == 1
    done = announced == 1
    np.testing.assert_array_equal(outputs.labels[done], expected[done])
    assert not outputs.labels[~done].any()
    planned, *records = predict_tiles(network, camera, "YX", config=SMALL, outputs=outputs)
    assert (planned.done, planned.total) == (0, len(records))
    assert planned.rows == slice(0, 0)
    assert records[-1].done == records[-1].total == len(records)


def test_flips_and_turns_make_the_result_turn_with_the_image(tiny_segmenter, camera):
    image = camera[100:196, 100:196]
    config = PredictConfig(
        tile_size_px=128, test_time_augmentation="flips_and_turns", probabilities=True
    )
    segmenter = tiny_segmenter("lw")
    upright = predict(segmenter, image, config=config).probabilities
    turned = predict(segmenter, np.rot90(image).copy(), config=config).probabilities
    np.testing.assert_allclose(np.rot90(turned, -1, (1, 2)), upright, atol=2e-3)


def test_uncertainty_is_that_of_the_mean_softmax_over_flips_and_turns():
    class Lopsided(Threshold):
        """Sure of class 0 on the left, in doubt between the classes on the right."""

        def forward(self, x):
            left = torch.arange(x.shape[3]) < x.shape[3] // 2
            odds = torch.where(left, 20.0, -2.0).expand(x.shape)
            return torch.cat([odds, torch.zeros_like(x)], dim=1)

    config = PredictConfig(
        test_time_augmentation="flips_and_turns", probabilities=True, uncertainty=True
    )
    result = predict(Lopsided(), np.zeros((64, 64), np.uint8), config=config)
    # Each pixel lies left in half of the views: (sigmoid(20) + sigmoid(-2)) / 2.
    p = (1 + 1 / (1 + np.exp(2))) / 2
    np.testing.assert_allclose(result.probabilities[0].astype(float), p, atol=2e-3)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    np.testing.assert_allclose(result.uncertainty.astype(float), entropy, atol=2e-3)


def test_a_network_left_in_training_mode_predicts_as_in_inference_mode(tiny_segmenter, camera):
    segmenter = tiny_segmenter("lora", lora_dropout=0.5)
    with torch.no_grad():
        for name, parameter in segmenter.trained_parameters().items():
            if name.endswith("lora_b"):
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    image, config = camera[:96, :96], PredictConfig(probabilities=True)
    expected = predict(segmenter.eval(), image, config=config).probabilities
    found = predict(segmenter.train(), image, config=config).probabilities
    np.testing.assert_array_equal(found, expected)
    assert segmenter.training


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_near_full_precision_or_said_to_be_missing(
    tiny_segmenter, camera, monkeypatch, able
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able}, raising=False)
    segmenter = tiny_segmenter(n_classes=2)
    config = PredictConfig(tile_size_px=128, probabilities=True)
    expected = predict(segmenter, camera[:160, :160], config=config).probabilities
    asked = config.model_copy(update={"bfloat16": True})
    outputs = allocate_outputs(segmenter, (160, 160), "YX", asked)
    first, *_ = predict_tiles(segmenter, camera[:160, :160], "YX", config=asked, outputs=outputs)
    difference = np.abs(outputs.probabilities - expected)
    if able:
        assert first.notice is None
        assert 0 < difference.max() < 0.03
    else:
        assert "in full precision" in first.notice
        assert not difference.any()


def test_compiled_or_not_is_the_same_and_a_failure_is_said(camera, monkeypatch):
    def translate(network, **settings):
        def run(x):
            if x.shape[-1] > 128:
                raise RuntimeError("no compiler")
            return network(x)

        return run

    monkeypatch.setattr(torch, "compile", translate)
    expected = predict(Threshold(), camera, config=SMALL).labels
    for side, wanted in ((128, []), (256, ["torch.compile does not work here (no compiler)"])):
        config = PredictConfig(tile_size_px=side, compile=True)
        network = Threshold()
        outputs = allocate_outputs(network, camera.shape, "YX", config)
        records = list(predict_tiles(network, camera, "YX", config=config, outputs=outputs))
        assert [r.notice.split(":")[0] for r in records if r.notice] == wanted
        np.testing.assert_array_equal(outputs.labels, expected)


def test_full_memory_shrinks_the_batch_then_the_tile_and_says_so(camera):
    config = PredictConfig(tile_size_px=256, batch_size=4)
    expected = predict(Threshold(), camera, config=config).labels
    network = Threshold(most_pixels=224 * 224)  # what the plan measures fits
    outputs = allocate_outputs(network, camera.shape, "YX", config)
    records = list(predict_tiles(network, camera, "YX", config=config, outputs=outputs))
    # all tiles of the batch, half of them, one, and then a smaller one, which is kept to
    tried = [(4, 1, 256, 256), (2, 1, 256, 256), (1, 1, 256, 256), (1, 1, 128, 128)]
    at_work = network.seen[network.seen.index(tried[0]) :]  # behind what measures the plan
    assert at_work[:4] == tried
    assert set(at_work[3:]) == {tried[3]}
    (notice,) = [r.notice for r in records if r.notice]
    assert "tiles of 128 px" in notice
    np.testing.assert_array_equal(outputs.labels, expected)
    assert records[-1].done == records[-1].total


@pytest.mark.parametrize("size", [(600, 40), (200, 200)])
def test_tiles_shrink_also_where_the_image_is_smaller_than_a_tile(size):
    network = Threshold(most_pixels=192 * 192)
    image = np.zeros(size, np.uint8)
    outputs = allocate_outputs(network, image.shape, "YX", PredictConfig())
    planned, first, *_ = predict_tiles(network, image, "YX", outputs=outputs)
    notice = first.notice
    assert planned.notice is None
    assert (notice is None) == (size == (600, 40))  # 448 × 40 px are no more
    assert notice is None or "tiles of 128 px" in notice or "tiles of 96 px" in notice


def test_without_any_room_on_the_device_a_copy_on_the_cpu_finishes(camera):
    network = OnSmallDevice()
    config = PredictConfig(tile_size_px=256, batch_size=4)
    outputs = allocate_outputs(network, camera.shape, "YX", config)
    records = list(predict_tiles(network, camera, "YX", config=config, outputs=outputs))
    notices = [r.notice for r in records if r.notice]
    (notice,) = notices  # smaller batches and tiles were tried before, and none of them worked
    assert "going on with the CPU" in notice
    np.testing.assert_array_equal(
        outputs.labels, predict(Threshold(), camera, config=config).labels
    )
    assert network.device.type == "meta"  # the caller's network stayed where it was


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((336, 336), (336, 336)),
        ((250, 336), (250, 336)),
        ((337, 300), (224, 300)),
        ((200, 400), (200, 224)),
    ],
)
def test_an_image_up_to_half_longer_than_a_tile_is_not_cut(camera, shape, tile):
    image, network = camera[: shape[0], : shape[1]], Threshold()
    config = PredictConfig(tile_size_px=224)
    labels = predict(network, image, config=config).labels
    assert {seen[2:] for seen in network.seen[1:]} == {tile}  # the first is measured
    whole = predict(Threshold(), image, config=PredictConfig(tile_size_px=448)).labels
    np.testing.assert_array_equal(labels, whole)


def test_a_whole_image_that_fills_the_memory_is_cut_as_asked(camera):
    image, network = camera[:300, :300], Threshold(most_pixels=224**2)
    outputs = allocate_outputs(network, image.shape, "YX", PredictConfig(tile_size_px=224))
    records = list(
        predict_tiles(network, image, "YX", config=PredictConfig(tile_size_px=224), outputs=outputs)
    )
    assert [record.notice for record in records if record.notice] == [
        "The memory of cpu is full: going on with tiles of 224 px."
    ]
    np.testing.assert_array_equal(outputs.labels, predict(Threshold(), image).labels)


def test_a_gpu_computes_the_next_tiles_while_the_last_are_written(camera, monkeypatch):
    class OnGpu(Threshold):
        device = torch.device("meta")  # stands for one

        def forward(self, x):
            threads.append(threading.current_thread())
            if len(threads) == 3:  # the sample, the first two tiles, the others
                begun.set()
            return super().forward(x)

    class Slow:
        shape = camera.shape

        def __setitem__(self, key, value):
            assert begun.wait(60)  # one after the other, nobody would have begun
            labels[key] = value

    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
    config = PredictConfig(tile_size_px=256, batch_size=2, overlap=0)
    threads, begun, labels = [], threading.Event(), np.zeros(camera.shape, np.uint16)
    list(predict_tiles(OnGpu(), camera, "YX", config=config, outputs=Outputs(Slow())))
    np.testing.assert_array_equal(labels, predict(Threshold(), camera, config=config).labels)
    assert threading.main_thread() not in threads[1:]
    assert not any(t.is_alive() for t in threads[1:])


def test_planes_that_are_done_are_not_done_again_when_memory_runs_out_later(camera):
    class FullLater(Threshold):
        def forward(self, x):
            if len(self.seen) == 5:  # the sample and the four tiles of the first plane are through
                self.most_pixels = 128 * 128
            return super().forward(x)

    config = PredictConfig(tile_size_px=256, overlap=0)
    stack = np.stack([camera, camera[::-1]])
    outputs = allocate_outputs(FullLater(), stack.shape, "ZYX", config)
    _, *records = predict_tiles(FullLater(), stack, "ZYX", config=config, outputs=outputs)
    announced = np.zeros(stack.shape[:2], int)
    for record in records:
        announced[(*record.plane, record.rows)] += 1
    assert (announced == 1).all()
    assert sum(record.plane == (0,) for record in records) == 4
    assert records[-1].done == records[-1].total == 32
    shares = [record.done / record.total for record in records]
    assert shares == sorted(shares)
    np.testing.assert_array_equal(outputs.labels, predict(Threshold(), stack, config=config).labels)


def test_memory_that_is_too_small_for_anything_is_an_error_in_words(camera):
    with pytest.raises(MemoryError, match="smaller backbone"):
        predict(Threshold(most_pixels=10), camera, config=SMALL)


@pytest.mark.parametrize("most_rows", [130, 20])
def test_a_full_main_memory_takes_smaller_tiles_or_is_an_error_in_words(camera, most_rows):
    class Full:
        """Has room for few rows at a time."""

        shape = camera.shape

        def __setitem__(self, key, value):
            if len(value) > most_rows:
                raise MemoryError
            labels[key] = value

    labels = np.zeros(camera.shape, np.uint16)
    config = PredictConfig(tile_size_px=256, overlap=0)
    tiles = predict_tiles(Threshold(), camera, "YX", config=config, outputs=Outputs(Full()))
    if most_rows < 128:
        with pytest.raises(MemoryError, match="one row of the smallest tiles"):
            list(tiles)
        return
    (notice,) = [record.notice for record in tiles if record.notice]
    assert notice == "The main memory is full: going on with tiles of 128 px."
    np.testing.assert_array_equal(labels, predict(Threshold(), camera, config=config).labels)


def test_a_tall_image_takes_no_more_memory_than_a_short_one(monkeypatch):
    def peak(height):
        image = dask.array.zeros((height, 256), chunks=(256, 256), dtype=np.uint8)

        class Nowhere:
            """Takes rows and forgets them."""

            shape = (height, 256)

            def __setitem__(self, key, value):
                pass

        tracemalloc.start()
        for _ in predict_tiles(Threshold(), image, "YX", config=SMALL, outputs=Outputs(Nowhere())):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    monkeypatch.setattr(tiled_run, "WHOLE_PLANE_BYTES", 0)
    peak(512)
    assert peak(8192) < 1.5 * peak(2048)


def test_a_full_main_memory_takes_fewer_tiles_at_a_time_first(camera):
    class FullOnce:
        shape, dtype = camera.shape, camera.dtype
        full = True

        def __getitem__(self, key):
            if self.full:
                self.full = False
                raise MemoryError
            return camera[key]

    config = PredictConfig(tile_size_px=256, batch_size=4)
    expected = predict(Threshold(), camera, config=config).labels
    limits = find_limits(Threshold(), camera, "YX")
    outputs = allocate_outputs(Threshold(), camera.shape, "YX", config)
    records = predict_tiles(
        Threshold(), FullOnce(), "YX", config=config, outputs=outputs, limits=limits
    )
    (notice,) = [record.notice for record in records if record.notice]
    assert notice == "The main memory is full: going on with 2 tiles at a time."
    np.testing.assert_array_equal(outputs.labels, expected)


def test_a_full_main_memory_does_not_undo_what_the_devices_has_changed(camera):
    class FullLater:
        """Has no room for the second of two planes at first."""

        shape, dtype = (2, *camera.shape), camera.dtype
        full = True

        def __getitem__(self, key):
            if key[0] == 1 and self.full:
                self.full = False
                raise MemoryError
            return np.stack([camera, camera])[key]

    config = PredictConfig(tile_size_px=256, batch_size=4)
    stack, of_one = np.stack([camera, camera]), Threshold(most_pixels=256 * 256)
    outputs = allocate_outputs(Threshold(), stack.shape, "ZYX", config)
    limits = find_limits(Threshold(), stack, "ZYX")
    records = predict_tiles(
        of_one, FullLater(), "ZYX", config=config, outputs=outputs, limits=limits
    )
    assert [record.notice for record in records if record.notice] == [
        "The memory of cpu is full: going on with 1 tile at a time.",
        "The main memory is full: going on with tiles of 128 px.",
    ]
    np.testing.assert_array_equal(outputs.labels, predict(Threshold(), stack, config=config).labels)


@pytest.mark.parametrize(("times", "left"), [(1, (256, 2)), (2, (256, 1)), (3, (128, 1))])
def test_what_a_full_main_memory_has_changed_stays_when_the_device_gives_way(
    camera, monkeypatch, times, left
):
    monkeypatch.setattr(tile_plan, "_bytes_per_pixel", lambda *_: 1.0)
    config = PredictConfig(tile_size_px=256, batch_size=4)
    network = OnSmallDevice()
    limits, outputs = (
        find_limits(network, camera, "YX"),
        allocate_outputs(network, camera.shape, "YX", config),
    )
    run = tiled_run.TiledRun(
        network, camera, "YX", limits, config, outputs, tiled_run.Region(), live=False
    )
    assert (run.config.tile_size_px, run.batch_size) == (256, 4)
    for _ in range(times):
        run.hold_less()
    while run.segmenter.device.type != "cpu":
        run.make_smaller()
    assert (run.config.tile_size_px, run.batch_size) == left


@pytest.mark.parametrize(
    ("chunk", "widest"), [(None, 4096), (1024, 4096), (1500, 6000), (10_000, 10_000)]
)
def test_a_wide_image_is_read_in_parts_as_wide_as_its_chunks_allow(monkeypatch, chunk, widest):
    class Watched:
        dtype, shape = np.dtype(np.uint8), (600, 10_000)
        chunks = None if chunk is None else (200, chunk)

        def __getitem__(self, key):
            rows, columns = key
            read.append((rows.stop - rows.start, columns.stop - columns.start))
            return pixels[key]

    read: list[tuple[int, int]] = []
    pixels = np.random.default_rng(0).integers(0, 255, Watched.shape, dtype=np.uint8)
    expected = predict(Threshold(), pixels, axes="YX", config=SMALL).labels
    limits = find_limits(Threshold(), pixels, "YX")
    monkeypatch.setattr(tiled_run, "WHOLE_PLANE_BYTES", 0)
    outputs = allocate_outputs(Threshold(), pixels.shape, "YX", SMALL)
    for _ in predict_tiles(
        Threshold(), Watched(), "YX", config=SMALL, outputs=outputs, limits=limits
    ):
        pass
    np.testing.assert_array_equal(outputs.labels, expected)
    assert {height for height, _ in read} == {SMALL.tile_size_px}
    assert widest - SMALL.tile_size_px < max(width for _, width in read) <= widest


def test_only_colours_have_a_transparency_to_leave_out(tiny_segmenter):
    segmenter = tiny_segmenter(n_classes=2, input_channels=3)
    four = np.random.default_rng(0).integers(0, 255, (40, 40, 4), dtype=np.uint8)
    scale = Normalization(mode="range", low=0, high=255)
    expected = predict(segmenter, four[..., :3], axes="YXC", normalization=scale).labels
    for rgb in (None, True):
        found = predict(segmenter, four, axes="YXC", normalization=scale, rgb=rgb).labels
        np.testing.assert_array_equal(found, expected)
    for array, axes, rgb in ((four, "YXC", False), (four.transpose(2, 0, 1), "CYX", None)):
        with pytest.raises(ValueError, match="4 channels but the adapter was trained on 3"):
            predict(segmenter, array, axes=axes, rgb=rgb)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_without_a_number_is_refused(value):
    with pytest.raises(ValueError, match=r"NaN or infinite .* nothing to see in it"):
        predict(Threshold(), np.full((2, 64, 64), value, np.float32), axes="ZYX", config=SMALL)
