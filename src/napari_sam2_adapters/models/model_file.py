"""The model file ``NAME.adapter.safetensors``: what was trained, and a JSON header that says how to use it.

It is data: tensors in safetensors and text in its metadata. The header carries a sha256 over the tensors, and beside it lies
one over the header itself; both are compared before anything is used.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from napari_sam2_adapters.config import (
    ClassInfo,
    ModelConfig,
    Normalization,
    PredictConfig,
    Settings,
    describe_errors,
)
from napari_sam2_adapters.models.backbone_files import find_weights
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.segmenter import CLASS_BIAS, Segmenter
from napari_sam2_adapters.models.tensor_file import tensors_sha256, text_sha256, write_tensors

__all__ = ["SUFFIX", "AdapterHeader", "load_adapter", "read_header", "save_adapter"]

SUFFIX = ".adapter.safetensors"
FORMAT_VERSION = 2
_FIRST_VERSION = 1
"""Of files that programs of before can read: without a bias on the classes and without a U-Net."""
_KEY = "napari_sam2_adapters"
_KEY_SHA256 = "napari_sam2_adapters_sha256"


class AdapterHeader(Settings):
    """What a model file says of itself."""

    format_version: int = FORMAT_VERSION
    model: ModelConfig
    backbone_sha256: str
    tensors_sha256: str
    classes: tuple[ClassInfo, ...]
    normalization: Normalization
    tile_size_px: int
    pixel_size: tuple[float, ...] | None = None
    """Pixel size that it was trained at, (Y, X), in ``unit``."""
    unit: str | None = None
    scores: dict[str, Any] = Field(default_factory=dict)
    """Held-out scores, by name."""
    training: dict[str, Any] = Field(default_factory=dict)
    """A summary of the training: settings, steps, seconds, data and their division."""
    versions: dict[str, str] = Field(default_factory=dict)


def save_adapter(
    path: Path | str,
    segmenter: Segmenter,
    *,
    normalization: Normalization,
    tile_size_px: int,
    pixel_size: tuple[float, ...] | None = None,
    unit: str | None = None,
    scores: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> AdapterHeader:
    """Write the trained tensors of a segmenter and what is needed to use them.

    Parameters
    ----------
    path
        The file; its name must end in ``.adapter.safetensors``.
    segmenter
        The network, as trained (not folded).
    normalization
        How grey values were scaled in training; not ``auto``.
    tile_size_px
        Side of the tiles that it was trained for.
    pixel_size, unit
        Pixel size (Y, X) of the training images and its unit, if known.
    scores, training
        Held-out scores and a summary of the training.
    half
        Store float16: half the size, logits move by about 1e-3.
    overwrite
        Replace a file that is there.

    Raises
    ------
    FileExistsError
        When the file is there and ``overwrite`` was not given.
    ValueError
        When the name has another ending, the normalisation is not settled, nobody could use the tile, a weight is not
        finite (also: too large for float16), or the network was folded and nothing in it learns.
    OSError
        When the file cannot be written; what was there before is still there then.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise ValueError(
            f"The adapter file {path.name!r} must end in {SUFFIX!r}. Call it {path.name.split('.')[0]}{SUFFIX}."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} is there already. Choose another name or ask for it to be overwritten."
        )
    if normalization.mode == "auto":
        raise ValueError(
            "The normalisation 'auto' depends on the image; an adapter needs the one that it was trained with. "
            "Give that of the data set it learnt from."
        )
    try:
        PredictConfig(tile_size_px=tile_size_px)
    except ValidationError as error:
        raise ValueError(describe_errors(error)) from error
    state = segmenter.trained_state()
    if not state:
        raise ValueError(
            "This network was folded for inference and has no trained tensors left. Save the one that it was folded from."
        )
    if not state[CLASS_BIAS].any():
        del state[CLASS_BIAS]
    later = CLASS_BIAS in state or segmenter.config.detail_kind == "unet"
    if half:
        state = {name: tensor.half() for name, tensor in state.items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"The trained tensor {name!r} holds NaN or infinite numbers as {tensor.dtype}. "
                f"{'Save it without half precision.' if half else 'Train anew with a lower learning rate.'}"
            )
    header = AdapterHeader(
        format_version=FORMAT_VERSION if later else _FIRST_VERSION,
        model=segmenter.config,
        backbone_sha256=segmenter.backbone_sha256,
        tensors_sha256=tensors_sha256(state),
        classes=segmenter.classes,
        normalization=normalization,
        tile_size_px=tile_size_px,
        pixel_size=pixel_size,
        unit=_printable(unit),
        scores=scores or {},
        training=_printable(training or {}),
        versions={name: version(name) for name in ("napari-sam2-adapters", "torch", "sam2")},
    )
    text = header.model_dump_json()
    metadata = {_KEY: text, _KEY_SHA256: text_sha256(text)}
    write_tensors(path, state, metadata, overwrite=overwrite)
    return header


