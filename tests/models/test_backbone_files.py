from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from napari_sam2_adapters.models.backbone_files import (
    BACKBONES,
    cache_folder,
    cached_path,
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
            FileNotFoundError,
            match=r"\(156 MB\) in the Models dock or with 'sam2-adapters backbones download tiny'.*'Use a file …'.*"
            r"'sam2-adapters backbones download tiny --from FILE'",
        ):
            find_weights("tiny")

    def test_a_file_of_somebodys_own_is_not_offered_for_download(self) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"Get the file that was trained on.*--from FILE'"
        ) as caught:
            find_weights("tiny", "0" * 64)
        assert "Download them" not in str(caught.value)

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
