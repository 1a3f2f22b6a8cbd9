"""How long the first result takes when no file was read before: import, open an adapter, segment 224².

    python benchmarks/cold_start.py --json benchmarks/results/performance.jsonl

Before each start Linux is told to forget the files that it keeps in memory, for which this has to be root. Files that another process has
mapped are not forgotten, so no other one may use PyTorch meanwhile; neither does this one. Between two cold starts there is a warm one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["START"]

_FORGET = Path("/proc/sys/vm/drop_caches")
_REPEATS = 5
_BAR_S = 4.0
_SAVE = """
import sys
from pathlib import Path
from processes import save_start
save_start(Path(sys.argv[1]))
"""
START = """
import sys, time
started, computing = time.perf_counter(), time.process_time()
import torch
torch_alone = time.perf_counter() - started
import numpy as np
from napari_sam2_adapters import load_adapter, predict
imported = time.perf_counter() - started
network, header = load_adapter(sys.argv[1])
image = np.arange(224 * 224, dtype=np.uint16).reshape(224, 224)
predict(network.folded(), image, axes="YX", normalization=header.normalization)
seconds, computing = time.perf_counter() - started, time.process_time() - computing
print('{"torch": %f, "imported": %f, "seconds": %f, "computing": %f}' % (torch_alone, imported, seconds, computing))
"""
"""A first result, for a Python of its own that is given an adapter."""


def main() -> None:
    """Measure, and write a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not os.access(_FORGET, os.W_OK):
        raise SystemExit(
            "A cold start is measured on Linux by root, which may empty the page cache."
        )
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as folder:
        _run(_SAVE, folder)
        (model,) = map(str, Path(folder).iterdir())
        for _ in range(_REPEATS):
            if others := _users_of_torch():
                raise SystemExit(
                    f"PyTorch is in use by the processes {others}, so that its files stay in memory. End them."
                )
            os.sync()
            _FORGET.write_text("3")
            for runs in found.values():
                runs.append(json.loads(_run(START, model)))
    row = _row(found) | _machine(options.threads)
    print(json.dumps(row))
    if options.json:
        with options.json.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def _row(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    cold, warm = (
        {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
        for runs in found.values()
    )
    return {
        "name": "start_cold",
        "baseline": "import, open an adapter, first 224² result, HP on mobile; page cache emptied",
        "seconds": cold["seconds"],
        "torch_imported_after": cold["torch"],
        "all_imported_after": cold["imported"],
        "warm_seconds": warm["seconds"],
        "warm_torch_imported_after": warm["torch"],
        "ratio": None,
        "bar": _BAR_S,
        "ok": cold["seconds"] <= _BAR_S,
    }


def _users_of_torch() -> list[int]:
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            used = "libtorch" in maps.read_text()
        except OSError:  # it has ended
            continue
        if used:
            found.append(int(maps.parent.name))
    return found


def _run(program: str, *arguments: str) -> str:
    here = str(Path(__file__).parent)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [here, os.getenv("PYTHONPATH")]))
    }
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


def _machine(threads: int) -> dict[str, Any]:
    """As in `performance.py`, which loads PyTorch."""
    program = f"import json, performance; print(json.dumps(performance.machine({threads})))"
    found: dict[str, Any] = json.loads(_run(program))
    return found | {"command": f"cold_start.py --threads {threads}"}


if __name__ == "__main__":
    main()
