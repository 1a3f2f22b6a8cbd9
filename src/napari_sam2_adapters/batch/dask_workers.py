"""Workers of a Dask cluster, one image each at a time.

Each image is given to a worker by name, and only this process gives it to another one when that worker dies: so the image that was in
work is known, and no other one is blamed for what it did.
"""

from __future__ import annotations

import queue
import secrets
import time
import warnings
from collections import deque
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from napari_sam2_adapters.batch import remote
from napari_sam2_adapters.batch.reasons import reason_of
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Progress, Task, failure, segment_item
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.batch.workers import Ended, Model

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskWorkers"]

_BEAT_S = 0.2
_LOOK_INTERVAL_S = 1.0
_GRACE_S = 2.0
"""How long a call that has not begun is waited for after all were stopped."""
_MOST_DEATHS = 2
"""An image whose worker dies so often is given up, and a run whose workers die so often each while they load the model."""


@dataclass
class _Hand:
    """A worker process of the cluster, and the call that it has."""

    address: str
    card: int
    state: Literal["preparing", "idle", "busy", "unusable"] = "idle"
    process: str = ""
    network: str = ""
    version: str = ""
    call: str = ""
    task: Task | None = None
    begun: bool = False
    future: Future[None] | None = None


class DaskWorkers:
    """The workers of a Dask cluster as `run_batch` takes them; several runs after each other may use them.

    Parameters
    ----------
    client
        Connected to the cluster; it stays open.
    attempt
        How an image is segmented, for measuring what the rest costs.
    """

    def __init__(self, client: Client, *, attempt: remote.Attempt = segment_item) -> None:
        self._client, self._attempt = client, attempt
        self._model: Model | None = None
        self._hands: dict[str, _Hand] = {}
        self._again: deque[Task] = deque()
        self._given_up: deque[Ended] = deque()
        self._deaths: dict[int, list[str]] = {}

    def begin(self, model: Model, device: str, *, network: bool = True) -> None:
        """Begin a run; each worker loads the network, if it is needed, as soon as it is seen."""
        self._model, self._device, self._needs_network = model, device, network
        self._run = f"napari-sam2-adapters-{secrets.token_hex(8)}"
        self._mail: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._hands.clear()
        self._deaths.clear()
        self._early_deaths = 0
        self._looked = 0.0
        mail = self._mail
        self._client.subscribe_topic(self._run, lambda event: mail.put(event[1]))

    def room(self) -> int:
        """Workers that are ready and have no image; raises as `news`."""
        self._look()
        idle = sum(hand.state == "idle" for hand in self._hands.values())
        return max(0, idle - len(self._again))

    def give(self, task: Task) -> None:
        """Send an image to a worker that is ready."""
        hand = next(hand for hand in self._hands.values() if hand.state == "idle")
        hand.state, hand.task = "busy", task
        self._call(hand, remote.work, hand.process, hand.network, task, self._attempt)

    def news(self) -> Progress | Ended | None:
        """What a worker told; None when none did for a fifth of a second.

        Raises
        ------
        ValueError
            When no worker can use the model.
        OSError
            When nothing more can be written, or the cluster is gone.
        """
        self._look()
        while self._again and any(hand.state == "idle" for hand in self._hands.values()):
            self.give(self._again.popleft())
        if self._given_up:
            return self._given_up.popleft()
        try:
            message = self._mail.get(timeout=_BEAT_S)
        except queue.Empty:
            return None
        hand = next((h for h in self._hands.values() if h.call == message["call"]), None)
        return None if hand is None else self._hear(hand, message)

    def stop(self) -> list[Ended]:
        """Have the images left after the tile in work; gives those that came to their end nevertheless."""
        if self._model is None:
            return []
        ended: list[Ended] = []
        try:
            ended = self._wait_for_busy()
            self._client.unsubscribe_topic(self._run)
        except OSError as error:
            warnings.warn(f"The workers could not be told to stop ({error}).", stacklevel=2)
        for hand in self._hands.values():
            self._free(hand, "idle")
        self._hands.clear()
        self._again.clear()
        self._model = None
        return ended

    def _wait_for_busy(self) -> list[Ended]:
        busy = [hand.address for hand in self._hands.values() if hand.state == "busy"]
        if not busy:
            return []
        self._client.run(remote.stop, self._run, workers=busy, on_error="ignore")
        ended, asked = [], time.monotonic()
        while any(self._is_awaited(hand, asked) for hand in self._hands.values()):
            self._again.clear()
            try:
                news = self.news()
            except OSError:  # of the others, some may still end well
                continue
            if isinstance(news, Ended):
                ended.append(news)
        return ended

    @staticmethod
    def _is_awaited(hand: _Hand, asked: float) -> bool:
        """Whether a worker may still write; what begins after it was asked to stop leaves at once."""
        return hand.state == "busy" and (hand.begun or time.monotonic() - asked < _GRACE_S)

    def _look(self) -> None:
        """Once in a while: which workers have come, and which are gone."""
        if time.monotonic() - self._looked < _LOOK_INTERVAL_S:
            return
        try:
            there = self._client.nthreads()
        except OSError as error:
            raise ConnectionError(
                f"The scheduler of the cluster cannot be reached any more ({error}). Start it, and then the batch again to go on."
            ) from error
        self._looked = time.monotonic()
        for address in set(self._hands) - set(there):
            self._bury(self._hands.pop(address))
        for address in set(there) - set(self._hands):
            hand = _Hand(address, self._free_card(address))
            self._hands[address] = hand
            self._prepare(hand)

    def _free_card(self, address: str) -> int:
        """Place of a new worker among those of its machine; that of a dead one is taken first."""
        host = _host(address)
        taken = {hand.card for hand in self._hands.values() if _host(hand.address) == host}
        return next(card for card in range(len(taken) + 1) if card not in taken)

    def _prepare(self, hand: _Hand, content: bytes | None = None) -> None:
        hand.state = "preparing"
        device = self._device if self._needs_network else None
        self._call(hand, remote.prepare, self._model, content, device, hand.card)

    def _call(self, hand: _Hand, function: Any, *arguments: Any) -> None:
        hand.call, hand.begun = f"{self._run}-{secrets.token_hex(4)}", False
        hand.future = self._client.submit(
            function,
            remote.Call(self._run, hand.call),
            *arguments,
            key=hand.call,
            workers=[hand.address],
            allow_other_workers=False,
            pure=False,
        )
        mail, name = self._mail, hand.call
        hand.future.add_done_callback(lambda future: _tell_error(future, name, mail))

    def _hear(self, hand: _Hand, message: dict[str, Any]) -> Progress | Ended | None:
        """Take a message of a worker."""
        kind, task = message["kind"], hand.task
        if kind in ("ready", "wants_model", "unusable"):
            self._hear_of_model(hand, message)
        elif kind == "strange":  # another process at the same address
            self._bury(hand)
            self._prepare(hand)
        elif kind == "begun":
            hand.begun = True
        elif task is None:
            if kind == "error":
                self._set_aside(hand, message["reason"])
        elif kind == "tiles":
            return Progress(
                task.item.index,
                message["seconds"],
                message["tiles"],
                message["all_tiles"],
                tuple(message["notices"]),
            )
        else:
            return self._hear_of_end(hand, task, message)
        return None

    def _hear_of_model(self, hand: _Hand, message: dict[str, Any]) -> None:
        if self._model is None:
            return
        here, there = version("napari-sam2-adapters"), message.get("version", "")
        if message["kind"] == "wants_model":
            self._prepare(hand, self._model.path.read_bytes())
        elif message["kind"] == "unusable":
            self._set_aside(hand, message["reason"])
        elif there != here:
            self._set_aside(hand, f"It has version {there} of this program, but here is {here}.")
        else:
            hand.process, hand.network = message["process"], message["network"]
            self._free(hand, "idle")

    def _hear_of_end(self, hand: _Hand, task: Task, message: dict[str, Any]) -> Ended | None:
        self._free(hand, "idle")
        if message["kind"] == "done":
            return Ended(task.item.index, Entry.model_validate_json(message["entry"]))
        if message["kind"] == "disk":
            raise OSError(message["reason"])
        if message["kind"] == "error":
            return Ended(task.item.index, self._failure(task, message["reason"]))
        return None

    def _set_aside(self, hand: _Hand, reason: str) -> None:
        """Do without a worker; the run ends when that was the last one."""
        self._free(hand, "unusable")
        hands = self._hands.values()
        if all(other.state == "unusable" for other in hands):
            raise ValueError(f"No worker of the cluster can use the model: {reason}")
        warnings.warn(f"The worker {hand.address} is left out: {reason}", stacklevel=2)

    def _bury(self, hand: _Hand) -> None:
        """Give the image of a dead worker to another one, unless it killed one before."""
        task, state = hand.task, hand.state
        self._free(hand, "idle")
        if state == "preparing":
            self._early_deaths += 1
            if self._early_deaths > _MOST_DEATHS * max(2, len(self._hands)):
                raise ConnectionError(
                    "The workers of the cluster die while they load the model. Look into their logs; perhaps their memory is too small."
                )
        if task is None:
            return
        deaths = self._deaths.setdefault(task.item.index, [])
        deaths.append(hand.address)
        if len(deaths) < _MOST_DEATHS:
            self._again.append(task)
            return
        reason = (
            f"The worker that segmented it died without a word, twice ({', '.join(deaths)}). "
            "Perhaps the memory was full: try it on a machine with more."
        )
        self._given_up.append(Ended(task.item.index, self._failure(task, reason)))

    def _failure(self, task: Task, reason: str) -> Entry:
        """The line of an image of which no worker could tell; with the image's content, so that it is not tried again unasked."""
        entry = failure(task.item, task.settings_sha256, reason)
        try:
            source = FileStamp.of(task.item.source)
        except OSError:  # it is gone, or lies where only the workers see it
            return entry
        return entry.model_copy(update={"source": source})

    @staticmethod
    def _free(hand: _Hand, state: Literal["idle", "unusable"]) -> None:
        hand.state, hand.task, hand.call = state, None, ""
        if hand.future is not None:
            hand.future.release()
            hand.future = None


def _host(address: str) -> str:
    return address.rpartition("://")[2].rpartition(":")[0]


def _tell_error(future: Future[None], call: str, mail: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass on what went wrong with a call itself, such as a worker without this program."""
    if future.status != "error":
        return
    error = future.exception()
    reason = reason_of(error) if error is not None else "It failed without a reason."
    mail.put({"call": call, "kind": "error", "reason": reason})
