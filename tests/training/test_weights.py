from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.training.weights import RunWeights


def add(segmenter, amount: float) -> None:
    with torch.no_grad():
        for parameter in segmenter.trained_parameters().values():
            parameter.add_(amount)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_the_average_is_shown_and_the_latest_come_back(tiny_segmenter) -> None:
    segmenter = tiny_segmenter().train()
    weights = RunWeights(segmenter, averaged=True)
    start = segmenter.trained_state()
    add(segmenter, 0.5)
    latest = segmenter.trained_state()
    with weights.average_in_segmenter() as shown:
        assert shown is segmenter
        assert not segmenter.training
        assert same(segmenter.trained_state(), start)
    assert segmenter.training
    assert same(segmenter.trained_state(), latest)
    with contextlib.suppress(KeyboardInterrupt), weights.average_in_segmenter():
        raise KeyboardInterrupt
    assert same(segmenter.trained_state(), latest)


def test_an_interrupt_while_the_average_is_put_in_loses_nothing(
    tiny_segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = tiny_segmenter().train()
    weights = RunWeights(segmenter, averaged=True)
    add(segmenter, 0.5)
    latest = segmenter.trained_state()
    load, calls = segmenter.load_trained_state, 0

    def interrupted(state: dict[str, Tensor]) -> None:
        nonlocal calls
        calls += 1
        load(state)
        if calls == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(segmenter, "load_trained_state", interrupted)
    with pytest.raises(KeyboardInterrupt), weights.average_in_segmenter():
        pass
    assert same(segmenter.trained_state(), latest)
    assert segmenter.training


def test_the_best_is_shown_then_the_latest_go_on(tiny_segmenter) -> None:
    segmenter = tiny_segmenter()
    weights = RunWeights(segmenter, averaged=False)
    add(segmenter, 0.5)
    weights.update(1)
    weights.remember_best()
    best = segmenter.trained_state()
    add(segmenter, 0.5)
    weights.update(2)
    latest = segmenter.trained_state()
    weights.show_best()
    assert same(segmenter.trained_state(), best)
    assert not segmenter.training
    state = weights.state()
    assert same(state["weights"], latest)
    assert same(state["best"], best)
    weights.show_latest()
    assert same(segmenter.trained_state(), latest)
    assert segmenter.training


def test_without_a_best_the_average_is_shown(tiny_segmenter) -> None:
    segmenter = tiny_segmenter()
    weights = RunWeights(segmenter, averaged=True)
    add(segmenter, 0.5)
    weights.update(1)
    average = weights.state()["average"]
    weights.show_best()
    assert same(segmenter.trained_state(), average | {"class_bias": torch.zeros(3)})


def test_the_state_of_another_network_is_refused(tiny_segmenter) -> None:
    state = RunWeights(tiny_segmenter(adapter="hp"), averaged=True).state()
    segmenter = tiny_segmenter(adapter="lw")
    before = segmenter.trained_state()
    with pytest.raises(ValueError, match="do not fit"):
        RunWeights(segmenter, averaged=True).load(state)
    assert same(segmenter.trained_state(), before)


def test_a_bias_goes_with_the_best_weights_alone(tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    segmenter.class_bias.copy_(torch.tensor([0.0, 0.5]))
    weights = RunWeights(segmenter, averaged=True)
    weights.remember_best()
    weights.calibrate_best([0.0, -1.0])
    with weights.best_in_segmenter():  # they are what is calibrated
        assert segmenter.class_bias.tolist() == [0, 0.5]
    weights.show_best()
    assert segmenter.class_bias.tolist() == [0, -1]
    with weights.average_in_segmenter():
        assert segmenter.class_bias.tolist() == [0, 0.5]
    saved = weights.state()
    weights.show_latest()
    assert segmenter.class_bias.tolist() == [0, 0.5]
    weights.remember_best()  # a later check was better than others without a bias
    weights.show_best()
    assert segmenter.class_bias.tolist() == [0, -1]
    weights.forget_calibrated()  # and better than those with it
    weights.show_best()
    assert segmenter.class_bias.tolist() == [0, 0.5]

    other = tiny_segmenter(n_classes=2)
    resumed = RunWeights(other, averaged=True)
    resumed.load(saved)
    assert other.class_bias.tolist() == [0, 0.5]
    resumed.show_best()
    assert other.class_bias.tolist() == [0, -1]
    del saved["weights"]["class_bias"]  # a checkpoint of before there was a bias
    resumed.load(saved)
    assert other.class_bias.tolist() == [0, 0.5]
