from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_sam2_adapters.models.model_file import (
    FORMAT_VERSION,
    SUFFIX,
    load_adapter,
    read_header,
)


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
        with pytest.raises(FileNotFoundError, match="There is no adapter file"):
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

    def test_a_later_format_is_told_before_anything_else(
        self, saved_mobile: Path, tmp_path: Path
    ) -> None:
        path = rewritten(
            saved_mobile,
            tmp_path / f"a{SUFFIX}",
            lambda h: h.update(format_version=FORMAT_VERSION + 1, novelty=1),
            sign=False,
        )
        with pytest.raises(ValueError, match=r"has format 3, .* up to 2\. Update napari-sam2"):
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
        self, saved_mobile: Path, tmp_path: Path, change: Callable[[Any], Any], message: str
    ) -> None:
        path = rewritten(saved_mobile, tmp_path / f"a{SUFFIX}", change)
        with pytest.raises(ValueError, match=rf"header of a{SUFFIX} is not valid: {message}"):
            load_adapter(path)

    def test_a_header_that_was_changed_by_hand(self, saved_mobile: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved_mobile, tmp_path / f"a{SUFFIX}", lambda h: h.update(tile_size_px=448), sign=False
        )
        with pytest.raises(ValueError, match=r"header .* is damaged"):
            read_header(path)

    def test_another_backbone(self, saved_mobile: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved_mobile, tmp_path / f"a{SUFFIX}", lambda h: h.update(backbone_sha256="0" * 64)
        )
        with pytest.raises(ValueError, match=r"'mobile' backbone with sha256 0{12}….* Use the"):
            load_adapter(path)

    def test_a_backbone_that_is_not_here(
        self, saved_mobile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(tmp_path / "cache"))
        path = rewritten(
            saved_mobile, tmp_path / f"a{SUFFIX}", lambda h: h["model"].update(backbone="tiny")
        )
        with pytest.raises(
            FileNotFoundError, match=r"'tiny' with sha256 .* are not on this machine"
        ):
            load_adapter(path)

    def test_tensors_of_another_network(self, saved_mobile: Path, tmp_path: Path) -> None:
        path = rewritten(
            saved_mobile, tmp_path / f"a{SUFFIX}", lambda h: h["model"].update(adapter="hp")
        )
        with pytest.raises(ValueError, match="do not fit this network: the file lacks"):
            load_adapter(path)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999999])
    def test_half_a_file(self, saved_mobile: Path, tmp_path: Path, share: float) -> None:
        content = saved_mobile.read_bytes()
        path = tmp_path / f"a{SUFFIX}"
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="is damaged or not a safetensors file"):
            read_header(path)

    def test_one_flipped_bit_in_the_tensors(self, saved_mobile: Path, tmp_path: Path) -> None:
        content = bytearray(saved_mobile.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        path = tmp_path / f"a{SUFFIX}"
        for at in (start, (start + len(content)) // 2, len(content) - 1):
            content[at] ^= 1
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"weights in .* are damaged \(wrong sha256\)"):
                load_adapter(path)
            content[at] ^= 1

    def test_one_flipped_bit_anywhere_before_the_tensors(
        self, saved_mobile: Path, tmp_path: Path
    ) -> None:
        """Names, shapes and settings: every one of 300 flipped bits is noticed, in a sentence."""
        content = bytearray(saved_mobile.read_bytes())
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
