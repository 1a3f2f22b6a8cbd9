"""The process that `apart` starts: a request on stdin, what happens as lines of JSON on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from napari_sam2_adapters.export.request import ExportRequest, run_export


def main() -> None:
    """Do the export; it leaves nothing behind when nobody listens any more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    try:
        if request["threads"]:
            import torch

            torch.set_num_threads(request["threads"])
        steps = run_export(ExportRequest.model_validate(request["export"]))
        while True:
            try:
                say(step=next(steps))
            except StopIteration as end:
                say(done=end.value.words())
                break
    except (ValueError, OSError, RuntimeError) as error:
        say(failed=str(error) or type(error).__name__)


if __name__ == "__main__":
    main()
