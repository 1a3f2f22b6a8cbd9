"""Segmenting on a card, simulated where there is none: nothing is left on the other device, and the labels are the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models import device as devices
from napari_sam2_adapters.models.segmenter import Segmenter
from simulated_card import CardTensor, simulated_card

IMAGE = data.camera()[::4, ::4]


@pytest.mark.parametrize(
    ("adapter", "settings"),
    [
        ("hp", {}),
        ("lw", {"test_time_augmentation": "flips_and_turns"}),
        ("lora", {"test_time_augmentation": "tilts_and_zooms", "batch_size": 3}),
    ],
)
def test_the_card_segments_as_the_cpu_does(
    tiny_segmenter: Callable[..., Segmenter],
    monkeypatch: pytest.MonkeyPatch,
    adapter: str,
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(devices, "computes_bfloat16", lambda _: False)
    segmenter = tiny_segmenter(adapter, n_classes=3).folded()
    config = PredictConfig(tile_size_px=64, probabilities=True, uncertainty=True, **settings)
    stack = np.stack([IMAGE, IMAGE[::-1]])
    by_cpu = predict(segmenter, stack, axes="ZYX", config=config)
    with simulated_card() as card:
        by_card = predict(segmenter.to(card), stack, axes="ZYX", config=config)
    assert np.mean(by_card.labels == by_cpu.labels) > 0.999
    for one, other in (
        (by_card.probabilities, by_cpu.probabilities),
        (by_card.uncertainty, by_cpu.uncertainty),
    ):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_half_precision_is_used_there_when_asked_for(
    tiny_segmenter: Callable[..., Segmenter],
) -> None:
    """It moves probabilities a little; untrained, these classes are all but equal."""
    found = []
    for device in ("cpu", "card"):
        with simulated_card() as card:
            segmenter = tiny_segmenter("hp", n_classes=2).folded()
            segmenter.to(card if device == "card" else "cpu")
            config = PredictConfig(tile_size_px=64, probabilities=True)
            found.append(predict(segmenter, IMAGE, config=config).probabilities)
    apart = np.abs(found[0].astype(float) - found[1])
    assert 0 < apart.max() < 0.02


@pytest.mark.parametrize("largest", [2, 0], ids=["a batch of three", "any"])
def test_a_full_card_changes_nothing_in_the_labels(
    tiny_segmenter: Callable[..., Segmenter], monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(devices, "computes_bfloat16", lambda _: False)
    forward = Segmenter.forward

    def limited(self: Segmenter, image: torch.Tensor) -> torch.Tensor:
        if isinstance(image, CardTensor) and len(image) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")
        return forward(self, image)

    monkeypatch.setattr(Segmenter, "forward", limited)
    segmenter = tiny_segmenter("lw", n_classes=3).folded()
    config = PredictConfig(tile_size_px=64, batch_size=3)
    by_cpu = predict(segmenter, IMAGE, config=config).labels
    told: list[str] = []
    with simulated_card() as card:
        labels = predict(segmenter.to(card), IMAGE, config=config, on_notice=told.append).labels
        assert segmenter.device == card
    assert "The memory of cuda:0 is full" in told[0]
    assert np.mean(labels == by_cpu) > 0.999
