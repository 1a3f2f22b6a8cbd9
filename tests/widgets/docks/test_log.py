from __future__ import annotations

import logging
from pathlib import Path

import pytest
from napari.utils.notifications import notification_manager

from napari_sam2_adapters.data.io import read_image
from napari_sam2_adapters.widgets.docks import log
from napari_sam2_adapters.widgets.docks.log import log_error, log_path, logger, show_failure, told


def test_the_log_begins_with_the_versions(tmp_path: Path) -> None:
    logger().info("hello")
    text = log_path().read_text(encoding="utf-8")
    assert log_path().parent == tmp_path / "logs"
    assert "napari-sam2-adapters 0." in text.splitlines()[0]
    assert ", napari 0." in text.splitlines()[0]
    assert text.splitlines()[-1].endswith("hello")


def test_an_error_is_written_with_its_traceback() -> None:
    try:
        {}["missing"]
    except KeyError as error:
        log_error(error, "counting cells")
    text = log_path().read_text(encoding="utf-8")
    assert "While counting cells:" in text
    assert '{}["missing"]' in text


def test_what_tifffile_says_of_a_broken_file_goes_there_and_not_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "half.tif").write_bytes(b"II*\0" + b"\xff" * 60)
    monkeypatch.setattr(logging.getLogger("tifffile"), "parent", None)  # pytest listens above it
    logger()
    with pytest.raises(ValueError, match="cut short"):
        read_image(tmp_path / "half.tif")
    assert "invalid offset to first page" in log_path().read_text(encoding="utf-8")
    assert "invalid offset" not in capsys.readouterr().err


def test_the_log_never_fills_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_MOST_BYTES", 2_000)
    ours = logger()
    for _ in range(200):
        ours.info("x" * 100)
    files = list(log_path().parent.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 2_000 for file in files)


def test_a_folder_that_cannot_be_written_keeps_no_one_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAM2_ADAPTERS_LOGS", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        log_error(ValueError("a"), "b")
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("Give me another image."), "Give me another image."),
        (OSError("The disk is full."), "The disk is full."),
        (
            ZeroDivisionError("division by zero"),
            "Something unforeseen went wrong (ZeroDivisionError: division by zero). The log has the details.",
        ),
        (
            ValueError(),
            "Something unforeseen went wrong (ValueError). The log has the details.",
        ),
    ],
)
def test_errors_are_told_in_a_sentence(error: Exception, sentence: str) -> None:
    assert told(error) == sentence


def test_a_failure_is_a_notification_with_a_way_to_the_log(
    make_napari_viewer_proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(log, "open_path", opened.append)
    make_napari_viewer_proxy()
    show_failure("The image is empty.")
    last = notification_manager.records[-1]
    assert last.message == "The image is empty."
    (text, action) = last.actions[0]
    assert text == "Open log"
    action(None)
    assert opened == [log_path()]
    assert log_path().is_file()


def test_what_napari_catches_in_our_code_is_logged_once() -> None:
    logger()
    for error in (_raised_by(lambda: told(None.x)), _raised_by(lambda: log_path(1))):
        notification_manager.dispatch(log.ErrorNotification(error))
    text = log_path().read_text(encoding="utf-8")
    assert text.count("While answering the window") == 0  # raised by this test, not by the package

    error = _raised_by(lambda: log_error(None, "x"))
    notification_manager.dispatch(log.ErrorNotification(error))
    notification_manager.dispatch(log.ErrorNotification(error))
    text = log_path().read_text(encoding="utf-8")
    assert text.count("While answering the window") == 1
    assert "AttributeError" in text


def _raised_by(call) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
