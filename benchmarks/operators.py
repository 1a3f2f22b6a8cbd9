"""Where the time goes, by PyTorch's profiler: the operators of an image and of a training step, as tables in Markdown.

python benchmarks/operators.py --what image_lw image_hp step_lw
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from against_sam2 import CLASSES, image_to_labels, step, tiny
from torch.profiler import ProfilerActivity, profile

from napari_sam2_adapters.config import ModelConfig
from napari_sam2_adapters.models.checkpoints import build_segmenter

_REPEATS = 5


def _image(adapter: str) -> Callable[[], object]:
    return image_to_labels(build_segmenter(ModelConfig(adapter=adapter), CLASSES))


_WHAT: dict[str, Callable[[], Callable[[], object]]] = {
    "image_lw": lambda: _image("lw"),
    "image_hp": lambda: _image("hp"),
    "step_lw": lambda: step(tiny("lw"), batch_size=8),
}


def main() -> None:
    """Print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", nargs="+", choices=_WHAT, default=list(_WHAT))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for what in options.what:
        _print_table(what, _WHAT[what](), options.rows)


def _print_table(what: str, run: Callable[[], object], rows: int) -> None:
    for _ in range(2):
        run()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(_REPEATS):
            run()
    operators = sorted(found.key_averages(), key=lambda one: -one.self_cpu_time_total)
    whole = sum(one.self_cpu_time_total for one in operators)
    print(
        f"\n{what}: {whole / _REPEATS / 1000:.0f} ms\n\n| operator | share | calls |\n|---|---|---|"
    )
    for one in operators[:rows]:
        print(f"| `{one.key}` | {one.self_cpu_time_total / whole:.0%} | {one.count // _REPEATS} |")


if __name__ == "__main__":
    main()
