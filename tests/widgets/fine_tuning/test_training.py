"""The worker's generator without a window: warm starts, and runs that were stopped or killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from napari_sam2_adapters import processes
from napari_sam2_adapters.config import ClassInfo, ModelConfig, TrainConfig, default_classes
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.models.model_file import read_header
from napari_sam2_adapters.processes import this_process
from napari_sam2_adapters.training.records import CALIBRATING
from napari_sam2_adapters.training.train import Trainer
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.fine_tuning import following, training
from napari_sam2_adapters.widgets.fine_tuning.messages import (
    FineTuned,
    Learned,
    Place,
    Previewed,
    Said,
    Start,
    TrainingRequest,
    Wish,
)
from napari_sam2_adapters.widgets.fine_tuning.runs import (
    KEPT,
    discard_run,
    find_runs,
    leave_run,
    open_run,
    read_labels,
    take_run,
)
from napari_sam2_adapters.widgets.fine_tuning.speed import Outlook, plan_sentence, read_speeds
from napari_sam2_adapters.widgets.fine_tuning.start_choice import _read
from napari_sam2_adapters.widgets.fine_tuning.training import _go_on_from, fine_tune

TRAIN = TrainConfig(steps=6, validate_every=3, batch_size=1, crop_size_px=32)
MODEL = ModelConfig(adapter="lora")


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch) -> None:
    # a machine may take all six steps in the tenth of a second after which the window hears of them: too late to stop
    monkeypatch.setattr(following, "GUI_INTERVAL_S", 0.0)


@pytest.fixture
def request_of(two_halves):
    image, strokes = two_halves

    def make(train: TrainConfig = TRAIN, labels=None, **more) -> TrainingRequest:
        labels = strokes if labels is None else labels
        return TrainingRequest(
            pairs=(Pair(image, labels, "ZYX", "cells"),),
            labels=(LabelsToSave("strokes", labels, (), {}, "cells", "1"),),
            classes=more.pop("classes", default_classes([1, 2])),
            model=MODEL,
            train=train,
            title="cells-lora",
            **more,
        )

    return make


def run(
    request: TrainingRequest,
    stop_after: int | None = None,
    place: Place | None = None,
    names: tuple[ClassInfo, ...] = (),
):
    """The result, and all updates; stopped after a number of steps, and with other names of classes from its first update on."""
    stop, updates = threading.Event(), []
    wish = Wish(place)
    training = fine_tune(stop, request, wish)
    while True:
        try:
            update = next(training)
        except StopIteration as end:
            return end.value, updates
        updates.append(update)
        wish.classes = names
        taken = [u.steps[-1].step for u in updates if isinstance(u, Learned) and u.steps]
        if stop_after is not None and taken and taken[-1] >= stop_after:
            stop.set()


def steps_of(updates) -> list[int]:
    return [record.step for u in updates if isinstance(u, Learned) for record in u.steps]


def test_a_run_that_ends_leaves_an_adapter_a_speed_and_nothing_to_resume(request_of) -> None:
    result, updates = run(request_of(), place=Place((0,), slice(0, 32), slice(0, 40)))
    assert steps_of(updates) == [1, 2, 3, 4, 5, 6]
    assert not result.resumable
    assert find_runs() == []
    (planned,) = [u.message for u in updates if isinstance(u, Said) and "Memory plan" in u.message]
    assert planned.startswith("Memory plan: ")
    assert " of 32 px at a time, about 0." in planned
    assert any(isinstance(u, Previewed) and u.labels.shape == (32, 40) for u in updates)
    [exact, _] = sorted(read_speeds(), key=len, reverse=True)
    outlook = Outlook(exact.split(" | ")[0] + ", 8.0 of 16.0 GB free", 8 * 10**9, read_speeds())
    assert "as the last such run took here" in plan_sentence(outlook, MODEL, TRAIN)
    other = TRAIN.model_copy(update={"batch_size": 2})
    assert "Roughly" in plan_sentence(outlook, MODEL, other)
    unknown = MODEL.model_copy(update={"adapter": "hp"})
    assert "not yet measured" in plan_sentence(outlook, unknown, TRAIN)


@pytest.mark.parametrize("lost", ["speeds", "last preview", "all previews"])
def test_what_was_trained_is_kept_whatever_else_cannot_be(
    request_of, adapters_home, monkeypatch, lost
) -> None:
    shown = {"last preview": 1}.get(lost, 0)
    asked: list[Place] = []

    def preview(segmenter: object, dataset: object, place: Place) -> np.ndarray:
        asked.append(place)
        if len(asked) > shown:
            raise OSError("the network drive is gone")
        return np.zeros((32, 40), np.uint8)

    if lost == "speeds":  # as where another program holds the file
        (adapters_home.parent / "speed.json").mkdir(parents=True)
    else:
        monkeypatch.setattr(following, "PREVIEW_INTERVAL_S", 3600)
        monkeypatch.setattr(following, "preview", preview)
    train = TRAIN.model_copy(update={"held_out_fraction": 0.0})  # it is kept without a score
    result, _ = run(request_of(train), place=Place((0,), slice(0, 32), slice(0, 40)))
    assert len(asked) == (0 if lost == "speeds" else 2)
    assert not result.resumable
    assert read_header(result.path).classes


def test_a_name_that_another_window_has_just_taken_is_left_to_it(
    request_of, adapters_home, monkeypatch
) -> None:
    theirs, ours = (adapters_home / f"cells{n}.adapter.safetensors" for n in "12")
    free = iter([theirs, ours])

    def new_path(title: str) -> Path:
        theirs.write_bytes(b"theirs")
        return next(free)

    monkeypatch.setattr(training, "new_adapter_path", new_path)
    train = TRAIN.model_copy(update={"held_out_fraction": 0.0})
    result, _ = run(request_of(train))
    assert result.path == ours
    assert read_header(ours).classes
    assert theirs.read_bytes() == b"theirs"


def test_a_stopped_run_is_resumed_with_its_labels_and_ends_as_if_it_had_not_been(
    request_of, two_halves
) -> None:
    whole, _ = run(request_of())
    labels = two_halves[1].copy()
    stopped, _ = run(request_of(labels=labels), stop_after=3)
    assert stopped.resumable
    assert stopped.training["steps"] < TRAIN.steps
    labels[2] = labels[0]  # strokes added since are not part of that run
    [saved] = find_runs()
    assert saved.step == stopped.training["steps"]
    resumed, updates = run(request_of(labels=labels, resume=saved))
    assert steps_of(updates) == [1, 2, 3, 4, 5, 6]  # the curve is whole again
    assert resumed.verdict.after == pytest.approx(whole.verdict.after)
    assert find_runs() == []


@pytest.mark.parametrize("stop_after", [1, None])
def test_the_last_check_is_told_also_when_the_run_is_stopped(request_of, stop_after) -> None:
    result, updates = run(request_of(), stop_after=stop_after)
    checks = [check for u in updates if isinstance(u, Learned) for check in u.checks]
    assert [check.step for check in checks] == sorted({check.step for check in checks})
    assert checks[-1].step == result.training["steps"]


class Gone:
    """Pixels of a file that is not there any more."""

    def __init__(self, like: np.ndarray) -> None:
        self.shape, self.dtype, self.ndim = like.shape, like.dtype, like.ndim

    def __getitem__(self, key):
        raise OSError("the network drive is gone")


@pytest.mark.parametrize("lost", ["image", "labels", "image after the first check"])
def test_starts_that_fail_leave_runs_that_can_be_resumed(
    request_of, two_halves, lost, monkeypatch
) -> None:
    run(request_of(), stop_after=3)
    before = find_runs()
    assert len(before) == 1
    image, strokes = two_halves

    def failed(request: TrainingRequest) -> None:
        with pytest.raises(OSError, match="drive is gone"):
            run(request)

    for _ in range(4):
        if lost == "labels":
            failed(request_of(labels=Gone(strokes)))
        elif lost == "image":
            failed(replace(request_of(), pairs=(Pair(Gone(image), strokes, "ZYX", "cells"),)))
        else:
            with monkeypatch.context() as patch:
                patch.setattr(Trainer, "_take_step", lambda _: Gone(image)[0])
                failed(request_of())
    assert find_runs() == before
    assert list(before[0].folder.parent.iterdir()) == [before[0].folder]


def test_a_run_at_work_on_another_machine_that_shares_the_folder_is_left_alone(request_of) -> None:
    run(request_of(), stop_after=3)
    [saved] = find_runs()
    elsewhere = saved.card.model_copy(update={"process": (2**30, 1.0), "machine": "0123abcd"})
    (saved.folder / "run.json").write_text(elsewhere.model_dump_json())
    begun = open_run(saved.card, ()).parent  # before its first check
    (begun / "run.json").write_text(elsewhere.model_dump_json())
    assert find_runs() == []
    content = saved.checkpoint.read_bytes()
    for _ in range(KEPT + 1):
        checkpoint = open_run(saved.card, ())
        checkpoint.write_bytes(content)
        leave_run(checkpoint)
    assert saved.checkpoint.exists()
    assert begun.exists()
    assert len(find_runs()) == KEPT
    long_ago = time.time() - 2 * 86_400
    for path in (*saved.folder.iterdir(), *begun.iterdir()):
        os.utime(path, (long_ago, long_ago))
    assert saved.folder in [one.folder for one in find_runs()]  # killed there, and resumed here
    leave_run(open_run(saved.card, ()))
    assert not saved.folder.exists()
    assert not begun.exists()


def test_a_run_that_another_window_has_taken_is_neither_resumed_nor_deleted(request_of) -> None:
    run(request_of(), stop_after=3)
    [offered] = find_runs()
    take_run(offered)  # there
    with pytest.raises(ValueError, match="Another window has resumed the run cells-lora"):
        run(request_of(resume=offered))
    with pytest.raises(ValueError, match="Another window has resumed"):
        discard_run(offered)
    assert offered.checkpoint.is_file()
    leave_run(offered.checkpoint)
    discard_run(offered)
    with pytest.raises(ValueError, match="finished or discarded in another window"):
        run(request_of(resume=offered))
    assert not offered.folder.exists()


@pytest.mark.parametrize("lost", ["card", "folder"])
def test_what_was_trained_is_kept_when_its_run_disappears(
    request_of, monkeypatch, caplog, lost
) -> None:
    """As when somebody tidies up, or a cloud drive does."""
    taken: list[int] = []
    step = Trainer._take_step

    def take(trainer: Trainer):
        if len(taken) == 2:
            checkpoint = trainer._checkpoint
            assert checkpoint is not None
            (checkpoint.parent / "run.json").unlink()
            if lost == "folder":
                shutil.rmtree(checkpoint.parent)
        taken.append(len(taken))
        yield from step(trainer)

    monkeypatch.setattr(Trainer, "_take_step", take)
    train = TRAIN.model_copy(update={"held_out_fraction": 0.0})  # it is kept without a score
    result, _ = run(request_of(train), stop_after=3)
    assert read_header(result.path).classes
    assert "cannot be resumed" in caplog.text


def test_a_process_that_tells_nothing_of_itself_is_not_at_work_on_a_run(
    request_of, monkeypatch
) -> None:
    run(request_of(), stop_after=3)
    [saved] = find_runs()
    other = saved.card.model_copy(update={"process": (1, 1.0), "system": this_process().system})
    (saved.folder / "run.json").write_text(other.model_dump_json())

    def silent(number: int) -> float:
        raise psutil.AccessDenied(number)

    monkeypatch.setattr(processes, "_started", silent)
    assert [one.folder for one in find_runs()] == [saved.folder]


def test_runs_killed_before_their_first_checkpoint_make_no_other_one_be_deleted(request_of) -> None:
    run(request_of(), stop_after=3)
    [saved] = before = find_runs()
    content = saved.checkpoint.read_bytes()
    for _ in range(4):
        killed = open_run(saved.card, ()).parent / "run.json"
        killed.write_text(saved.card.model_dump_json())  # no process is at work on it
    assert find_runs() == before
    for _ in range(4):
        checkpoint = open_run(saved.card, ())
        checkpoint.write_bytes(content)
        leave_run(checkpoint)
    kept = find_runs()
    assert len(kept) == KEPT
    assert saved.folder not in [one.folder for one in kept]


@pytest.mark.parametrize("awaited", [True, False])
def test_what_is_done_after_stop_is_said(request_of, monkeypatch, awaited: bool) -> None:
    monkeypatch.setattr(Trainer, "awaits_calibration", awaited)
    _, updates = run(request_of(), stop_after=3)
    assert (Said(CALIBRATING) in updates) == awaited


def test_going_on_keeps_the_held_out_part_and_starts_from_what_was_learnt(
    request_of, two_halves
) -> None:
    first, _ = run(request_of())
    before = {name: p.clone() for name, p in first.segmenter.trained_state().items()}
    labels = two_halves[1].copy()
    labels[2] = labels[0]
    start = Start(
        "cells-lora",
        segmenter=first.segmenter,
        normalization=first.normalization,
        split=first.split,
    )
    second, _ = run(request_of(labels=labels, start=start))
    assert second.split.held_out == first.split.held_out
    assert len(second.split.train) == len(first.split.train) + 1
    assert second.verdict.before == pytest.approx(first.verdict.after, abs=1e-6)
    assert second.training["went_on_from"] == "cells-lora"
    state = first.segmenter.trained_state()  # the earlier result is as it was
    assert all((state[name] == before[name]).all() for name in before)


def test_going_on_elsewhere_leaves_the_earlier_result_where_it_is(request_of) -> None:
    first, _ = run(request_of())
    start = Start(
        "cells-lora",
        segmenter=first.segmenter,
        normalization=first.normalization,
        split=first.split,
    )
    request = request_of(start=start)
    for where in ("meta", "cpu"):
        segmenter, _ = _go_on_from(start, request, torch.device(where))
        assert {p.device.type for p in segmenter.parameters()} == {where}
        assert {p.device.type for p in first.segmenter.parameters()} == {"cpu"}


def test_an_adapter_file_is_trained_further_with_its_own_settings(
    request_of, saved_adapter
) -> None:
    path = saved_adapter()
    classes = (ClassInfo(value=1, name="dark"), ClassInfo(value=2, name="bright"))
    train = TRAIN.model_copy(update={"held_out_fraction": 0.0, "steps": 2})
    result, _ = run(request_of(train, start=Start("cells", path=path), classes=classes))
    header = read_header(result.path)
    assert header.model.adapter == "lw"
    assert [info.name for info in header.classes] == ["dark", "bright"]


def test_going_on_from_the_file_holds_out_what_it_never_learnt(request_of) -> None:
    """As on another day, when nothing of the first run is in memory."""
    first, _ = run(request_of(TRAIN.model_copy(update={"steps": 30, "validate_every": 15})))
    assert first.path is not None, first.verdict.sentence
    known = _read(first.path)
    assert {info.name for info in known.classes} == {"class 1", "class 2"}
    further = request_of(TRAIN.model_copy(update={"seed": 5}), start=known.start)
    second, _ = run(further)
    assert second.split.held_out == first.split.held_out
    assert second.verdict.before == pytest.approx(first.verdict.after, abs=1e-6)


def test_what_a_card_has_learnt_is_shown_saved_and_trained_further_by_either(
    request_of, card
) -> None:
    train = TRAIN.model_copy(update={"held_out_fraction": 0.0, "steps": 2})
    place = Place((0,), slice(0, 32), slice(0, 40))
    result, updates = run(request_of(train, device="cuda"), place=place)
    assert result.segmenter.device == card
    assert any(isinstance(u, Previewed) and u.labels.shape == (32, 40) for u in updates)
    assert read_header(result.path).training["steps"] == 2
    start = Start("cells", segmenter=result.segmenter, normalization=result.normalization)
    for device in ("cpu", "cuda"):
        further, _ = run(request_of(train, start=start, device=device))
        assert further.segmenter.device.type == device
        assert result.segmenter.device == card  # the earlier one stays where it was


def test_a_class_that_the_adapter_does_not_know_is_refused(request_of, saved_adapter) -> None:
    start = Start("cells", path=saved_adapter())
    with pytest.raises(
        ValueError, match=r"cells does not know class 7 \(7\); it has class 1 \(1\)"
    ):
        run(request_of(start=start, classes=default_classes([1, 7])))


def test_no_two_classes_of_an_adapter_get_one_name(request_of, saved_adapter) -> None:
    """Its file could not be opened again."""
    start = Start("cells", path=saved_adapter())
    named = (ClassInfo(value=1, name="class 2"),)
    with pytest.raises(ValueError, match=r"1 and 2 would both be called 'class 2'"):
        run(request_of(start=start, classes=named))
    swapped = (*named, ClassInfo(value=2, name="class 1"))
    segmenter, _ = _go_on_from(start, request_of(classes=swapped), torch.device("cpu"))
    assert [info.name for info in segmenter.classes] == ["class 2", "class 1"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are Unicode")
def test_an_image_with_a_name_that_is_not_utf8_is_learnt_from(request_of) -> None:
    name = os.fsdecode(b"zelle_\xfc")
    request = request_of(TRAIN.model_copy(update={"held_out_fraction": 0.0}))
    request = replace(request, pairs=(replace(request.pairs[0], name=name),), title=f"{name}-lora")
    stopped, _ = run(request, stop_after=3)
    assert stopped.resumable
    [saved] = find_runs()
    assert saved.card.images[0].name == name
    result, _ = run(replace(request, resume=saved))
    assert read_header(result.path).training["image"] == "zelle_\\udcfc"


TRAINER = """
import sys, threading
import numpy as np
import torch
from napari_sam2_adapters.config import ModelConfig, TrainConfig, default_classes
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.fine_tuning.training import fine_tune
from napari_sam2_adapters.widgets.fine_tuning.messages import TrainingRequest, Wish

