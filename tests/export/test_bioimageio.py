"""The package as bioimageio.core reads and runs it, without a network."""

from __future__ import annotations

import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.export import bioimageio as package_module
from napari_sam2_adapters.export import extras
from napari_sam2_adapters.export.bioimageio import PackageTestError, export_bioimageio
from napari_sam2_adapters.export.extras import BIOIMAGEIO, MissingExtraError, require
from napari_sam2_adapters.export.model_description import preprocessing
from napari_sam2_adapters.export.package_info import PackageInfo

SIDE = 128  # of the tiles of `exported`
INFO = PackageInfo(authors=("A. Nobody",), tags=("nuclei",), cite=("10.1000/182",))


# bioimageio.spec leaves files for the garbage collector to close.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _works_here() -> bool:
    try:
        require(BIOIMAGEIO)
    except MissingExtraError:
        return False
    return True


needs_core = pytest.mark.skipif(
    not _works_here(), reason="bioimageio.core is missing or does not work with this pydantic"
)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def package(
    translated_before: Any, finish: Callable[..., Any], no_network: None, tmp_path: Path
) -> Path:
    output = tmp_path / "nuclei.bioimageio.zip"
    finish(export_bioimageio(translated_before.model, output, INFO, tile_size_px=SIDE))
    return output


@needs_core
def test_the_package_says_what_it_is_and_gives_our_labels_on_a_whole_image(
    package: Path, translated_before: Any
) -> None:
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
        description = yaml.safe_load(archive.read(next(n for n in names if n.endswith(".yaml"))))
        with archive.open("cover.png") as file, Image.open(file) as cover:
            assert cover.size == (768, 384)
            assert len(cover.convert("RGB").getcolors(10**6) or []) > 100
        assert b"| 1 | nucleus | 2 | #f0e442 |" in archive.read("README.md")
    assert {"network.onnx", "test_input.npy", "test_output.npy"} <= names
    assert description["authors"] == [{"name": "A. Nobody"}]
    assert description["license"] == "Apache-2.0"
    assert "nuclei" in description["tags"]
    assert description["cite"][0]["doi"] == "10.1000/182"
    assert list(description["weights"]) == ["onnx"]
    (inputs,), (outputs,) = description["inputs"], description["outputs"]
    assert outputs["axes"][1]["channel_names"] == ["background", "nucleus", "border"]
    assert [axis["scale"] for axis in inputs["axes"][2:]] == [0.5, 0.25]
    assert {axis["unit"] for axis in inputs["axes"][2:]} == {"micrometer"}
    assert description["config"]["napari_sam2_adapters"]["classes"][1]["value"] == 2

    from bioimageio.core import predict

    image = load_sample("fluorescence").held_out_images[0]
    with package_module._quiet():
        found = predict(
            model=package,
            inputs={"image": image[None, None].astype(np.float32)},
            blocksize_parameter=1,
        )
    got = np.asarray(found.members["probabilities"].data)[0]
    assert got.shape == (3, 256, 256)
    # The block in the middle gives 96 px of a tile of 128 px; of these, the block at the lower right, which is moved in, overwrites 32.
    segmenter, header = translated_before.network, translated_before.header
    limits = intensity_limits(image, "YX", header.normalization)
    tile = normalize_plane(image[None, 80:208, 80:208], limits)[None]
    with torch.inference_mode():
        wanted = segmenter(torch.from_numpy(tile)).softmax(1)[0, :, 16:80, 16:80].numpy()
    middle = got[:, 96:160, 96:160]
    assert np.ptp(wanted.argmax(0)) > 0
    np.testing.assert_allclose(middle, wanted, atol=1e-3)
    assert (middle.argmax(0) == wanted.argmax(0)).mean() >= 0.999


