from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from napari_sam2_adapters.cli.settings import (
    Sections,
    build_settings,
    read_classes,
    read_sections,
    settings_flags,
)
from napari_sam2_adapters.config import ModelConfig, PredictConfig, TrainConfig


def command_with_flags(received: list[Sections], **sections: Any) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @settings_flags(leave_out={"input_channels"}, **sections)
    def run(flags: Sections, name: Annotated[str, typer.Option()] = "x") -> None:
        received.append(flags)

    return app


def test_only_the_given_flags_arrive_and_a_shared_one_in_both_sections() -> None:
    received: list[Sections] = []
    app = command_with_flags(received, model=ModelConfig, train=TrainConfig)
    arguments = ["--adapter", "lora", "--steps", "7", "--seed", "3", "--no-augment"]
    result = CliRunner().invoke(app, [*arguments, "--time-budget-s", "1.5"])
    assert result.exit_code == 0, result.output
    assert received == [
        {
            "model": {"adapter": "lora", "seed": 3},
            "train": {"steps": 7, "seed": 3, "augment": False, "time_budget_s": 1.5},
        }
    ]


def test_every_field_has_a_flag_unless_left_out() -> None:
    def run(flags: Sections) -> None: ...

    made = settings_flags(leave_out={"input_channels"}, model=ModelConfig)(run)
    names = set(inspect.signature(made).parameters)
    assert names == set(ModelConfig.model_fields) - {"input_channels"}


def test_help_says_what_can_be_typed_and_what_holds_without() -> None:
    def run(flags: Sections) -> None: ...

    own = {"tile_size_px": "that of the adapter"}
    made = settings_flags(predict=PredictConfig, model=ModelConfig, defaults=own)(run)
    helps = {
        name: get_args(parameter.annotation)[1].help
        for name, parameter in inspect.signature(made).parameters.items()
    }
    for name in ("test_time_augmentation", "adapter", "detail"):
        field = {**PredictConfig.model_fields, **ModelConfig.model_fields}[name]
        assert all(choice in helps[name] for choice in get_args(field.annotation)), name
    assert helps["tile_size_px"].endswith("Default: that of the adapter.")
    assert helps["overlap"].endswith("Default: 0.25.")


def test_flags_lie_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("train: {steps: 50, batch_size: 2}\npredict: {overlap: 0.5}\n")
    sections = read_sections(file, {"train": {"steps": 9}})
    train = build_settings(TrainConfig, sections, "train")
    assert (train.steps, train.batch_size, train.crop_size_px) == (9, 2, 224)
    assert build_settings(PredictConfig, sections, "predict").overlap == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {steps: 0}", "train settings are not valid. steps"),
        ("train: {stpes: 4}", r"stpes is not a setting of train; did you mean steps\?"),
        ("train: {steps: many}", r"steps should be a whole number \(got 'many'\)\."),
        ("train: 3", "section 'train'"),
        ("traain: {}", "sections"),
        ("train: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        build_settings(TrainConfig, read_sections(file, {"train": {}}), "train")


def test_classes_keep_their_colours_and_get_different_ones_otherwise() -> None:
    entries = [
        {"value": 1, "name": "cell"},
        {"value": 2, "name": "wall", "color": "#123456"},
        {"value": 3, "name": "lumen"},
    ]
    classes = read_classes({"classes": entries})
    assert classes is not None
    assert [c.name for c in classes] == ["cell", "wall", "lumen"]
    assert classes[1].color == "#123456"
    assert len({c.color for c in classes}) == 3
    assert read_classes({}) is None


@pytest.mark.parametrize(
    "entries", [[], 3, {"value": 1}, [{"value": 1}], [{"value": -1, "name": "a"}]]
)
def test_wrong_classes_are_refused(entries: object) -> None:
    with pytest.raises(ValueError, match="class"):
        read_classes({"classes": entries})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- value: 1\n  name: a\n  color: #ff0000", "The class 'value: 1, name: a, color: None'"),
        ("- {value: 1, name: yes}", r"name should be text \(got True\)"),
        ("- {value: 1, name: 12}", r"name should be text \(got 12\)"),
    ],
)
def test_text_that_yaml_takes_for_something_else_is_to_be_put_in_quotes(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"classes:\n{text}\n")
    with pytest.raises(ValueError, match=rf'{sentence}.* Put it in quotes, as in name: "yes"'):
        read_classes(read_sections(file, {}))


def test_quotes_are_not_advised_where_they_do_not_help() -> None:
    with pytest.raises(ValueError, match=r"such as #3b6ea5 \(got 'blau'\)\.$"):
        read_classes({"classes": [{"value": 1, "name": "a", "color": "blau"}]})
