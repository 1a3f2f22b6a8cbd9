from __future__ import annotations

import pytest
from pydantic import ValidationError

from napari_sam2_adapters.config import (
    ClassInfo,
    ModelConfig,
    Normalization,
    Settings,
    TrainConfig,
)
from napari_sam2_adapters.wording import counted, describe_errors, did_you_mean, shortened


def told(kind: type[Settings], **values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return describe_errors(caught.value, known=kind.model_fields, of="train")


def test_nouns_follow_their_number() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 1200)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,200 images",
    ]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


def test_a_long_text_loses_its_middle() -> None:
    assert shortened("a" * 40) == "a" * 40
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert len(shortened("x" * 500)) == 40


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (TrainConfig, {"stpes": 4}, "stpes is not a setting of train; did you mean steps?"),
        (TrainConfig, {"crop-size-px": 4}, "crop-size-px is not .* did you mean crop_size_px?"),
        (TrainConfig, {"xyz": 4}, "xyz is not a setting of train; there are recipe, loss, .*seed."),
        (TrainConfig, {"steps": 1.5}, r"steps should be a whole number \(got 1.5\)."),
        (TrainConfig, {"crop_size_px": 33}, r"crop_size_px should be a multiple of 32 \(got 33\)."),
        (TrainConfig, {"learning_rate": "no"}, r"learning_rate should be a number \(got 'no'\)."),
        (
            TrainConfig,
            {"augment": "perhaps"},
            r"augment should be true or false \(got 'perhaps'\).",
        ),
        (TrainConfig, {"held_out_fraction": 2}, r"held_out_fraction should be at most 0.9 .*"),
        (ModelConfig, {"adapter": "mlp"}, r"adapter should be hp, lw or lora \(got 'mlp'\)."),
        (ModelConfig, {"adapter": "m" * 999}, r"adapter should be hp, .*m…\)."),
        (ClassInfo, {"value": 1}, "name is missing."),
        (
            ClassInfo,
            {"value": 1, "name": "a", "color": "blau"},
            r"color should be a colour as #rrggbb, such as #3b6ea5 \(got 'blau'\).",
        ),
        (ClassInfo, {"value": 1, "name": "a", "color": None}, r"color should be .*\(got None\)."),
        (
            Normalization,
            {"mode": "range", "low": 5, "high": 2},
            r"low must be below high, but they are 5 and 2 \(got mode: range, low: 5, high: 2\).",
        ),
        (
            Normalization,
            {"high": 4095},
            r"percentiles lie between 0 and 100, but low and high are 0.1 and 4095; for fixed grey values choose the mode range \(got high: 4095\).",
        ),
        (
            Normalization,
            {"mode": "range"},
            r"range needs low and high, .* such as low: 0, high: 255 \(got mode: range\).",
        ),
    ],
)
def test_wrong_settings_are_told_in_plain_words(
    kind: type[Settings], values: dict[str, object], sentence: str
) -> None:
    import re

    said = told(kind, **values)
    assert re.fullmatch(sentence.replace("?", r"\?"), said), said


def test_a_name_that_is_like_none_gets_all_of_them() -> None:
    assert did_you_mean("sede", ["seed", "steps"]) == "did you mean seed?"
    assert did_you_mean("zzz", ["seed", "steps"]) == "there are seed, steps."
