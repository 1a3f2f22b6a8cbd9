from __future__ import annotations

import pytest
import torch

from napari_sam2_adapters.training.recipes import RECIPES, build_optimizer, rate_factor, set_rates


def test_the_interactive_recipe(tiny_segmenter) -> None:
    segmenter = tiny_segmenter(adapter="hp", detail="pixels")
    optimizer = build_optimizer(segmenter, RECIPES["interactive"])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert RECIPES["interactive"].clip == 1.0
    set_rates(optimizer, 1.0)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    groups = segmenter.parameter_groups()
    for name, rate in (("new", 1e-3), ("offset", 1e-4), ("detail", 1e-2), ("pretrained", 2e-4)):
        assert groups[name]
        assert {rate_of[id(p)] for p in groups[name]} == {rate}
    assert set(rate_of) == {id(p) for p in segmenter.trained_parameters().values()}


def test_the_paper_recipe(tiny_segmenter) -> None:
    optimizer = build_optimizer(tiny_segmenter(adapter="hp", detail="none"), RECIPES["paper"])
    assert type(optimizer) is torch.optim.Adam
    assert set_rates(optimizer, 1.0) == 1e-4
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0}
    assert RECIPES["paper"].clip is None


def test_a_rate_of_ones_own_scales_all_groups(tiny_segmenter) -> None:
    segmenter = tiny_segmenter(adapter="hp", detail="pixels")
    optimizer = build_optimizer(segmenter, RECIPES["interactive"], 5e-3)
    assert set_rates(optimizer, 0.5) == pytest.approx(2.5e-3)
    rates = sorted(group["lr"] for group in optimizer.param_groups)
    assert rates == pytest.approx([2.5e-4, 5e-4, 2.5e-3, 2.5e-2])


def test_the_schedule_rises_then_falls_as_a_cosine() -> None:
    values = [rate_factor(i / 1000, 0.05) for i in range(1001)]
    assert values[25] == pytest.approx(0.5)
    assert max(values) == values[50] == 1
    assert values[:51] == sorted(values[:51])
    assert values[50:] == sorted(values[50:], reverse=True)
    assert values[525] == pytest.approx(0.5)
    assert values[1000] == pytest.approx(0, abs=1e-12)
    assert rate_factor(0.0, 0.0) == 1
    assert rate_factor(0.5, 0.0) == pytest.approx(0.5)


def test_a_folded_network_is_refused(tiny_segmenter) -> None:
    with pytest.raises(ValueError, match="no weights that learn"):
        build_optimizer(tiny_segmenter().folded(), RECIPES["interactive"])


def test_groups_that_miss_a_trained_tensor_are_refused(tiny_segmenter) -> None:
    segmenter = tiny_segmenter()

    class Forgetful:
        trained_parameters = segmenter.trained_parameters

        def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
            return {**segmenter.parameter_groups(), "pretrained": []}

    with pytest.raises(ValueError, match="belongs in exactly one"):
        build_optimizer(Forgetful(), RECIPES["interactive"])