@needs_core
@pytest.mark.parametrize(
    "scaling",
    [
        Normalization(mode="percentile", low=1, high=99),
        Normalization(mode="range", low=-100, high=4095),
        Normalization(mode="range", low=0, high=1),
    ],
)
def test_its_preprocessing_is_our_scaling(scaling: Normalization) -> None:
    from bioimageio.core import Sample, Tensor
    from bioimageio.core.proc_ops import get_proc
    from bioimageio.core.stat_calculators import compute_measures
    from bioimageio.spec.model import v0_5 as spec

    rng = np.random.default_rng(0)
    image = rng.normal(900, 700, (2, 64, 48)).astype(np.float32)
    image[1] *= 3  # per channel: the second one reaches further
    described = spec.InputTensorDescr(
        id="image",
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=["a", "b"]),
            spec.SpaceInputAxis(id="y", size=64),
            spec.SpaceInputAxis(id="x", size=48),
        ],
        preprocessing=preprocessing(scaling),
    )
    tensor = Tensor.from_numpy(image[None], dims=["batch", "channel", "y", "x"])
    sample = Sample(members={"image": tensor}, stat={}, id=0)
    for step in described.preprocessing:
        operator = get_proc(step, described)
        sample.stat = compute_measures(operator.required_measures, [sample])
        operator(sample)
    got = np.asarray(sample.members["image"].data)[0]
    wanted = normalize_plane(image, intensity_limits(image, "CYX", scaling))
    assert 0 < wanted.mean() <= 1
    np.testing.assert_allclose(got, wanted, atol=2e-6)


@needs_core
def test_an_image_of_ones_own_becomes_test_and_cover(
    translated_before: Any, finish: Callable[..., Any], tmp_path: Path
) -> None:
    image = load_sample("fluorescence").held_out_images[2].astype(np.uint16) * 100
    tifffile.imwrite(tmp_path / "mine.tif", image)
    output = tmp_path / "a.zip"
    info = PackageInfo(authors=("A. Nobody",), name="My/nuclei", image=tmp_path / "mine.tif")
    finish(export_bioimageio(translated_before.model, output, info, tile_size_px=SIDE))
    with zipfile.ZipFile(output) as archive, archive.open("test_input.npy") as file:
        np.testing.assert_array_equal(np.load(file)[0, 0], image[64:192, 64:192])
    Image.fromarray(load_sample("tissue").held_out_images[0]).save(tmp_path / "rgb.png")
    wrong = info.model_copy(update={"image": tmp_path / "rgb.png"})
    with pytest.raises(ValueError, match=r"rgb.png has 3 channels, but the model takes 1"):
        finish(
            export_bioimageio(translated_before.model, tmp_path / "b.zip", wrong, tile_size_px=SIDE)
        )
    assert not (tmp_path / "b.zip").exists()


@needs_core
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"authors": (" ",)}, "Give at least one author"),
        ({"licence": "my own"}, "description: license 'my own': .{1,200}[.] Correct that"),
        ({"cover": Path("no.png")}, "There is no file no.png"),
    ],
)
def test_what_bioimageio_does_not_take_is_said(
    translated_before: Any,
    finish: Callable[..., Any],
    tmp_path: Path,
    changed: dict[str, Any],
    words: str,
) -> None:
    info = INFO.model_copy(update=changed)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        finish(
            export_bioimageio(translated_before.model, tmp_path / "a.zip", info, tile_size_px=SIDE)
        )
    assert list(tmp_path.iterdir()) == []


@needs_core
def test_a_package_that_does_not_pass_is_not_written(
    translated_before: Any,
    finish: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = package_module.make_test_pair

    def wrong(*arguments: Any) -> Any:
        pair = made(*arguments)
        return type(pair)(pair.grey, pair.scaled, pair.probabilities[:, ::-1].copy())

    monkeypatch.setattr(package_module, "make_test_pair", wrong)
    with pytest.raises(PackageTestError, match=r"bioimageio.core did not pass .* disagree"):
        finish(
            export_bioimageio(translated_before.model, tmp_path / "a.zip", INFO, tile_size_px=SIDE)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_and_a_missing_extra_end_it_before_the_work(
    finish: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, output = tmp_path / "no.adapter.safetensors", tmp_path / "a.zip"
    monkeypatch.setitem(sys.modules, "bioimageio.core", None)
    with pytest.raises(MissingExtraError, match=r"napari-sam2-adapters\[bioimageio\]"):
        finish(export_bioimageio(model, output, INFO))
    monkeypatch.setattr(package_module, "require", lambda *_: None)
    output.write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match="is there already"):
        finish(export_bioimageio(model, output, INFO))
    assert output.read_bytes() == b"theirs"


def test_a_pydantic_that_bioimageio_fails_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"bioimageio.spec": "0.5.12.0"}
    monkeypatch.setattr(extras, "version", versions.__getitem__)
    monkeypatch.setattr("pydantic.VERSION", "2.14.0")
    with pytest.raises(MissingExtraError, match=r"does not work with pydantic 2\.14\.0"):
        require(BIOIMAGEIO)
    versions["bioimageio.spec"] = "0.5.14.3"
    require(BIOIMAGEIO)
