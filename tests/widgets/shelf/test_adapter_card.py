from pathlib import Path

from napari_sam2_adapters.config import ClassInfo, ModelConfig, Normalization
from napari_sam2_adapters.models.model_file import AdapterHeader
from napari_sam2_adapters.widgets.docks.store import SUFFIX, SavedAdapter
from napari_sam2_adapters.widgets.shelf.adapter_card import adapter_card, mean_dice


def saved(**header: object) -> SavedAdapter:
    content = AdapterHeader(
        model=ModelConfig(adapter="lora", backbone="tiny", input_channels=3),
        backbone_sha256="b" * 64,
        tensors_sha256="a" * 64,
        classes=(
            ClassInfo(value=1, name="<i>cell</i>", color="#e69f00"),
            ClassInfo(value=2, name="border", color="#d55e00"),
        ),
        normalization=Normalization(mode="percentile"),
        tile_size_px=512,
        **header,
    )
    return SavedAdapter(Path(f"/x/a & b{SUFFIX}"), content, "", 1_234_567, 1e9, False)


def test_a_card_says_what_the_file_says() -> None:
    card = adapter_card(
        saved(
            scores={
                "mean_dice": 0.871,
                "mean_dice_before": 0.4,
                "pixels": 52311,
                "dice": {"border": 0.5},
            },
            training={
                "steps": 200,
                "seconds": 83.2,
                "split": "2 slices held out",
                "ended": "Done.",
            },
            pixel_size=(0.5, 0.5),
            unit="micrometer",
            versions={"napari-sam2-adapters": "0.1.0"},
        )
    )
    for part in (
        "<b>a &amp; b</b>",
        '<span style="color:#e69f00">■</span>&nbsp;&lt;i&gt;cell&lt;/i&gt;,',
        "border 0.50",
        "Held-out mean Dice 0.87, 0.40 before training, on 52,311 pixels.",
        "Trained for 200 steps in 83 s. Done. 2 slices held out.",
        "LoRA on tiny, for images with 3 channels of 0.5 µm per pixel, in tiles of 512 px.",
        "The weights of tiny that it was trained on are not here.",
        "1.2 MB, ",
        "made by version 0.1.0, sha256 aaaaaaaaaaaa…",
    ):
        assert part in card


def test_an_adapter_without_scores_says_so() -> None:
    adapter = saved()
    assert mean_dice(adapter) is None
    assert "it has no score" in adapter_card(adapter)
    assert "Trained for" not in adapter_card(adapter)


def test_scores_of_another_program_do_no_harm() -> None:
    odd = saved(scores={"mean_dice": "high", "dice": [1, 2]}, training={"steps": "many"})
    assert "it has no score" in adapter_card(odd)


def test_a_file_that_cannot_be_used_says_why() -> None:
    adapter = SavedAdapter(Path(f"/x/a{SUFFIX}"), None, "a is <damaged>.", 3, 0.0)
    assert adapter_card(adapter) == "<b>a</b><br>a is &lt;damaged&gt;."
    assert mean_dice(adapter) is None
