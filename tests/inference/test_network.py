from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2_adapters.inference.network import (
    Tile,
    TileTooLargeError,
    copy_to_cpu,
    segment_tiles,
)


class Identity(torch.nn.Module):
    """Gives the image back; fails with an error of choice on batches that are too large."""

    device = torch.device("cpu")

    def __init__(self, most=None, error=None):
        super().__init__()
        self.most, self.error, self.batches = most, error, []

    def forward(self, x):
        if self.most is not None and len(x) > self.most:
            raise self.error
        self.batches.append(len(x))
        return x


def tiles(*shapes):
    generator = np.random.default_rng(0)
    return [
        Tile(0, 0, i, generator.random((2, *shape), dtype=np.float32))
        for i, shape in enumerate(shapes)
    ]


def run(network, parts, batch_size):
    notices = []
    found = list(
        segment_tiles(
            network,
            parts,
            batch_size=batch_size,
            views="none",
            on_full=notices.append,
        )
    )
    return found, notices


def check_order(found, parts):
    assert [tile.column for tile, _ in found] == list(range(len(parts)))
    for tile, logits in found:
        np.testing.assert_array_equal(logits, tile.image)


def test_tiles_of_one_shape_go_together_and_come_back_in_order():
    parts = tiles(*[(4, 5)] * 5, (3, 5), (3, 5), (4, 5))
    network = Identity()
    found, notices = run(network, parts, 3)
    check_order(found, parts)
    assert network.batches == [3, 2, 2, 1]
    assert notices == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_full_memory_halves_the_batch_for_all_that_follow(error):
    parts = tiles(*[(4, 4)] * 20)
    network = Identity(most=2, error=error)
    found, notices = run(network, parts, 8)
    check_order(found, parts)
    assert set(network.batches) == {2}
    assert notices == [2]  # 8, 4, 2: told once, and not for every batch


def test_a_tile_that_does_not_fit_alone_is_an_error_without_the_tensors_of_the_attempt():
    network = Identity(most=0, error=torch.OutOfMemoryError("full"))
    with pytest.raises(
        TileTooLargeError, match="4×6 px does not fit into the memory of cpu"
    ) as caught:
        run(network, tiles((4, 6)), 4)
    # A chained error would keep the frames of the network, and with them the memory, alive.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_other_errors_of_the_network_are_not_taken_for_full_memory():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(
            Identity(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")), tiles((4, 4)), 1
        )


@pytest.mark.parametrize("adapter", ["hp", "lw", "lora"])
@pytest.mark.parametrize("folded", [False, True])
def test_the_copy_on_the_cpu_computes_the_same_and_takes_none_of_the_full_memory(
    tiny_segmenter, adapter, folded
):
    segmenter = tiny_segmenter(adapter, input_channels=2)
    segmenter = segmenter.folded() if folded else segmenter
    twin = copy_to_cpu(segmenter)
    image = torch.rand(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(twin(image), segmenter(image), rtol=0, atol=0)
    # Tensors that are on the CPU already come through as they are: had any been copied where it was, its address would differ.
    ours, theirs = segmenter.state_dict(keep_vars=True), twin.state_dict(keep_vars=True)
    assert {n: t.data_ptr() for n, t in ours.items()} == {
        n: t.data_ptr() for n, t in theirs.items()
    }
    assert not any(a is b for a, b in zip(segmenter.parameters(), twin.parameters(), strict=True))
    assert {n for n, p in twin.named_parameters() if p.requires_grad} == {
        n for n, p in segmenter.named_parameters() if p.requires_grad
    }
    assert all(p.device.type == "cpu" for p in twin.parameters())
