from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes
from napari_sam2_adapters.models import tensor_file
from napari_sam2_adapters.models.model_file import save_adapter
from napari_sam2_adapters.models.segmenter import CLASS_BIAS
from napari_sam2_adapters.models.tensor_file import write_tensors

TENSORS = {"a/b": torch.arange(6.0).reshape(2, 3), "c": torch.tensor(3, dtype=torch.int64)}


def test_it_comes_back_with_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.safetensors"
    write_tensors(path, TENSORS, {"said": "µm"})
    loaded = load_file(path)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in TENSORS.items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"said": "µm"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("a" * (255 - len(".safetensors")) + ".safetensors")
    write_tensors(path, TENSORS, {})
    assert path.is_file()


def test_what_came_while_it_was_made_ready_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two windows end trainings of one name."""
    path = tmp_path / "a.adapter.safetensors"

    def meanwhile(*arguments: Any) -> bytes:
        path.write_bytes(b"theirs")
        return save(*arguments)

    monkeypatch.setattr(tensor_file, "save", meanwhile)
    network = SimpleNamespace(
        trained_state=lambda: {CLASS_BIAS: torch.ones(2)},
        config=ModelConfig(),
        backbone_sha256="",
        classes=default_classes([1, 2]),
    )
    with pytest.raises(FileExistsError, match="allow it to be overwritten"):
        save_adapter(path, network, normalization=Normalization(mode="percentile"), tile_size_px=64)  # type: ignore[arg-type]
    assert path.read_bytes() == b"theirs"


@pytest.mark.skipif(sys.platform == "win32", reason="no umask on Windows")
def test_whoever_may_read_other_files_may_read_it(tmp_path: Path) -> None:
    usual, path = tmp_path / "usual", tmp_path / "a.safetensors"
    usual.touch()
    write_tensors(path, TENSORS, {})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_folder_that_is_a_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(
        OSError, match=r"a\.safetensors could not be written: .* Make room .* folder"
    ):
        write_tensors(tmp_path / "file" / "a.safetensors", TENSORS, {})
    assert (tmp_path / "file").read_text() == "precious"
