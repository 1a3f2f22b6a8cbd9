"""What is saved is what comes back, or nothing is."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.lib import format as npy

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation import forward_clock, snapshots
from napari_sam2_adapters.widgets.annotation.snapshots import (
    LabelsToSave,
    list_snapshots,
    prune,
    read_snapshot,
    snapshot_path,
    write_snapshot,
)

CLASSES = (ClassInfo(value=1, name="nucleus", color="#123456"),)
PLACE = {
    "scale": np.array([2, 0.5, 0.5]),
    "translate": np.array([1, 2, 3.0]),
    "rotate": np.eye(3),
    "shear": np.eye(3),
    "affine": np.eye(4),
    "units": ("um", "um", "um"),
    "axis_labels": ("z", "y", "x"),
}


def to_save(labels, name="strokes", layer_id="1"):
    return LabelsToSave(name, labels, CLASSES, PLACE, "cells", layer_id)


@pytest.fixture
def strokes():
    labels = np.zeros((4, 30, 40), np.uint16)
    labels[1, 3:9, 5:7] = 300
    labels[3, 29, 39] = 1
    return labels


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_labels_come_back_as_they_were(tmp_path, strokes, ndim) -> None:
    labels = {2: strokes[1], 3: strokes, 4: np.stack([strokes, 2 * strokes])}[ndim]
    path = snapshot_path(tmp_path, "a / b")
    write_snapshot(path, to_save(labels), "session")
    saved, found = read_snapshot(path)
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == labels.dtype
    assert (saved.name, saved.image, saved.classes) == ("strokes", "cells", CLASSES)
    assert saved.pixels == np.count_nonzero(labels)
    assert saved.placement["units"] == PLACE["units"]
    np.testing.assert_allclose(saved.placement["scale"], PLACE["scale"])
    assert list(tmp_path.iterdir()) == [path]  # nothing half written is left


def test_it_is_small_when_little_is_painted(tmp_path) -> None:
    labels = np.zeros((50, 500, 500), np.uint8)
    labels[7, 100:110, 100:110] = 1
    path = tmp_path / "a.labels.npz"
    write_snapshot(path, to_save(labels))
    assert path.stat().st_size < 5000


def test_the_checksum_tells_whether_anything_is_new(tmp_path, strokes) -> None:
    path = tmp_path / "a.labels.npz"
    first = write_snapshot(path, to_save(strokes))
    assert write_snapshot(path, to_save(strokes)) == first
    strokes[0, 0, 0] = 1
    assert write_snapshot(path, to_save(strokes)) != first


def test_strokes_painted_while_it_is_written_are_new_the_next_time(tmp_path, monkeypatch) -> None:
    labels = np.zeros((6, 8), np.uint8)
    labels[2:4] = 1  # from edge to edge: this part of the array is one piece in memory

    def write_array(file, array, **options) -> None:
        npy.write_array(file, array, **options)
        labels[3, 5] = 2

    monkeypatch.setattr(snapshots, "npy", SimpleNamespace(write_array=write_array))
    first = write_snapshot(tmp_path / "a.labels.npz", to_save(labels))
    monkeypatch.undo()
    assert (read_snapshot(tmp_path / "a.labels.npz")[1] == 2).sum() == 0
    assert write_snapshot(tmp_path / "b.labels.npz", to_save(labels)) != first


def test_few_are_kept_of_each_layer_and_in_all(tmp_path, strokes, monkeypatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT_IN_ALL", 5)
    for number in range(5):
        for layer_id in "12":
            write_snapshot(snapshot_path(tmp_path, "s"), to_save(strokes, str(number), layer_id))
            time.sleep(0.002)
    prune(tmp_path)
    kept = list_snapshots(tmp_path)
    assert [saved.name for saved in kept] == ["4", "4", "3", "3", "2"]


def test_the_newest_of_each_layer_stays_while_its_session_is_open_or_lost(
    tmp_path, strokes, monkeypatch
) -> None:
    monkeypatch.setattr(snapshots, "KEPT_IN_ALL", 2)
    for session in ("closed", "open"):
        for layer_id in "1234":
            for labels in (strokes, strokes, 0 * strokes):
                layer = to_save(labels, "s", layer_id)
                write_snapshot(snapshot_path(tmp_path, "s"), layer, session)
                time.sleep(0.002)
    prune(tmp_path, ["open"])
    kept = [(saved.layer_id, saved.pixels) for saved in list_snapshots(tmp_path)]
    assert kept == [("4", 0), ("4", 13), ("4", 13), ("3", 13), ("2", 13), ("1", 13)]


def test_the_newest_stay_when_the_clock_is_set_back(tmp_path, strokes, monkeypatch) -> None:
    monkeypatch.setattr(forward_clock, "_CLOCK", forward_clock._ForwardClock())
    clock = [time.time() + 7200]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    for number in range(1, 9):
        if number == 5:
            clock[0] -= 3600
        strokes[0, 0, 0] = number
        write_snapshot(snapshot_path(tmp_path, "s"), to_save(strokes), "open")
        prune(tmp_path, ["open"])
        clock[0] += 60
    kept = [read_snapshot(saved.path)[1][0, 0, 0] for saved in list_snapshots(tmp_path)]
    assert kept == [8, 7, 6]


@pytest.mark.parametrize("damage", ["cut", "foreign", "flipped"])
def test_a_damaged_file_is_named_and_left_out(tmp_path, strokes, damage, caplog) -> None:
    path = tmp_path / "a.labels.npz"
    write_snapshot(path, to_save(strokes))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        np.savez(path, a=np.zeros(3))
    else:
        content[60] ^= 255
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.labels\.npz cannot be read"):
        read_snapshot(path)
    if damage != "flipped":
        assert list_snapshots(tmp_path) == []
        assert "a.labels.npz" in caplog.text


def test_whatever_byte_is_damaged_the_others_are_listed(tmp_path, strokes) -> None:
    whole, damaged = tmp_path / "whole.labels.npz", tmp_path / "damaged.labels.npz"
    for path in (whole, damaged):
        write_snapshot(path, to_save(strokes))
    content = damaged.read_bytes()
    # of what it says of itself, and of the table at the end
    for place in range(content.index(b"about.json"), len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 255
        damaged.write_bytes(flipped)
        assert whole in [saved.path for saved in list_snapshots(tmp_path)]