def _printable(value: Any) -> Any:
    r"""Names of files need not be UTF-8, but the header is: other bytes in texts are spelt as ``\udcfc``."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_printable(key): _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_header(path: Path | str) -> AdapterHeader:
    """Read and check a model file's header without loading its tensors.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is foreign, damaged or of a later version, in a sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no adapter file {path}. Check the path, or train an adapter first."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is damaged or not a safetensors file. Get the file again from where it came."
        ) from error
    if _KEY not in metadata:
        raise ValueError(
            f"{path.name} is a safetensors file, but not an adapter of this program. Choose a *{SUFFIX} file."
        )
    content = _parsed(metadata[_KEY], path)
    if text_sha256(metadata[_KEY]) != metadata.get(_KEY_SHA256):
        raise ValueError(_damaged_header(path))
    if isinstance(
        content.get("model"), dict
    ):  # files of before there was a detail head say nothing of it
        content["model"].setdefault("detail", "none")
    try:
        return AdapterHeader.model_validate(content)
    except ValidationError as error:
        raise ValueError(
            f"The header of {path.name} is not valid: {describe_errors(error)}"
        ) from error


def _parsed(header: str, path: Path) -> dict[str, Any]:
    """The header's content, unless a later program wrote it: its checksum may then be another one."""
    try:
        content: dict[str, Any] = json.loads(header)
        later = int(content["format_version"]) > FORMAT_VERSION
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(_damaged_header(path)) from error
    if later:
        raise ValueError(
            f"{path.name} has format {content['format_version']}, but this program knows formats up to {FORMAT_VERSION}. "
            "Update napari-sam2-adapters."
        )
    return content


def _damaged_header(path: Path) -> str:
    return f"The header of {path.name} is damaged. Get the file again from where it came."


def load_adapter(
    path: Path | str, *, device: torch.device | str = "cpu", weights: Path | str | None = None
) -> tuple[Segmenter, AdapterHeader]:
    """Build the network of a model file and load what was trained.

    Parameters
    ----------
    path
        The model file.
    device
        Where to put the network.
    weights
        The backbone's file; found by name and checksum when None.

    Raises
    ------
    FileNotFoundError
        When the file or its backbone is not here.
    ValueError
        When the file is foreign, damaged, of a later version or for another backbone.
    """
    path = Path(path)
    header = read_header(path)
    state = load_file(path)
    if tensors_sha256(state) != header.tensors_sha256:
        raise ValueError(
            f"The weights in {path.name} are damaged (wrong sha256). Get the file again from where it came."
        )
    backbone_file = (
        Path(weights) if weights else find_weights(header.model.backbone, header.backbone_sha256)
    )
    segmenter = build_segmenter(header.model, header.classes, device=device, weights=backbone_file)
    if segmenter.backbone_sha256 != header.backbone_sha256:
        raise ValueError(
            f"{path.name} was trained on the {header.model.backbone!r} backbone with sha256 {header.backbone_sha256[:12]}…, but "
            f"the one here has {segmenter.backbone_sha256[:12]}…. Use the weights that it was trained on."
        )
    segmenter.load_trained_state({name: tensor.float() for name, tensor in state.items()})
    return segmenter, header
