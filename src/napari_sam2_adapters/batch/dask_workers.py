"""Workers of a Dask cluster, one image, or a part of a huge one, each at a time.

Each part is given to a worker by name, and only this process gives it to another one when that worker dies: so what was in work is
known, and no other image is blamed for what it did.
"""

from __future__ import annotations

import queue
import secrets
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.batch import remote
from napari_sam2_adapters.batch.deaths import Deaths
from napari_sam2_adapters.batch.hand import (
    Hand,
    Mail,
    free_card,
    leaving,
    lost_image,
    progress_of,
    reaching_scheduler,
    tell_error,
)
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Progress, Task
from napari_sam2_adapters.batch.shared_item import Opened, Part, Steps
from napari_sam2_adapters.batch.sharing import SharedImage
from napari_sam2_adapters.batch.workers import Ended, Model

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["DaskWorkers"]

_BEAT_S = 0.2
_LOOK_INTERVAL_S = 1.0


class DaskWorkers:
    """The workers of a Dask cluster as `run_batch` takes them; several runs after each other may use them.

    A huge image whose labels are streamed is shared out by bands; any other one is segmented by one worker.

    Parameters
    ----------
    client
        Connected to the cluster; it stays open.
    steps
        What is done with an image, for measuring what the rest costs.
    look_after
        Called once a second during a run, to bring back workers that are gone.
    """

    def __init__(
        self,
        client: Client,
        *,
        steps: Steps | None = None,
        look_after: Callable[[], None] | None = None,
    ) -> None:
        self._client, self._steps, self._look_after = client, steps or Steps(), look_after
        self._forget()

    def _forget(self) -> None:
        """Know nothing of any run: images of the next one have the same numbers."""
        self._model: Model | None = None
        self._content = b""
        self._hands: dict[str, Hand] = {}
        self._again: deque[Part] = deque()
        self._shared: dict[int, SharedImage] = {}
        self._given_up: deque[Ended] = deque()
        self._deaths = Deaths()

    def begin(self, model: Model, device: str, *, network: bool = True) -> None:
        """Begin a run; each worker loads the network, if it is needed, as soon as it is seen; raises as `Model.content`."""
        # kept, since workers may come when the file has been replaced
        self._content = model.content() if network else b""
        self._model, self._device, self._needs_network = model, device, network
        self._run = f"napari-sam2-adapters-{secrets.token_hex(8)}"
        self._mail: Mail = queue.SimpleQueue()
        self._stopping, self._looked, self._unusable = False, 0.0, ""
        mail = self._mail
        self._client.subscribe_topic(self._run, lambda event: mail.put(event[1]))

    def room(self) -> int:
        """Workers that are ready and have nothing to do; raises as `news`."""
        self._look()
        self._give_parts()
        return sum(hand.state == "idle" for hand in self._hands.values())

    def give(self, task: Task) -> None:
        """Send an image to a worker that is ready."""
        self._give(self._idle()[0], Part(task))

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
        self._give_parts()
        if self._given_up:
            return self._given_up.popleft()
        try:
            message = self._mail.get(timeout=_BEAT_S)
        except queue.Empty:
            return None
        hand = next((h for h in self._hands.values() if h.sent(message)), None)
        return None if hand is None else self._hear(hand, message)

    def stop(self) -> list[Ended]:
        """Have the images left after the tile in work; gives those that came to their end nevertheless."""
        if self._model is None:
            return []
        ended: list[Ended] = []
        try:
            ended = self._wait_for_busy()
            with reaching_scheduler(self._client):
                self._client.unsubscribe_topic(self._run)
        except OSError as error:
            why = error.__cause__ or error
            warnings.warn(f"The workers could not be told to stop ({why}).", stacklevel=2)
        for hand in self._hands.values():
            hand.free("idle")
        ended.extend(self._given_up)
        self._forget()
        return ended

    def _wait_for_busy(self) -> list[Ended]:
        busy = [hand.address for hand in self._hands.values() if hand.state == "busy"]
        if not busy:
            return []
        self._ask_to_stop(remote.leave, self._run, busy)
        ended, asked, self._stopping = [], time.monotonic(), True
        while leaving(self._hands.values(), asked):
            try:
                news = self.news()
            except OSError:  # of the others, some may still end well
                if self._client.status != "running":
                    break  # but nobody hears of it
                continue
            if isinstance(news, Ended):
                ended.append(news)
        return ended

    def _ask_to_stop(self, how: Callable[..., None], name: str, addresses: list[str]) -> None:
        """As `remote.stop` or `remote.leave`."""
        with reaching_scheduler(self._client):
            self._client.run(how, name, workers=addresses, on_error="ignore")

    def _look(self) -> None:
        """Once in a while: which workers have come, and which are gone."""
        if time.monotonic() - self._looked < _LOOK_INTERVAL_S:
            return
        with reaching_scheduler(self._client):
            there = self._client.nthreads()
        self._looked = time.monotonic()
        if self._look_after is not None and not self._stopping:
            self._look_after()
        for address in set(self._hands) - set(there):
            self._bury(self._hands.pop(address))
            self._check_usable()  # it may have been the last one that could have become so
        for address in set(there) - set(self._hands):
            self._hands[address] = hand = Hand(address)
            self._call(hand, remote.introduce)

    def _idle(self) -> list[Hand]:
        return [hand for hand in self._hands.values() if hand.state == "idle"]

    def _give_parts(self) -> None:
        """Give what dead workers left, and parts of images that are shared, to workers that are ready."""
        for hand in self._idle() if not self._stopping else ():
            shared = next((image for image in self._shared.values() if image.has_part), None)
            if self._again:
                self._give(hand, self._again.popleft())
            elif shared is not None:
                name = self._new_name()
                usable = sum(other.state != "unusable" for other in self._hands.values())
                self._give(hand, shared.take_part(name, usable), name)

    def _give(self, hand: Hand, part: Part, name: str = "") -> None:
        hand.state, hand.part = "busy", part
        step = self._steps.of(part)
        self._call(hand, remote.work, hand.process, hand.network, part, step, name=name)

    def _prepare(self, hand: Hand, content: bytes | None = None) -> None:
        hand.state = "preparing"
        device = self._device if self._needs_network else None
        self._call(hand, remote.prepare, self._model, content, device, hand.card)

    def _new_name(self) -> str:
        return f"{self._run}-{secrets.token_hex(4)}"

    def _call(self, hand: Hand, function: Any, *arguments: Any, name: str = "") -> None:
        hand.call = name or self._new_name()
        call = remote.Call(self._run, hand.call)
        options = {"workers": [hand.address], "allow_other_workers": False, "key": call.name}
        with reaching_scheduler(self._client):
            hand.future = self._client.submit(function, call, *arguments, pure=False, **options)
        mail = self._mail
        hand.future.add_done_callback(lambda future: tell_error(future, call.name, mail))

    def _hear(self, hand: Hand, message: dict[str, Any]) -> Progress | Ended | None:
        """Take a message of a worker."""
        kind, part = message["kind"], hand.part
        if kind in ("introduced", "ready", "wants_model", "unusable"):
            self._hear_of_model(hand, message)
        elif kind == "strange":  # another process at the same address
            self._bury(hand)
            self._prepare(hand)
        elif kind == "leaving":
            hand.hear_of_leaving(message["at_work"])
        elif part is None:
            if kind == "error":
                self._set_aside(hand, message["reason"])
        elif kind == "tiles":
            return self._hear_of_tiles(hand, part, message)
        else:
            return self._hear_of_end(hand, part, message)
        return None

    def _hear_of_model(self, hand: Hand, message: dict[str, Any]) -> None:
        if self._model is None:
            return
        here, there = version("napari-sam2-adapters"), message.get("version", "")
        if message["kind"] == "introduced":
            hand.cards = f"{hand.host} {message['place']}"
            hand.card = free_card(hand, list(self._hands.values()))
            self._prepare(hand)
        elif message["kind"] == "wants_model":
            self._prepare(hand, self._content)
        elif message["kind"] == "unusable":
            self._set_aside(hand, message["reason"])
        elif there != here:
            self._set_aside(hand, f"It has version {there} of this program, but here is {here}.")
        else:
            hand.process, hand.network = message["process"], message["network"]
            hand.free("idle")

    def _hear_of_tiles(self, hand: Hand, part: Part, message: dict[str, Any]) -> Progress | None:
        told = progress_of(part, message)
        if part.opened is None:
            return told
        shared = self._shared.get(told.index)
        return None if shared is None else shared.take_progress(hand.call, told)

    def _hear_of_end(
        self, hand: Hand, part: Part, message: dict[str, Any]
    ) -> Progress | Ended | None:
        index, kind, call = part.task.item.index, message["kind"], hand.call
        hand.free("idle")
        if kind == "disk":
            raise OSError(message["reason"])
        if part.opened is not None and index not in self._shared:
            return None  # the image has failed meanwhile
        if kind == "opened":
            opened = Opened.model_validate_json(message["opened"])
            self._shared[index] = SharedImage(part.task, opened)
            return self._shared[index].progress()
        if kind == "segmented":
            self._shared[index].end_part(call)
            return self._shared[index].progress()
        if kind == "done":
            self._drop(index)
            return Ended(index, Entry.model_validate_json(message["entry"]))
        if kind == "error":
            self._drop(index)
            return Ended(index, lost_image(part.task, message["reason"]))
        return None

    def _drop(self, index: int) -> None:
        """Stop those who are still at work on an image that has come to its end."""
        if self._shared.pop(index, None) is None:
            return
        for hand in self._hands.values():
            if hand.part is not None and hand.part.task.item.index == index:
                self._ask_to_stop(remote.stop, hand.call, [hand.address])

    def _set_aside(self, hand: Hand, reason: str) -> None:
        """Do without a worker; the run ends when that was the last one."""
        hand.free("unusable")
        self._unusable = reason
        self._check_usable()
        warnings.warn(f"The worker {hand.address} is left out: {reason}", stacklevel=2)

    def _check_usable(self) -> None:
        if {hand.state for hand in self._hands.values()} == {"unusable"} and not self._stopping:
            raise ValueError(f"No worker of the cluster can use the model: {self._unusable}")

    def _bury(self, hand: Hand) -> None:
        """Give what a dead worker had in hand to another one, unless it killed one before."""
        part, state, call = hand.part, hand.state, hand.call
        hand.free("idle")
        if state == "preparing":
            self._deaths.count_early(len(self._hands))
        if part is None:
            return
        shared = self._shared.get(index := part.task.item.index)
        if part.opened is not None and shared is None:
            return  # the image has failed meanwhile
        place = None if shared is None else shared.lose_part(call)
        reason = self._deaths.count(index, place, hand.address)
        if reason:
            self._drop(index)
            self._given_up.append(Ended(index, lost_image(part.task, reason)))
        elif shared is None:
            # what lies in the place of its results now was written by that worker
            self._again.append(Part(replace(part.task, replace=True)))
