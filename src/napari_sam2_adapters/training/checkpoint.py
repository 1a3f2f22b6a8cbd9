"""The state of a training run in one file: safetensors with a JSON header, no pickle.

It holds all that a run needs to go on as if it had never stopped: the trained weights, their average, the best
ones, the optimiser, the random states and the history. The frozen backbone is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from napari_sam2_adapters.models.tensor_file import tensors_sha256, text_sha256, write_tensors

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "check_identity",
    "read_checkpoint",
    "read_progress",
    "write_checkpoint",
]

FORMAT_VERSION = 1
_HEADER = "napari_sam2_adapters.training"
_HEADER_SHA256 = "napari_sam2_adapters.training_sha256"
_CLASSES = "classes"
"""The one part of an identity whose keys the user chooses."""

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """All of a paused run.

    Attributes
    ----------
    identity
        What must be the same in the run that goes on: part by part (network, classes, settings, data), as JSON.
    progress
        Counters, random state of numpy and the records other than steps, as JSON.
    tensors
        Groups of tensors: ``weights``, ``average``, ``best`` by parameter name, ``optimizer`` by slot and
        parameter name, ``random`` and ``history``.
    """

    identity: dict[str, Any]
    progress: dict[str, Any]
    tensors: dict[str, Named]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole: a killed run leaves the old or the new one.

    Raises
    ------
    OSError
        When it cannot be written; the old one is still there then.
    """
    tensors = {
        f"{group}/{name}": tensor.cpu().contiguous()
        for group, named in checkpoint.tensors.items()
        for name, tensor in named.items()
    }
    header = {
        "version": FORMAT_VERSION,
        "identity": checkpoint.identity,
        "progress": checkpoint.progress,
        "tensors_sha256": tensors_sha256(tensors),
    }
    text = json.dumps(header)
    write_tensors(path, tensors, {_HEADER: text, _HEADER_SHA256: text_sha256(text)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, is no checkpoint of this package, or is of a later version.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {path} to go on from; start without resuming to write one."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: the file stays mapped as long as a tensor of it lives, and Windows lets nobody replace one that is.
            flat = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a training checkpoint ({error}); it is damaged or another kind of file. "
            "Choose the checkpoint of an earlier run, or start anew."
        ) from error
    header = _header(path, metadata)
    # files of before have no checksums
    if header.get("tensors_sha256") not in (None, tensors_sha256(flat)):
        raise ValueError(
            f"The weights in the checkpoint {path} are damaged (wrong sha256). Start anew without resuming."
        )
    tensors: dict[str, Named] = {}
    for key, tensor in flat.items():
        group, _, name = key.partition("/")
        tensors.setdefault(group, {})[name] = tensor
    return Checkpoint(header["identity"], header["progress"], tensors)


def read_progress(path: Path) -> int:
    """Steps that a checkpoint's run has taken, without reading its tensors.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_checkpoint`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}; start anew to write one.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a training checkpoint ({error}). Start anew without resuming."
        ) from error
    return int(_header(path, metadata)["progress"]["step"])


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _HEADER not in metadata:
        raise ValueError(
            f"{path} is a safetensors file but no training checkpoint of this package. An adapter file is "
            "opened as an adapter, and can be trained further from there."
        )
    try:
        header: dict[str, Any] = json.loads(metadata[_HEADER])
        version = int(header["version"])
        known = metadata.get(_HEADER_SHA256)
        if version <= FORMAT_VERSION and known not in (None, text_sha256(metadata[_HEADER])):
            raise ValueError("wrong sha256")
        if version <= FORMAT_VERSION:
            _, _ = header["identity"], int(header["progress"]["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The header of the checkpoint {path} is damaged ({error!r}). Start anew without resuming."
        ) from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by a later version (format {version}, this one reads up to {FORMAT_VERSION}). "
            "Update the package, or start anew."
        )
    return header


def check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another network, other classes, settings or data, or one that does not tell all of these.

    Raises
    ------
    ValueError
        Naming the first part that differs, and how.
    """
    for part, expected in wanted.items():
        got = found.get(part)
        if got == expected:
            continue
        # Looked for first: it explains differences beside it, such as checksums that were made in another way.
        lacking = _lacking(part, got, expected)
        if lacking:
            raise ValueError(
                f"The checkpoint {path} was written by an earlier version of this program, which did not record its "
                f"{lacking}, so whether it belongs to this run cannot be told. Start anew without resuming, or finish it "
                "with the version that began it."
            )
        where, old, new = _difference(part, got, expected)
        raise ValueError(
            f"The checkpoint {path} belongs to another run: its {where} is {_short(old)}, but this run has "
            f"{_short(new)}. Resume with what it was started with, or start anew without resuming."
        )


def _lacking(part: str, got: Any, wanted: Any) -> str:
    """What a checkpoint does not tell of a part; empty when it tells all."""
    if got is None:
        return part
    if part == _CLASSES or not (isinstance(got, dict) and isinstance(wanted, dict)):
        return ""
    return next((f"{part} ({key})" for key in wanted if key not in got), "")


def _difference(part: str, got: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Narrow two differing groups of settings down to the first setting that differs."""
    if part == _CLASSES:
        return "list of classes", got, wanted
    if not (isinstance(got, dict) and isinstance(wanted, dict)):
        return part, got, wanted
    key = next(key for key in {**wanted, **got} if got.get(key) != wanted.get(key))
    return f"{part} ({key})", got.get(key), wanted.get(key)


def _short(value: Any, longest: int = 120) -> str:
    text = "empty" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}…"
