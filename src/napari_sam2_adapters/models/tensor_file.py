"""Safetensors files that appear under their names only when they are complete."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from napari_sam2_adapters.atomic import write_atomically

__all__ = ["tensors_sha256", "text_sha256", "write_tensors"]


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = True,
) -> None:
    """Write them as `write_atomically` does.

    Parameters
    ----------
    path
        The file; its folder is made when it is not there.
    tensors
        By name, on the CPU and contiguous, none sharing memory with another.
    metadata
        Text for the header of the file.
    overwrite
        Whether to replace the file when it is there.

    Raises
    ------
    FileExistsError
        When it is there, perhaps since a moment ago, and ``overwrite`` is not set.
    OSError
        When it cannot be written; what was there before is still there then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = save(dict(tensors), dict(metadata))
        write_atomically(path, lambda file: file.write(content), overwrite=overwrite)
    except OSError as error:
        if isinstance(error, FileExistsError) and error.strerror is None:  # a sentence already
            raise
        raise OSError(
            f"{path} could not be written: {error.strerror or error}. Make room on the disk or choose another folder."
        ) from error


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Checksum over names, types, shapes and numbers of tensors on the CPU, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because numpy does not know every dtype that a file can hold.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def text_sha256(text: str) -> str:
    """Checksum of a header, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
