"""Who segments the images of a batch: what the engine asks of them, and the one that works in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Network, Progress, Task, segment_item
from napari_sam2_adapters.batch.stamps import file_sha256

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["Ended", "LocalWorker", "Model", "Workers"]


@dataclass(frozen=True)
class Model:
    """A model file, by its whole path and the checksum of its bytes, with its header."""

    path: Path
    sha256: str
    header: AdapterHeader

    def is_here(self) -> bool:
        """Whether this machine can read the file, and it is still the same one."""
        try:
            return file_sha256(self.path) == self.sha256
        except OSError:
            return False

    def content(self) -> bytes:
        """The bytes of the file.

        Raises
        ------
        ValueError
            When it was replaced, or is gone, since the images were looked at: the reports would name another one.
        """
        try:
            content = self.path.read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(
                f"{self.path.name} was replaced or removed while the batch began. Start the batch again to segment with what is there now."
            )
        return content


@dataclass(frozen=True)
class Ended:
    """An image is done or has failed: its place in the batch and its line of the report."""

    index: int
    entry: Entry


class Workers(Protocol):
    """Those who segment images; only one thread talks to them, and only the engine writes reports."""

    def begin(self, model: Model, device: str, *, network: bool = True) -> None:
        """Get ready for the images of a job; without the network when all labels are done.

        Raises
        ------
        ValueError, FileNotFoundError
            When the model cannot be used.
        """
        ...

    def room(self) -> int:
        """How many images can be given to them now."""
        ...

    def give(self, task: Task) -> None:
        """Give them an image, while there is room."""
        ...

    def news(self) -> Progress | Ended | None:
        """What became of an image; None when there was nothing to tell for a moment.

        Raises
        ------
        OSError
            When nothing more can be written, or the workers are gone.
        """
        ...

    def stop(self) -> list[Ended]:
        """Stop after the tiles in work; gives the images that came to their end nevertheless."""
        ...


class LocalWorker:
    """Segments one image after the other in this process, a tile at each call of `news`."""

    def __init__(self) -> None:
        self._network: Network | None = None
        self._index = 0
        self._work: Generator[Progress, None, Entry] | None = None

    def begin(self, model: Model, device: str, *, network: bool = True) -> None:
        """Load the network, if it is needed; raises as `load_adapter` and `Model.content`."""
        if not network:
            self._network = Network(None, model.header)
            return
        from napari_sam2_adapters.models.device import choose_device
        from napari_sam2_adapters.models.model_file import load_adapter

        segmenter, header = load_adapter(model.path, device=choose_device(device))
        model.content()  # after it was read: a training may have replaced it meanwhile
        self._network = Network(segmenter.folded(), header)

    def room(self) -> int:
        """One while it has no image."""
        return int(self._work is None)

    def give(self, task: Task) -> None:
        """Take an image; the work is done in `news`."""
        if self._network is None:
            raise RuntimeError("There is no network yet: call begin() first.")
        self._index, self._work = task.item.index, segment_item(self._network, task)

    def news(self) -> Progress | Ended | None:
        """Segment the next tile; raises as `segment_item`."""
        if self._work is None:
            return None
        try:
            return next(self._work)
        except StopIteration as end:
            self._work = None
            return Ended(self._index, end.value)

    def stop(self) -> list[Ended]:
        """Leave the image in work; nothing of it is written."""
        if self._work is not None:
            self._work.close()
            self._work = None
        return []
