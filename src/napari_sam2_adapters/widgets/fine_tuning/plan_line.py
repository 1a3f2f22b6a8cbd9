"""The line that says, before the start, what a training will take."""

from __future__ import annotations

from qtpy.QtCore import QObject

from napari_sam2_adapters.config import ModelConfig, TrainConfig
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.fine_tuning.speed import Outlook, look_ahead, plan_sentence

__all__ = ["PlanLine"]


class PlanLine(QObject):
    """Keeps a label at what device, memory and measured speeds say of a plan.

    Parameters
    ----------
    parent
        Qt parent.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.label = sentence()
        self._outlook: Outlook | None = None
        self._plan: tuple[ModelConfig, TrainConfig] | None = None
        self._looking = Question(self)
        self._looking.answered.connect(self._take_outlook)
        self._looking.failed.connect(self.label.setText)

    def look(self) -> None:
        """Ask again, in a worker, for memory and speeds."""
        self._looking.ask(look_ahead)

    def show_plan(self, model: ModelConfig, train: TrainConfig) -> None:
        """Say what these settings will take."""
        self._plan = model, train
        if self._outlook is not None:
            self.label.setText(plan_sentence(self._outlook, model, train))

    def _take_outlook(self, outlook: Outlook) -> None:
        self._outlook = outlook
        if self._plan is not None:
            self.show_plan(*self._plan)
