"""The form of Fine-tune: what is chosen is explained."""

from typing import get_args

from qtpy.QtWidgets import QComboBox

from napari_sam2_adapters.config import RecipeName
from napari_sam2_adapters.widgets.fine_tuning.training_form import TrainingForm


def test_each_recipe_says_when_to_take_it(qtbot) -> None:
    form = TrainingForm()
    qtbot.addWidget(form)
    recipe = form.findChild(QComboBox, "recipe")
    advice = set()
    for name in get_args(RecipeName):
        recipe.setCurrentIndex(recipe.findData(name))
        assert form.train.recipe == name
        advice.add(form.recipe_line.text())
    assert len(advice) == len(get_args(RecipeName))
    assert "" not in advice
