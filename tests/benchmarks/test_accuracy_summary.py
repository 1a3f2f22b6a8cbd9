"""All methods side by side with the settings chosen for the comparison."""

import accuracy_summary
import pytest
from accuracy import rows_wanted


def row(dataset, method, regime, seed=0, dice=0.5, **settings):
    (chosen,) = rows_wanted(dataset, method, regime)
    return {
        "dataset": dataset,
        "method": method,
        "regime": regime,
        "seed": seed,
        "settings": chosen | settings,
        "foreground_dice": dice,
        "lab_miou": dice / 2,
    }


def cells(text, dataset, regime):
    """Cells of the methods in both tables: Dice and lab mIoU."""
    lines = [x for x in text.splitlines() if x.startswith(f"| {dataset} | {regime} |")]
    return [
        dict(
            zip(
                accuracy_summary.METHODS,
                [c.strip() for c in x.strip("|").split("|")][2:],
                strict=True,
            )
        )
        for x in lines
    ]


def test_seeds_of_the_chosen_settings_become_one_number_and_the_best_is_bold():
    rows = [
        row("drive", "hp", "10", 0, 0.7),
        row("drive", "hp", "10", 1, 0.8),
        row("drive", "unet", "10", 0, 0.6),
        row("drive", "hp", "10", 2, 0.1, input_scale=2.0),
    ]
    dice, miou = cells(accuracy_summary.summary(rows), "drive", "10")
    assert dice["hp"] == "**0.750** ± 0.071"
    assert miou["hp"] == "**37.5** ± 3.5"
    assert dice["unet"] == "0.600"
    assert dice["lora"] == "–"


def test_methods_are_compared_on_the_seeds_that_both_have():
    rows = [row("kvasir_seg", "lw", "1", seed, dice) for seed, dice in enumerate((0.55, 0.2, 0.2))]
    rows += [row("kvasir_seg", "lora", "1", 0, 0.4)]
    dice, _ = cells(accuracy_summary.summary(rows), "kvasir_seg", "1")
    assert dice["lw"].startswith("**0.317**")
    assert dice["lora"] == "0.400"


def test_what_stands_alone_is_not_called_the_best():
    dice, _ = cells(accuracy_summary.summary([row("acdc", "hp", "1")]), "acdc", "1")
    assert dice["hp"] == "0.500"


def test_two_that_are_equal_are_both_the_best():
    rows = [row("acdc", method, "full", dice=0.8) for method in ("hp", "lw")]
    dice, _ = cells(accuracy_summary.summary(rows), "acdc", "full")
    assert dice["hp"] == dice["lw"] == "**0.800**"


def test_a_row_that_tells_more_settings_than_are_chosen_counts():
    more = row("kvasir_seg", "forest", "1", dice=0.3)
    more["settings"]["of_another_version"] = True
    dice, _ = cells(accuracy_summary.summary([more]), "kvasir_seg", "1")
    assert dice["forest"] == "0.300"


def test_chosen_settings_are_told_once_for_regimes_that_share_them():
    text = accuracy_summary.words("drive")
    assert text.count("loss composite") == 3
    assert "*full*: loss composite, steps 900; hp, lw, lora crop 224, detail unet" in text
    assert "*10, 1*: loss composite; hp, lw, lora crop 224, detail unet" in text
    assert "*strokes*: loss composite; hp, lw, lora crop 96, input_scale 2.0" in text
    assert accuracy_summary.words("sample") == ""


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_what_is_missing_is_of_the_chosen_settings(seeds):
    rows = [row("drive", "hp", "10", seed) for seed in seeds]
    rows += [row("drive", "lw", "10", seed, loss="ce_dice") for seed in seeds]
    text = accuracy_summary.missing(rows, "drive")
    of_ten = text.partition("10: ")[2].partition(";")[0]
    assert of_ten.startswith("lw, lora" if len(seeds) == 3 else "hp (seed 1, 2), lw, lora")
