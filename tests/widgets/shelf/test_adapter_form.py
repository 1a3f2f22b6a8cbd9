"""The choice of an adapter stays the user's, whatever happens in the folder."""

from __future__ import annotations

import os

import pytest

from napari_sam2_adapters.widgets.batches.batch_form import BatchForm
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.store import rename_adapter
from napari_sam2_adapters.widgets.shelf.adapter_form import AdapterForm

WAIT_MS = 120_000


@pytest.fixture
def old(saved_adapter):
    """The older one of two adapters, so that it is not the first choice."""
    path = saved_adapter("old")
    saved_adapter("new", seed=1)
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def form(qtbot, old) -> AdapterForm:
    made = AdapterForm()
    qtbot.addWidget(made)
    made.list_models()
    made.open_model(old)
    qtbot.waitUntil(lambda: made.header is not None, timeout=WAIT_MS)
    return made


def texts(form: AdapterForm) -> set[str]:
    return {form.models.itemText(row) for row in range(form.models.count())}


def test_a_renamed_adapter_stays_chosen(form, qtbot, old) -> None:
    header = form.header
    renamed = rename_adapter(old, "my best")
    qtbot.waitUntil(lambda: form.model == renamed and form.missing() == "", timeout=WAIT_MS)
    assert form.header == header
    assert texts(form) == {"new", "my best"}


@pytest.mark.parametrize("on_purpose", [True, False])
def test_an_adapter_that_is_gone_is_replaced_by_nobody_but_the_user(
    qtbot, saved_adapter, old, on_purpose: bool
) -> None:
    form = AdapterForm()
    qtbot.addWidget(form)
    form.list_models()
    if on_purpose:
        form.open_model(old)
    qtbot.waitUntil(lambda: form.header is not None, timeout=WAIT_MS)
    chosen = form.model
    assert (chosen == old) is on_purpose
    saved_adapter("third", seed=2)
    chosen.unlink()
    title = "old" if on_purpose else "new"
    qtbot.waitUntil(lambda: f"{title} – no longer there" in texts(form), timeout=WAIT_MS)
    assert form.model == chosen
    assert "choose another one" in form.missing()
    assert "renamed, moved or deleted" in form.card.text()
    form.models.setCurrentIndex(form.models.findText("third"))
    qtbot.waitUntil(lambda: form.missing() == "", timeout=WAIT_MS)
    saved_adapter("fourth", seed=3)
    qtbot.waitUntil(lambda: "fourth" in texts(form), timeout=WAIT_MS)
    assert not any("no longer there" in text for text in texts(form))


def test_a_tile_that_was_set_by_hand_stays_until_another_adapter_is_chosen(
    qtbot, saved_adapter
) -> None:
    saved_adapter("old")
    form = BatchForm(sentence())
    qtbot.addWidget(form)
    qtbot.waitUntil(lambda: form.adapter.header is not None, timeout=WAIT_MS)
    assert form.settings.settings.tile_size_px == 64
    form.settings.settings = form.settings.settings.model_copy(update={"tile_size_px": 448})
    with qtbot.waitSignal(form.adapter.known, timeout=WAIT_MS):
        other = saved_adapter("new", seed=1)
    assert form.settings.settings.tile_size_px == 448
    form.adapter.open_model(other)
    qtbot.waitUntil(lambda: form.settings.settings.tile_size_px == 64, timeout=WAIT_MS)
