"""An export in a second process: it can be stopped and can fail; that it succeeds is seen in the tests of the Models dock."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from napari_sam2_adapters.atomic import machine_id
from napari_sam2_adapters.export import apart
from napari_sam2_adapters.export.apart import ExportFailedError, export_apart
from napari_sam2_adapters.export.request import ExportRequest


def request(model: Path, folder: Path) -> ExportRequest:
    return ExportRequest(model=model, output=folder / "a.onnx", format="onnx", tile_size_px=64)


def test_a_stop_ends_it_at_once_and_leaves_nothing(adapter_file, finish, monkeypatch, tmp_path):
    started: list[subprocess.Popen[str]] = []
    environments: list[dict[str, str]] = []

    def start(*given: Any, **more: Any) -> subprocess.Popen[str]:
        environments.append(more["env"])
        started.append(Popen(*given, **more))
        return started[-1]

    Popen = subprocess.Popen  # noqa: N806 (its own name)
    monkeypatch.setattr(subprocess, "Popen", start)
    stop = threading.Event()
    steps = export_apart(stop, request(adapter_file("lora"), tmp_path))
    assert next(steps) == "Reading the adapter"
    stop.set()
    (process,) = started
    # what it is writing, there and in its folder for temporary files
    half = tmp_path / f".{'0' * 16}.{machine_id()}-{process.pid}.partial"
    half.touch()
    temporary = Path(environments[0]["TMPDIR"])
    (temporary / "package.zip").touch()
    assert finish(steps) is None
    assert process.returncode != 0  # ended in the middle of its work
    assert list(tmp_path.iterdir()) == []
    assert not temporary.exists()


def test_an_error_arrives_as_its_sentence(finish, tmp_path):
    steps = export_apart(threading.Event(), request(tmp_path / "no.safetensors", tmp_path))
    with pytest.raises(ExportFailedError, match=r"There is no adapter|There is no model file"):
        finish(steps)


def test_a_process_that_dies_is_told(finish, monkeypatch, tmp_path):
    monkeypatch.setattr(apart.sys, "executable", "/bin/false")
    steps = export_apart(threading.Event(), request(tmp_path / "no.safetensors", tmp_path))
    with pytest.raises(ExportFailedError, match="ended without a result"):
        finish(steps)
