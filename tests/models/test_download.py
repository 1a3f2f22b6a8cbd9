"""Downloading from a server on this machine, which cuts the line when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_sam2_adapters.models import backbone_files
from napari_sam2_adapters.models import download as download_module
from napari_sam2_adapters.models.backbone_files import (
    download_backbone,
    find_weights,
    partial_bytes,
)
from napari_sam2_adapters.models.download import Received

WEIGHTS = bytes(range(256)) * 300  # what the server of conftest offers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(folder))
    return folder


@pytest.fixture
def server(weights_server: Any) -> Any:
    return weights_server


def put(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


def fetch(name: str, stop: threading.Event | None = None) -> tuple[Path | None, list[Received]]:
    """Download to the end, and give what came of it and what was said on the way."""
    steps, seen = download_backbone(name, stop), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen


class TestDownloading:
    """From a server on this machine."""

    def test_the_file_comes_into_the_cache_once(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        path, _ = fetch("tiny")
        assert path == find_weights("tiny") == cache / "sam2.1_hiera_tiny.pt"
        assert path.read_bytes() == WEIGHTS
        assert list(cache.iterdir()) == [path]
        assert fetch("tiny") == (path, [])
        assert server.asked == [""]

    def test_progress_counts_all_bytes(
        self, server: Any, expects: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download_module, "_PIECE_BYTES", 30_000)
        expects(WEIGHTS)
        _, seen = fetch("tiny")
        assert [r.done for r in seen] == [0, 30_000, 60_000, 76_800]
        assert {r.total for r in seen} == {len(WEIGHTS)}

    def test_a_cut_connection_is_taken_up_again(
        self, server: Any, expects: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expects(WEIGHTS)
        monkeypatch.setattr(download_module, "_PIECE_BYTES", 10_000)
        server.cuts = [50_000, 10_000]
        path, seen = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS
        assert len(server.asked) == 3
        assert server.asked[0] == ""
        assert all(asked.startswith("bytes=") for asked in server.asked[1:])
        assert seen[-1] == Received(len(WEIGHTS), len(WEIGHTS))

    def test_a_line_that_stays_dead_leaves_what_has_come_for_the_next_time(
        self,
        server: Any,
        expects: Callable[[bytes], None],
        monkeypatch: pytest.MonkeyPatch,
        cache: Path,
    ) -> None:
        expects(WEIGHTS)
        monkeypatch.setattr(download_module, "_FRUITLESS_TRIES", 1)
        monkeypatch.setattr(download_module, "_PIECE_BYTES", 10_000)
        server.cuts = [50_000, 0]
        with pytest.raises(OSError, match=r"0 MB of it are here, and the next try goes on"):
            fetch("tiny")
        left = partial_bytes("tiny")
        assert 0 < left <= 50_000
        with pytest.raises(FileNotFoundError):
            find_weights("tiny")
        path, seen = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS
        assert seen[0] == Received(left, len(WEIGHTS))
        assert server.asked[-1] == f"bytes={left}-"
        assert partial_bytes("tiny") == 0

    def test_it_can_be_stopped_and_goes_on_from_there(
        self, server: Any, expects: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expects(WEIGHTS)
        monkeypatch.setattr(download_module, "_PIECE_BYTES", 20_000)
        stop = threading.Event()
        steps = download_backbone("tiny", stop)
        while next(steps).done < 40_000:
            pass
        stop.set()
        assert list(steps) == []
        assert partial_bytes("tiny") == 40_000
        assert fetch("tiny")[1][0].done == 40_000
        assert find_weights("tiny").read_bytes() == WEIGHTS

    def test_two_at_once_do_not_mix_their_pieces(
        self, server: Any, expects: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As two windows, or several users with one cache."""
        expects(WEIGHTS)
        monkeypatch.setattr(download_module, "_PIECE_BYTES", 20_000)
        first = download_backbone("tiny")
        while next(first).done < 40_000:
            pass
        said = r"another program is downloading it into .* \(process \d+ on .*\)\. Wait until that is done\. "
        with pytest.raises(OSError, match=said):
            fetch("tiny")
        assert [received.done for received in first][-1] == len(WEIGHTS)
        assert find_weights("tiny").read_bytes() == WEIGHTS
        assert fetch("tiny")[1] == []

    def test_a_server_that_cannot_go_on_sends_all_of_it(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        server.resumes = False
        put(cache, "sam2.1_hiera_tiny.pt.part", WEIGHTS[:1000])
        path, seen = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS
        assert seen[0].done == 0

    @pytest.mark.parametrize("left", [b"another file" * 10, b"x" * len(WEIGHTS), WEIGHTS + b"x"])
    def test_the_beginning_of_another_file_is_thrown_away(
        self, server: Any, expects: Callable[[bytes], None], cache: Path, left: bytes
    ) -> None:
        expects(WEIGHTS)
        put(cache, "sam2.1_hiera_tiny.pt.part", left)
        path, _ = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS

    def test_a_part_that_is_all_of_it_needs_only_its_name(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        put(cache, "sam2.1_hiera_tiny.pt.part", WEIGHTS)
        path, _ = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS
        assert server.asked == [f"bytes={len(WEIGHTS)}-"]

    def test_another_checksum_is_refused_and_nothing_kept(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(b"something else")
        with pytest.raises(ValueError, match=r"sent is not sam2.1_hiera_tiny.pt: its sha256 is"):
            fetch("tiny")
        assert not list(cache.glob("*"))

    def test_a_damaged_file_in_the_cache_is_fetched_anew(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        put(cache, "sam2.1_hiera_tiny.pt", WEIGHTS[:-1])
        path, _ = fetch("tiny")
        assert path is not None
        assert path.read_bytes() == WEIGHTS

    def test_a_full_disk_is_said_before_it_is_full(
        self, server: Any, expects: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expects(WEIGHTS)
        monkeypatch.setattr(download_module, "_SPARE_BYTES", 2**62)
        with pytest.raises(OSError, match=r"still to come, but .* has only"):
            fetch("tiny")

    def test_a_server_that_does_not_have_it_is_named(self, server: Any, cache: Path) -> None:
        with pytest.raises(OSError, match=r"sam2.1_hiera_small.pt could not be downloaded .*404"):
            fetch("small")
        assert not list(cache.glob("*"))

    def test_a_server_that_is_not_there_is_named(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backbone_files, "_ADDRESS", "http://127.0.0.1:9/")
        monkeypatch.setattr(download_module, "_FRUITLESS_TRIES", 1)
        with pytest.raises(
            OSError, match=r"could not be downloaded .* tiny --from FILE'"
        ) as caught:
            fetch("tiny")
        assert "the connection failed (Connection refused)" in str(caught.value)

    def test_mobile_needs_no_download(self, server: Any) -> None:
        assert fetch("mobile") == (find_weights("mobile"), [])
        assert server.asked == []
