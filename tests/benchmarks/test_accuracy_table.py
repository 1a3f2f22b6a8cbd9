"""The table of accuracies from rows of this version and of earlier ones."""

import json

import accuracy_summary
import accuracy_table
import pytest
from accuracy import rows_wanted

USUAL = {
    "backbone": "mobile",
    "steps": 300,
    "batch": 4,
    "crop": None,
    "loss": "ce_dice",
    "recipe": "interactive",
    "decoder": "heads",
    "position": "hybrid",
    "input_scale": 1.0,
    "score_on": "test",
    "views": "none",
    "only_largest": False,
}
DETAIL = {"hp": {"detail": "pixels"}, "lw": {"detail": "none"}, "lora": {"detail": "none"}}
"""What ours have of their own; baselines say nothing of it."""


def row(method="hp", regime="10", seed=0, dataset="kvasir_seg", settings=None, **measures):
    return {
        "dataset": dataset,
        "method": method,
        "regime": regime,
        "seed": seed,
        "settings": USUAL | DETAIL.get(method, {}) | (settings or {}),
        "lab_miou": 0.7,
        "foreground_dice": 0.8,
    } | measures


def line_of(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_seeds_become_mean_and_deviation_and_what_was_not_measured_a_dash():
    text = accuracy_table.table([row(lab_miou=0.6), row(seed=1, lab_miou=0.7, boundary_f=0.5)])
    cells = line_of(text, "hp")
    assert cells[1:4] == ["10", "0, 1", "65.00 ± 7.07"]
    assert cells[4:6] == ["0.800", "–"]
    assert "0.500 (1 of 2 seeds)" in cells


def test_other_settings_are_other_rows_and_named():
    text = accuracy_table.table(
        [row(), row(settings={"decoder": "full", "score_on": "validation"})]
    )
    assert line_of(text, "hp")[2] == "0"
    assert line_of(text, "hp (decoder full, score_on validation)")[2] == "0"


def test_rows_from_before_there_was_a_detail_head_are_of_networks_without_one(tmp_path):
    old, unet = row(foreground_dice=0.6), row("unet", foreground_dice=0.4)
    del old["settings"]["detail"]
    new = row(foreground_dice=0.9)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in (old, unet, new)), encoding="utf-8")
    read = accuracy_table.read_rows(rows)
    assert read[0]["settings"] == row(settings={"detail": "none"})["settings"]
    text = accuracy_table.table(read)
    assert line_of(text, "hp (detail none)")[4] == "0.600"
    assert line_of(text, "hp")[4] == "0.900"
    assert line_of(text, "unet")[4] == "0.400"  # which never had one


def test_rows_of_strokes_from_before_unlabelled_pixels_had_a_say_are_of_labelled_ones_alone(
    tmp_path,
):
    old = row(regime="strokes", foreground_dice=0.6)
    new = row(
        regime="strokes", foreground_dice=0.9, settings={"correct_shares": True, "crf_weight": 3.0}
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(r) + "\n" for r in (old, new)), encoding="utf-8")
    text = accuracy_table.table(accuracy_table.read_rows(rows))
    assert line_of(text, "hp (correct_shares False, crf_weight 0.0)")[4] == "0.600"
    assert line_of(text, "hp")[4] == "0.900"


def test_a_row_that_is_there_twice_counts_once_the_last_one():
    text = accuracy_table.table([row(lab_miou=0.1), row(lab_miou=0.7)])
    assert line_of(text, "hp")[2:4] == ["0", "70.00"]


def test_measures_of_one_data_set_stand_in_its_table_alone():
    text = accuracy_table.table(
        [row(), row(dataset="isbi2012", v_rand=0.9), row(dataset="drive", auc=0.97)]
    )
    kvasir, isbi, drive = (
        text.partition(f"## {name}\n")[2].partition("## ")[0]
        for name in ("kvasir_seg", "isbi2012", "drive")
    )
    assert "V_rand" in isbi
    assert "V_rand" not in kvasir + drive
    assert "AUC" in drive
    assert "AUC" not in kvasir + isbi
    assert "85.84" in kvasir
    assert "not the same experiment" in kvasir


def chosen(method, regime, seed=0, dataset="kvasir_seg", **measures):
    (settings,) = rows_wanted(dataset, method, regime)
    return row(method, regime, seed, dataset, settings, **measures)


def test_what_is_missing_is_said():
    text = accuracy_table.table([chosen("hp", "10", seed) for seed in (0, 2)])
    section = text.partition("## kvasir_seg\n")[2].partition("## ")[0]
    assert "10: hp (seed 1), lw, lora" in section
    assert "strokes: hp, lw" in section
    whole = accuracy_table.table(
        [
            chosen(method, regime, seed)
            for method in accuracy_summary.METHODS
            for regime in accuracy_table.REGIMES
            for seed in accuracy_summary.SEEDS
        ]
    )
    assert "Missing" not in whole.partition("## kvasir_seg\n")[2].partition("## ")[0]


def test_rows_on_validation_images_fill_no_gap():
    text = accuracy_table.table(
        [chosen("hp", "10") | {"settings": USUAL | {"batch": 8, "score_on": "validation"}}]
    )
    assert "10: hp, lw" in text.partition("## kvasir_seg\n")[2].partition("## ")[0]


def test_the_page_begins_with_all_methods_side_by_side():
    text = accuracy_table.table([chosen("hp", "1"), chosen("unet", "1", foreground_dice=0.4)])
    head, _, _ = text.partition("## All rows")
    assert "| kvasir_seg | 1 | **0.800** | – | – | 0.400 | – | – | – |" in head
    assert "Chosen for this data set: *full*: batch 8, steps 1500" in text


def test_the_command_writes_the_file_anew(tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "table.md"
    with pytest.raises(SystemExit, match=r"accuracy\.py first"):
        accuracy_table.main(["--json", str(rows), "--output", str(out)])
    rows.write_text(json.dumps(row()) + "\n", encoding="utf-8")
    for _ in range(2):
        accuracy_table.main(["--json", str(rows), "--output", str(out)])
    assert out.read_text(encoding="utf-8") == accuracy_table.table([row()])
