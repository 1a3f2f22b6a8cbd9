from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2_adapters.config import ClassInfo, ModelConfig, default_classes
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

FAMILIES = ("hiera", "mobile")
ADAPTERS = ("hp", "lw", "lora")

Parts = Callable[[str], Any]
Build = Callable[..., Segmenter]


def picture(height: int = 64, width: int = 96, channels: int = 1, batch: int = 1) -> Tensor:
    return torch.rand(
        batch, channels, height, width, generator=torch.Generator().manual_seed(height)
    )


class TestImages:
    """Images of any size, in batches, with any number of channels."""

    @pytest.mark.parametrize("size", [(33, 517), (224, 224), (1000, 30), (2, 2), (2, 45), (65, 3)])
    @pytest.mark.parametrize("family", FAMILIES)
    @torch.no_grad()
    def test_any_size_comes_back(
        self, segmenter_of: Build, family: str, size: tuple[int, int]
    ) -> None:
        logits = segmenter_of(family)(picture(*size))
        assert logits.shape == (1, 3, *size)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()

    @torch.no_grad()
    def test_an_odd_size_is_the_mirrored_image_cropped(self, segmenter_of: Build) -> None:
        segmenter, image = segmenter_of("hiera"), picture(50, 70)
        whole = F.pad(image, (0, 26, 0, 14), mode="reflect")
        assert torch.equal(segmenter(image), segmenter(whole)[:, :, :50, :70])

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
    def test_a_line_is_refused(self, segmenter_of: Build, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=f"is {size[0]}×{size[1]} px, but at least 2×2 px"):
            segmenter_of("hiera")(picture(*size))

    @pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 32, 32), (32, 32)])
    def test_another_shape_is_refused(self, segmenter_of: Build, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"takes \(batch, 1, height, width\)"):
            segmenter_of("hiera")(torch.rand(shape))

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("family", FAMILIES)
    @torch.no_grad()
    def test_a_batch_is_its_images(
        self,
        segmenter_of: Build,
        disturbed: Build,
        relative: Callable[[Tensor, Tensor], float],
        family: str,
        adapter: str,
    ) -> None:
        segmenter, images = disturbed(segmenter_of(family, adapter)), picture(64, 48, batch=3)
        one_by_one = torch.cat([segmenter(image[None]) for image in images])
        assert relative(segmenter(images), one_by_one) <= 1e-5

    @torch.no_grad()
    def test_one_channel_is_grey(self, segmenter_of: Build) -> None:
        grey = picture()
        rgb = segmenter_of("hiera", input_channels=3)(grey.expand(-1, 3, -1, -1))
        assert torch.equal(segmenter_of("hiera")(grey), rgb)

    @pytest.mark.parametrize("channels", [2, 4, 7])
    @torch.no_grad()
    def test_other_channel_counts_are_averaged_at_first(
        self, segmenter_of: Build, channels: int
    ) -> None:
        image = picture(channels=channels)
        mixed = torch.stack([image[:, i::3].mean(1) for i in range(3)], 1) if channels > 2 else None
        if mixed is None:
            mixed = torch.cat([image, image.mean(1, keepdim=True)], 1)
        wanted = segmenter_of("hiera", input_channels=3)(mixed)
        got = segmenter_of("hiera", input_channels=channels)(image)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    def test_input_scale_looks_at_a_larger_image(self, segmenter_of: Build) -> None:
        image = picture()
        large = F.interpolate(image, (128, 192), mode="bilinear", align_corners=False)
        seen = segmenter_of("hiera")(large)
        wanted = F.interpolate(seen, (64, 96), mode="bilinear", align_corners=False, antialias=True)
        got = segmenter_of("hiera", input_scale=2.0)(image)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("scale", [0.25, 0.7, 1.5])
    @torch.no_grad()
    def test_any_input_scale_gives_the_size_of_the_image(
        self, segmenter_of: Build, scale: float
    ) -> None:
        segmenter = segmenter_of("hiera", input_scale=scale)
        for size in ((2, 2), (33, 47)):
            assert segmenter(picture(*size)).shape[2:] == size

    @torch.no_grad()
    def test_paper_mode_does_not_see_sam2s_position(self, parts: Parts) -> None:
        logits = []
        for shift in (0.0, 1.0):
            backbone, heads = parts("hiera")
            backbone.trunk.pos_embed.data.add_(shift)
            heads.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.add_(shift)
            config = ModelConfig(backbone="tiny", position="peg")
            logits.append(assemble(backbone, heads, config, default_classes([1, 2]))(picture()))
        assert torch.equal(*logits)

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_half_precision_stays_close(
        self, segmenter_of: Build, disturbed: Build, adapter: str
    ) -> None:
        segmenter = disturbed(segmenter_of("mobile", adapter), 0.01)
        with torch.no_grad():
            exact = segmenter(picture())
            with torch.autocast("cpu", torch.bfloat16):
                rough = segmenter(picture())
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.1 * exact.norm()


class TestClasses:
    """A segmentation has at least two classes that can be told apart."""

    def test_one_class_is_refused(self, parts: Parts) -> None:
        with pytest.raises(ValueError, match="at least two classes, got 1"):
            assemble(*parts("hiera"), ModelConfig(), default_classes([4]))

    @pytest.mark.parametrize(
        ("second", "message"),
        [((1, "b"), "the value 1"), ((2, "a"), "the name a")],
        ids=["value", "name"],
    )
    def test_twins_are_refused(self, parts: Parts, second: tuple[int, str], message: str) -> None:
        classes = [ClassInfo(value=v, name=n) for v, n in ((1, "a"), second)]
        with pytest.raises(ValueError, match=message):
            assemble(*parts("hiera"), ModelConfig(), classes)

    def test_the_logits_have_their_order(self, segmenter_of: Build) -> None:
        segmenter = segmenter_of("hiera", n_classes=5)
        assert segmenter.n_classes == 5
        assert [c.value for c in segmenter.classes] == [1, 2, 3, 4, 5]
        assert segmenter(picture(32, 32)).shape[1] == 5

    def test_something_else_than_a_network_is_refused(self, parts: Parts) -> None:
        _, heads = parts("hiera")
        with pytest.raises(TypeError, match="must be a torch module, got str"):
            assemble("tiny", heads, ModelConfig(), default_classes([1, 2]))  # type: ignore[arg-type]
