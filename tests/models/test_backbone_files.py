from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from napari_sam2_adapters.models import backbone_files
from napari_sam2_adapters.models.backbone_files import (
    BACKBONES,
    cache_folder,
    cached_path,
    download_backbone,
    file_sha256,
    find_weights,
)

WEIGHTS = (
    bytes(range(256)) * 300
)  # stands for an official file: nobody looks inside before it is loaded


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(folder))
    return folder


def put(folder: Path, name: str, content: bytes = b"x", age_s: float = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return path


def test_the_table_is_the_designs() -> None:
    assert list(BACKBONES) == ["mobile", "tiny", "small", "base_plus", "large"]
    for name, entry in BACKBONES.items():
        assert entry.name == name
        assert len(entry.sha256) == 64
        assert (entry.shape is None) == (name == "mobile")
    assert BACKBONES["tiny"].address == (
        "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt"
    )
    assert BACKBONES["large"].sha256.startswith("2647878d5dfa5098")


def test_a_checksum_is_the_files(tmp_path: Path) -> None:
    path = put(tmp_path, "file", WEIGHTS)
    assert file_sha256(path) == hashlib.sha256(WEIGHTS).hexdigest()


def test_the_cache_is_the_users_unless_it_is_chosen(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("SAM2_ADAPTERS_CACHE")
    assert cache_folder().parts[-2:] == ("napari-sam2-adapters", "backbones")
    assert not cache.exists()  # asking makes nothing


class TestFinding:
    """Which of the files in the cache is meant."""

    def test_nothing_there_says_how_to_get_it(self) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"\(156 MB\) with 'sam2-adapters backbones download tiny'"
        ):
            find_weights("tiny")

    def test_mobile_is_always_there(self) -> None:
        assert find_weights("mobile").is_file()

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="There is no backbone 'medium'"):
            find_weights("medium")

    def test_the_official_file_comes_first(self, cache: Path) -> None:
        put(cache, "tiny-0123456789ab.pt")
        official = put(cache, "sam2.1_hiera_tiny.pt", age_s=99)
        assert find_weights("tiny") == official

    def test_of_the_users_own_the_newest_comes_first(self, cache: Path) -> None:
        put(cache, "tiny-aaaaaaaaaaaa.pt", age_s=99)
        newest = put(cache, "tiny-bbbbbbbbbbbb.pt", age_s=1)
        put(cache, "small-cccccccccccc.pt")
        assert find_weights("tiny") == newest

    def test_a_checksum_chooses_its_file(self, cache: Path) -> None:
        put(cache, "sam2.1_hiera_tiny.pt")
        own = put(cache, "tiny-aaaaaaaaaaaa.pt", age_s=99)
        put(cache, "tiny-bbbbbbbbbbbb.pt")
        assert find_weights("tiny", "a" * 64) == own
        assert find_weights("tiny", BACKBONES["tiny"].sha256) == cached_path(
            "tiny", BACKBONES["tiny"].sha256
        )
        with pytest.raises(FileNotFoundError, match="'tiny' with sha256 cccccccccccc…"):
            find_weights("tiny", "c" * 64)

    def test_a_file_of_the_users_own_does_not_stand_for_the_official_one(self, cache: Path) -> None:
        put(cache, "tiny-aaaaaaaaaaaa.pt")
        with pytest.raises(FileNotFoundError, match="not on this machine"):
            find_weights("tiny", BACKBONES["tiny"].sha256)


class _Server(BaseHTTPRequestHandler):
    content = WEIGHTS

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        if self.path != "/sam2.1_hiera_tiny.pt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine that offers `WEIGHTS` as the official file of tiny."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    running.asked = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(
        backbone_files, "_ADDRESS", f"http://127.0.0.1:{running.server_address[1]}/"
    )
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def expects(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Say what the official file of tiny holds."""
    return lambda content: monkeypatch.setitem(
        BACKBONES, "tiny", replace(BACKBONES["tiny"], sha256=hashlib.sha256(content).hexdigest())
    )


class _Progress:
    total, done, closed = 0, 0, False

    def update(self, n: int) -> None:
        self.done += n

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        self.closed = True


class TestDownloading:
    """From a server on this machine."""

    def test_the_file_comes_into_the_cache_once(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        path = download_backbone("tiny")
        assert path == find_weights("tiny") == cache / "sam2.1_hiera_tiny.pt"
        assert path.read_bytes() == WEIGHTS
        assert download_backbone("tiny") == path
        assert server.asked == 1

    def test_progress_is_shown(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        progress = _Progress()
        download_backbone("tiny", progress)
        assert progress.total == len(WEIGHTS)
        assert progress.closed

    def test_another_checksum_is_refused_and_nothing_kept(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(b"something else")
        with pytest.raises(ValueError, match=r"sent is not sam2.1_hiera_tiny.pt: its sha256 is"):
            download_backbone("tiny")
        assert not list(cache.glob("*"))

    def test_a_damaged_file_in_the_cache_is_fetched_anew(
        self, server: Any, expects: Callable[[bytes], None], cache: Path
    ) -> None:
        expects(WEIGHTS)
        put(cache, "sam2.1_hiera_tiny.pt", WEIGHTS[:-1])
        assert download_backbone("tiny").read_bytes() == WEIGHTS

    def test_a_server_that_does_not_have_it_is_named(self, server: Any, cache: Path) -> None:
        with pytest.raises(OSError, match=r"sam2.1_hiera_small.pt could not be downloaded .*404"):
            download_backbone("small")
        assert not list(cache.glob("*"))

    def test_a_server_that_is_not_there_is_named(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backbone_files, "_ADDRESS", "http://127.0.0.1:9/")
        with pytest.raises(OSError, match=r"could not be downloaded .* '--from FILE'"):
            download_backbone("tiny")

    def test_mobile_needs_no_download(self, server: Any) -> None:
        assert download_backbone("mobile") == find_weights("mobile")
        assert server.asked == 0
