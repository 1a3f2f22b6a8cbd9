import os
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from napari_sam2_adapters.widgets.docks import jobs
from napari_sam2_adapters.widgets.docks.jobs import Job, Pulse, Question, thread_count
from napari_sam2_adapters.widgets.docks.log import log_path
from napari_sam2_adapters.widgets.docks.preferences import Preferences


def count(stop: threading.Event, most: int):
    for number in range(most):
        if stop.is_set():
            return f"stopped at {number}"
        yield number
        time.sleep(0.005)
    return "finished"


def test_yields_and_the_result_arrive(qtbot) -> None:
    job, seen = Job(), []
    job.updated.connect(seen.append)
    with qtbot.waitSignal(job.ended, timeout=60_000) as ended:
        job.start(count, 3)
        assert job.running
    assert ended.args == ["finished"]
    assert seen == [0, 1, 2]
    assert not job.running


def test_a_stopped_run_still_gives_its_result(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.ended, timeout=60_000) as ended:
        job.start(count, 100_000)
        qtbot.waitSignal(job.updated, timeout=60_000).wait()
        job.stop()
    assert ended.args[0].startswith("stopped at")


def test_a_paused_run_waits_and_can_be_stopped(qtbot) -> None:
    job, seen = Job(), []
    job.updated.connect(seen.append)
    job.start(count, 100_000)
    qtbot.waitUntil(lambda: len(seen) > 2, timeout=60_000)
    job.toggle_pause()
    qtbot.wait(100)
    so_far = len(seen)
    qtbot.wait(200)
    assert len(seen) <= so_far + 1
    with qtbot.waitSignal(job.ended, timeout=60_000):
        job.stop()


def test_a_pause_that_is_taken_back_at_once_leaves_nothing_behind(qtbot) -> None:
    def slow(stop: threading.Event):
        while not stop.is_set():
            time.sleep(0.2)
            yield 1
        return "stopped"

    job, seen = Job(), []
    job.updated.connect(seen.append)
    job.start(slow)
    qtbot.waitUntil(lambda: len(seen) > 0, timeout=60_000)
    job.toggle_pause()
    job.toggle_pause()  # within one step
    qtbot.waitUntil(lambda: len(seen) > 3, timeout=60_000)
    job.toggle_pause()
    with qtbot.waitSignal(job.ended, timeout=60_000) as ended:
        job.stop()
    assert ended.args == ["stopped"]


def test_one_run_at_a_time(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.ended, timeout=60_000):
        job.start(count, 5)
        with pytest.raises(ValueError, match="still at work"):
            job.start(count, 5)


def refuse(stop: threading.Event, error: Exception):
    yield 1
    raise error


def test_an_expected_error_is_a_sentence(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.failed, timeout=60_000) as failed:
        job.start(refuse, ValueError("Give me another image."))
    assert failed.args == ["Give me another image."]
    assert not job.running


def test_what_was_not_foreseen_is_a_sentence_and_the_log_has_the_rest(qtbot) -> None:
    """Also for a RuntimeError, which napari's worker returns as if it were a result."""
    job, ended = Job(), []
    job.ended.connect(ended.append)
    with qtbot.waitSignal(job.failed, timeout=60_000) as failed:
        job.start(refuse, RuntimeError("CUDA is gone\nand more"))
    assert failed.args == [
        "Something unforeseen went wrong (RuntimeError: CUDA is gone). The log has the details."
    ]
    assert not ended
    written = log_path().read_text(encoding="utf-8")
    assert "While at work on refuse:" in written
    assert "in refuse" in written  # the traceback
    assert "RuntimeError: CUDA is gone" in written


def measure(length: int) -> int:
    time.sleep(length / 1000)
    if length == 13:
        raise KeyError(length)
    return length


def test_only_the_last_question_is_answered(qtbot) -> None:
    question, answers = Question(), []
    question.answered.connect(answers.append)
    question.ask(measure, 200)
    question.ask(measure, 1)
    assert question.waiting
    qtbot.waitUntil(lambda: bool(answers), timeout=60_000)
    qtbot.wait(400)
    assert answers == [1]
    assert not question.waiting


def test_a_worker_that_stays_holds_nothing_of_its_question(qtbot, monkeypatch) -> None:
    workers, make = [], jobs.create_plain_worker

    def made(*arguments, **options):
        workers.append(make(*arguments, **options))
        return workers[-1]

    monkeypatch.setattr(jobs, "create_plain_worker", made)
    image = np.zeros(5)
    held = weakref.ref(image)
    question = Question()
    with qtbot.waitSignal(question.answered, timeout=60_000) as answered:
        question.ask(np.shape, image)
    del image
    assert answered.args == [(5,)]
    assert workers
    qtbot.waitUntil(lambda: held() is None, timeout=60_000)


def test_a_question_that_fails_is_told_and_logged(qtbot) -> None:
    question = Question()
    with qtbot.waitSignal(question.failed, timeout=60_000) as failed:
        question.ask(measure, 13)
    assert failed.args[0].startswith("Something unforeseen went wrong (KeyError: 13)")
    assert "While asking for measure" in log_path().read_text(encoding="utf-8")


def test_threads_leave_one_core_unless_the_preferences_say_so(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert thread_count() == 7
    monkeypatch.setattr(jobs, "preferences", lambda: Preferences(threads=3))
    assert thread_count() == 3


def test_a_pulse_is_not_due_twice_at_once(monkeypatch) -> None:
    now = 7.0
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: now))
    pulse = Pulse(0.05)
    assert pulse.due()
    now += 0.04
    assert not pulse.due()
    now += 0.02
    assert pulse.due()
    pulse.wait(10)
    now += 9
    assert not pulse.due()
    now += 2
    assert pulse.due()


def test_a_program_that_ends_while_a_question_is_open_ends_well() -> None:
    code = """
import time
from qtpy.QtWidgets import QApplication
from napari_sam2_adapters.widgets.docks.jobs import Question
app = QApplication([])
questions = [Question() for _ in range(12)]
for question in questions:
    question.ask(time.sleep, 0.3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
