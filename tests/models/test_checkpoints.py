from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_sam2_adapters.config import ModelConfig, default_classes
from napari_sam2_adapters.models.backbone_files import BACKBONES, file_sha256, find_weights
from napari_sam2_adapters.models.checkpoints import (
    _LEFT_OUT,
    _OWNED,
    build_segmenter,
    install_backbone,
    load_backbone,
)

State = dict[str, Tensor]

CLASSES = default_classes([1, 2])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache: no test sees the files of whoever runs it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """Write a state in the official format and give its path."""

    def write(content: Any, name: str = "weights.pt") -> Path:
        path = tmp_path / name
        torch.save(content, path)
        return path

    return write


class TestOfficialFormat:
    """Files as Meta offers them, with random weights."""

    def test_the_state_is_that_of_the_official_file(self, official_tiny: State) -> None:
        assert len(official_tiny) == 471
        assert sum(t.numel() for t in official_tiny.values()) == 38_962_754

    def test_every_tensor_of_the_file_has_a_place(self, official_tiny: State) -> None:
        for name in official_tiny:
            assert name.startswith(tuple(_OWNED)) != name.startswith(_LEFT_OUT), name

    def test_it_loads_to_the_last_tensor(
        self, official_tiny: State, store: Callable[..., Path]
    ) -> None:
        path = store({"model": official_tiny})
        backbone, heads, sha256 = load_backbone("tiny", path)
        assert sha256 == file_sha256(path)
        path.unlink()  # what was loaded does not hang on the file
        own = {
            "image_encoder.trunk": backbone.trunk,
            "image_encoder.neck": backbone.neck,
            "sam_prompt_encoder": heads.prompt_encoder,
            "sam_mask_decoder": heads.mask_decoder,
        }
        loaded: State = {"no_mem_embed": backbone.get_parameter("no_mem_embed")}
        for prefix, module in own.items():
            loaded |= {f"{prefix}.{name}": t for name, t in module.state_dict().items()}
        assert loaded.keys() == {n for n in official_tiny if n.startswith(tuple(_OWNED))}
        for name, tensor in loaded.items():
            assert torch.equal(tensor, official_tiny[name]), name

    @pytest.mark.parametrize("adapter", ["hp", "lora"])
    def test_a_segmenter_is_built_on_it(
        self, hollow_tiny: State, store: Callable[..., Path], adapter: str
    ) -> None:
        path = store({"model": hollow_tiny})
        config = ModelConfig(backbone="tiny", adapter=adapter, input_channels=3)
        segmenter = build_segmenter(config, CLASSES, weights=path)
        assert segmenter.backbone_sha256 == file_sha256(path)
        with torch.no_grad():
            logits = segmenter(torch.rand(1, 3, 50, 40))
        assert logits.shape == (1, 2, 50, 40)
        assert logits.isfinite().all()

    def test_loading_leaves_the_global_random_state_alone(
        self, hollow_tiny: State, store: Callable[..., Path]
    ) -> None:
        path, before = store({"model": hollow_tiny}), torch.get_rng_state()
        load_backbone("tiny", path)
        load_backbone("mobile", find_weights("mobile"))
        assert torch.equal(torch.get_rng_state(), before)

    def test_half_precision_files_are_widened(
        self, hollow_tiny: State, store: Callable[..., Path]
    ) -> None:
        path = store({"model": {name: t.half() for name, t in hollow_tiny.items()}})
        backbone, _, _ = load_backbone("tiny", path)
        assert all(p.dtype == torch.float32 for p in backbone.parameters())


