"""The command as a whole: help, exit codes, errors as sentences."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.cli.terminal import JobFailedError, SentenceGroup, sentence

HELP = (
    "import sys\n"
    "sys.argv = ['sam2-adapters', *{arguments!r}]\n"
    "from napari_sam2_adapters.cli import main\n"
    "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
    "heavy = [m for m in ('torch', 'napari', 'qtpy', 'skimage', 'timm', 'dask') if m in sys.modules]\n"
    "sys.exit(code or ', '.join(heavy) or 0)\n"
)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help_is_quick_and_loads_nothing_heavy(
    arguments: list[str], record_property: Callable[[str, object], None]
) -> None:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    record_property("seconds", time.perf_counter() - started)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_package_is_imported_quickly_and_without_torch(
    record_property: Callable[[str, object], None],
) -> None:
    code = "import sys, napari_sam2_adapters as n; print(len(n.__all__), 'torch' in sys.modules, dir(n))"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    record_property("seconds", time.perf_counter() - started)
    assert done.stdout.startswith("6 False")
    assert "load_adapter" in done.stdout


def test_info_shows_device_backbones_and_versions() -> None:
    result = CliRunner().invoke(app, ["info", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for word in ("CPU", "GB free", "torch", "mobile", "built in", "large"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "--device", "abacus"], "abacus"),
        (["info", "nowhere.adapter.safetensors"], "no model file"),
        (["info", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_and_input_exit_with_2_and_a_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def failing_app(error: Exception) -> typer.Typer:
    made = typer.Typer(cls=SentenceGroup)

    @made.callback()
    def options(debug: bool = False) -> None: ...

    @made.command()
    def fail() -> None:
        raise error

    return made


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("Got 3, wanted 4."), 2, "Error: Got 3, wanted 4.\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a[b].tif"), 2, "No such file: a[b].tif."),
        (OSError(errno.ENOSPC, "No space left", "x.tif"), 1, "No space left: x.tif."),
        (JobFailedError("Two of three failed."), 1, "Two of three failed."),
        (MemoryError(), 1, "memory is full"),
        (KeyError("gone"), 1, "KeyError: 'gone'. This should not happen"),
    ],
)
def test_errors_are_sentences_with_an_exit_code(error: Exception, code: int, words: str) -> None:
    result = CliRunner().invoke(failing_app(error), ["fail"])
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_debug_lets_the_error_through() -> None:
    error = ValueError("Got 3, wanted 4.")
    result = CliRunner().invoke(failing_app(error), ["--debug", "fail"])
    assert result.exception is error


def test_a_full_graphics_memory_is_a_sentence() -> None:
    import torch

    assert "--batch-size" in sentence(torch.OutOfMemoryError("CUDA out of memory\nlong story"))


def test_module_names_are_loaded_on_first_use() -> None:
    import napari_sam2_adapters
    from napari_sam2_adapters.models.model_file import load_adapter

    assert napari_sam2_adapters.load_adapter is load_adapter
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        napari_sam2_adapters.nothing_of_this_name  # noqa: B018
    assert Path(napari_sam2_adapters.__file__).name == "__init__.py"
