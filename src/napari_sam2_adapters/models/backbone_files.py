"""The files of the pretrained backbones: which there are, where they lie on this machine and how to get them.

The official files are known by their sha256, with which `napari_sam2_adapters.models.checkpoints` loads them.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import platformdirs

from napari_sam2_adapters.models.backbone import HieraShape
from napari_sam2_adapters.models.download import Received, download, part_path

__all__ = [
    "BACKBONES",
    "BackboneFile",
    "backbone_file",
    "cache_folder",
    "cached_path",
    "download_backbone",
    "file_sha256",
    "find_weights",
    "own_files",
    "partial_bytes",
]

_OWN_FILE = "'Use a file …'"
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
    licence: str = "Apache-2.0"

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
        "MobileSAM's architecture, built in; for laptops",
        "Apache-2.0 and MIT",
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


def backbone_file(name: str) -> BackboneFile:
    """Look a backbone up by its name.

    Raises
    ------
    ValueError
        When there is none of this name; the sentence lists those there are.
    """
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


def cached_path(name: str, sha256: str) -> Path:
    """Where the cache keeps a backbone's file with this checksum: under its official name, or under ours."""
    entry = backbone_file(name)
    official = sha256 == entry.sha256
    return cache_folder() / (entry.file_name if official else f"{name}-{sha256[:12]}.pt")


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
    entry = backbone_file(name)
    if entry.shape is None:
        return Path(str(files("napari_sam2_adapters") / "weights" / entry.file_name))
    folder = cache_folder()
    official = folder / entry.file_name
    if sha256 is None:
        found = [official] if official.exists() else own_files(name)
    else:
        found = [p for p in (cached_path(name, sha256),) if p.exists()]
    if not found:
        needed = "" if sha256 is None else f" with sha256 {sha256[:12]}…"
        # A file of somebody's own is nowhere to be downloaded.
        offered = sha256 in (None, entry.sha256)
        mend = (
            f"Download them ({entry.size_mb} MB) in the Models dock or with 'sam2-adapters backbones download {name}'. If you "
            f"have the file, give it there ({_OWN_FILE}) or with {_own_file_command(name)}."
            if offered
            else f"Get the file that was trained on, and give it in the Models dock ({_OWN_FILE}) or with {_own_file_command(name)}."
        )
        raise FileNotFoundError(
            f"The weights of the backbone {name!r}{needed} are not on this machine. {mend}"
        )
    return found[0]


def _own_file_command(name: str) -> str:
    return f"'sam2-adapters backbones download {name} --from FILE'"


def own_files(name: str) -> list[Path]:
    """Files in the cache that the user has given for a backbone, the newest first."""
    backbone_file(name)
    return sorted(cache_folder().glob(f"{name}-*.pt"), key=lambda path: -path.stat().st_mtime)


def partial_bytes(name: str) -> int:
    """Bytes that an unfinished download of a backbone has left in the cache."""
    part = part_path(cache_folder() / backbone_file(name).file_name)
    return part.stat().st_size if part.exists() else 0


def download_backbone(
    name: str, stop: threading.Event | None = None
) -> Generator[Received, None, Path | None]:
    """Download an official file into the cache, from where an earlier try broke off, and check its sha256.

    Parameters
    ----------
    name
        A SAM2.1 size.
    stop
        Ends the download when it is set; what has come stays for the next time.

    Yields
    ------
    Received
        Bytes so far.

    Returns
    -------
    Path or None
        The file, or None when it was stopped.

    Raises
    ------
    OSError
        When the file cannot be fetched or stored; what has come stays for the next time.
    ValueError
        When what was fetched has another sha256; nothing is kept of it then.
    """
    entry = backbone_file(name)
    target = cache_folder() / entry.file_name
    if entry.shape is None:
        return find_weights(name)
    if target.exists() and file_sha256(target) == entry.sha256:
        return target
    by_hand = f"or fetch it by hand and give the file ({_OWN_FILE} in the Models dock, or {_own_file_command(name)})."
    try:
        return (yield from download(entry.address, target, entry.sha256, stop))
    except OSError as error:
        here = partial_bytes(name)
        kept = (
            f" {here / 1e6:.0f} MB of it are here, and the next try goes on from there."
            if here
            else ""
        )
        raise OSError(
            f"{entry.file_name} could not be downloaded from {entry.address}: {error}.{kept} Try again, {by_hand}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{error} If it happens again, ask whoever runs the network, {by_hand}"
        ) from error


def file_sha256(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
