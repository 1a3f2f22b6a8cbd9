import pytest
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QSpinBox

from napari_sam2_adapters.config import ModelConfig, PredictConfig, Settings, TrainConfig
from napari_sam2_adapters.widgets.docks.form import SettingsForm

NOT_NUMBERS = {"backbone"}


@pytest.mark.parametrize("settings", [TrainConfig(), PredictConfig(), ModelConfig()])
def test_a_form_gives_back_what_it_was_given(qtbot, settings: Settings) -> None:
    fields = [name for name in type(settings).model_fields if name not in NOT_NUMBERS]
    form = SettingsForm(settings, fields)
    qtbot.addWidget(form)
    assert form.settings == settings


def test_values_are_set_and_read(qtbot) -> None:
    form = SettingsForm(
        TrainConfig(), ["steps", "time_budget_s", "patience", "learning_rate", "loss"]
    )
    qtbot.addWidget(form)
    wanted = TrainConfig(
        steps=77, time_budget_s=12.5, patience=3, learning_rate=0.002, loss="thin", seed=5
    )
    form.settings = wanted
    assert form.settings == wanted  # the seed has no control and is kept too


def test_controls_have_the_bounds_and_words_of_the_settings(qtbot) -> None:
    form = SettingsForm(TrainConfig(), ["crop_size_px", "recipe"])
    qtbot.addWidget(form)
    crop = form.findChild(QSpinBox, "crop_size_px")
    assert (crop.minimum(), crop.maximum()) == (32, 2048)
    assert crop.toolTip() == TrainConfig.model_fields["crop_size_px"].description
    recipe = form.findChild(QComboBox, "recipe")
    assert [recipe.itemData(i) for i in range(recipe.count())] == [
        "interactive",
        "upright",
        "paper",
    ]
    crop.setValue(230)  # not a multiple of 32
    assert form.settings.crop_size_px == 224


def test_a_change_is_told(qtbot) -> None:
    form = SettingsForm(TrainConfig(), ["steps"])
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.changed, timeout=60_000):
        form.findChild(QSpinBox, "steps").setValue(3)
    assert form.settings.steps == 3


def test_a_field_without_a_value_says_what_that_means(qtbot) -> None:
    form = SettingsForm(TrainConfig(), ("validate_every", "patience", "learning_rate"))
    qtbot.addWidget(form)
    boxes = {
        box.objectName(): box for box in form.findChildren(QAbstractSpinBox) if box.objectName()
    }
    assert {name: box.text() for name, box in boxes.items()} == {
        "validate_every": "by the length of the run",
        "patience": "never",
        "learning_rate": "the recipe's own",
    }
    assert form.settings.validate_every is None
