"""A worker process of a Dask cluster, as the coordinating process sees it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_sam2_adapters.batch.reasons import reason_of
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Progress, Task, failure
from napari_sam2_adapters.batch.shared_item import Part
from napari_sam2_adapters.batch.stamps import FileStamp

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Hand", "Mail", "free_card", "lost_image", "progress_of", "reaching_scheduler", "tell_error"]  # fmt: skip

Mail = queue.SimpleQueue[dict[str, Any]]
_GRACE_S = 2.0
"""How long a call that has not begun is waited for after all were stopped."""


@dataclass
class Hand:
    """A worker process, and the call that it has.

    Attributes
    ----------
    address
        Where it is.
    cards
        What it has in common with those that see the same GPUs; empty until it has introduced itself.
    card
        Which of these it takes.
    state
        What it does.
    process, network
        What it answered to `remote.prepare`.
    call
        Name of the call that it has.
    part
        What it is doing.
    begun
        Whether it has begun with that.
    future
        The call.
    """

    address: str
    cards: str = ""
    card: int = 0
    state: Literal["preparing", "idle", "busy", "unusable"] = "preparing"
    process: str = ""
    network: str = ""
    call: str = ""
    part: Part | None = None
    begun: bool = False
    future: Future[None] | None = None

    @property
    def host(self) -> str:
        """Its machine."""
        return self.address.rpartition("://")[2].rpartition(":")[0]

    def may_write(self, asked: float) -> bool:
        """Whether it may still write after it was asked to stop (s, `time.monotonic`); what begins later leaves at once."""
        return self.state == "busy" and (self.begun or time.monotonic() - asked < _GRACE_S)

    def free(self, state: Literal["idle", "unusable"]) -> None:
        """Let go of the call."""
        self.state, self.part, self.call = state, None, ""
        if self.future is not None:
            self.future.release()
            self.future = None


def free_card(hand: Hand, others: list[Hand]) -> int:
    """The first card that no other worker has that sees the same ones; that of a dead one is taken first."""
    taken = {other.card for other in others if other is not hand and other.cards == hand.cards}
    return next(card for card in range(len(taken) + 1) if card not in taken)


@contextmanager
def reaching_scheduler(client: Client) -> Iterator[None]:
    """Say in a sentence that the scheduler is gone; Dask has several errors for it, by how far it has closed the client.

    Raises
    ------
    ConnectionError
        When it is.
    """
    try:
        yield
    except Exception as error:
        if client.status == "running" and not isinstance(error, OSError):
            raise
        raise ConnectionError(
            f"The scheduler of the cluster cannot be reached any more ({error}). Start it, and then the batch again to go on."
        ) from error


def tell_error(future: Future[None], call: str, mail: Mail) -> None:
    """Pass on what went wrong with a call itself, such as a worker without this program."""
    if future.status != "error":
        return
    error = future.exception()
    reason = reason_of(error) if error is not None else "It failed without a reason."
    mail.put({"call": call, "kind": "error", "reason": reason})


def progress_of(part: Part, message: dict[str, Any]) -> Progress:
    """What a worker has told of tiles."""
    return Progress(
        part.task.item.index,
        message["seconds"],
        message["tiles"],
        message["all_tiles"],
        tuple(message["notices"]),
        tuple(message["bands"]),
    )


def lost_image(task: Task, reason: str) -> Entry:
    """The line of an image of which no worker could tell; with the image's content, so that it is not tried again unasked."""
    entry = failure(task.item, task.settings_sha256, reason)
    try:
        source = FileStamp.of(task.item.source)
    except OSError:  # it is gone, or lies where only the workers see it
        return entry
    return entry.model_copy(update={"source": source})
