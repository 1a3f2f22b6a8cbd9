"""Accuracy on real, held-out images: ours beside what people would use instead, by each data set's own protocol.

    python benchmarks/accuracy.py --data DIR --dataset kvasir_seg --method hp unet --regime 10 --seed 0 1 2 \
        --json benchmarks/results/accuracy.jsonl
    python benchmarks/accuracy.py --data DIR --dataset all --method all --regime all --seed 0 1 2 --json FILE

Each result is one JSON line, written as soon as it is there; results that the file has already are not computed again, so that
an interrupted run goes on. The test images choose nothing: training has no held-out part here and keeps its last weights.
Settings that are not given are those chosen for the data set, the regime and the method (`chosen.py`).
`accuracy_table.py` makes the table.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from chosen import chosen_settings
from datasets import DATASETS, SAMPLE, LabelledImage, Split, read_dataset
from methods import ADAPTERS, METHODS, fit
from pictures import picture_paths, write_pictures
from scoring import score
from strokes import simulate_strokes

from napari_sam2_adapters.config import DetailMode, ModelConfig, ViewsName
from napari_sam2_adapters.models.model_file import SUFFIX


@dataclass(frozen=True)
class Regime:
    """How many training images there are (None: all), and whether they have strokes instead of dense labels."""

    images: int | None
    strokes: bool = False


REGIMES = {
    "full": Regime(None),
    "10": Regime(10),
    "1": Regime(1),
    "strokes": Regime(10, strokes=True),
}
_OF_NETWORKS = (
    "backbone",
    "steps",
    "batch",
    "crop",
    "loss",
    "recipe",
    "decoder",
    "position",
    "input_scale",
    "score_on",
)
_OF_STROKES = ("correct_shares", "crf_weight")
"""They mean nothing to dense labels, so that rows of other regimes do not have them."""
_WAYS: dict[str, Any] = {"views": "none", "only_largest": False}
"""In which one training can be scored, with the plain one; each is a row of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the results that are asked for and are not in the file yet."""
    options = _options(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    done = read_rows(options.json)
    for dataset in options.dataset:
        split = read_dataset(dataset, options.data)
        if options.score_on == "validation":
            split = split.without_test()
        for method, regime, seed in itertools.product(options.method, options.regime, options.seed):
            of_this = with_chosen(options, dataset, method, regime)
            rows = [
                {
                    "dataset": dataset,
                    "method": method,
                    "regime": regime,
                    "seed": seed,
                    "settings": settings,
                }
                for settings in _settings(method, REGIMES[regime], of_this)
            ]
            missing = [
                row
                for row in rows
                if not any(all(old.get(k) == v for k, v in row.items()) for old in done)
            ]
            if missing:
                _run(missing, split, of_this)


def with_chosen(
    options: argparse.Namespace, dataset: str, method: str, regime: str
) -> argparse.Namespace:
    """The options, with the settings chosen for this comparison where none was given."""
    chosen = chosen_settings(dataset, method, regime)
    given = {name: value for name, value in vars(options).items() if value is not None}
    return argparse.Namespace(**(vars(options) | chosen | given))


def rows_wanted(dataset: str, method: str, regime: str) -> list[dict[str, Any]]:
    """The settings that rows of a comparison have when nothing is given on the command line."""
    nothing_given = _options(["--dataset", dataset, "--data", "."])
    return _settings(method, REGIMES[regime], with_chosen(nothing_given, dataset, method, regime))


def _run(rows: list[dict[str, Any]], split: Split, options: argparse.Namespace) -> None:
    """Train one method, score it with the settings of each row, and write rows and the pictures of the first."""
    first = rows[0]
    name = "-".join(str(first[key]) for key in ("dataset", "method", "regime", "seed"))
    paths = picture_paths(options.pictures, name) if options.pictures else {}
    chosen = training_images(split, REGIMES[first["regime"]], first["seed"])
    kept = options.adapters / _adapter_name(name, first) if options.adapters else None
    fitted = fit(split, first["method"], chosen, first["seed"], options, kept)
    for row in rows:
        way = {name: row["settings"].get(name, plain) for name, plain in _WAYS.items()}
        scores, results = score(partial(fitted.segment, **way), split)
        line = json.dumps(row | scores | fitted.cost | {"images": len(chosen)})
        print(line, flush=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            with options.json.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        write_pictures(paths, results, split.classes)
        paths = {}


def _adapter_name(name: str, row: dict[str, Any]) -> str:
    """File name of an adapter, one for all rows that differ in how it is scored alone."""
    trained = {k: v for k, v in row["settings"].items() if k not in _WAYS}
    digest = hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()
    return f"{name}-{digest[:8]}{SUFFIX}"


def training_images(split: Split, regime: Regime, seed: int) -> list[LabelledImage]:
    """The training images of a regime: one seed draws the same images for ``10`` and ``strokes``."""
    chosen = split.choose(regime.images, seed)
    if not regime.strokes:
        return chosen
    return [replace(i, labels=simulate_strokes(i.labels, seed, i.name)) for i in chosen]


def read_rows(path: Path | None) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; none when there is no file.

    Our rows of before there was a detail head are of networks without one, and say so then; those of before results could be scored in
    several ways were scored plainly, and those of before unlabelled pixels had a say are of labelled ones alone.
    """
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["method"] in ADAPTERS:
            row["settings"].setdefault("detail", "none")
        if "steps" in row["settings"]:
            flipped = row["settings"].pop("flip_and_turn", False)
            row["settings"].setdefault("views", "flips_and_turns" if flipped else "none")
            row["settings"].setdefault("only_largest", False)
            if REGIMES[row["regime"]].strokes:
                row["settings"].setdefault("correct_shares", False)
                row["settings"].setdefault("crf_weight", 0.0)
    return rows


