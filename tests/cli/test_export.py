"""What ``sam2-adapters export`` refuses; that it exports is seen in tests/export, whose files it makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, words)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["out.bin"], "does not say the format"),
        (["out", "--format", "tflite"], "no format 'tflite'"),
        (["out.onnx", "--tile", "50"], "should be a multiple of 32"),
        (["out.onnx", "--tile", "0"], "should be at least 64"),
        (["."], "is a folder"),
    ],
)
def test_wrong_wishes_are_refused_in_words(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(trained, *words)
    assert code == 2, said
    assert wanted in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_left_alone(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.onnx"
    output.write_bytes(b"theirs")
    code, said = run(trained, output)
    assert code == 2
    assert "is there already" in said
    assert output.read_bytes() == b"theirs"


def test_a_missing_extra_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, said = run(trained, tmp_path / "a.onnx")
    assert code == 1
    assert 'pip install "napari-sam2-adapters[onnx]"' in said
    assert list(tmp_path.iterdir()) == []
