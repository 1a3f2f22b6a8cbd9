"""Pretrained backbones: which there are, where their files lie, and how they are checked and loaded.

SAM2.1's files are torch archives ``{"model": state_dict}``. They are read with ``weights_only=True`` after their sha256 was compared, and
every tensor must have a place: ours are found to the last one, and those left out are on a written list.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from zipfile import BadZipFile

import platformdirs
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_sam2_adapters.config import ClassInfo, ModelConfig
from napari_sam2_adapters.models.backbone import HieraBackbone, HieraShape
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.mobile import MobileBackbone
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

__all__ = [
    "BACKBONES",
    "BackboneFile",
    "build_segmenter",
    "cache_folder",
    "download_backbone",
    "file_sha256",
    "find_weights",
    "install_backbone",
    "load_backbone",
]

_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


@dataclass(frozen=True)
class BackboneFile:
    """A pretrained backbone: its sizes, and its official file with size in bytes and sha256."""

    name: str
    file_name: str
    sha256: str
    size_mb: int
    shape: HieraShape | None
    about: str

    @property
    def address(self) -> str:
        """Where the official file is offered."""
        return _ADDRESS + self.file_name


BACKBONES: dict[str, BackboneFile] = {
    "mobile": BackboneFile(
        "mobile",
        "mobile.safetensors",
        "a403ea1c831901fd8f8e8d3b2b3c6dffca334fcdd609b5abff108e8953c3deb9",
        20,
        None,
        "MobileSAM (TinyViT-5M), built in; for laptops",
    ),
    "tiny": BackboneFile(
        "tiny",
        "sam2.1_hiera_tiny.pt",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156,
        HieraShape(96, 1, (1, 2, 7, 2), (8, 4, 14, 7), (5, 7, 9), (7, 7)),
        "SAM2.1 tiny; for a small GPU",
    ),
    "small": BackboneFile(
        "small",
        "sam2.1_hiera_small.pt",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184,
        HieraShape(96, 1, (1, 2, 11, 2), (8, 4, 14, 7), (7, 10, 13), (7, 7)),
        "SAM2.1 small; for a GPU",
    ),
    "base_plus": BackboneFile(
        "base_plus",
        "sam2.1_hiera_base_plus.pt",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        324,
        HieraShape(112, 2, (2, 3, 16, 3), (8, 4, 14, 7), (12, 16, 20), (14, 14)),
        "SAM2.1 base+; for a GPU with 8 GB",
    ),
    "large": BackboneFile(
        "large",
        "sam2.1_hiera_large.pt",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898,
        HieraShape(144, 2, (2, 6, 36, 4), (8, 4, 16, 8), (23, 33, 43), (7, 7)),
        "SAM2.1 large; most accurate, for a GPU with 16 GB",
    ),
}

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
    weights: Path | None = None,
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
    path = weights or find_weights(config.backbone)
    backbone, heads, sha256 = load_backbone(config.backbone, path)
    segmenter = assemble(backbone, heads, config, classes)
    segmenter.backbone_sha256 = sha256
    return segmenter.to(device)


def load_backbone(name: str, path: Path) -> tuple[HieraBackbone | MobileBackbone, SamHeads, str]:
    """Load a backbone and SAM's heads from their file.

    The official file is known by its sha256. Any other file is accepted when it has exactly the tensors and shapes of
    the backbone.

    Returns
    -------
    tuple
        The backbone, the heads, and the sha256 of the file.

    Raises
    ------
    ValueError
        When the file is damaged or its tensors are not those of the backbone.
    """
    entry = _entry(name)
    sha256 = file_sha256(path)
    if entry.shape is None and sha256 != entry.sha256:
        raise ValueError(
            f"{path.name} is damaged: its sha256 is {sha256[:12]}…, not {entry.sha256[:12]}…. Install the package again."
        )
    backbone = HieraBackbone(entry.shape) if entry.shape else MobileBackbone()
    heads = SamHeads(sam2=entry.shape is not None)
    whole = nn.ModuleDict({"backbone": backbone, "heads": heads})
    state = _mobile_state(path) if entry.shape is None else _sam2_state(path, name)
    _load_strictly(whole, state, path, name)
    return backbone, heads, sha256


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
    except (RuntimeError, pickle.UnpicklingError, BadZipFile, EOFError, ValueError) as error:
        raise ValueError(
            f"{path.name} cannot be read as a PyTorch weight file. Download the SAM2.1 {name} file again."
        ) from error
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{path.name} has no entry 'model', so it is no SAM2 file. Choose {BACKBONES[name].file_name}."
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


def _entry(name: str) -> BackboneFile:
    if name not in BACKBONES:
        raise ValueError(f"There is no backbone {name!r}. Choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def cache_folder() -> Path:
    """Where downloaded backbones are kept: ``SAM2_ADAPTERS_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("SAM2_ADAPTERS_CACHE")
    return (
        Path(chosen)
        if chosen
        else Path(platformdirs.user_cache_dir("napari-sam2-adapters")) / "backbones"
    )


def find_weights(name: str, sha256: str | None = None) -> Path:
    """Find a backbone's file on this machine.

    Parameters
    ----------
    name
        Name of the backbone.
    sha256
        Only a file with this checksum will do, for example the one that an adapter was trained on.

    Raises
    ------
    FileNotFoundError
        When it is not here; the sentence says how to get it.
    """
    entry = _entry(name)
    if entry.shape is None:
        return Path(str(files("napari_sam2_adapters") / "weights" / entry.file_name))
    official = cache_folder() / entry.file_name
    own = sorted(cache_folder().glob(f"{name}-*.pt"), key=lambda p: p.stat().st_mtime, reverse=True)
    if sha256 is not None and sha256 != entry.sha256:
        found = [path for path in own if path.stem == f"{name}-{sha256[:12]}"]
    else:
        found = [path for path in (official, *(own if sha256 is None else ())) if path.exists()]
    if not found:
        needed = "" if sha256 is None else f" with sha256 {sha256[:12]}…"
        raise FileNotFoundError(
            f"The weights of the backbone {name!r}{needed} are not on this machine. Download them ({entry.size_mb} MB) with "
            f"'sam2-adapters backbones download {name}', or give a file that you have with '--from FILE'."
        )
    return found[0]


def install_backbone(name: str, source: Path) -> Path:
    """Check a SAM2.1 file of the user's own and copy it into the cache.

    Raises
    ------
    ValueError
        When it does not hold this backbone.
    """
    entry = _entry(name)
    if entry.shape is None:
        raise ValueError(f"The backbone {name!r} is built in and needs no file.")
    if not source.is_file():
        raise FileNotFoundError(f"There is no file {source}. Give the path of {entry.file_name}.")
    _, _, sha256 = load_backbone(name, source)
    official = sha256 == entry.sha256
    target = cache_folder() / (entry.file_name if official else f"{name}-{sha256[:12]}.pt")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)
    return target


def download_backbone(name: str, progress: object = False) -> Path:
    """Download an official file into the cache and check its sha256.

    Parameters
    ----------
    name
        A SAM2.1 size.
    progress
        Something with ``total``, ``update(n)``, ``reset()`` and ``close()`` that shows progress, as pooch takes it.
    """
    import pooch

    entry = _entry(name)
    if entry.shape is None:
        return find_weights(name)
    downloader = pooch.HTTPDownloader(progressbar=progress)
    return Path(
        pooch.retrieve(
            entry.address,
            known_hash=f"sha256:{entry.sha256}",
            fname=entry.file_name,
            path=cache_folder(),
            downloader=downloader,
        )
    )


def file_sha256(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
