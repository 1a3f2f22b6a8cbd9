from __future__ import annotations

import copy
import hashlib
import json
import math
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes
from napari_sam2_adapters.models.backbone_files import BACKBONES
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import (
    FORMAT_VERSION,
    SUFFIX,
    AdapterHeader,
    load_adapter,
    read_header,
    save_adapter,
)
from napari_sam2_adapters.models.segmenter import Segmenter

CLASSES = default_classes([0, 3, 7])
RANGE = Normalization(mode="range", low=0, high=4095)


def picture() -> torch.Tensor:
    return torch.rand(1, 2, 64, 48, generator=torch.Generator().manual_seed(0))


def write(path: Path, segmenter: Segmenter, **settings: Any) -> AdapterHeader:
    return save_adapter(path, segmenter, normalization=RANGE, tile_size_px=224, **settings)


class TestRoundTrip:
    """What is saved comes back."""

    @torch.no_grad()
    def test_the_logits_are_the_same_bit_for_bit(
        self, trained_mobile: Segmenter, saved_mobile: Path
    ) -> None:
        loaded, _ = load_adapter(saved_mobile)
        assert loaded.config == trained_mobile.config
        assert loaded.classes == trained_mobile.classes
        assert torch.equal(loaded(picture()), trained_mobile(picture()))

    def test_the_file_holds_exactly_what_was_trained(
        self, trained_mobile: Segmenter, saved_mobile: Path
    ) -> None:
        stored, wanted = load_file(saved_mobile), trained_mobile.trained_state()
        assert stored.keys() == trained_mobile.trained_parameters().keys()
        for name, tensor in stored.items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, wanted[name])

    def test_a_bias_on_the_classes_is_kept_in_a_later_format(
        self, trained_mobile: Segmenter, tmp_path: Path
    ) -> None:
        trained = copy.deepcopy(trained_mobile)
        trained.class_bias.copy_(torch.linspace(0, 1.5, len(CLASSES)))
        path = tmp_path / f"calibrated{SUFFIX}"
        assert write(path, trained).format_version == FORMAT_VERSION == 2
        loaded, _ = load_adapter(path)
        assert torch.equal(loaded.class_bias, trained.class_bias)
        image = torch.rand(1, trained.config.input_channels, 64, 80)
        with torch.no_grad():
            expected = trained_mobile(image) + trained.class_bias.view(1, -1, 1, 1)
            assert torch.allclose(loaded(image), expected, atol=1e-5)
            assert torch.allclose(loaded.folded()(image), expected, atol=1e-4)

    def test_the_header_says_how_to_use_it(self, trained_mobile: Segmenter, tmp_path: Path) -> None:
        path = tmp_path / f"cells{SUFFIX}"
        written = write(
            path,
            trained_mobile,
            pixel_size=(0.2, 0.1),
            unit="µm",
            scores={"mean_dice": 0.91, "dice": {"background": 0.99, "class 3": float("nan")}},
            training={"steps": 300, "data": ["a.tif", "b.tif"]},
        )
        header = read_header(path)
        assert header.model_dump(exclude={"scores"}) == written.model_dump(exclude={"scores"})
        assert header.format_version == 1
        assert header.model == trained_mobile.config
        assert header.backbone_sha256 == BACKBONES["mobile"].sha256
        assert header.classes == CLASSES
        assert header.normalization == RANGE
        assert (header.tile_size_px, header.pixel_size, header.unit) == (224, (0.2, 0.1), "µm")
        assert header.scores["mean_dice"] == 0.91
        assert header.training["data"] == ["a.tif", "b.tif"]
        assert header.versions.keys() == {"napari-sam2-adapters", "torch", "sam2"}

    @torch.no_grad()
    def test_half_is_half_the_size_and_nearly_the_same(
        self, trained_mobile: Segmenter, saved_mobile: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / f"half{SUFFIX}"
        write(path, trained_mobile, half=True)
        assert path.stat().st_size < 0.55 * saved_mobile.stat().st_size
        loaded, _ = load_adapter(path)
        assert all(p.dtype == torch.float32 for p in loaded.parameters())
        wanted = trained_mobile(picture())
        assert 0 < (loaded(picture()) - wanted).norm() < 2e-3 * wanted.norm()

    def test_a_loaded_adapter_is_saved_as_the_same_tensors(
        self, saved_mobile: Path, tmp_path: Path
    ) -> None:
        loaded, header = load_adapter(saved_mobile)
        again = write(tmp_path / f"again{SUFFIX}", loaded)
        assert again.tensors_sha256 == header.tensors_sha256

    @pytest.mark.parametrize("adapter", ["hp", "lora"])
    @torch.no_grad()
    def test_every_adapter_can_be_saved(self, tmp_path: Path, adapter: str) -> None:
        segmenter = build_segmenter(ModelConfig(adapter=adapter, position="peg"), CLASSES)
        path = tmp_path / "deep" / "folder" / f"a{SUFFIX}"
        write(path, segmenter)
        image = picture()[:, :1]
        assert torch.equal(load_adapter(path)[0](image), segmenter(image))

    @torch.no_grad()
    def test_a_file_from_before_there_was_a_detail_head_has_none(self, tmp_path: Path) -> None:
        path, old = tmp_path / f"now{SUFFIX}", tmp_path / f"old{SUFFIX}"
        segmenter = build_segmenter(ModelConfig(adapter="hp", detail="none"), CLASSES)
        write(path, segmenter)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        header = json.loads(metadata["napari_sam2_adapters"])
        del header["model"]["detail"]
        text = json.dumps(header)
        digest = hashlib.sha256(text.encode()).hexdigest()
        metadata |= {"napari_sam2_adapters": text, "napari_sam2_adapters_sha256": digest}
        save_file(load_file(path), old, metadata=metadata)
        loaded, read = load_adapter(old)
        assert read.model.detail == "none"
        assert loaded.detail is None
        image = picture()[:, :1]
        assert torch.equal(loaded(image), segmenter(image))


class TestWriting:
    """A file with this name is always whole, and nobody's file is lost."""

    def test_it_is_not_overwritten_unless_asked(
        self, trained_mobile: Segmenter, saved_mobile: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / f"cells{SUFFIX}"
        path.write_bytes(b"precious")
        with pytest.raises(FileExistsError, match=r"is there already\. Choose another name"):
            write(path, trained_mobile)
        assert path.read_bytes() == b"precious"
        write(path, trained_mobile, overwrite=True)
        assert read_header(path) == read_header(saved_mobile)

    @pytest.mark.parametrize("name", ["cells.pt", "cells.safetensors", "cells"])
    def test_another_ending_is_refused(
        self, trained_mobile: Segmenter, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(ValueError, match=r"must end in .* Call it cells\.adapter\.safetensors"):
            write(tmp_path / name, trained_mobile)

    def test_a_folded_network_has_nothing_to_save(
        self, trained_mobile: Segmenter, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=r"was folded .* Save the one that it was folded from"):
            write(tmp_path / f"cells{SUFFIX}", trained_mobile.folded())
        assert not list(tmp_path.iterdir())

    def test_a_tile_that_nobody_could_use_is_refused(
        self, trained_mobile: Segmenter, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.adapter.safetensors"
        with pytest.raises(
            ValueError, match=r"^tile_size_px should be a multiple of 32 \(got 100\)"
        ):
            save_adapter(
                path,
                trained_mobile,
                normalization=Normalization(mode="percentile"),
                tile_size_px=100,
            )
        assert not path.exists()

    def test_a_normalisation_that_hangs_on_the_image_is_refused(
        self, trained_mobile: Segmenter, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match="needs the one that it was trained with"):
            save_adapter(
                tmp_path / f"cells{SUFFIX}",
                trained_mobile,
                normalization=Normalization(),
                tile_size_px=224,
            )
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("value", "half", "mend"), [(1e5, True, "without half"), (math.nan, False, "Train anew")]
    )
    def test_weights_that_are_not_finite_are_refused(
        self, trained_mobile: Segmenter, tmp_path: Path, value: float, half: bool, mend: str
    ) -> None:
        segmenter = copy.deepcopy(trained_mobile)
        with torch.no_grad():
            segmenter.decoder.class_tokens[0, 0] = value
        with pytest.raises(ValueError, match=rf"'decoder.class_tokens' holds NaN .* {mend}"):
            write(tmp_path / f"cells{SUFFIX}", segmenter, half=half)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="no file size limit on Windows")
    @pytest.mark.parametrize("there_before", [False, True])
    def test_a_full_disk_leaves_no_half_file(
        self, trained_mobile: Segmenter, tmp_path: Path, there_before: bool
    ) -> None:
        import resource

        path = tmp_path / f"cells{SUFFIX}"
        if there_before:
            path.write_bytes(b"precious")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(OSError, match=r"could not be written: .* Make room"):
                write(path, trained_mobile, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert left == ({path.name: b"precious"} if there_before else {})

    def test_an_interruption_leaves_no_half_file(
        self, trained_mobile: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("os.fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / f"cells{SUFFIX}", trained_mobile)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="no umask on Windows")
    def test_colleagues_may_read_it(self, saved_mobile: Path, tmp_path: Path) -> None:
        usual = tmp_path / "usual"
        usual.touch()
        assert stat.S_IMODE(saved_mobile.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
