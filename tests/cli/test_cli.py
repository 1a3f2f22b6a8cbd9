"""The command as a whole: help, exit codes, errors as sentences."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.cli.terminal import (
    JobFailedError,
    SentenceGroup,
    allow_many_files,
    sentence,
)

HELP = (
    "import sys\n"
    "sys.argv = ['sam2-adapters', *{arguments!r}]\n"
    "from napari_sam2_adapters.cli import main\n"
    "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
    "heavy = {{'torch', 'napari', 'qtpy', 'scipy', 'skimage', 'dask', 'zarr', 'tifffile', 'sam2'}} & set(sys.modules)\n"
    "sys.exit(code or ', '.join(heavy) or 0)\n"
)


COMMANDS = ["train", "predict", "evaluate", "info", "backbones", "demo"]


def ask_for_help(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(arguments=[*arguments, "--help"])],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [[], ["train"], ["predict"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert "Usage" in ask_for_help(arguments)


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_sam2_adapters", "info", "nothing.adapter.safetensors"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "nothing.adapter.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_of_train_says_how_classes_get_names() -> None:
    lines = [line.strip() for line in ask_for_help(["train"]).splitlines()]
    first = lines.index("classes:")
    assert lines[first + 1 : first + 3] == [
        "- {value: 1, name: background}",
        "- {value: 2, name: membrane}",
    ]


def test_every_command_that_was_promised_is_listed() -> None:
    lines = ask_for_help([]).splitlines()
    assert all(any(line.split()[1:2] == [name] for line in lines) for name in COMMANDS)


def test_info_shows_device_backbones_and_versions() -> None:
    result = CliRunner().invoke(app, ["info", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for word in ("CPU", "GB free", "torch", "mobile", "built in", "large"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "--device", "abacus"], "abacus"),
        (["info", "nowhere.adapter.safetensors"], "no adapter file"),
        (["info", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_and_input_exit_with_2_and_a_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def failing_app(error: BaseException) -> typer.Typer:
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
        (PermissionError(errno.EACCES, "Not allowed", "x.tif"), 2, "Not allowed: x.tif. Check the"),
        (OSError(errno.ENOSPC, "No space left", "x.tif"), 1, "No space left: x.tif. Make room"),
        (OSError(errno.ENOSPC, "No space left"), 1, "No space left. Make room"),
        (JobFailedError("Two of three failed."), 1, "Two of three failed."),
        (MemoryError(), 1, "memory is full"),
        (MemoryError("Too small for a tile."), 1, "Error: Too small for a tile.\n"),
        (KeyError("gone"), 1, "KeyError: 'gone'. This should not happen"),
    ],
)
def test_errors_are_sentences_with_an_exit_code(error: Exception, code: int, words: str) -> None:
    result = CliRunner().invoke(failing_app(error), ["fail"])
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_ctrl_c_is_a_word_and_the_shells_own_exit_code() -> None:
    result = CliRunner().invoke(failing_app(KeyboardInterrupt()), ["fail"])
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")
    result = CliRunner().invoke(failing_app(KeyboardInterrupt("Two are done.")), ["fail"])
    assert (result.exit_code, result.stderr) == (130, "Two are done.\n")


def test_a_polite_kill_ends_a_command_as_ctrl_c_does() -> None:
    code = (
        "import signal, sys; from napari_sam2_adapters import cli\n"
        "@cli.app.command()\ndef work():\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n    finally: print('tidied up')\n"
        "sys.argv = ['sam2-adapters', 'work']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stdout == "tidied up\n"
    assert done.stderr == "Stopped.\n"


def test_debug_lets_the_error_through() -> None:
    error = ValueError("Got 3, wanted 4.")
    result = CliRunner().invoke(failing_app(error), ["--debug", "fail"])
    assert result.exception is error


def test_more_files_than_usual_may_be_open() -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    said = sentence(OSError(errno.EMFILE, "Too many open files", "60.tif"))
    assert "60.tif" in said
    assert "Use fewer images" in said


def test_a_full_memory_is_a_sentence() -> None:
    import numpy as np
    import torch

    with pytest.raises(MemoryError) as numpys:
        np.empty(2**60, np.uint8)
    assert "--batch-size" in sentence(numpys.value)
    assert "--batch-size" in sentence(torch.OutOfMemoryError("CUDA out of memory\nlong story"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_spelt(encoding: str) -> None:
    """Windows' terminals know few letters, and file names need not be UTF-8; the command ended there, after all its work."""
    name = "\u017b\udcff.tif"
    prints = f"from napari_sam2_adapters.cli.terminal import output; output().print({name!a})"
    code = f"import napari_sam2_adapters.cli as cli; cli.app = lambda: exec({prints!r}); cli.main()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
    )
    assert result.stdout.decode(encoding).rstrip() in ("\\u017b\\udcff.tif", "\u017b\\udcff.tif")
