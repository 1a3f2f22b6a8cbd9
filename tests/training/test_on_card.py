"""A training on a card, simulated where there is none: nothing is left on the other device, and the same is learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.models import device as devices
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.records import NoticeRecord, StepRecord, ValidationRecord
from napari_sam2_adapters.training.train import Trainer
from simulated_card import CardTensor, simulated_card

IMAGE = data.camera()[::4, ::4]
DENSE = (IMAGE > 90).astype(np.uint8) + 1
STROKES = np.where((np.indices(DENSE.shape) % 20 < 4).any(0), DENSE, 0)
TRAIN = TrainConfig(
    steps=4, batch_size=2, crop_size_px=32, validate_every=2, learning_rate=1e-4, calibrate=True
)
Learnt = tuple[list[float], list[float], dict[str, Tensor], list[str]]


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float32 everywhere, so that devices can be compared to the last digits."""
    monkeypatch.setattr(devices, "computes_bfloat16", lambda _: False)


def trainer_of(
    segmenter: Segmenter, labels: Any = DENSE, checkpoint: Path | None = None, **settings: Any
) -> Trainer:
    pairs = [Pair(IMAGE, labels, "YX", "camera")]
    dataset = build_dataset(pairs, held_out_fraction=0.25, crop_size_px=32)
    config = TRAIN.model_copy(update=settings)
    return Trainer(segmenter, dataset, config, checkpoint=checkpoint)


def learn(segmenter: Segmenter, labels: Any = DENSE, **settings: Any) -> Learnt:
    """Losses of the steps, losses of the checks, what was learnt, and what was said."""
    trainer = trainer_of(segmenter, labels, **settings)
    records = list(trainer.run())
    return (
        [record.loss for record in records if isinstance(record, StepRecord)],
        [record.loss for record in records if isinstance(record, ValidationRecord)],
        segmenter.trained_state(),
        [record.message for record in records if isinstance(record, NoticeRecord)],
    )


def assert_same(one: Learnt, other: Learnt, tolerance: float = 1e-5) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-4)
    assert one[1] == pytest.approx(other[1], rel=1e-4)
    for name, value in one[2].items():
        torch.testing.assert_close(value, other[2][name], atol=tolerance, rtol=0, msg=name)


@contextmanager
def full_when(full: Callable[[int, int], bool]) -> Iterator[None]:
    """Let the card's memory be full by the number of the pass and the size of its batch."""
    forward, passes = Segmenter.forward, 0

    def limited(self: Segmenter, image: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        if isinstance(image, CardTensor) and full(passes, len(image)):
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")
        return forward(self, image)

    with mock.patch.object(Segmenter, "forward", limited):
        yield


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ({"adapter": "hp"}, {}),
        ({"adapter": "hp", "detail": "unet"}, {"loss": "lovasz"}),
        ({"adapter": "lw"}, {"labels": STROKES, "crf_weight": 0.1}),
        ({"adapter": "lora"}, {"recompute": True, "loss": "composite"}),
        ({"adapter": "lw", "decoder": "full", "input_scale": 1.5}, {"recipe": "paper"}),
    ],
    ids=["hp", "unet", "strokes", "lora", "full decoder"],
)
def test_the_card_learns_what_the_cpu_does(
    exact: None, tiny_segmenter: Callable[..., Segmenter], network: Any, settings: Any
) -> None:
    by_cpu = learn(tiny_segmenter(n_classes=2, **network), **settings)
    with simulated_card() as card:
        segmenter = tiny_segmenter(n_classes=2, **network).to(card)
        by_card = learn(segmenter, **settings)
        assert segmenter.device == card
    assert by_card[3] == by_cpu[3] == []
    # Adam's first steps are as long for the least gradient as for a large one
    assert_same(by_card, by_cpu, tolerance=2e-4)


def test_half_precision_changes_little(tiny_segmenter: Callable[..., Segmenter]) -> None:
    by_cpu = learn(tiny_segmenter("hp", n_classes=2))
    with simulated_card() as card:
        by_card = learn(tiny_segmenter("hp", n_classes=2).to(card))
    assert by_card[0] == pytest.approx(by_cpu[0], rel=0.01)
    assert by_card[0] != pytest.approx(by_cpu[0], rel=1e-6)  # it was in half precision


@pytest.mark.parametrize("passes", [1, 4, 6])
def test_a_full_card_hands_on_to_the_cpu_which_learns_the_same(
    exact: None, tiny_segmenter: Callable[..., Segmenter], passes: int
) -> None:
    """Wherever it happens: in the plan, in a check or in a step."""
    by_cpu = learn(tiny_segmenter("lw", n_classes=2))
    with simulated_card() as card, full_when(lambda number, _: number > passes):
        segmenter = tiny_segmenter("lw", n_classes=2).to(card)
        moved = learn(segmenter)
        assert segmenter.device.type == "cpu"
    assert sum("goes on with the CPU" in said for said in moved[3]) == 1
    assert_same(moved, by_cpu)


def test_half_the_batch_learns_the_same(
    exact: None, tiny_segmenter: Callable[..., Segmenter]
) -> None:
    by_cpu = learn(tiny_segmenter("lw", n_classes=2))
    with simulated_card() as card, full_when(lambda _, batch: batch > 1):
        segmenter = tiny_segmenter("lw", n_classes=2).to(card)
        halved = learn(segmenter)
        assert segmenter.device == card
    assert any("go through the network 1 at a time" in said for said in halved[3])
    assert_same(halved, by_cpu)


def test_a_run_resumes_bit_for_bit(
    tiny_segmenter: Callable[..., Segmenter], tmp_path: Path
) -> None:
    with simulated_card() as card:
        whole = learn(tiny_segmenter("lw", n_classes=2).to(card))[2]
        file = tmp_path / "run.safetensors"
        first = trainer_of(tiny_segmenter("lw", n_classes=2).to(card), checkpoint=file)
        records = first.run()
        while next(records).step < 3:
            pass
        records.close()
        again = tiny_segmenter("lw", n_classes=2).to(card)
        second = trainer_of(again, checkpoint=file)
        second.resume()
        list(second.run())
        resumed = again.trained_state()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
