"""A trained adapter in a file of the user's choice."""

from __future__ import annotations

from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sam2_adapters.widgets.docks.log import log_error, show_failure, told
from napari_sam2_adapters.widgets.docks.store import SUFFIX, new_adapter_path, with_suffix
from napari_sam2_adapters.widgets.fine_tuning.messages import FineTuned
from napari_sam2_adapters.widgets.fine_tuning.training import save_fine_tuned

__all__ = ["ask_and_save"]


def ask_and_save(parent: QWidget, result: FineTuned) -> None:
    """Ask for a place and save the adapter there.

    Parameters
    ----------
    parent
        Qt parent of the dialog.
    result
        What was trained.
    """
    suggestion = result.path or new_adapter_path(result.request.title)
    chosen, _ = QFileDialog.getSaveFileName(
        parent, "Save adapter", str(suggestion), f"Adapters (*{SUFFIX})"
    )
    if not chosen:
        return
    path = Path(chosen)
    asked = path.name.endswith(SUFFIX)  # the dialog has, about exactly this name
    path = with_suffix(path)
    try:
        save_fine_tuned(result, path, overwrite=asked)
    except OSError as error:
        log_error(error, "saving an adapter")
        show_failure(told(error))
    else:
        show_info(f"Saved {path.name}.")