class TestRefusals:
    """What is not the backbone is refused in a sentence."""

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (
                lambda s: s.pop("sam_mask_decoder.iou_token.weight"),
                r"lacks the tensor 'heads.mask_decoder.iou_token.weight' \(1 in all\)",
            ),
            (
                lambda s: s.pop("no_mem_embed"),
                r"lacks the tensor 'backbone.no_mem_embed' \(1 in all\)",
            ),
            (
                lambda s: s.update({"sam_mask_decoder.extra": torch.zeros(1)}),
                r"has the foreign tensor 'heads.mask_decoder.extra'",
            ),
            (
                lambda s: s.update(classifier=torch.zeros(1)),
                r"has the tensor 'classifier', which SAM2.1 does not know",
            ),
            (
                lambda s: s.update({"image_encoder.trunk.pos_embed": torch.zeros(1, 112, 14, 14)}),
                r"has another shape for 'backbone.trunk.pos_embed' \(1 in all\)",
            ),
        ],
        ids=["missing", "missing parameter", "foreign", "of another kind", "shape"],
    )
    def test_other_tensors(
        self,
        hollow_tiny: State,
        store: Callable[..., Path],
        spoil: Callable[[Any], Any],
        message: str,
    ) -> None:
        spoil(hollow_tiny)
        with pytest.raises(ValueError, match=rf"^weights\.pt .*{message}.* Choose "):
            load_backbone("tiny", store({"model": hollow_tiny}))

    def test_another_size(self, hollow_tiny: State, store: Callable[..., Path]) -> None:
        with pytest.raises(ValueError, match=r"'small'.* Choose the file sam2.1_hiera_small.pt"):
            load_backbone("small", store({"model": hollow_tiny}))

    @pytest.mark.parametrize(
        "content",
        [
            {"state": {}},
            [1, 2],
            {"model": 3},
            {"model": {1: torch.zeros(1)}},
            {"model": {"no_mem_embed": "text"}},
        ],
    )
    def test_archives_without_a_state(self, store: Callable[..., Path], content: Any) -> None:
        with pytest.raises(ValueError, match="no entry 'model' with named tensors"):
            load_backbone("tiny", store(content))

    @pytest.mark.parametrize(
        "content",
        [b"", b"hello", bytes(1000), b"PK\x03\x04" + bytes(100), b"\x80\x02}q\x00."],
        ids=["empty", "text", "zeros", "broken zip", "bare pickle"],
    )
    def test_no_weight_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pt .*Download the SAM2.1 tiny|no entry"):
            load_backbone("tiny", path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_half_a_file(
        self, hollow_tiny: State, store: Callable[..., Path], share: float
    ) -> None:
        path = store({"model": hollow_tiny})
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="cannot be read as a PyTorch weight file"):
            load_backbone("tiny", path)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # of PyTorch, about what it read there
    def test_flipped_bytes(self, hollow_tiny: State, store: Callable[..., Path]) -> None:
        """Among the names and sizes, where a damaged pickle makes PyTorch stumble in many ways."""
        path = store({"model": hollow_tiny})
        content, dice = path.read_bytes(), random.Random(0)  # noqa: S311
        refused = 0
        for _ in range(20):
            damaged = bytearray(content)
            for _ in range(8):
                damaged[dice.randrange(50_000)] = dice.randrange(256)
            path.write_bytes(damaged)
            try:
                load_backbone("tiny", path)
            except ValueError:
                refused += 1
        assert refused > 15  # a number in the file's own book-keeping may change nothing

    def test_code_in_a_pickle_is_not_run(self, store: Callable[..., Path], tmp_path: Path) -> None:
        mark = tmp_path / "was-run"
        path = store({"model": _Trap(mark)})
        with pytest.raises(ValueError, match="cannot be read as a PyTorch weight file"):
            load_backbone("tiny", path)
        assert not mark.exists()
        torch.load(path, weights_only=False)  # the trap does work where pickles are trusted
        assert mark.exists()

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"There is no file .*missing.pt"):
            load_backbone("tiny", tmp_path / "missing.pt")

    def test_a_name_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no backbone 'huge'. Choose one of mobile, tiny"):
            load_backbone("huge", tmp_path / "missing.pt")

    def test_a_damaged_mobile(self, tmp_path: Path) -> None:
        content = bytearray(find_weights("mobile").read_bytes())
        content[-1000] ^= 1
        path = tmp_path / "mobile.safetensors"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is damaged: its sha256 is .* Install the package"):
            load_backbone("mobile", path)

    def test_a_backbone_that_is_not_here(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"'large' are not on this machine. Download"):
            build_segmenter(ModelConfig(backbone="large"), CLASSES)


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


