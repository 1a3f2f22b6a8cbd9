"""Downloading one large file: in pieces, with a checksum, and from where it broke off."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import requests

from napari_sam2_adapters.atomic import force_to_disk
from napari_sam2_adapters.locking import locked

__all__ = ["Received", "download", "part_path"]

_PIECE_BYTES = 2**16
_TIMEOUT_S = (10, 30)
_FRUITLESS_TRIES = 3
_SPARE_BYTES = 2**26
_CANNOT_RESUME = 416


@dataclass(frozen=True)
class Received:
    """How much of a file is here, and how large it is (0 when the server does not say); in bytes."""

    done: int
    total: int


class _Part:
    """The beginning of a file on the disk, with the checksum of it so far."""

    def __init__(self, target: Path) -> None:
        self.path = part_path(target)
        self.size = 0
        self.digest = hashlib.sha256()
        if self.path.exists():
            with self.path.open("rb") as stream:
                while piece := stream.read(2**20):
                    self._count(piece)
        else:
            self.path.touch()

    def append(self, piece: bytes) -> None:
        """Add what has come."""
        with self.path.open("ab") as stream:
            stream.write(piece)
        self._count(piece)

    def empty(self) -> None:
        """Start anew."""
        self.path.write_bytes(b"")
        self.size, self.digest = 0, hashlib.sha256()

    def finish(self, target: Path) -> None:
        """Force it to the disk and give it its name."""
        with self.path.open("rb+") as stream:
            force_to_disk(stream)
        self.path.replace(target)

    def _count(self, piece: bytes) -> None:
        self.size += len(piece)
        self.digest.update(piece)


def part_path(target: Path) -> Path:
    """Where the beginning of a file lies until all of it is here."""
    return target.with_name(f"{target.name}.part")


def download(
    address: str, target: Path, sha256: str, stop: threading.Event | None = None
) -> Generator[Received, None, Path | None]:
    """Download a file, going on from what an earlier try has left, and check it.

    Parameters
    ----------
    address
        http or https address of the file.
    target
        Where to put it; replaced if it is there.
    sha256
        What its checksum must be, 64 hexadecimal digits.
    stop
        Ends the download when it is set; what is here stays, for the next time.

    Yields
    ------
    Received
        After each piece of 64 KB.

    Returns
    -------
    Path or None
        ``target``, or None when it was stopped.

    Raises
    ------
    OSError
        When the file cannot be fetched or stored, or another program is at it; what is here stays.
    ValueError
        When what was fetched has another checksum; nothing is kept of it.
    """
    stop = stop or threading.Event()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Both would add to one part, whose checksum each knows by what it has added itself.
    with locked(
        target.with_name(f".{target.name}.lock"),
        f"another program is downloading it into {target.parent}",
        "Wait until that is done",
    ):
        return (yield from _download_alone(address, target, sha256, stop))


def _download_alone(
    address: str, target: Path, sha256: str, stop: threading.Event
) -> Generator[Received, None, Path | None]:
    part = _Part(target)
    went_on = part.size > 0
    yield from _receive_all(address, part, stop)
    if part.digest.hexdigest() != sha256 and went_on and not stop.is_set():
        part.empty()  # the two halves may be of two files
        yield from _receive_all(address, part, stop)
    if stop.is_set():
        return None
    if part.digest.hexdigest() != sha256:
        part.path.unlink()
        raise ValueError(
            f"What {address} sent is not {target.name}: its sha256 is another. It was thrown away; try again."
        )
    part.finish(target)
    return target


def _receive_all(
    address: str, part: _Part, stop: threading.Event
) -> Generator[Received, None, None]:
    """Receive until nothing is left to come, also when the connection breaks now and then."""
    fruitless = 0
    while not stop.is_set():
        before = part.size
        try:
            yield from _receive(address, part, stop)
            return
        except requests.HTTPError as error:
            _drop_if_empty(part)
            raise OSError(f"the server answered: {error}") from error
        except requests.RequestException as error:
            fruitless = fruitless + 1 if part.size <= before else 0
            if fruitless == _FRUITLESS_TRIES:
                _drop_if_empty(part)
                raise OSError(f"the connection failed ({_reason(error)})") from error
            stop.wait(fruitless)


def _reason(error: BaseException) -> str:
    """What the system said of a connection; the texts of requests above it repeat the address and name objects."""
    below: BaseException | None = error
    while below is not None:
        said = getattr(below, "strerror", None)
        if said:
            return str(said)
        below = below.__cause__ or below.__context__
    return type(error).__name__


def _receive(address: str, part: _Part, stop: threading.Event) -> Generator[Received, None, None]:
    """Receive what is missing over one connection."""
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
        if answer.status_code == _CANNOT_RESUME:
            # All of it is here already, or it is another file; the checksum tells.
            return
        answer.raise_for_status()
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            part.empty()  # a server that does not resume sends all of it
        coming = int(answer.headers.get("Content-Length", 0))
        total = part.size + coming if coming else 0
        _check_space(part.path.parent, coming)
        yield Received(part.size, total)
        for piece in answer.iter_content(_PIECE_BYTES):
            part.append(piece)
            yield Received(part.size, total)
            if stop.is_set():
                return
    if part.size < total:
        raise requests.ConnectionError(f"it broke off after {part.size} of {total} bytes")


def _check_space(folder: Path, coming: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < coming + _SPARE_BYTES:
        raise OSError(
            f"{coming / 1e6:.0f} MB are still to come, but {folder} has only {free / 1e6:.0f} MB free"
        )


def _drop_if_empty(part: _Part) -> None:
    if not part.size:
        part.path.unlink(missing_ok=True)
