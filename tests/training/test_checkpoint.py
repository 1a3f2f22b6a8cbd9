from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_sam2_adapters.training.checkpoint import (
    Checkpoint,
    check_identity,
    read_checkpoint,
    read_progress,
    write_checkpoint,
)


def sample() -> Checkpoint:
    return Checkpoint(
        identity={"network": {"adapter": "hp", "reduction": 4}, "classes": {"1": "cell"}},
        progress={"step": 7, "crops": {"state": 2**127 + 1}},
        tensors={
            "weights": {"a.b/c": torch.arange(6.0).reshape(2, 3).T},
            "random": {"augmentation": torch.Generator().get_state()},
            "optimizer": {"step/a": torch.tensor(3.0)},
        },
    )


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "run.checkpoint.safetensors"
    written = sample()
    write_checkpoint(path, written)
    read = read_checkpoint(path)
    assert read.identity == written.identity
    assert read.progress == written.progress
    assert read.tensors.keys() == written.tensors.keys()
    for group, named in written.tensors.items():
        assert read.tensors[group].keys() == named.keys()
        for name, tensor in named.items():
            assert torch.equal(read.tensors[group][name], tensor)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells")
def test_a_file_that_was_read_is_let_go_of(tmp_path: Path) -> None:
    """Windows lets nobody replace a file that is mapped, and a run that was resumed writes its own."""
    path = tmp_path / "run.checkpoint.safetensors"
    write_checkpoint(path, sample())
    read = read_checkpoint(path)
    assert path.name not in Path("/proc/self/maps").read_text()
    assert read.tensors["weights"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, sample())
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match=r"could not be written: No space left on device\. Make room"):
        write_checkpoint(path, sample())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*nothing\.safetensors"):
        read_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"text, not tensors", b"\x80\x02}q\x00."])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or another kind of file"):
        read_checkpoint(path)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, sample())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(path)


def test_altered_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, sample())
    content = path.read_bytes()
    step, weight = content.index(b'\\"step\\": 7'), len(content) - 3
    for place, changed, said in ((step + 10, b"8", "header .*wrong sha256"), (weight, b"\x41", "weights in .*wrong sha256")):  # fmt: skip
        assert content[place : place + 1] != changed
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        with pytest.raises(ValueError, match=said):
            read_checkpoint(path)


def test_a_file_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    header = {"version": 1, "identity": {"a": 1}, "progress": {"step": 3}}
    save_file(
        {"weights/a": torch.ones(2)},
        path,
        metadata={"napari_sam2_adapters.training": json.dumps(header)},
    )
    assert read_checkpoint(path).progress["step"] == 3


def test_foreign_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(1)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="no training checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (json.dumps({"version": 2, "identity": {}, "progress": {}}), "later version"),
        (json.dumps({"version": 1}), "header of the checkpoint .* is damaged"),
        (json.dumps({"version": 1, "identity": {}, "progress": {}}), "is damaged"),
        (json.dumps({"version": 1, "identity": {}, "progress": 7}), "is damaged"),
        ("{", "header of the checkpoint .* is damaged"),
    ],
)
def test_a_later_or_damaged_header_is_refused(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "run.safetensors"
    save_file({"w": torch.ones(1)}, path, metadata={"napari_sam2_adapters.training": header})
    for read in (read_checkpoint, read_progress):
        with pytest.raises(ValueError, match=said):
            read(path)


def test_a_mismatch_names_the_part_and_both_sides() -> None:
    found = sample().identity
    check_identity(Path("run"), found, sample().identity)
    wanted = {**found, "network": {"adapter": "lw", "reduction": 4}}
    with pytest.raises(ValueError, match=r'network \(adapter\) is "hp", but this run has "lw"'):
        check_identity(Path("run"), found, wanted)
    with pytest.raises(
        ValueError, match=r'list of classes is \{"1": "cell"\}, .* has .* "2": "wänd"\}'
    ):
        check_identity(Path("run"), found, {**found, "classes": {"1": "cell", "2": "wänd"}})
    unset = {**found, "network": {"adapter": None, "reduction": 4}}
    with pytest.raises(ValueError, match=r'another run.*is empty, but this run has "hp"'):
        check_identity(Path("run"), unset, found)


@pytest.mark.parametrize(
    ("part", "today", "said"),
    [
        ("network", {"reduction": 2, "lora_rank": 8}, r"network \(lora_rank\)"),
        ("data", {"split": "1 of 3 images"}, "data"),
    ],
)
def test_an_earlier_version_that_recorded_less_is_told_as_such(
    part: str, today: dict[str, object], said: str
) -> None:
    """Also when recorded values differ: checksums may have been made in another way."""
    found = sample().identity
    with pytest.raises(
        ValueError,
        match=f"by an earlier version of this program, which did not record its {said}, .* Start anew",
    ):
        check_identity(Path("run"), found, {**found, part: {**found.get(part, {}), **today}})


def test_the_steps_taken_are_read_without_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    saved = sample()
    write_checkpoint(path, saved)
    assert read_progress(path) == saved.progress["step"]
    path.write_bytes(path.read_bytes()[:4])
    with pytest.raises(ValueError, match="cannot be read"):
        read_progress(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_progress(tmp_path / "none.safetensors")
