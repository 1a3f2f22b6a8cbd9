"""The user's preferences: a page in napari's Preferences, read here and handed to the floors below.

napari 0.9 and later show the page that `napari.yaml` describes under ``configurations``; older ones have none, and the defaults hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from qtpy.QtCore import QObject, Signal

from napari_sam2_adapters.config import Settings

__all__ = [
    "PLUGIN",
    "Preferences",
    "apply_preferences",
    "can_be_changed",
    "change_preference",
    "preferences",
    "watch_preferences",
]

PLUGIN = "napari-sam2-adapters"
_PAGE = "general"
_GIVEN: dict[str, str] = {}
"""Environment variables that were set from the preferences, and to what."""


class Preferences(Settings):
    """What a person sets once for all docks; the manifest repeats it, and a test holds the two together."""

    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Field(
            title="Device",
            description="Where networks are trained and used; auto takes a GPU when there is one.",
        ),
    ] = "auto"
    threads: Annotated[
        int,
        Field(
            ge=0,
            le=256,
            title="Processor threads (0: all cores but one)",
            description="Threads that a training or segmentation may use; 0 leaves one core to the viewer and takes the rest.",
        ),
    ] = 0
    memory_percent: Annotated[
        int,
        Field(
            ge=5,
            le=100,
            title="Memory that may be taken (%)",
            description="Share of the main memory below which trainings and segmentations choose their batches and tiles.",
        ),
    ] = 80
    cache_folder: Annotated[
        str,
        Field(
            title="Folder of the backbones (empty: the usual one)",
            description="Where downloaded backbones are kept; empty for the usual cache folder of this user.",
        ),
    ] = ""
    autosave_minutes: Annotated[
        int,
        Field(
            ge=0,
            le=60,
            title="Minutes between autosaves (0: before trainings only)",
            description="Strokes are saved before each training and this often while Fine-tune is open; 0 saves before trainings only.",
        ),
    ] = 1


def preferences() -> Preferences:
    """The preferences as they stand now."""
    stored = _stored()
    if stored is None:
        return Preferences()
    values = {name: getattr(stored, name) for name in Preferences.model_fields}
    try:
        return Preferences(**values)
    except ValidationError:  # written by hand or by another version; napari's page shows what holds
        return Preferences()


def apply_preferences(*_: object) -> None:
    """Hand device, share of the memory and cache folder to the floors below, which know environment variables only.

    A variable that the user has set wins over the page.
    """
    wanted = preferences()
    folder = str(wanted.cache_folder).strip()
    _give("SAM2_ADAPTERS_CACHE", os.path.expanduser(folder) if folder else "")  # noqa: PTH111 (text in, text out)
    _give("SAM2_ADAPTERS_DEVICE", "" if wanted.device == "auto" else wanted.device)
    share = wanted.memory_percent
    _give(
        "SAM2_ADAPTERS_MEMORY_SHARE",
        "" if share == Preferences().memory_percent else str(share / 100),
    )


def watch_preferences(callback: Callable[..., None]) -> None:
    """Call ``callback(event)`` whenever the user changes a preference; a method only as long as its widget lives."""
    stored = _stored()
    if stored is None:
        return
    if _RELAY.pass_on not in stored.events.callbacks:
        stored.events.connect(_RELAY.pass_on)
    _RELAY.changed.connect(callback)


def can_be_changed() -> bool:
    """Whether this napari keeps preferences of plugins."""
    return _stored() is not None


def change_preference(name: str, value: object) -> None:
    """Set a preference as its page would; napari writes it down.

    Raises
    ------
    ValueError
        When this napari keeps no preferences of plugins.
    """
    stored = _stored()
    if stored is None:
        raise ValueError(
            "This napari keeps no preferences of plugins. Update it to 0.9, or set SAM2_ADAPTERS_CACHE."
        )
    setattr(stored, name, value)
    apply_preferences()


class _Relay(QObject):
    """Passes changes on as a Qt signal, which forgets widgets that are gone."""

    changed = Signal(object)

    def pass_on(self, event: object) -> None:
        """Tell who listens."""
        self.changed.emit(event)


_RELAY = _Relay()


def _stored() -> Any:
    """Napari's object for our page, None where there is none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    return getattr(get_plugin_settings().get(PLUGIN), _PAGE, None)


def _give(variable: str, value: str) -> None:
    """Set an environment variable, unless the user has set it to something else."""
    if os.environ.get(variable, "") != _GIVEN.get(variable, ""):
        return
    if value:
        os.environ[variable] = _GIVEN[variable] = value
    elif variable in _GIVEN:
        del os.environ[variable], _GIVEN[variable]
