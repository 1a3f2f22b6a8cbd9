from __future__ import annotations

import json
import random
import stat
import sys
from collections.abc import Callable
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


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    """A network on mobile whose every trained tensor was moved."""
    config = ModelConfig(adapter="lw", input_channels=2, decoder="frozen")
    segmenter = build_segmenter(config, CLASSES)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in segmenter.trained_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return segmenter


def write(path: Path, segmenter: Segmenter, **settings: Any) -> AdapterHeader:
    return save_adapter(path, segmenter, normalization=RANGE, tile_size_px=224, **settings)


@pytest.fixture(scope="module")
def saved(trained: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / f"cells{SUFFIX}"
    write(path, trained)
    return path


class TestRoundTrip:
    """What is saved comes back."""

    @torch.no_grad()
    def test_the_logits_are_the_same_bit_for_bit(self, trained: Segmenter, saved: Path) -> None:
        loaded, _ = load_adapter(saved)
        assert loaded.config == trained.config
        assert loaded.classes == trained.classes
        assert torch.equal(loaded(picture()), trained(picture()))

    def test_the_file_holds_exactly_what_was_trained(self, trained: Segmenter, saved: Path) -> None:
        stored, wanted = load_file(saved), trained.trained_state()
        assert stored.keys() == wanted.keys()
        for name, tensor in stored.items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, wanted[name])

    def test_the_header_says_how_to_use_it(self, trained: Segmenter, tmp_path: Path) -> None:
        path = tmp_path / f"cells{SUFFIX}"
        written = write(
            path,
            trained,
            pixel_size=(0.2, 0.1),
            unit="µm",
            scores={"mean_dice": 0.91, "dice": {"background": 0.99, "class 3": float("nan")}},
            training={"steps": 300, "data": ["a.tif", "b.tif"]},
        )
        header = read_header(path)
        assert header.model_dump(exclude={"scores"}) == written.model_dump(exclude={"scores"})
        assert header.format_version == FORMAT_VERSION
        assert header.model == trained.config
        assert header.backbone_sha256 == BACKBONES["mobile"].sha256
        assert header.classes == CLASSES
        assert header.normalization == RANGE
        assert (header.tile_size_px, header.pixel_size, header.unit) == (224, (0.2, 0.1), "µm")
        assert header.scores["mean_dice"] == 0.91
        assert header.training["data"] == ["a.tif", "b.tif"]
        assert header.versions.keys() == {"napari-sam2-adapters", "torch", "timm", "sam2"}

    @torch.no_grad()
    def test_half_is_half_the_size_and_nearly_the_same(
        self, trained: Segmenter, saved: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / f"half{SUFFIX}"
        write(path, trained, half=True)
        assert path.stat().st_size < 0.55 * saved.stat().st_size
        loaded, _ = load_adapter(path)
        assert all(p.dtype == torch.float32 for p in loaded.parameters())
        wanted = trained(picture())
        assert 0 < (loaded(picture()) - wanted).norm() < 2e-3 * wanted.norm()

    def test_a_loaded_adapter_is_saved_as_the_same_tensors(
        self, saved: Path, tmp_path: Path
    ) -> None:
        loaded, header = load_adapter(saved)
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


class TestWriting:
    """A file with this name is always whole, and nobody's file is lost."""

    def test_it_is_not_overwritten_unless_asked(
        self, trained: Segmenter, saved: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / f"cells{SUFFIX}"
        path.write_bytes(b"precious")
        with pytest.raises(FileExistsError, match=r"is there already\. Choose another name"):
            write(path, trained)
        assert path.read_bytes() == b"precious"
        write(path, trained, overwrite=True)
        assert read_header(path) == read_header(saved)

    @pytest.mark.parametrize("name", ["cells.pt", "cells.safetensors", "cells"])
    def test_another_ending_is_refused(self, trained: Segmenter, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match=r"must end in .* Call it cells\.adapter\.safetensors"):
            write(tmp_path / name, trained)

    def test_a_folded_network_has_nothing_to_save(self, trained: Segmenter, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"was folded .* Save the one that it was folded from"):
            write(tmp_path / f"cells{SUFFIX}", trained.folded())
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="no file size limit on Windows")
    @pytest.mark.parametrize("there_before", [False, True])
    def test_a_full_disk_leaves_no_half_file(
        self, trained: Segmenter, tmp_path: Path, there_before: bool
    ) -> None:
        import resource

        path = tmp_path / f"cells{SUFFIX}"
        if there_before:
            path.write_bytes(b"precious")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(OSError, match=r"could not be written: .* Make room"):
                write(path, trained, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert left == ({path.name: b"precious"} if there_before else {})

    def test_an_interruption_leaves_no_half_file(
        self, trained: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("os.fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / f"cells{SUFFIX}", trained)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="no umask on Windows")
    def test_colleagues_may_read_it(self, saved: Path, tmp_path: Path) -> None:
        usual = tmp_path / "usual"
        usual.touch()
        assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def rewritten(
    source: Path, target: Path, change: Callable[[dict[str, Any]], Any], *, sign: bool = True
) -> Path:
    """Copy a model file with another header, with or without the checksum that belongs to it."""
    import hashlib

    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    content = json.loads(metadata["napari_sam2_adapters"])
    change(content)
    text = json.dumps(content)
    metadata["napari_sam2_adapters"] = text
    if sign:
        metadata["napari_sam2_adapters_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    save_file(load_file(source), target, metadata=metadata)
    return target


class TestRefusals:
    """What cannot be used is refused in a sentence."""

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="There is no model file"):
            load_adapter(tmp_path / f"missing{SUFFIX}")

    @pytest.mark.parametrize("content", [b"", b"hello", bytes(500), b"\xff" * 500])
    def test_no_safetensors(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / f"a{SUFFIX}"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"is damaged or not a safetensors file\. Get the file"
        ):
            load_adapter(path)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_somebody_elses_safetensors(
        self, tmp_path: Path, metadata: dict[str, str] | None
    ) -> None:
        path = tmp_path / f"a{SUFFIX}"
        save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="but not an adapter of this program"):
            load_adapter(path)

    @pytest.mark.parametrize(
        "text", ["", "{", "[1, 2]", "null", "3", '{"format_version": null}', "{}",
                 '{"format_version": Infinity}', "[" * 100_000],
        ids=lambda text: text[:20],
    )  # fmt: skip
    def test_a_header_that_is_none(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / f"a{SUFFIX}"
        save_file({"weight": torch.zeros(3)}, path, metadata={"napari_sam2_adapters": text})
        with pytest.raises(ValueError, match=rf"The header of a{SUFFIX} is damaged"):
            read_header(path)

    def test_a_later_format_is_told_before_anything_else(self, saved: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved,
            tmp_path / f"a{SUFFIX}",
            lambda h: h.update(format_version=FORMAT_VERSION + 1, novelty=1),
            sign=False,
        )
        with pytest.raises(ValueError, match=r"has format 2, .* up to 1\. Update napari-sam2"):
            load_adapter(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda h: h.update(novelty=1), "novelty"),
            (lambda h: h.pop("classes"), "classes"),
            (lambda h: h["model"].update(adapter="none"), r"model\.adapter"),
            (lambda h: h.update(tile_size_px="big"), "tile_size_px"),
        ],
    )
    def test_a_header_with_other_settings(
        self, saved: Path, tmp_path: Path, change: Callable[[Any], Any], message: str
    ) -> None:
        path = rewritten(saved, tmp_path / f"a{SUFFIX}", change)
        with pytest.raises(ValueError, match=rf"header of a{SUFFIX} is not valid: {message}"):
            load_adapter(path)

    def test_a_header_that_was_changed_by_hand(self, saved: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved, tmp_path / f"a{SUFFIX}", lambda h: h.update(tile_size_px=448), sign=False
        )
        with pytest.raises(ValueError, match=r"header .* is damaged"):
            read_header(path)

    def test_another_backbone(self, saved: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved, tmp_path / f"a{SUFFIX}", lambda h: h.update(backbone_sha256="0" * 64)
        )
        with pytest.raises(ValueError, match=r"'mobile' backbone with sha256 0{12}….* Use the"):
            load_adapter(path)

    def test_a_backbone_that_is_not_here(
        self, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(tmp_path / "cache"))
        path = rewritten(
            saved, tmp_path / f"a{SUFFIX}", lambda h: h["model"].update(backbone="tiny")
        )
        with pytest.raises(
            FileNotFoundError, match=r"'tiny' with sha256 .* are not on this machine"
        ):
            load_adapter(path)

    def test_tensors_of_another_network(self, saved: Path, tmp_path: Path) -> None:
        path = rewritten(saved, tmp_path / f"a{SUFFIX}", lambda h: h["model"].update(adapter="hp"))
        with pytest.raises(ValueError, match="do not fit this network: the file lacks"):
            load_adapter(path)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999999])
    def test_half_a_file(self, saved: Path, tmp_path: Path, share: float) -> None:
        content = saved.read_bytes()
        path = tmp_path / f"a{SUFFIX}"
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="is damaged or not a safetensors file"):
            read_header(path)

    def test_one_flipped_bit_in_the_tensors(self, saved: Path, tmp_path: Path) -> None:
        content = bytearray(saved.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        path = tmp_path / f"a{SUFFIX}"
        for at in (start, (start + len(content)) // 2, len(content) - 1):
            content[at] ^= 1
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"weights in .* are damaged \(wrong sha256\)"):
                load_adapter(path)
            content[at] ^= 1

    def test_one_flipped_bit_anywhere_before_the_tensors(self, saved: Path, tmp_path: Path) -> None:
        """Names, shapes and settings: every one of 300 flipped bits is noticed, in a sentence."""
        content = bytearray(saved.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        path = tmp_path / f"a{SUFFIX}"
        dice = random.Random(0)  # noqa: S311
        for _ in range(300):
            at, bit = dice.randrange(start), 1 << dice.randrange(8)
            content[at] ^= bit
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"\. (Get the file|Choose a|Update napari)"):
                load_adapter(path)
            content[at] ^= bit
