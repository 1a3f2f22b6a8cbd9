"""The first table of `results/accuracy.md`: every method beside every other, with the settings chosen for the comparison."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from accuracy import REGIMES, rows_wanted
from chosen import USUAL, chosen_settings
from datasets import DATASETS
from methods import ADAPTERS, METHODS, SCRATCH

__all__ = ["chosen_rows", "missing", "summary", "words"]

SEEDS = (0, 1, 2)


def chosen_rows(
    rows: Iterable[dict[str, Any]], dataset: str, method: str, regime: str
) -> list[dict[str, Any]]:
    """The rows of one comparison that have its chosen settings, one of each seed."""
    (wanted,) = rows_wanted(dataset, method, regime)
    found = {
        row["seed"]: row
        for row in rows
        if row["dataset"] == dataset
        and row["method"] == method
        and row["regime"] == regime
        and all(row["settings"].get(name) == value for name, value in wanted.items())
    }
    return [found[seed] for seed in sorted(found)]


def summary(rows: list[dict[str, Any]]) -> str:
    """Dice and lab mIoU of all methods, a line for each data set and regime; what none is ahead of is bold."""
    parts = []
    for title, field, scale, form in (
        ("Dice", "foreground_dice", 1, ".3f"),
        ("lab mIoU, %", "lab_miou", 100, ".1f"),
    ):
        parts.append(f"### {title}\n")
        parts.append(_line(["data set", "regime", *METHODS]))
        parts.append(_line(["---"] * (len(METHODS) + 2)))
        for dataset in DATASETS:
            for regime in REGIMES:
                cells = [
                    {
                        row["seed"]: row[field] * scale
                        for row in chosen_rows(rows, dataset, method, regime)
                    }
                    for method in METHODS
                ]
                parts.append(_line([dataset, regime, *_texts(cells, form)]))
        parts.append("")
    return "\n".join(parts)


def words(dataset: str) -> str:
    """The chosen settings of a data set that are not the usual ones, a sentence for regimes that have the same."""
    regimes: dict[str, list[str]] = {}
    for regime in REGIMES:
        regimes.setdefault(_words_of(dataset, regime), []).append(regime)
    return ". ".join(f"*{', '.join(names)}*: {text}" for text, names in regimes.items() if text)


def _words_of(dataset: str, regime: str) -> str:
    """What networks have in common, then what some have of their own."""
    unusual = {
        method: set(chosen_settings(dataset, method, regime).items()) - set(USUAL.items())
        for method in (*ADAPTERS, *SCRATCH)
    }
    shared = set.intersection(*unusual.values())
    own: dict[str, list[str]] = {}
    for method, settings in unusual.items():
        own.setdefault(_named(settings - shared), []).append(method)
    parts = [_named(shared), *(f"{', '.join(own[text])} {text}" for text in own if text)]
    return "; ".join(part for part in parts if part)


def missing(rows: list[dict[str, Any]], dataset: str) -> str:
    """What `accuracy.py` would still compute of a data set, in words; empty when nothing."""
    gaps = []
    for regime in REGIMES:
        lacking = []
        for method in METHODS:
            there = [row["seed"] for row in chosen_rows(rows, dataset, method, regime)]
            seeds = [str(seed) for seed in SEEDS if seed not in there]
            if seeds:
                some = "" if len(seeds) == len(SEEDS) else f" (seed {', '.join(seeds)})"
                lacking.append(method + some)
        if lacking:
            gaps.append(f"{regime}: {', '.join(lacking)}")
    return "; ".join(gaps)


def _texts(cells: list[dict[int, float]], form: str) -> list[str]:
    """A text for the values of each method by seed; bold where no other method is ahead on the seeds that both have.

    One draw is easier than another, so a mean over three is not held against a single one.
    """
    measured = [values for values in cells if values]
    texts = []
    for values in cells:
        if not values:
            texts.append("–")
            continue
        text = format(statistics.fmean(values.values()), form)
        if len(measured) > 1 and not any(_is_ahead(other, values) for other in measured):
            text = f"**{text}**"
        if len(values) > 1:
            text += f" ± {format(statistics.stdev(values.values()), form)}"
        texts.append(text)
    return texts


def _is_ahead(one: dict[int, float], other: dict[int, float]) -> bool:
    seeds = one.keys() & other.keys()
    return sum(one[seed] - other[seed] for seed in seeds) > 0


def _named(settings: set[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(settings))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
