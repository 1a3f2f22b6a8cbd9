"""Choice of adapter, backbone and recipe, with what each costs and gives, and the rest folded under Advanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.config import (
    AdapterKind,
    ClassInfo,
    ModelConfig,
    RecipeName,
    TrainConfig,
    describe_errors,
)
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.folded import Folded
from napari_sam2_adapters.widgets.docks.form import SettingsForm
from napari_sam2_adapters.widgets.docks.machine import BackboneOffer, Machine
from napari_sam2_adapters.widgets.docks.marking import mark
from napari_sam2_adapters.widgets.fine_tuning.plan_line import PlanLine
from napari_sam2_adapters.widgets.fine_tuning.start_choice import StartChoice

__all__ = ["TrainingForm"]

ADAPTERS: dict[AdapterKind, tuple[str, str]] = {
    "hp": (
        "HP – high performance",
        "Deformable convolutions, and a head on grey values and edges: the most accurate. Learns slowest, largest file.",
    ),
    "lw": (
        "LW – lightweight",
        "Small convolutions, folded afterwards: segments nearly as fast as the plain backbone.",
    ),
    "lora": (
        "LoRA – low rank",
        "Adjusts the attention only: fewest trained numbers, segments exactly as fast as the plain backbone.",
    ),
}
_ADVANCED_TRAIN = (
    "loss",
    "correct_shares",
    "crf_weight",
    "validate_every",
    "held_out_fraction",
    "calibrate",
    "patience",
    "time_budget_s",
    "batch_size",
    "crop_size_px",
    "learning_rate",
    "recompute",
    "augment",
    "seed",
)
_ADVANCED_MODEL = (
    "decoder",
    "detail",
    "position",
    "reduction",
    "lora_rank",
    "lora_dropout",
    "input_scale",
)
_RECIPES: dict[RecipeName, str] = {
    "interactive": "For most images: they may lie any way round.",
    "upright": "For images that all lie the same way round, such as MR, CT or fundus: left and right then tell structures apart.",
    "paper": "As published: slow, for many densely labelled images.",
}


class TrainingForm(QWidget):
    """What is trained and how.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offers: dict[str, BackboneOffer] = {}
        self.start = StartChoice()
        self.plan = PlanLine(self)
        self.adapter, self.adapter_line = DropDown(), sentence()
        for kind in get_args(AdapterKind):
            self.adapter.addItem(ADAPTERS[kind][0], kind)
        self.backbone, self.backbone_line = DropDown(), sentence("Looking for backbones …")
        self.backbone.addItem(ModelConfig().backbone, ModelConfig().backbone)
        self.plain = SettingsForm(TrainConfig(), ("recipe", "steps"))
        self.recipe_line = sentence()
        self.advanced_train = SettingsForm(TrainConfig(), _ADVANCED_TRAIN)
        self.advanced_model = SettingsForm(ModelConfig(), _ADVANCED_MODEL)
        self.advanced = Folded("Advanced", self.advanced_train, self.advanced_model)
        self._lay_out()
        self.start.changed.connect(self._take_start)
        self.adapter.currentIndexChanged.connect(self._say_adapter)
        self.backbone.currentIndexChanged.connect(self._say_backbone)
        for form in (self.plain, self.advanced_train, self.advanced_model):
            form.changed.connect(self.changed)
        self.plain.changed.connect(self._say_recipe)
        self._say_adapter()
        self._say_recipe()

    @property
    def model(self) -> ModelConfig:
        """Settings of the network; those of the adapter that it goes on from, if any."""
        if self.start.known is not None:
            return self.start.known.model
        chosen = {
            "adapter": self.adapter.currentData(),
            "backbone": self.backbone.currentData(),
        }
        return self.advanced_model.settings.model_copy(update=chosen)

    @property
    def train(self) -> TrainConfig:
        """Settings of the training, but for what label 0 means."""
        plain = self.plain.settings
        return self.advanced_train.settings.model_copy(
            update={"recipe": plain.recipe, "steps": plain.steps}
        )

    def show_plan(self) -> None:
        """Say what the chosen settings will take."""
        self.plan.show_plan(self.model, self.train)

    def take_machine(self, machine: Machine) -> None:
        """List the backbones of this machine."""
        chosen = self.backbone.currentData()
        self._offers = {offer.name: offer for offer in machine.backbones}
        self.backbone.blockSignals(True)
        self.backbone.clear()
        for offer in machine.backbones:
            here = "" if offer.here else f" – not here ({offer.size_mb} MB)"
            self.backbone.addItem(offer.name + here, offer.name)
        self.backbone.setCurrentIndex(max(0, self.backbone.findData(chosen)))
        self.backbone.blockSignals(False)
        self._say_backbone()

    def missing(self, painted: Sequence[ClassInfo] = (), channels: int | None = None) -> str:
        """What stands in the way of a start, in words, marked at its field; empty when nothing does.

        Parameters
        ----------
        painted
            Classes that are labelled.
        channels
            Channels of the images, if known.
        """
        for box, reason in (
            (self.start.box, self.start.problem(painted, channels)),
            (self.backbone, self._missing_weights()),
        ):
            mark(box, bool(reason))
            if reason:
                return reason
        try:
            self.model, self.train  # noqa: B018
        except ValidationError as error:
            return describe_errors(error)
        return ""

    def _missing_weights(self) -> str:
        offer = self._offers.get(self.backbone.currentData())
        if offer is not None and not offer.here:
            return (
                f"The weights of the backbone {offer.name!r} ({offer.size_mb} MB) are not on this machine. Get them in the "
                "Models dock, or choose 'mobile', which is built in."
            )
        return ""

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Start from", self.start)
        form.addRow("Adapter", self.adapter)
        form.addRow(self.adapter_line)
        form.addRow("Backbone", self.backbone)
        form.addRow(self.backbone_line)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self.plain)
        layout.addWidget(self.recipe_line)
        layout.addWidget(self.plan.label)
        layout.addWidget(self.advanced)

    def _take_start(self) -> None:
        """The network of an adapter that is trained further is as it is."""
        known = self.start.known
        for field in (self.adapter, self.backbone, self.advanced_model):
            field.setEnabled(known is None)
        if known is not None:
            self.adapter.setCurrentIndex(self.adapter.findData(known.model.adapter))
            if self.backbone.findData(known.model.backbone) < 0:
                self.backbone.addItem(known.model.backbone, known.model.backbone)
            self.backbone.setCurrentIndex(self.backbone.findData(known.model.backbone))
            self.advanced_model.settings = known.model
        self.changed.emit()

    def _say_adapter(self) -> None:
        self.adapter_line.setText(ADAPTERS[self.adapter.currentData()][1])
        self.changed.emit()

    def _say_recipe(self) -> None:
        self.recipe_line.setText(_RECIPES[self.plain.settings.recipe])

    def _say_backbone(self) -> None:
        offer = self._offers.get(self.backbone.currentData())
        self.backbone_line.setText("" if offer is None else f"{offer.about}.")
        self.changed.emit()
