"""The file beside the network it was made from, on real pictures; and what it tells somebody who has nothing but the file."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.samples import SAMPLE_CLASSES, load_sample
from napari_sam2_adapters.export import onnx as export_module
from napari_sam2_adapters.export.comparison import DisagreementError, compare
from napari_sam2_adapters.export.extras import MissingExtraError
from napari_sam2_adapters.export.onnx import export_onnx
from napari_sam2_adapters.export.pictures import normalized_tiles
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.model_file import read_header

SIDE = 128  # of the tiles of `exported`


@pytest.mark.parametrize("variant", ["hp", "lw", "lora, two channels, twice as large"])
def test_onnxruntime_gives_what_torch_gives_alone_and_in_a_batch(exported, variant):
    _, segmenter, header, output, _ = exported(variant)
    tiles = normalized_tiles(header.model.input_channels, SIDE, 3)
    with torch.inference_mode():  # the network as it was trained: folding is the export's business
        wanted = segmenter(torch.from_numpy(tiles)).softmax(1).numpy()
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    (three,) = session.run(None, {"image": tiles})
    (one,) = session.run(None, {"image": tiles[:1]})
    assert three.shape == (3, 3, SIDE, SIDE)
    assert np.ptp(wanted.argmax(1)) > 0  # more than one class, or equal labels say nothing
    np.testing.assert_allclose(three, wanted, atol=1e-3, rtol=0)
    np.testing.assert_allclose(one, wanted[:1], atol=1e-3, rtol=0)
    assert (three.argmax(1) == wanted.argmax(1)).mean() >= 0.999


def test_the_terminal_says_what_was_compared(exported):
    said = exported("lw").said
    assert str(exported("lw").file) in said
    assert f"on {4 * SIDE * SIDE:,} pixels of sample images" in said
    assert "equal labels 100.000%" in said


def test_by_its_metadata_alone_an_image_gets_the_labels_of_predict(exported):
    _, segmenter, header, output, _ = exported("lw")
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, scaling = json.loads(about["classes"]), json.loads(about["normalization"])
    side = int(about["tile_size_px"])
    assert [c["name"] for c in classes] == ["background", "nucleus", "border"]
    assert [c["color"] for c in classes] == [c.color for c in SAMPLE_CLASSES]
    assert about["input_channels"] == "1"
    assert json.loads(about["pixel_size"]) == [0.5, 0.25]
    assert about["unit"] == "micrometer"
    assert about["package_version"]
    image = load_sample("fluorescence").held_out_images[1][:side, :side]
    low, high = np.percentile(image, (scaling["low"], scaling["high"]))
    tile = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
    (probabilities,) = session.run(None, {"image": tile[None, None].astype(np.float32)})
    labels = np.array([c["value"] for c in classes])[probabilities[0].argmax(0)]
    wanted = predict(
        segmenter.folded(),
        image,
        normalization=header.normalization,
        config=PredictConfig(tile_size_px=side),
    ).labels
    assert (labels == wanted).mean() >= 0.999


def test_the_file_holds_no_path_of_this_machine(exported):
    output = exported("hp").file
    content = output.read_bytes()
    for path in (Path(torch.__file__).parent, Path(export_module.__file__).parent):
        assert str(path).encode() not in content
    onnx.checker.check_model(onnx.load(output), full_check=True)


def test_a_file_that_disagrees_is_refused(exported):
    output = exported("lw").file
    other = exported("hp").network
    tiles = normalized_tiles(1, SIDE, 1)
    with pytest.raises(DisagreementError, match="differs from PyTorch by up to"):
        compare(export_module._Probabilities(other), output.read_bytes(), tiles)


def test_nothing_is_left_when_the_comparison_fails(
    exported, translated_before, finish, monkeypatch, tmp_path
):
    other = exported("hp").file.read_bytes()
    monkeypatch.setattr(export_module, "_serialize", lambda *_: other)
    with pytest.raises(DisagreementError):
        finish(export_onnx(translated_before.model, tmp_path / "a.onnx", tile_size_px=SIDE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps_taken", [1, 2, 3])
def test_nothing_is_left_when_it_is_interrupted(translated_before, tmp_path, steps_taken):
    steps = export_onnx(translated_before.model, tmp_path / "a.onnx", tile_size_px=SIDE)
    for _ in range(steps_taken):
        next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(translated_before, finish, monkeypatch, tmp_path):
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        finish(export_onnx(translated_before.model, tmp_path / "a.onnx", tile_size_px=SIDE))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_left_alone_unless_asked(translated_before, finish, tmp_path):
    model = translated_before.model
    target = tmp_path / "a.onnx"
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match="is there already"):
        finish(export_onnx(model, target, tile_size_px=SIDE))
    assert target.read_bytes() == b"theirs"
    done = finish(export_onnx(model, target, tile_size_px=SIDE, overwrite=True))
    assert done.path.read_bytes() == translated_before.file.read_bytes()
    assert done.agreement.difference <= 1e-3
    assert done.agreement.pixels == 4 * SIDE * SIDE  # three together and one alone


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    translated_before, monkeypatch, tmp_path
):
    def refuse(path: Path, *_: object, **__: object) -> None:  # rights do not bind root
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    steps = export_onnx(translated_before.model, tmp_path / "a.onnx", tile_size_px=SIDE)
    with pytest.raises(PermissionError, match=r"Nothing can be written .* Choose another folder"):
        next(steps)


def test_range_scaling_is_told(adapter_file):
    header = read_header(
        adapter_file("lw", normalization=Normalization(mode="range", low=0, high=4095))
    )
    assert "the grey values 0 and 4095 become 0 and 1" in export_module._instructions(header, SIDE)


@pytest.mark.parametrize(
    ("name", "tile", "words"),
    [
        ("a.txt", None, "must end in '.onnx'"),
        ("no/a.onnx", None, "There is no folder"),
        ("a.onnx", 100, "tile_size_px should be a multiple of 32 .got 100"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(adapter_file, finish, tmp_path, name, tile, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        finish(export_onnx(adapter_file("lw"), tmp_path / name, tile_size_px=tile))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_its_extra(finish, monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf'{package}, .* pip install "napari-sam2-adapters\[onnx\]"'
    ):
        finish(export_onnx(tmp_path / "no.adapter.safetensors", tmp_path / "a.onnx"))
