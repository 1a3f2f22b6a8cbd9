"""What ``train`` goes on from: an adapter, with what the command may say beside it, and the state of a run that broke off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2_adapters.cli.settings import Sections
from napari_sam2_adapters.cli.terminal import JobFailedError, sentence
from napari_sam2_adapters.config import ClassInfo, ModelConfig, Normalization, name_anew
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    import torch

    from napari_sam2_adapters.data.dataset import Dataset
    from napari_sam2_adapters.data.splitting import Split
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["EarlierAdapter", "naming_state", "read_earlier"]


@dataclass(frozen=True)
class EarlierAdapter:
    """What an adapter brings into a training that goes on from it.

    Attributes
    ----------
    name
        What it is called.
    path
        Its file.
    model, normalization
        Its network, and how its images were scaled.
    classes
        Its classes, by the names of now.
    split
        Division of its training, whose held-out part is kept; None when its file does not tell.
    """

    name: str
    path: Path
    model: ModelConfig
    normalization: Normalization
    classes: tuple[ClassInfo, ...]
    split: Split | None

    def load(self, dataset: Dataset, device: torch.device) -> Segmenter:
        """Its network, with the names of now.

        Raises
        ------
        FileNotFoundError, ValueError
            As `load_adapter`; ValueError also when the images have another number of channels.
        """
        wanted, channels = self.model.input_channels, dataset.input_channels
        if channels != wanted:
            raise ValueError(
                f"{self.path.name} takes images of {counted(wanted, 'channel')}, but these have {channels}. "
                "Start a fresh adapter, without --start-from."
            )
        from napari_sam2_adapters.models.model_file import load_adapter

        segmenter, _ = load_adapter(self.path, device=device)
        segmenter.classes = self.classes
        return segmenter


def read_earlier(
    path: Path,
    sections: Sections,
    model: ModelConfig,
    normalization: Normalization,
    classes: tuple[ClassInfo, ...],
) -> EarlierAdapter:
    """Read what an adapter brings, and refuse settings that speak against it.

    Parameters
    ----------
    path
        The model file.
    sections
        The settings as given.
    model, normalization, classes
        Those built from them; no classes where none are named.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_header` and `name_anew`; ValueError also when a network or a scaling other than that of the adapter is asked for.
    """
    from napari_sam2_adapters.data.packed_split import division_in
    from napari_sam2_adapters.models.model_file import SUFFIX, read_header

    header = read_header(path)
    given = sections.get("model") or {}
    # the seed is one flag with that of the training, and draws nothing here
    other = [
        f"{name} {getattr(model, name)} (it has {getattr(header.model, name)})"
        for name in sorted(given.keys() - {"seed"})
        if getattr(model, name) != getattr(header.model, name)
    ]
    if sections.get("normalization") and normalization != header.normalization:
        own = header.normalization
        other.append(f"another normalization (it has {own.mode} {own.low:g} to {own.high:g})")
    if other:
        raise ValueError(
            f"{path.name} brings its own network and scaling, but the settings ask for {'; '.join(other)}. "
            "Leave these out, or start a fresh adapter without --start-from."
        )
    return EarlierAdapter(
        path.name.removesuffix(SUFFIX),
        path,
        header.model,
        header.normalization,
        name_anew(header.classes, classes, path.name),
        division_in(header.training),
    )


@contextmanager
def naming_state(state: Path, *, resumed: bool) -> Iterator[None]:
    """Say of a training that fails in the middle, or is not saved, what of it is kept and how to go on from there.

    Parameters
    ----------
    state
        The file of its state.
    resumed
        Whether it went on from there; else a file that has been there before is of another run.

    Raises
    ------
    JobFailedError
        With what went wrong and what to do, when there is a state to go on from; other errors stay as they are.
    """
    before = None if resumed else _version_of(state)
    try:
        yield
    except JobFailedError:  # says itself how to go on
        raise
    except Exception as error:
        if _version_of(state) in (None, before):
            raise
        from napari_sam2_adapters.training.checkpoint import read_progress

        steps = counted(read_progress(state), "step")
        raise JobFailedError(
            f"{sentence(error)} The training up to {steps} is kept in {state}: to go on from there, repeat the command with --resume {state}."
        ) from error


def _version_of(file: Path) -> tuple[int, int] | None:
    """Tells a file from the one that takes its place; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
