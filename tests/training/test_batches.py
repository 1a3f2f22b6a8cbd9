from __future__ import annotations

import json
import threading

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


@pytest.mark.parametrize("ahead", [False, True])
def test_a_restored_source_draws_the_same_again(coins, quick, ahead: bool) -> None:
    source = BatchSource(coins(), quick(), ahead=ahead)
    source.draw()
    crops, augmentation = source.random_state()
    expected = [source.draw() for _ in range(3)]
    other = BatchSource(coins(), quick(), ahead=not ahead)
    for _ in range(2):
        other.draw()
    other.restore(json.loads(json.dumps(crops)), augmentation)
    for images, labels in expected:
        again = other.draw()
        assert torch.equal(again[0], images)
        assert torch.equal(again[1], labels)


def test_batches_drawn_ahead_are_the_same_and_come_from_another_thread(
    coins, quick, monkeypatch
) -> None:
    plain, ahead = BatchSource(coins(), quick()), BatchSource(coins(), quick(), ahead=True)
    names = []
    draw_crop = ahead._draw_crop
    monkeypatch.setattr(
        ahead,
        "_draw_crop",
        lambda: (names.append(threading.current_thread().name), draw_crop())[1],
    )
    for _ in range(3):
        for one, other in zip(plain.draw(), ahead.draw(), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(plain.random_state()[1], ahead.random_state()[1])
        assert plain.random_state()[0] == ahead.random_state()[0]
    assert names[:2] == [threading.main_thread().name] * 2
    assert all(name.startswith("sam2-adapters-drawing") for name in names[2:])


def test_an_error_of_a_batch_drawn_ahead_comes_when_it_is_due(coins, quick, monkeypatch) -> None:
    source = BatchSource(coins(), quick(), ahead=True)
    source.draw()
    source.draw()
    state = source.random_state()

    def fail() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(source, "_draw_batch", fail)
    source.draw()  # this one was asked for before
    with pytest.raises(OSError, match="the disk is gone"):
        source.draw()
    monkeypatch.undo()
    source.restore(*state)
    assert source.draw()[0].shape == (2, 1, 64, 64)


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
