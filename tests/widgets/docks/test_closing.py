"""A window that is closed while there is work in it."""

from __future__ import annotations

import threading
import time

import pytest
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QLabel,
    QMainWindow,
    QMessageBox,
    QPushButton,
)

from napari_sam2_adapters.widgets.docks import closing
from napari_sam2_adapters.widgets.docks.closing import ClosingGuard, agreed, outermost
from napari_sam2_adapters.widgets.docks.jobs import Job

WAIT_MS = 120_000


def work(stop: threading.Event):
    for step in range(100_000):
        if stop.is_set():
            break
        yield step
        time.sleep(0.01)
    time.sleep(0.1)  # the best weights are written
    return "saved"


class ByHand(QCloseEvent):
    """A close event as the window's cross makes it."""

    def spontaneous(self) -> bool:
        return True


@pytest.fixture
def window(qtbot):
    made = QMainWindow()
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.fixture
def job(qtbot):
    made = Job()
    yield made
    made.stop()
    qtbot.waitUntil(lambda: not made.running, timeout=WAIT_MS)


def guarded(window: QMainWindow, job: Job) -> ClosingGuard:
    guard = ClosingGuard(window, job, "It is running", "Stop it?")
    guard.watch(window)
    return guard


def test_an_idle_window_closes_at_once(window: QMainWindow, job: Job) -> None:
    guard = guarded(window, job)
    assert not guard.eventFilter(window, ByHand())
    window.close()
    assert not window.isVisible()


def test_the_window_stays_until_the_result_is_safe(window: QMainWindow, job: Job, qtbot) -> None:
    guarded(window, job)
    results, seen = [], []
    job.ended.connect(results.append)
    job.ended.connect(lambda _: seen.append(window.isVisible()))
    job.start(work)
    window.close()
    assert results == ["saved"]
    assert seen == [True]
    assert not window.isVisible()


def test_who_does_not_agree_keeps_the_window_and_the_work(
    window: QMainWindow, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        closing, "agreed", lambda *words, title, **_: bool(asked.append((*words[1:], title)))
    )
    guard = guarded(window, job)
    job.start(work)
    event = ByHand()
    assert guard.eventFilter(window, event)
    assert not event.isAccepted()
    assert asked == [("Stop and close", "Stop it?", "It is running")]
    assert job.running
    assert not job.stopping


def test_who_agrees_waits_for_the_end(
    window: QMainWindow, job: Job, monkeypatch: pytest.MonkeyPatch, qtbot
) -> None:
    monkeypatch.setattr(closing, "agreed", lambda *_, **__: True)
    guard, results = guarded(window, job), []
    job.ended.connect(results.append)
    job.start(work)
    closed, closed_again = [], []
    QTimer.singleShot(0, lambda: closed.append(guard.eventFilter(window, ByHand())))
    QTimer.singleShot(30, lambda: closed_again.append(guard.eventFilter(window, ByHand())))
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT_MS)
    assert closed == [True]  # napari, which would ask as well, does not hear of it
    assert results == ["saved"]
    assert closed_again == [True]  # kept while it waits


def test_what_a_script_has_let_go_is_there_until_the_window_has_closed(
    window: QMainWindow, job: Job
) -> None:
    guarded(window, job)
    let_go, gone, results = QObject(), [], []
    let_go.destroyed.connect(lambda: gone.append(window.isVisible()))
    job.ended.connect(results.append)
    job.start(work)
    let_go.deleteLater()  # as napari does with parts of its window before it closes that
    window.close()
    assert results == ["saved"]
    assert not window.isVisible()
    assert gone == []


@pytest.mark.parametrize("refused", [None, "first", "second"])
def test_each_work_in_a_window_is_asked_about(
    window: QMainWindow, job: Job, monkeypatch: pytest.MonkeyPatch, qtbot, refused
) -> None:
    asked = []
    monkeypatch.setattr(
        closing, "agreed", lambda *_, title, **__: asked.append(title) or title != refused
    )
    first = ClosingGuard(window, job, "first", "Stop it?")
    other = Job()
    second = ClosingGuard(window, other, "second", "Stop it?")
    for guard, work_of in ((first, job), (second, other)):
        guard.watch(window)
        work_of.start(work)
    assert second.eventFilter(window, ByHand())
    assert asked == (["second"] if refused == "second" else ["second", "first"])
    assert (job.running, other.running) == (bool(refused), bool(refused))
    if not refused:
        qtbot.waitUntil(lambda: not window.isVisible(), timeout=WAIT_MS)
    other.stop()
    qtbot.waitUntil(lambda: not other.running, timeout=WAIT_MS)


def test_a_floating_dock_goes_with_the_window_that_it_belongs_to(
    window: QMainWindow, job: Job
) -> None:
    frame, inside = QDockWidget(), QLabel()
    frame.setWidget(inside)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, frame)
    frame.setFloating(True)
    assert inside.window() is frame
    assert outermost(inside) is window


def test_only_the_window_that_is_watched_counts(window: QMainWindow, job: Job, qtbot) -> None:
    guard, other = guarded(window, job), QMainWindow()
    qtbot.addWidget(other)
    guard.watch(other)
    job.start(work)
    window.close()
    assert job.running
    assert not job.stopping
    assert not guard.eventFilter(other, QEvent(QEvent.Type.Show))


@pytest.mark.parametrize(("press", "expected"), [("Download", True), ("Cancel", False)])
def test_a_question_is_answered_by_its_button(
    window: QMainWindow, press: str, expected: bool
) -> None:
    def answer() -> None:
        (box,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox))
        assert box.informativeText() == "156 MB"
        named = {push.text().replace("&", ""): push for push in box.findChildren(QPushButton)}
        named[press].click()

    QTimer.singleShot(100, answer)
    assert agreed(window, "Download", "Now?", details="156 MB") is expected


@pytest.mark.parametrize("by_key", [True, False])
def test_the_question_says_what_is_the_case_and_escape_goes_on(
    window: QMainWindow, by_key: bool, qtbot
) -> None:
    def answer() -> None:
        (box,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox))
        assert box.windowTitle() == "Training is running"
        named = {push.text().replace("&", ""): push for push in box.findChildren(QPushButton)}
        assert set(named) == {"Stop and close", "Keep it running"}
        if by_key:
            qtbot.keyClick(box, Qt.Key.Key_Escape)
        else:
            named["Keep it running"].click()

    QTimer.singleShot(100, answer)
    assert not agreed(
        window,
        "Stop and close",
        "Stop it?",
        title="Training is running",
        otherwise="Keep it running",
    )