torch.set_num_threads(1)
data = np.load(sys.argv[1])
request = TrainingRequest(
    pairs=(Pair(data["image"], data["labels"], "ZYX", "cells"),),
    labels=(LabelsToSave("strokes", data["labels"], (), {}, "cells", "1"),),
    classes=default_classes([1, 2]),
    model=ModelConfig(adapter="lora"),
    train=TrainConfig.model_validate_json(sys.argv[2]),
    title="cells-lora",
)
for _ in fine_tune(threading.Event(), request, Wish()):
    pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_is_resumed_from_its_checkpoint(
    request_of, two_halves, adapters_home, tmp_path
) -> None:
    train = TRAIN.model_copy(update={"steps": 100_000, "validate_every": 2})
    np.savez(tmp_path / "data.npz", image=two_halves[0], labels=two_halves[1])
    settings = train.model_dump_json()
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path / "data.npz"), settings]
    )
    try:
        _wait_for_checkpoint(adapters_home.parent / "runs")
        assert find_runs() == []  # it is still at work
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    [saved] = find_runs()
    assert saved.step >= 2
    resumed, updates = run(request_of(train, resume=saved), stop_after=saved.step + 1)
    assert isinstance(resumed, FineTuned)
    assert steps_of(updates)[: saved.step + 1] == list(range(1, saved.step + 2))
    without = request_of(train, labels=np.zeros_like(two_halves[1]))
    (pair,) = read_labels(saved, without.pairs)
    np.testing.assert_array_equal(pair.labels, two_halves[1])


