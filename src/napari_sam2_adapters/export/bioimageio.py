"""A bioimage.io package of a trained adapter, as its specification 0.5 describes models.

The weights are ONNX. The specification also takes PyTorch, but then the network's code has to go along, and ours is spread over
several packages. Nothing here uses the network: a package names no addresses and no accounts, which are what `bioimageio.spec` would look
up, and only local files are packed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import ValidationError

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.export.extras import BIOIMAGEIO, ONNX, require
from napari_sam2_adapters.export.model_description import describe_model
from napari_sam2_adapters.export.onnx import (
    Exported,
    Translated,
    check_target,
    translate,
)
from napari_sam2_adapters.export.package_files import (
    draw_cover,
    make_test_pair,
    write_documentation,
)
from napari_sam2_adapters.export.package_info import PackageInfo
from napari_sam2_adapters.models.model_file import SUFFIX
from napari_sam2_adapters.wording import shortened

__all__ = ["PackageTestError", "export_bioimageio"]

_LONGEST_FINDING = 200
"""Of what is said of a licence, all that there are are a list of some thousand words."""
_REFUSED_IN_NAMES = re.compile(r"[^A-Za-z0-9_+\- ()]+")


class PackageTestError(RuntimeError):
    """The package did not pass the test of bioimageio.core."""


def export_bioimageio(
    model: Path,
    output: Path,
    info: PackageInfo,
    *,
    tile_size_px: int | None = None,
    overwrite: bool = False,
) -> Generator[str, None, Exported]:
    """Write a model file as a bioimage.io package, once `bioimageio.core` has validated and run it.

    Yields what it is about to do, in words. Nothing is left behind when it is closed or fails at any point.

    Parameters
    ----------
    model
        The model file, ``NAME.adapter.safetensors``.
    output
        The file to write; its name must end in ``.zip``.
    info
        What the package says beside what the model file says.
    tile_size_px
        Side of the tiles; that of the model file when None.
    overwrite
        Replace a file that is there.

    Raises
    ------
    MissingExtraError
        When a package of the extras ``onnx`` and ``bioimageio`` is not here.
    FileExistsError
        When the file is there and ``overwrite`` was not given.
    ValueError
        When no author is named, or another entry, a name, the tile or a file is not usable.
    DisagreementError
        When onnxruntime's result is not PyTorch's.
    PackageTestError
        When `bioimageio.core` cannot run the package or gets another result.
    """
    require(ONNX, BIOIMAGEIO)
    check_target(output, ".zip", overwrite=overwrite)
    _check_info(info)
    translated = yield from translate(model, tile_size_px)
    yield "Making test image, cover and description"
    # bioimageio.spec leaves files open for a while, which Windows then does not delete.
    temporary = TemporaryDirectory(prefix="sam2-adapters-", ignore_cleanup_errors=True)
    with temporary as folder, _quiet():
        package = Path(folder) / "package.zip"
        _pack(package, translated, info, model.name.removesuffix(SUFFIX))
        yield "Testing the package with bioimageio.core"
        _test(package)
        yield "Writing the file"
        content = package.read_bytes()
    write_atomically(output, lambda file: file.write(content), overwrite=overwrite)
    passed = f"bioimageio.core {version('bioimageio.core')} validated the package and got the same from it."
    return Exported(output, translated.agreement, passed)


def _check_info(info: PackageInfo) -> None:
    if not [name for name in info.authors if name.strip()]:
        raise ValueError(
            "A bioimage.io package names who made the model. Give at least one author."
        )
    for path in (info.documentation, info.cover, info.image):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"There is no file {path}. Check the path.")


def _pack(package: Path, translated: Translated, info: PackageInfo, title: str) -> None:
    from bioimageio.spec import ValidationContext, save_bioimageio_package

    folder = package.parent
    name = _REFUSED_IN_NAMES.sub("-", info.name or f"{title} (SAM2 adapter)").strip()[:128]
    pair = make_test_pair(translated, info.image)
    (folder / "network.onnx").write_bytes(translated.content)
    np.save(folder / "test_input.npy", pair.grey)
    np.save(folder / "test_output.npy", pair.probabilities)
    cover, documentation = info.cover, info.documentation
    if cover is None:
        cover = folder / "cover.png"
        draw_cover(cover, pair, translated.header.classes)
    if documentation is None:
        documentation = folder / "README.md"
        write_documentation(documentation, translated, name)
    with ValidationContext(log_warnings=False):
        try:
            description = describe_model(
                folder, translated, info, name, cover.absolute(), documentation.absolute()
            )
        except ValidationError as error:
            raise ValueError(_first_finding(error)) from error
        save_bioimageio_package(description, output_path=package, local_files_only=True)


def _test(package: Path) -> None:
    from bioimageio.core import test_model

    summary = test_model(package, weight_format="onnx", devices=["CPUExecutionProvider"])
    if summary.status != "passed":
        findings = [
            error.msg.strip().splitlines()[0].rstrip(". ")
            for detail in summary.details
            for error in detail.errors
            if error.msg.strip()
        ]
        raise PackageTestError(
            f"bioimageio.core did not pass the package, so it was not written: {' '.join(findings) or summary.status}. "
            "Update bioimageio.core and try again; if it stays, please report it."
        )


def _first_finding(error: ValidationError) -> str:
    finding = error.errors()[0]
    # beside names of entries there are those of pydantic's own steps
    place = ".".join(str(p) for p in finding["loc"] if isinstance(p, int) or p.isidentifier())
    got = finding["input"]
    what = " ".join(filter(None, (place, repr(got) if isinstance(got, str) else "")))
    return f"bioimage.io does not take this description: {what}: {shortened(finding['msg'], _LONGEST_FINDING)}. Correct that and try again."


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what bioimageio logs and warns of on its way: what goes wrong comes as an error."""
    from loguru import logger

    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="bioimageio")
            yield
    finally:
        logger.enable("bioimageio")
