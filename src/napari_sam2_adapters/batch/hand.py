"""A worker process of a Dask cluster, as the coordinating process sees it."""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_sam2_adapters.batch.reasons import reason_of
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Progress, Task, failure
from napari_sam2_adapters.batch.shared_item import Part
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.models.memory_plan import MemoryPlan

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Hand", "Mail", "free_card", "leaving", "lost_image", "progress_of", "reaching_scheduler", "tell_error"]  # fmt: skip

Mail = queue.SimpleQueue[dict[str, Any]]
_PATIENCE_S = 1800.0
"""How long a worker is waited for that was asked to stop: it may be at a slow tile, or measure a huge image, but also hang."""


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
    future: Future[None] | None = None

    @property
    def host(self) -> str:
        """Its machine."""
        return self.address.rpartition("://")[2].rpartition(":")[0]

    def sent(self, message: dict[str, Any]) -> bool:
        """Whether a message is of its call, or of its process whatever that does."""
        if "address" in message:
            return bool(message["address"] == self.address)
        return bool(message["call"] == self.call)

    def hear_of_leaving(self, at_work: list[str]) -> None:
        """Let go of a call that has not begun, as `remote.leave` tells: what begins later leaves at once."""
        if self.state == "busy" and self.call not in at_work:
            self.free("idle")

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
        MemoryPlan(**message["plan"]) if message["plan"] else None,
    )


def leaving(hands: Iterable[Hand], asked: float) -> bool:
    """Whether anyone may still tell of its end after all were asked to stop (s, `time.monotonic`).

    A worker that is at work tells when it leaves, and one that dies is buried; one that hangs does neither.
    """
    late = [hand for hand in hands if hand.state == "busy"]
    if time.monotonic() - asked < _PATIENCE_S:
        return bool(late)
    for hand in late:
        name = hand.part.task.item.name if hand.part is not None else "its image"
        warnings.warn(
            f"The worker {hand.address} was asked to stop {_PATIENCE_S / 60:.0f} minutes ago and is still at {name}. "
            "That is not waited for any longer: look into its log, end it, and start the batch again to go on.",
            stacklevel=2,
        )
    return False


def lost_image(task: Task, reason: str) -> Entry:
    """The line of an image of which no worker could tell; with the image's content, so that it is not tried again unasked."""
    entry = failure(task.item, task.settings_sha256, reason)
    try:
        source = FileStamp.of(task.item.source)
    except OSError:  # it is gone, or lies where only the workers see it
        return entry
    return entry.model_copy(update={"source": source})
