"""Nothing of a dock is given up before its window is really gone."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_sam2_adapters.widgets.docks import leaving as module
from napari_sam2_adapters.widgets.docks.jobs import Job
from napari_sam2_adapters.widgets.docks.leaving import Leaving


class Window(QMainWindow):
    refuse = True

    def closeEvent(self, event) -> None:  # noqa: N802 (Qt's name)
        if self.refuse:  # as when napari asks and the answer is no
            event.ignore()


class Viewer:
    """Takes a dock back, as napari's window does."""

    def __init__(self) -> None:
        self.window, self.taken = self, []

    def add_dock_widget(self, widget, *, name, area) -> None:
        self.taken.append((widget, name))


def busy(stop):
    while not stop.wait(0.01):
        yield 0
    return "done"


@pytest.fixture
def parts(qtbot):
    window, dock = Window(), QWidget()
    window.setCentralWidget(dock)
    qtbot.addWidget(window)
    done: list[str] = []
    job, viewer = Job(dock), Viewer()
    leaving = Leaving(
        dock,
        viewer,
        job,
        title="Busy",
        question="?",
        answer="Stop",
        save=lambda: done.append("saved"),
        release=lambda: done.append("released"),
    )
    leaving.watch(window)
    leaving.name = "Fine-tune"
    window.show()
    yield window, dock, job, leaving, viewer, done
    job.stop()
    qtbot.waitUntil(lambda: not job.running, timeout=60_000)


def test_a_window_that_stays_open_keeps_its_dock_alive(parts, qtbot) -> None:
    window, _, _, _, _, done = parts
    window.close()
    qtbot.wait(50)
    assert done == ["saved"]
    window.refuse = False
    window.close()
    qtbot.waitUntil(lambda: done == ["saved", "saved", "released"], timeout=60_000)


@pytest.mark.parametrize("agree", [True, False])
def test_a_dock_that_is_taken_out_at_work_asks(parts, qtbot, monkeypatch, agree) -> None:
    window, dock, job, leaving, viewer, done = parts
    monkeypatch.setattr(module, "agreed", lambda *_, **__: agree)
    job.start(busy)
    window.takeCentralWidget()
    leaving.taken_out()
    if agree:
        qtbot.waitUntil(lambda: done == ["released"], timeout=60_000)
        assert not job.running
        assert viewer.taken == []
    else:
        qtbot.waitUntil(lambda: viewer.taken == [(dock, "Fine-tune")], timeout=60_000)
        assert job.running
        assert done == []
