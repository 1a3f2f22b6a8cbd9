from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from napari_sam2_adapters.batch.stamps import FileStamp


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
def test_a_folder_may_hold_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"slice \xe9.dcm")
    odd.write_bytes(b"1")
    stamp = FileStamp.of(tmp_path)
    assert stamp.matches(tmp_path)
    odd.rename(tmp_path / os.fsdecode(b"slice \xe8.dcm"))
    assert not stamp.matches(tmp_path)
