from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from napari_sam2_adapters.config import (
    ClassInfo,
    ModelConfig,
    Normalization,
    PredictConfig,
    TrainConfig,
    ViewsName,
    advise_on_views,
    default_classes,
    describe_errors,
    name_anew,
)

SETTINGS = (ModelConfig, TrainConfig, PredictConfig, Normalization)


@pytest.mark.parametrize("settings", SETTINGS)
class TestEverySetting:
    """What holds for each group of settings."""

    def test_the_defaults_are_valid_and_survive_json(self, settings: type[BaseModel]) -> None:
        chosen = settings()
        assert settings.model_validate(chosen.model_dump()) == chosen
        assert settings.model_validate_json(chosen.model_dump_json()) == chosen

    def test_nothing_unknown_is_taken(self, settings: type[BaseModel]) -> None:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            settings.model_validate({"no_such_setting": 1})

    def test_nothing_can_be_changed_later(self, settings: type[BaseModel]) -> None:
        chosen = settings()
        name = next(iter(settings.model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(chosen, name, getattr(chosen, name))

    def test_each_field_explains_itself(self, settings: type[BaseModel]) -> None:
        """The form in napari and the help of the command line are made of these."""
        titles = [field.title for field in settings.model_fields.values()]
        assert all(titles)
        assert len(set(titles)) == len(titles)
        for name, field in settings.model_fields.items():
            assert field.description, name
            assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (ModelConfig, {"adapter": "lora2"}),
        (ModelConfig, {"reduction": 0}),
        (ModelConfig, {"lora_rank": 65}),
        (ModelConfig, {"lora_dropout": 1.0}),
        (ModelConfig, {"input_channels": 0}),
        (ModelConfig, {"input_scale": 0.1}),
        (ModelConfig, {"seed": -1}),
        (TrainConfig, {"steps": 0}),
        (TrainConfig, {"crop_size_px": 225}),
        (TrainConfig, {"crop_size_px": 0}),
        (TrainConfig, {"batch_size": 0}),
        (TrainConfig, {"learning_rate": 0}),
        (TrainConfig, {"learning_rate": float("nan")}),
        (TrainConfig, {"held_out_fraction": 1.0}),
        (TrainConfig, {"time_budget_s": -1}),
        (TrainConfig, {"zero_is": "ignored"}),
        (PredictConfig, {"tile_size_px": 100}),
        (PredictConfig, {"overlap": 0.8}),
        (PredictConfig, {"batch_size": 0}),
        (PredictConfig, {"test_time_augmentation": "twice"}),
        (PredictConfig, {"test_time_augmentation": 1}),
        (Normalization, {"low": 5, "high": 5}),
        (Normalization, {"low": 9, "high": 5, "mode": "range"}),
        (Normalization, {"low": -1}),
        (Normalization, {"high": 101, "mode": "percentile"}),
        (Normalization, {"low": float("nan"), "high": 5, "mode": "range"}),
        (Normalization, {"low": 0, "high": float("inf"), "mode": "range"}),  # JSON has none
        (Normalization, {"low": float("-inf"), "high": 5, "mode": "range"}),
        (Normalization, {"mode": "range"}),  # percentiles are no grey values
        (Normalization, {"mode": "range", "high": 4095}),
        (ClassInfo, {"value": -1, "name": "a"}),
        (ClassInfo, {"value": 65536, "name": "a"}),
        (ClassInfo, {"value": 1, "name": ""}),
        (ClassInfo, {"value": 1, "name": "a", "color": "red"}),
        (ClassInfo, {"value": 1, "name": "a", "color": "#12345"}),
    ],
)
def test_values_out_of_bounds_are_refused(
    settings: type[BaseModel], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    sentence = describe_errors(caught.value)
    assert sentence.endswith(").")
    assert "(got " in sentence
    assert "Value error" not in sentence


def test_a_range_may_be_of_any_grey_values() -> None:
    assert Normalization(mode="range", low=-1000, high=3000).low == -1000


@pytest.mark.parametrize(("value", "views"), [(True, "flips_and_turns"), (False, "none")])
def test_earlier_settings_said_whether_there_are_flips_and_turns(value: bool, views: str) -> None:
    settings = PredictConfig.model_validate({"test_time_augmentation": value})
    assert settings.test_time_augmentation == views


@pytest.mark.parametrize(
    ("training", "views", "advised"),
    [
        ({"settings": {"recipe": "upright"}}, "flips_and_turns", True),
        ({"settings": {"recipe": "upright"}}, "tilts_and_zooms", False),
        ({"settings": {"recipe": "interactive"}}, "flips_and_turns", False),
        ({"settings": "those of another program"}, "flips_and_turns", False),
        ({}, "flips_and_turns", False),
    ],
)
def test_flips_are_advised_against_for_images_that_lie_one_way(
    training: dict[str, object], views: ViewsName, advised: bool
) -> None:
    assert ("Choose tilts and zooms" in advise_on_views(training, views)) == advised


def test_a_compiled_network_is_given_tiles_of_one_size() -> None:
    assert PredictConfig(tile_size_px=448).whole_up_to_px == 672
    assert PredictConfig(tile_size_px=448, compile=True).whole_up_to_px == 448


def test_errors_name_the_setting_and_what_was_got() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainConfig.model_validate({"steps": -3, "batch_size": "many"})
    sentence = describe_errors(caught.value)
    assert sentence == (
        "steps should be at least 1 (got -3). batch_size should be a whole number (got 'many')."
    )


class TestDefaultClasses:
    """Names and colours for the values that are found in labels."""

    def test_they_are_in_order_once_each(self) -> None:
        classes = default_classes([7, 0, 2, 2])
        assert [c.value for c in classes] == [0, 2, 7]
        assert [c.name for c in classes] == ["background", "class 2", "class 7"]

    def test_grey_is_for_background(self) -> None:
        """On an electron micrograph grey strokes cannot be seen."""
        with_0, without = default_classes([0, 1, 2]), default_classes([1, 2])
        assert with_0[0].color == "#999999"
        assert [c.color for c in without] == [c.color for c in with_0[1:]]
        assert "#999999" not in {c.color for c in without}

    def test_neighbours_have_different_colours(self) -> None:
        colours = [c.color for c in default_classes(list(range(20)))]
        assert all(a != b for a, b in itertools.pairwise(colours))
        assert len(set(colours[:8])) == 8


def test_a_class_that_nobody_has_named_keeps_the_name_that_the_adapter_knows() -> None:
    """As strokes in a layer of another day, whose values are 1, 2, … and nothing more."""
    known = tuple(
        ClassInfo(value=value, name=name) for value, name in ((0, "resin"), (1, "axon"), (2, "fat"))
    )
    painted = (*default_classes([0, 1]), ClassInfo(value=2, name="myelin", color="#112233"))
    anew = name_anew(known, painted, "nerve")
    assert [info.name for info in anew] == ["resin", "axon", "myelin"]
    assert [info.color for info in anew] == [info.color for info in painted]
