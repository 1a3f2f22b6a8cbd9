import threading
import time

import pytest

from napari_sam2_adapters.widgets._jobs import Job, Pulse


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
    with qtbot.waitSignal(job.ended, timeout=20_000) as ended:
        job.start(count, 3)
        assert job.running
    assert ended.args == ["finished"]
    assert seen == [0, 1, 2]
    assert not job.running


def test_a_stopped_run_still_gives_its_result(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.ended, timeout=20_000) as ended:
        job.start(count, 100_000)
        qtbot.waitSignal(job.updated, timeout=20_000).wait()
        job.stop()
    assert ended.args[0].startswith("stopped at")


def test_a_paused_run_waits_and_can_be_stopped(qtbot) -> None:
    job, seen = Job(), []
    job.updated.connect(seen.append)
    job.start(count, 100_000)
    qtbot.waitUntil(lambda: len(seen) > 2, timeout=20_000)
    job.toggle_pause()
    qtbot.wait(100)
    so_far = len(seen)
    qtbot.wait(200)
    assert len(seen) <= so_far + 1
    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.stop()


def test_one_run_at_a_time(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.start(count, 5)
        with pytest.raises(ValueError, match="still at work"):
            job.start(count, 5)


def refuse(stop: threading.Event, error: Exception):
    yield 1
    raise error


def test_an_expected_error_is_a_sentence(qtbot) -> None:
    job = Job()
    with qtbot.waitSignal(job.failed, timeout=20_000) as failed:
        job.start(refuse, ValueError("Give me another image."))
    assert failed.args == ["Give me another image."]
    assert not job.running


def test_a_runtime_error_is_no_result(qtbot) -> None:
    """napari's worker returns RuntimeErrors as if they were results."""
    job, ended = Job(), []
    job.ended.connect(ended.append)
    with (
        qtbot.capture_exceptions() as raised,
        qtbot.waitSignal(job.failed, timeout=20_000) as failed,
    ):
        job.start(refuse, RuntimeError("CUDA is gone"))
    assert failed.args == ["RuntimeError: CUDA is gone"]
    qtbot.waitUntil(lambda: bool(raised), timeout=5_000)
    assert raised[0][0] is RuntimeError
    assert not ended


def test_a_pulse_is_not_due_twice_at_once() -> None:
    pulse = Pulse(0.05)
    assert pulse.due()
    assert not pulse.due()
    time.sleep(0.06)
    assert pulse.due()
    pulse.wait(10)
    assert not pulse.due()