class TestInstalling:
    """A file of the user's own goes into the cache."""

    def test_it_is_found_afterwards(
        self, hollow_tiny: State, store: Callable[..., Path], cache: Path
    ) -> None:
        source = store({"model": hollow_tiny})
        sha256 = file_sha256(source)
        target = install_backbone("tiny", source)
        assert list(cache.iterdir()) == [target]
        assert target.name == f"tiny-{sha256[:12]}.pt"
        source.unlink()
        segmenter = build_segmenter(ModelConfig(backbone="tiny"), CLASSES)
        assert segmenter.backbone_sha256 == sha256

    def test_the_official_file_keeps_its_name(
        self,
        hollow_tiny: State,
        store: Callable[..., Path],
        cache: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from dataclasses import replace

        source = store({"model": hollow_tiny})
        entry = replace(BACKBONES["tiny"], sha256=file_sha256(source))
        monkeypatch.setitem(BACKBONES, "tiny", entry)
        assert install_backbone("tiny", source) == cache / "sam2.1_hiera_tiny.pt"

    def test_what_is_not_the_backbone_is_not_kept(
        self, hollow_tiny: State, store: Callable[..., Path], cache: Path
    ) -> None:
        hollow_tiny.pop("no_mem_embed")
        with pytest.raises(ValueError, match="lacks the tensor"):
            install_backbone("tiny", store({"model": hollow_tiny}))
        assert not cache.exists()

    def test_a_missing_file_and_a_built_in_backbone_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="There is no file"):
            install_backbone("tiny", tmp_path / "missing.pt")
        with pytest.raises(ValueError, match="'mobile' is built in"):
            install_backbone("mobile", tmp_path / "missing.pt")

    @pytest.mark.parametrize("name", ["sam2.1_hiera_tiny.pt", "tiny-0123456789ab.pt"])
    def test_a_file_of_the_cache_that_changed_since_is_refused(
        self, hollow_tiny: State, store: Callable[..., Path], cache: Path, name: str
    ) -> None:
        """A flipped bit keeps names and shapes, so only the checksum in the name tells."""
        cache.mkdir()
        store({"model": hollow_tiny}).rename(cache / name)
        with pytest.raises(ValueError, match=r"is damaged: its sha256 .* Delete the file"):
            build_segmenter(ModelConfig(backbone="tiny"), CLASSES)

    @pytest.mark.parametrize("name", ["sam2.1_hiera_tiny (1).pt", "sam2.1_hiera_small.pt"])
    def test_other_files_in_the_cache_are_the_users_own(
        self, hollow_tiny: State, store: Callable[..., Path], cache: Path, name: str
    ) -> None:
        """Nobody should delete a good file because a browser, or another backbone, gave it its name."""
        cache.mkdir()
        path = store({"model": hollow_tiny}).rename(cache / name)
        assert load_backbone("tiny", path)[2] == file_sha256(path)
        with pytest.raises(ValueError, match="does not hold the backbone 'large'"):
            load_backbone("large", path)


class TestMobile:
    """The backbone that is in the package."""

    def test_it_is_what_the_table_says(self) -> None:
        path = find_weights("mobile")
        assert file_sha256(path) == BACKBONES["mobile"].sha256
        assert path.stat().st_size <= 21e6

    def test_all_of_it_is_loaded_as_it_is_stored(self) -> None:
        from safetensors.torch import load_file

        backbone, heads, _ = load_backbone("mobile", find_weights("mobile"))
        stored = load_file(find_weights("mobile"))
        loaded = backbone.state_dict() | heads.state_dict()
        assert loaded.keys() == stored.keys()
        assert all(torch.equal(loaded[n], t.float()) for n, t in stored.items())

    def test_it_is_built_without_a_file_or_a_network(self) -> None:
        segmenter = build_segmenter(ModelConfig(), CLASSES)
        assert segmenter.backbone_sha256 == BACKBONES["mobile"].sha256
        assert isinstance(segmenter.backbone, nn.Module)
        assert segmenter(torch.rand(1, 1, 40, 40)).shape == (1, 2, 40, 40)
