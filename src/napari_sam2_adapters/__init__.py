"""Prompt-free, multi-class segmentation of biomedical images with small adapters on a frozen SAM2.

The names below are all that most scripts need. They are loaded on first use, so that importing the package is quick and
asks for no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.evaluate import evaluate
    from napari_sam2_adapters.inference.predict import predict
    from napari_sam2_adapters.models.checkpoints import build_segmenter
    from napari_sam2_adapters.models.model_file import load_adapter, save_adapter
    from napari_sam2_adapters.training.train import train

__all__ = ["build_segmenter", "evaluate", "load_adapter", "predict", "save_adapter", "train"]

_HOME = {
    "build_segmenter": "models.checkpoints",
    "evaluate": "inference.evaluate",
    "load_adapter": "models.model_file",
    "predict": "inference.predict",
    "save_adapter": "models.model_file",
    "train": "training.train",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that are not loaded yet."""
    return sorted({*globals(), *__all__})
