"""The settings that methods are compared with."""

import accuracy
import pytest
from chosen import USUAL, chosen_settings
from datasets import DATASETS
from methods import ADAPTERS, METHODS, SCRATCH

from napari_sam2_adapters.config import ModelConfig, TrainConfig

EVERY = [(d, m, r) for d in DATASETS for m in METHODS for r in accuracy.REGIMES]
NOT_OF_SCRATCH = {"crop", "decoder", "detail", "input_scale"}
"""What networks from scratch may have otherwise than ours."""


@pytest.mark.parametrize("dataset", [*DATASETS, "sample"])
def test_all_settings_are_ones_that_the_product_knows(dataset):
    for method in ADAPTERS:
        for regime in accuracy.REGIMES:
            settings = chosen_settings(dataset, method, regime)
            assert settings.keys() == USUAL.keys()
            TrainConfig.model_validate({name: settings[name] for name in ("loss", "recipe")})
            ModelConfig.model_validate(
                {
                    name: settings[name]
                    for name in ("backbone", "decoder", "position", "detail", "input_scale")
                }
                | {"adapter": method}
            )


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("regime", accuracy.REGIMES)
def test_networks_from_scratch_learn_no_shorter_and_from_the_same_as_ours(dataset, regime):
    ours = chosen_settings(dataset, "hp", regime)
    for method in SCRATCH:
        theirs = chosen_settings(dataset, method, regime)
        differ = {name for name in USUAL if ours[name] != theirs[name]}
        if theirs["steps"] > ours["steps"]:  # what ours learn from so few was chosen for them alone
            differ -= {"steps", "loss"}
        assert differ <= NOT_OF_SCRATCH


def test_a_data_set_without_settings_of_its_own_has_the_usual_ones():
    assert chosen_settings("sample", "hp", "strokes") == USUAL


def test_a_regime_goes_before_its_data_set_and_a_method_before_both():
    assert chosen_settings("dsb2018", "hp", "1")["loss"] == "ce_dice"
    assert chosen_settings("dsb2018", "hp", "full")["loss"] == "composite"
    assert chosen_settings("dsb2018", "hp", "full")["crop"] == 128
    assert chosen_settings("kvasir_seg", "lora", "10")["decoder"] == "full"
    assert chosen_settings("kvasir_seg", "lw", "10")["decoder"] == "heads"


def test_what_is_given_on_the_command_line_goes_before_what_was_chosen():
    options = accuracy._options(
        ["--dataset", "drive", "--data", ".", "--steps", "7", "--no-correct-shares"]
    )
    merged = accuracy.with_chosen(options, "drive", "hp", "full")
    assert (merged.steps, merged.correct_shares) == (7, False)
    assert (merged.crop, merged.detail, merged.loss) == (224, "unet", "composite")
    assert options.loss is None
    assert accuracy.with_chosen(options, "isbi2012", "hp", "10").detail == "unet"


@pytest.mark.parametrize(("dataset", "method", "regime"), EVERY)
def test_every_comparison_has_one_row_of_settings(dataset, method, regime):
    (settings,) = accuracy.rows_wanted(dataset, method, regime)
    assert settings["score_on"] == "test"
    if method in (*ADAPTERS, *SCRATCH):
        assert (settings["views"], settings["only_largest"]) == ("none", False)
        assert ("crf_weight" in settings) == (regime == "strokes")
        assert ("detail" in settings) == (method in ADAPTERS)
