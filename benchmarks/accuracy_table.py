"""The table of accuracies: `results/accuracy.md` from the rows that `accuracy.py` wrote.

python benchmarks/accuracy_table.py
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy import REGIMES, detail_of, read_rows
from accuracy_summary import missing, summary, words
from chosen import USUAL
from datasets import DATASETS
from methods import ADAPTERS, METHODS
from published import CAVEATS, PUBLISHED

from napari_sam2_adapters.atomic import write_atomically

RESULTS = Path(__file__).parent / "results"
_DEFAULTS = USUAL | {"score_on": "test", "views": "none", "only_largest": False}
# Field, heading, what it is multiplied with and how it is written.
_MEASURES: tuple[tuple[str, str, float, str], ...] = (
    ("lab_miou", "lab mIoU %", 100, ".2f"),
    ("foreground_dice", "Dice", 1, ".3f"),
    ("foreground_dice_where_true", "Dice where true", 1, ".3f"),
    ("volume_dice", "Dice of volumes", 1, ".3f"),
    ("iou_mean", "IoU", 1, ".3f"),
    ("boundary_f", "boundary F", 1, ".3f"),
    ("v_rand", "V_rand", 1, ".3f"),
    ("v_info", "V_info", 1, ".3f"),
    ("auc", "AUC", 1, ".3f"),
    ("gmacs_224", "GMACs", 1, ".2f"),
    ("trained_parameters", "trained", 1, ",.0f"),
    ("train_seconds", "training s", 1, ",.0f"),
)
_OF_ONE_DATASET = {
    "v_rand": "isbi2012",
    "v_info": "isbi2012",
    "auc": "drive",
    "volume_dice": "acdc",
}
_HEAD = """# Accuracy on held-out images

Made by `python benchmarks/accuracy_table.py` from `accuracy.jsonl`; do not edit it. Every result of the two tables below is computed, where it is missing, by

```
python benchmarks/accuracy.py --data DIR --dataset all --method all --regime all --seed 0 1 2 --json benchmarks/results/accuracy.jsonl
```

Regimes: all training images, 10, 1, and *strokes*, sparse strokes in the 10 images of the same seed. A number is of one seed, one with ± the mean and
standard deviation over seeds (three, unless the list of what is missing says otherwise), which draw the training images, the strokes and the
weights; – was not measured. Bold is what no other method is ahead of, however little, on the seeds that both have (one draw is easier than another). *Dice*
is a mean over images, then over foreground classes; *lab mIoU* comes from one confusion matrix over the test set, background in. The settings stand below, by data set.
"""
_DETAILS = """## All rows

Each data set below has a line for every setting that was run on the test images, those of the tables above among them; settings other than the product's usual ones stand
beside the method. *Dice* and *IoU* are means over images, then over foreground classes; *where true* leaves out images without the
class; *of volumes* takes all slices of a heart at one time together, as the challenge of ACDC does; *boundary F* is at 2 px; GMACs are those of one
pass at 224². Training times are of shared, noisy CPU cores.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS / "accuracy.jsonl")
    parser.add_argument("--output", type=Path, default=RESULTS / "accuracy.md")
    options = parser.parse_args(arguments)
    if not options.json.exists():
        raise SystemExit(f"There is no file {options.json}. Run benchmarks/accuracy.py first.")
    text = table(read_rows(options.json))
    write_atomically(options.output, lambda file: file.write(text.encode()), overwrite=True)
    print(f"Wrote {options.output}.")


def table(rows: list[dict[str, Any]]) -> str:
    """The whole page; a row of `accuracy.py` counts once, the last one when it is there twice."""
    last = {_identity(row): row for row in rows}
    sections = [
        _section(dataset, [r for r in last.values() if r["dataset"] == dataset])
        for dataset in DATASETS
    ]
    return "\n".join([_HEAD, summary(list(last.values())), _DETAILS, *sections])


def _section(dataset: str, rows: list[dict[str, Any]]) -> str:
    parts = [f"## {dataset}\n"]
    parts.extend(f"- Published: {line}" for line in PUBLISHED.get(dataset, ()))
    if dataset in PUBLISHED:
        parts.append(f"\n{CAVEATS}\n")
    if rows:
        measures = [m for m in _MEASURES if _OF_ONE_DATASET.get(m[0], dataset) == dataset]
        parts.append(_line(["method", "regime", "seeds", *(m[1] for m in measures)]))
        parts.append(_line(["---"] * (len(measures) + 3)))
        for (method, regime, settings), group in _groups(rows):
            cells = [_cell([_value(r, field) for r in group], *how) for field, _, *how in measures]
            seeds = ", ".join(str(r["seed"]) for r in sorted(group, key=lambda r: r["seed"]))
            parts.append(_line([_name(method, settings), regime, seeds, *cells]))
    chosen, gaps = words(dataset), missing(rows, dataset)
    if chosen:
        parts.append(f"\nChosen for this data set: {chosen}.")
    if gaps:
        parts.append(f"\nMissing with the chosen settings – {gaps}.")
    return "\n".join(parts) + "\n"


def _groups(
    rows: list[dict[str, Any]],
) -> list[tuple[tuple[str, str, str], list[dict[str, Any]]]]:
    """Rows that differ in the seed alone, in the order of regimes and methods."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["regime"], _unusual(row)), []).append(row)
    regimes, methods = list(REGIMES), list(METHODS)
    return sorted(
        groups.items(), key=lambda g: (regimes.index(g[0][1]), methods.index(g[0][0]), g[0][2])
    )


def _identity(row: dict[str, Any]) -> str:
    return json.dumps(
        [row[k] for k in ("dataset", "method", "regime", "seed", "settings")], sort_keys=True
    )


def _unusual(row: dict[str, Any]) -> str:
    """The settings that are not the defaults, in words."""
    method = row["method"]
    usual = _DEFAULTS | ({"detail": detail_of(method)} if method in ADAPTERS else {})
    settings = {k: v for k, v in row["settings"].items() if v != usual.get(k)}
    return ", ".join(f"{k} {v}" for k, v in sorted(settings.items()))


def _name(method: str, settings: str) -> str:
    return f"{method} ({settings})" if settings else method


def _value(row: dict[str, Any], field: str) -> float | None:
    """A measure of a row; None where it was not measured, as in rows of earlier versions."""
    if field == "iou_mean":
        of_classes = [v for v in list(row.get("iou", {}).values())[1:] if v is not None]
        return statistics.fmean(of_classes) if of_classes else None
    value: float | None = row.get(field)
    return value


def _cell(values: Sequence[float | None], scale: float, form: str) -> str:
    there = [value * scale for value in values if value is not None]
    if not there:
        return "–"
    text = format(statistics.fmean(there), form)
    if len(set(there)) > 1:
        text += f" ± {format(statistics.stdev(there), form)}"
    # Rows of earlier versions lack some measures.
    return text if len(there) == len(values) else f"{text} ({len(there)} of {len(values)} seeds)"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
