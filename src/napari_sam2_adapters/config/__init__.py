"""Settings of the model, of training and of prediction.

One class per job makes the form in napari, the YAML file and the check. All of them are frozen and refuse
unknown keys, and each field says in plain words what it does, so that nothing is written twice.
"""

from __future__ import annotations

from napari_sam2_adapters.config.classes import ClassInfo, default_classes, name_anew
from napari_sam2_adapters.config.images import Normalization
from napari_sam2_adapters.config.network import (
    AdapterKind,
    DecoderMode,
    DetailMode,
    ModelConfig,
    PositionMode,
)
from napari_sam2_adapters.config.prediction import PredictConfig, ViewsName, advise_on_views
from napari_sam2_adapters.config.settings import Settings
from napari_sam2_adapters.config.training import LossName, RecipeName, TrainConfig
from napari_sam2_adapters.wording import describe_errors

__all__ = [
    "AdapterKind",
    "ClassInfo",
    "DecoderMode",
    "DetailMode",
    "LossName",
    "ModelConfig",
    "Normalization",
    "PositionMode",
    "PredictConfig",
    "RecipeName",
    "Settings",
    "TrainConfig",
    "ViewsName",
    "advise_on_views",
    "default_classes",
    "describe_errors",
    "name_anew",
]
