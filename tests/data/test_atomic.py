from __future__ import annotations

from pathlib import Path

import pytest

from napari_sam2_adapters.data.atomic import remove_partial_files, write_atomically


def test_a_failure_leaves_neither_a_new_nor_a_damaged_file(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    target.write_bytes(b"precious")

    def fill(file) -> None:
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_atomically(target, fill, overwrite=True)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    write_atomically(target, lambda file: file.write(b"first"))
    with pytest.raises(FileExistsError, match="Choose another name"):
        write_atomically(target, lambda file: file.write(b"second"))
    assert target.read_bytes() == b"first"
    write_atomically(target, lambda file: file.write(b"second"), overwrite=True)
    assert target.read_bytes() == b"second"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".tif")
    assert write_atomically(target, lambda file: file.write(b"x")).read_bytes() == b"x"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".0123456789abcdef.partial").write_bytes(b"half")
    theirs = [tmp_path / ".notes.partial", tmp_path / "0123456789abcdef.partial"]
    for path in theirs:
        path.write_bytes(b"precious")
    remove_partial_files(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(theirs)
