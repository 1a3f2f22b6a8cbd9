"""Safetensors files that appear under their names only when they are complete."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

__all__ = ["write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write beside the target, force it to the disk, and only then give it its name.

    Parameters
    ----------
    path
        The file; it is replaced when it is there, and its folder is made when it is not.
    tensors
        By name, on the CPU and contiguous, none sharing memory with another.
    metadata
        Text for the header of the file.

    Raises
    ------
    OSError
        When it cannot be written; what was there before is still there then.
    """
    # Short and free of the target's name, which may be as long as a file system allows.
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                stream.write(save(dict(tensors), dict(metadata)))
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"{path} could not be written: {error}. Make room on the disk or choose another folder."
        ) from error
