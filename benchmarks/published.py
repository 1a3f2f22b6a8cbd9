"""What others report for the same data sets, for orientation beside our numbers."""

from __future__ import annotations

__all__ = ["CAVEATS", "PUBLISHED"]

_PAPER = "Mitsuoka & Hotta (arXiv 2605.05979)"

PUBLISHED: dict[str, tuple[str, ...]] = {
    "isbi2012": (
        f"{_PAPER}, all training images: mIoU HP 77.51 %, LW 77.04 % (17.58 GMACs), SAM2 with a tuned decoder 57.85 %.",
        "GSAM 80.5 %; AdaptFormer on SAM at 1024 px 80.46 %; a small U-Net trained 600 steps on the same protocol here 76.3 %.",
    ),
    "kvasir_seg": (
        f"{_PAPER}, all training images: mIoU HP 85.84 %, SAM2 with a tuned decoder 82.99 %.",
    ),
    "acdc": (
        f"{_PAPER}, all training images: mIoU HP 85.20 %, SAM2 with a tuned decoder 81.14 %.",
    ),
    "drive": (
        "Dice of specialised networks levels off at about 0.83; SAM2LoRA (arXiv 2510.10288) reports vessel Dice up to 0.86.",
    ),
}

CAVEATS = (
    "Published numbers are not the same experiment: they are taken from public summaries; the paper trains SAM2's Hiera for 200 epochs, ours is the "
    "built-in `mobile` backbone and 300 steps unless said otherwise; its protocol is read from the same laboratory's earlier code, and its splits of "
    "Kvasir-SEG and ACDC are not known to be ours (ACDC here: odd patients only, by patient)."
)
