"""Packages that only an export needs; they come with an extra of this one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

__all__ = ["BIOIMAGEIO", "ONNX", "MissingExtraError", "require"]

ONNX = "onnx"
"""The extra with what writes and checks ONNX files."""
BIOIMAGEIO = "bioimageio"
"""The extra with what writes and tests bioimage.io packages."""
_PACKAGES: dict[str, Sequence[str]] = {
    ONNX: ("onnx", "onnxscript", "onnxruntime"),
    BIOIMAGEIO: ("bioimageio.spec", "bioimageio.core"),
}


# Official builds of onnxruntime tell Microsoft what they do, from the moment they are imported, unless this is set before.
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


class MissingExtraError(RuntimeError):
    """A package of an extra is not installed; the message names the extra."""


# bioimageio.spec hands pydantic's serialisers a wrong argument until 0.5.14, and pydantic refuses it from 2.14 on. Every bioimageio.core up
# to 0.11 is bound to such a bioimageio.spec.
_STRICT_PYDANTIC = (2, 14)
_FIRST_MENDED_SPEC = (0, 5, 14)


def require(*extras: str) -> None:
    """Import the packages of these extras, with onnxruntime's telemetry off unless the environment says otherwise.

    Raises
    ------
    MissingExtraError
        When one is not, or is there in a version that cannot work, with the command that installs it.
    """
    os.environ.setdefault(_NO_TELEMETRY, "1")
    for extra in extras:
        for package in _PACKAGES[extra]:
            try:
                import_module(package)
            except ImportError as error:
                raise MissingExtraError(
                    f"This export needs the package {package}, which cannot be imported here. "
                    f'Install it with: pip install "napari-sam2-adapters[{extra}]"'
                ) from error
    if BIOIMAGEIO in extras:
        _check_pydantic()


def _check_pydantic() -> None:
    import pydantic

    major, minor = (int(part) for part in pydantic.VERSION.split(".")[:2])
    spec = tuple(int(part) for part in version("bioimageio.spec").split(".")[:3])
    if (major, minor) >= _STRICT_PYDANTIC and spec < _FIRST_MENDED_SPEC:
        raise MissingExtraError(
            f"bioimageio.spec {version('bioimageio.spec')} does not work with pydantic {pydantic.VERSION}. "
            f'Install one that it works with: pip install "napari-sam2-adapters[{BIOIMAGEIO}]"'
        )
