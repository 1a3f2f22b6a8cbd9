import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam2_adapters.widgets.docks.store import (
    SUFFIX,
    clear_leftovers,
    copy_adapter,
    import_adapter,
    list_adapters,
    new_adapter_path,
    new_copy_path,
    read_adapters,
    rename_adapter,
    to_bin,
)


def test_names_are_safe_and_free(adapters_home: Path) -> None:
    path = new_adapter_path("my image: 3/4 – hp")
    assert path.parent == adapters_home
    assert path.name == f"my-image-3-4-hp{SUFFIX}"
    path.touch()
    assert new_adapter_path("my image: 3/4 – hp").name == f"my-image-3-4-hp-2{SUFFIX}"


def test_the_newest_comes_first() -> None:
    paths = [new_adapter_path(name) for name in ("a", "b", "c")]
    for age, path in zip((1, 3, 2), paths, strict=True):
        path.touch()
        os.utime(path, (age, age))
    assert list_adapters() == [paths[1], paths[2], paths[0]]


def test_half_written_files_of_killed_processes_go_at_the_next_start(adapters_home: Path) -> None:
    writes = (
        "import os, pathlib, sys; from napari_sam2_adapters.atomic import write_atomically;"
        "write_atomically(pathlib.Path(sys.argv[1]) / 'file', lambda file: os._exit(9))"
    )
    data = adapters_home.parent
    folders = [adapters_home, data / "autosave", data / "runs", data / "runs" / "cells-1"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        assert (
            subprocess.run([sys.executable, "-c", writes, str(folder)], check=False).returncode == 9
        )
    assert all(len(list(folder.glob(".*.partial"))) == 1 for folder in folders)
    theirs = adapters_home / ".theirs.partial"
    theirs.touch()
    clear_leftovers()
    assert list(data.rglob(".*.partial")) == [theirs]


def adapter(name: str, content: bytes = b"weights") -> Path:
    path = new_adapter_path(name)
    path.write_bytes(content)
    return path


class TestRenaming:
    def test_the_file_gets_the_name(self) -> None:
        path = adapter("a")
        new = rename_adapter(path, " Zellkerne (neu) ")
        assert new.name == f"Zellkerne (neu){SUFFIX}"
        assert list_adapters() == [new]
        assert new.read_bytes() == b"weights"

    def test_another_adapter_is_never_overwritten(self) -> None:
        first, second = adapter("a", b"1"), adapter("b", b"2")
        with pytest.raises(FileExistsError, match="an adapter called 'b' already"):
            rename_adapter(first, "b")
        assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")

    def test_its_own_name_is_fine(self) -> None:
        path = adapter("a")
        assert rename_adapter(path, f"a{SUFFIX}") == path

    @pytest.mark.parametrize("title", ["console", "compound", "com", "nullable", "aux in"])
    def test_what_only_begins_like_a_name_of_windows_is_fine(self, title: str) -> None:
        assert rename_adapter(adapter("a"), title).name == f"{title}{SUFFIX}"

    @pytest.mark.parametrize(
        "title",
        ["", "  ", "a/b", "a\\b", "..", "a:b", "x" * 121, "a\nb", "CON", "nul", "Lpt1", "aux.2"],
    )
    def test_what_is_no_file_name_is_refused(self, title: str) -> None:
        path = adapter("a")
        with pytest.raises(ValueError, match="cannot be called"):
            rename_adapter(path, title)
        assert path.exists()


class TestCopying:
    def test_nothing_is_overwritten_without_being_asked_for(self, tmp_path: Path) -> None:
        source, target = adapter("a", b"1"), tmp_path / f"b{SUFFIX}"
        assert copy_adapter(source, target) == target
        target.write_bytes(b"2")
        with pytest.raises(FileExistsError, match="exists already"):
            copy_adapter(source, target)
        assert target.read_bytes() == b"2"
        copy_adapter(source, target, overwrite=True)
        assert target.read_bytes() == b"1"
        assert [path.name for path in tmp_path.glob(".*")] == []

    @pytest.mark.parametrize("name", ["b", "b.safetensors", f"b{SUFFIX}"])
    def test_a_copy_ends_as_model_files_do(self, tmp_path: Path, name: str) -> None:
        assert copy_adapter(adapter("a"), tmp_path / name).name == f"b{SUFFIX}"

    def test_onto_itself_changes_nothing(self) -> None:
        path = adapter("a", b"1")
        assert copy_adapter(path, path, overwrite=True) == path
        assert path.read_bytes() == b"1"

    @pytest.mark.parametrize("copied", ["a", "a-copy", "a-copy-2"])
    def test_a_copy_of_a_copy_is_numbered(self, copied: str) -> None:
        paths = [adapter(name) for name in ("a", "a-copy", "a-copy-2")]
        (source,) = (path for path in paths if path.name == f"{copied}{SUFFIX}")
        assert new_copy_path(source).name == f"a-copy-3{SUFFIX}"


class TestReading:
    def test_headers_and_reasons(self, saved_adapter) -> None:
        good, bad = saved_adapter("good"), adapter("bad")
        gone = new_adapter_path("gone")
        read = read_adapters([good, bad, gone])
        assert [found.path for found in read] == [good, bad]
        assert read[0].header is not None
        assert [info.value for info in read[0].header.classes] == [1, 2]
        assert read[0].backbone_here
        assert read[0].size_bytes == good.stat().st_size
        assert read[1].header is None
        assert "damaged or not a safetensors file" in read[1].problem

    def test_a_file_from_elsewhere_gets_a_free_name(self, saved_adapter, tmp_path: Path) -> None:
        mine = saved_adapter("cells")
        theirs = tmp_path / mine.name
        theirs.write_bytes(saved_adapter("other", seed=1).read_bytes())
        new = import_adapter(theirs)
        assert new.name == f"cells-2{SUFFIX}"
        assert new.read_bytes() == theirs.read_bytes()
        assert import_adapter(mine) == mine

    def test_what_cannot_be_used_is_not_taken_in(self, tmp_path: Path) -> None:
        (tmp_path / f"bad{SUFFIX}").write_bytes(b"no")
        with pytest.raises(ValueError, match="damaged"):
            import_adapter(tmp_path / f"bad{SUFFIX}")
        with pytest.raises(FileNotFoundError, match="There is no file"):
            import_adapter(tmp_path / f"none{SUFFIX}")
        assert list_adapters() == []


class TestTheBin:
    def test_a_file_can_be_taken_back_from_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if os.name != "posix":
            pytest.skip("the bin of this system is not in a folder of its own")
        (tmp_path / "home").mkdir()
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
        path = adapter("a", b"1")
        to_bin(path)
        assert not path.exists()
        (kept,) = (file for file in tmp_path.rglob(f"*{SUFFIX}"))
        assert kept.read_bytes() == b"1"

    def test_what_cannot_be_moved_stays(self) -> None:
        with pytest.raises(OSError, match="could not be moved to the bin"):
            to_bin(new_adapter_path("none"))