def _wait_for_checkpoint(folder) -> None:
    from napari_sam2_adapters.training.checkpoint import read_progress

    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = list(folder.glob("*/checkpoint.safetensors"))
        if found and read_progress(found[0]) >= 2:
            return
        time.sleep(0.2)
    raise TimeoutError("The run wrote no checkpoint.")


def test_names_that_are_given_during_a_run_are_saved_with_what_it_learnt(request_of) -> None:
    train = TRAIN.model_copy(update={"held_out_fraction": 0.5})
    one, two = default_classes([1, 2])
    # swapped, so that whoever takes one name for the other is found out
    names = tuple(
        info.model_copy(update={"name": name, "color": "#123456"})
        for info, name in ((one, two.name), (two, "mito"))
    )
    first, told = run(request_of(train), stop_after=3, names=names)
    checks = [check for u in told if isinstance(u, Learned) for check in u.checks]
    assert set(checks[-1].dice) == {one.name, two.name}  # as at the start: the curves go by these
    assert set(first.verdict.after) == {two.name, "mito"}
    kept = checks[0] if first.verdict.best.step == 0 else checks[-1]
    assert first.verdict.after[two.name] == pytest.approx(kept.dice[one.name], nan_ok=True)
    [saved] = find_runs()
    assert saved.card.classes == (one, two)  # else its checkpoint would be of another run
    assert saved.card.names == names
    second, _ = run(replace(request_of(train), labels=(), resume=saved), names=saved.card.names)
    assert second.segmenter.classes == names
    assert set(second.verdict.after) == {two.name, "mito"}
    if second.path is not None:
        header = read_header(second.path)
        assert header.classes == names
        assert set(header.scores["dice"]) <= {two.name, "mito"}
