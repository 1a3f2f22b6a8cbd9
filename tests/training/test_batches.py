from __future__ import annotations

import json

import pytest
import torch

from napari_sam2_adapters.training.batches import BatchSource


@pytest.mark.parametrize(
    "settings", [{}, {"recipe": "upright"}, {"recipe": "paper"}, {"augment": False}]
)
def test_batches_have_the_form_of_the_contract(coins, quick, settings: dict[str, object]) -> None:
    images, labels = BatchSource(coins(), quick(**settings)).draw()
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert images.shape == (2, 1, 64, 64)
    assert labels.shape == (2, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(labels.unique().tolist()) <= {-1, 0, 1}


def test_a_restored_source_draws_the_same_again(coins, quick) -> None:
    source = BatchSource(coins(), quick())
    source.draw()
    crops, augmentation = source.random_state()
    expected = [source.draw() for _ in range(3)]
    other = BatchSource(coins(), quick())
    other.restore(json.loads(json.dumps(crops)), augmentation)
    for images, labels in expected:
        again = other.draw()
        assert torch.equal(again[0], images)
        assert torch.equal(again[1], labels)


def test_the_seed_decides(coins, quick) -> None:
    one, same, other = (BatchSource(coins(), quick(seed=seed)).draw()[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_counts_are_those_of_the_learning_part(coins, quick) -> None:
    dataset = coins()
    source = BatchSource(dataset, quick())
    total = dataset.labelled_pixels([*dataset.train, *dataset.held_out])
    held = dataset.labelled_pixels(dataset.held_out)
    assert source.class_counts == (total - held).tolist()
