"""Pretrained backbones, checked and loaded, and the segmenter that is built on them.

SAM2.1's files are torch archives ``{"model": state_dict}``. They are read with ``weights_only=True`` after their sha256 was compared, and
every tensor must have a place: ours are found to the last one, and those left out are on a written list.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo, ModelConfig
from napari_sam2_adapters.models.backbone import HieraBackbone
from napari_sam2_adapters.models.backbone_files import (
    BACKBONES,
    backbone_file,
    cache_folder,
    cached_path,
    file_sha256,
    find_weights,
    own_files,
)
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.mobile import MobileBackbone
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

__all__ = ["build_segmenter", "install_backbone", "load_backbone"]

_OWNED = {  # prefix in SAM2's file -> prefix here
    "image_encoder.trunk.": "backbone.trunk.",
    "image_encoder.neck.": "backbone.neck.",
    "no_mem_embed": "backbone.no_mem_embed",
    "sam_prompt_encoder.": "heads.prompt_encoder.",
    "sam_mask_decoder.": "heads.mask_decoder.",
}
_LEFT_OUT = (  # SAM2's video memory: nothing of it is used for single images
    "memory_attention.",
    "memory_encoder.",
    "mask_downsample.",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "no_mem_pos_enc",
    "maskmem_tpos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
)


def build_segmenter(
    config: ModelConfig,
    classes: Sequence[ClassInfo],
    *,
    device: torch.device | str = "cpu",
    weights: Path | str | None = None,
) -> Segmenter:
    """Build a segmenter with a fresh adapter on a pretrained backbone.

    Parameters
    ----------
    config
        What the network is made of.
    classes
        Its classes, background included.
    device
        Where to put it.
    weights
        The backbone's file; found in the package or the cache when None.

    Raises
    ------
    FileNotFoundError
        When the backbone's weights are not on this machine.
    ValueError
        When the weights, the backbone's name or the classes are not usable.
    """
    path = Path(weights) if weights else find_weights(config.backbone)
    backbone, heads, sha256 = load_backbone(config.backbone, path)
    segmenter = assemble(backbone, heads, config, classes)
    segmenter.backbone_sha256 = sha256
    if (
        torch.device(device).type == "mps"
    ):  # whose kernels stumble over channels-last (PyTorch issue 140902)
        return segmenter.to(device)
    # Convolutions beside channels-last attention run about a tenth faster so, on the CPU and on CUDA.
    return segmenter.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load_backbone(name: str, path: Path) -> tuple[HieraBackbone | MobileBackbone, SamHeads, str]:
    """Load a backbone and SAM's heads from their file.

    The official file is known by its sha256. Any other file is accepted when it has exactly the tensors and shapes of
    the backbone, save for ``mobile``, of which there is one file.

    Returns
    -------
    tuple
        The backbone, the heads, and the sha256 of the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged or its tensors are not those of the backbone.
    """
    entry = backbone_file(name)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Give the path of {entry.file_name}.")
    sha256 = file_sha256(path)
    _check_sha256(path, sha256, name)
    # The weights that the constructors draw are all replaced, so the caller's random state should not notice them.
    with torch.random.fork_rng(devices=[]):
        backbone = HieraBackbone(entry.shape) if entry.shape else MobileBackbone()
        heads = SamHeads(sam2=entry.shape is not None)
    whole = nn.ModuleDict({"backbone": backbone, "heads": heads})
    state = _mobile_state(path) if entry.shape is None else _sam2_state(path, name)
    _load_strictly(whole, state, path, name)
    return backbone, heads, sha256


def _check_sha256(path: Path, sha256: str, name: str) -> None:
    """A file that we stored has the checksum that it was stored under; of the user's own files none is known, wherever they lie."""
    entry = backbone_file(name)
    built_in = entry.shape is None
    if built_in and sha256 != entry.sha256:
        raise ValueError(
            f"{path.name} is damaged: its sha256 is {sha256[:12]}…, not {entry.sha256[:12]}…. Install the package again."
        )
    ours = path.name == entry.file_name or path in own_files(name)
    if (
        not built_in
        and path.parent == cache_folder()
        and ours
        and path != cached_path(name, sha256)
    ):
        raise ValueError(
            f"{path} is damaged: its sha256 is {sha256[:12]}…, which does not belong to this name. Delete the file and get "
            f"it again in the Models dock or with 'sam2-adapters backbones download {name}'."
        )


def _mobile_state(path: Path) -> dict[str, Tensor]:
    here = {
        "trunk.": "backbone.",
        "neck.": "backbone.",
        "prompt_encoder.": "heads.",
        "mask_decoder.": "heads.",
    }
    state = {}
    for name, tensor in load_file(path).items():
        prefix = next(p for p in here if name.startswith(p))
        state[here[prefix] + name] = tensor.float()
    return state


def _sam2_state(path: Path, name: str) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (
        Exception
    ) as error:  # a damaged pickle raises whatever it runs into, KeyError and IndexError too
        raise ValueError(
            f"{path.name} cannot be read as a PyTorch weight file. Download the SAM2.1 {name} file again."
        ) from error
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise ValueError(
            f"{path.name} has no entry 'model' with named tensors, so it is no SAM2 file. Choose {BACKBONES[name].file_name}."
        )
    ours = {}
    for key, tensor in state.items():
        prefix = next((p for p in _OWNED if key.startswith(p)), None)
        if prefix is not None:
            ours[_OWNED[prefix] + key.removeprefix(prefix)] = tensor
        elif not key.startswith(_LEFT_OUT):
            raise ValueError(
                f"{path.name} has the tensor {key!r}, which SAM2.1 does not know. Choose an official file."
            )
    return ours


def _load_strictly(whole: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    own = whole.state_dict()
    lacking = sorted(own.keys() - state.keys())
    foreign = sorted(state.keys() - own.keys())
    wrong = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    for what, keys in (
        ("lacks the tensor", lacking),
        ("has the foreign tensor", foreign),
        ("has another shape for", wrong),
    ):
        if keys:
            raise ValueError(
                f"{path.name} does not hold the backbone {name!r}: it {what} {keys[0]!r} ({len(keys)} in all). "
                f"Choose the file {BACKBONES[name].file_name}."
            )
    whole.load_state_dict(state, strict=True)


def install_backbone(name: str, source: Path) -> Path:
    """Check a SAM2.1 file of the user's own and copy it into the cache.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it does not hold this backbone.
    OSError
        When the cache cannot be written; what was there before is still there then.
    """
    entry = backbone_file(name)
    if entry.shape is None:
        raise ValueError(f"The backbone {name!r} is built in and needs no file.")
    _, _, sha256 = load_backbone(name, source)
    target = cached_path(name, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as content:
        return write_atomically(
            target, lambda file: shutil.copyfileobj(content, file), overwrite=True
        )
