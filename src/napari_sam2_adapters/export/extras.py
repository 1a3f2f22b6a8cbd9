"""Packages that only an export needs; they come with an extra of this one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

__all__ = ["BIOIMAGEIO", "ONNX", "MissingExtraError", "require"]

ONNX = "onnx"
"""The extra with what writes and checks ONNX files."""
BIOIMAGEIO = "bioimageio"
"""The extra with what writes and tests bioimage.io packages."""
_PACKAGES: dict[str, Sequence[str]] = {
    ONNX: ("onnx", "onnxscript", "onnxruntime"),
    BIOIMAGEIO: ("bioimageio.spec", "bioimageio.core"),
}


class MissingExtraError(RuntimeError):
    """A package of an extra is not installed; the message names the extra."""


def require(*extras: str) -> None:
    """Find out whether the packages of these extras are here.

    Raises
    ------
    MissingExtraError
        When one is not, with the command that installs it.
    """
    for extra in extras:
        for package in _PACKAGES[extra]:
            try:
                import_module(package)
            except ImportError as error:
                raise MissingExtraError(
                    f"This export needs the package {package}, which cannot be imported here. "
                    f'Install it with: pip install "napari-sam2-adapters[{extra}]"'
                ) from error