def _settings(method: str, regime: Regime, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The settings that the method reads, for each way in which one training is scored; rows with other settings are other results."""
    names: dict[str, tuple[str, ...]] = {
        "forest": ("score_on",),
        "linear": ("backbone", "score_on"),
    }
    settings = {name: getattr(options, name) for name in names.get(method, _OF_NETWORKS)}
    if method in names:
        return [settings]
    if method in ADAPTERS:
        settings |= {"detail": detail_of(method, options.detail)}
    if regime.strokes:
        settings |= {name: getattr(options, name) for name in _OF_STROKES}
    largest = (False, True) if options.only_largest else (False,)
    return [
        settings | {"views": views, "only_largest": only_largest}
        for views, only_largest in itertools.product(options.views, largest)
    ]


def detail_of(method: str, detail: DetailMode = "auto") -> str:
    """What one of our methods has beside SAM, whatever ``auto`` meant when its row was made."""
    return ModelConfig.model_validate({"adapter": method, "detail": detail}).detail_kind


def _add_settings(group: argparse._ArgumentGroup) -> None:
    """One option for each name in `USUAL`, without a default."""
    group.add_argument("--backbone")
    group.add_argument("--steps", type=int)
    group.add_argument("--batch", type=int)
    group.add_argument(
        "--crop", type=int, help="side of a crop in px; the protocol's own if not given"
    )
    group.add_argument("--loss")
    group.add_argument("--recipe")
    group.add_argument("--decoder")
    group.add_argument("--position")
    group.add_argument("--detail", choices=get_args(DetailMode), help="of ours")
    group.add_argument("--input-scale", type=float)
    strokes = "of networks that learn from strokes"
    group.add_argument("--correct-shares", action=argparse.BooleanOptionalAction, help=strokes)
    group.add_argument("--crf-weight", type=float, help=strokes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets; not for the sample")
    parser.add_argument("--dataset", nargs="+", choices=(*DATASETS, SAMPLE, "all"), required=True)
    parser.add_argument("--method", nargs="+", choices=(*METHODS, "all"), default=["hp"])
    parser.add_argument("--regime", nargs="+", choices=(*REGIMES, "all"), default=["10"])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument(
        "--pictures", type=Path, help="folder for the best, median and worst test image of each row"
    )
    parser.add_argument(
        "--adapters",
        type=Path,
        help="folder of our trained adapters: kept there, and not trained again to be scored in another way",
    )
    _add_settings(
        parser.add_argument_group("settings", "those chosen for the data set if not given")
    )
    parser.add_argument(
        "--views",
        nargs="+",
        choices=get_args(ViewsName),
        default=["none"],
        help="what a network's result is averaged over; a row of the same network for each",
    )
    parser.add_argument(
        "--only-largest",
        action="store_true",
        help="also a row of the same network, cleaned up: of each class but the first, only the largest object of an image stays",
    )
    parser.add_argument(
        "--score-on",
        choices=("test", "validation"),
        default="test",
        help="validation: a fifth of the training images, for choosing settings",
    )
    parser.add_argument("--threads", type=int, help="threads of torch")
    options = parser.parse_args(arguments)
    for name, everything in (("dataset", DATASETS), ("method", METHODS), ("regime", REGIMES)):
        if "all" in getattr(options, name):
            setattr(options, name, list(everything))
    if options.data is None and set(options.dataset) != {SAMPLE}:
        parser.error("Give the folder of the data sets with --data.")
    return options


if __name__ == "__main__":
    main()
