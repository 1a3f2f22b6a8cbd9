"""A trained adapter with its encoder and decoder as one ONNX file that needs nothing of this package.

The file takes ``image`` (batch, channels, tile, tile) float32 between 0 and 1 and gives ``probabilities`` (batch, classes, tile, tile).
ImageNet's mean and deviation, the mix of channels and the input scale are in its graph; what is not (grey values to 0 … 1, the
classes) is in its metadata. LW is folded and LoRA merged, and HP samples by GridSample.

The graph comes from ``torch.export``. PyTorch's older exporter follows one example through the code and fails here: it
turns sizes into tensors, and neither ``round`` nor a layer norm over the last axis takes those.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from napari_sam2_adapters.atomic import check_writable, write_atomically
from napari_sam2_adapters.config import PredictConfig, describe_errors
from napari_sam2_adapters.export.comparison import INPUT, OUTPUT, Agreement, compare
from napari_sam2_adapters.export.extras import ONNX, require
from napari_sam2_adapters.export.pictures import normalized_tiles
from napari_sam2_adapters.models.model_file import AdapterHeader, load_adapter
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["OPSET", "Exported", "Translated", "check_target", "export_onnx", "translate"]

OPSET = 20
"""Version of ONNX's operators: the first in which GridSample is of any dimension; onnxruntime knows it from 1.17 on."""
_PICTURES = 3


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compared."""

    path: Path
    agreement: Agreement
    test: str = ""
    """What else it passed, in a sentence."""

    def words(self) -> str:
        """What was checked, in sentences."""
        return f"{self.agreement.words()} {self.test}".rstrip()


@dataclass(frozen=True)
class Translated:
    """A network as the bytes of an ONNX file.

    Attributes
    ----------
    content
        The file.
    network
        The same in PyTorch: (B, channels, tile, tile) between 0 and 1 to probabilities (B, classes, tile, tile).
    header
        Of the model file.
    tile_size_px
        Side of the tiles.
    agreement
        How the two compared.
    """

    content: bytes
    network: nn.Module
    header: AdapterHeader
    tile_size_px: int
    agreement: Agreement


class _Probabilities(nn.Module):
    """The folded network followed by a softmax over the classes."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter.folded()

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.segmenter(image)
        return logits.softmax(1)


def export_onnx(
    model: Path, output: Path, *, tile_size_px: int | None = None, overwrite: bool = False
) -> Generator[str, None, Exported]:
    """Write a model file as ONNX, once the result has been held against the network on real pictures.

    Yields what it is about to do, in words. Nothing is left behind when it is closed or fails at any point.

    Parameters
    ----------
    model
        The model file, ``NAME.adapter.safetensors``.
    output
        The file to write; its name must end in ``.onnx``.
    tile_size_px
        Side of the tiles that the file will take; that of the model file when None.
    overwrite
        Replace a file that is there.

    Raises
    ------
    MissingExtraError
        When a package of the extra ``onnx`` is not here.
    FileExistsError
        When the file is there and ``overwrite`` was not given.
    ValueError
        When a name, the tile or the model file is not usable.
    DisagreementError
        When onnxruntime's result is not PyTorch's.
    OSError
        When the file cannot be written: a folder that cannot be written to is refused before the work.
    """
    require(ONNX)
    check_target(output, ".onnx", overwrite=overwrite)
    translated = yield from translate(model, tile_size_px)
    yield "Writing the file"
    write_atomically(output, lambda file: file.write(translated.content), overwrite=overwrite)
    return Exported(output, translated.agreement)


def check_target(output: Path, ending: str, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before the work.

    Raises
    ------
    ValueError
        When the name has another ending.
    FileExistsError
        When the file is there and ``overwrite`` is not set.
    FileNotFoundError
        When there is no such folder.
    OSError
        When nothing can be written into it.
    """
    if not output.name.endswith(ending):
        raise ValueError(
            f"The file {output.name!r} must end in {ending!r}. Call it {output.name.split('.')[0]}{ending}."
        )
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"{output} is there already. Choose another name or ask for it to be overwritten."
        )
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {output.parent}. Make it, or choose another one."
        )
    check_writable(output.parent)


def translate(model: Path, tile_size_px: int | None = None) -> Generator[str, None, Translated]:
    """Make the ONNX file of a model file in memory and compare it with the network; arguments and errors as `export_onnx`."""
    yield "Reading the adapter"
    segmenter, header = load_adapter(model)
    side = _checked_side(header.tile_size_px if tile_size_px is None else tile_size_px)
    network = _Probabilities(segmenter).eval().requires_grad_(False)
    yield "Translating the network"
    content = _serialize(network, header, side)
    yield "Comparing it with PyTorch on sample images"
    agreement = compare(
        network, content, normalized_tiles(header.model.input_channels, side, _PICTURES)
    )
    return Translated(content, network, header, side, agreement)


def _checked_side(side_px: int) -> int:
    try:
        return PredictConfig(tile_size_px=side_px).tile_size_px
    except ValidationError as error:
        raise ValueError(describe_errors(error)) from error


def _serialize(network: nn.Module, header: AdapterHeader, side_px: int) -> bytes:
    import onnx

    # More than one, since torch.export takes a one for a constant.
    example = torch.rand(2, header.model.input_channels, side_px, side_px)
    with torch.no_grad():
        network(example)  # the tables of attention biases are made in the first pass
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    if program is None:
        raise ValueError("This PyTorch gave no ONNX network. Update torch and try again.")
    proto = program.model_proto
    _forget_where_it_was_made(proto.graph)
    _describe(proto, header, side_px)
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


def _forget_where_it_was_made(graph: Any) -> None:
    """Take out the exporter's notes on each node: they quote source files with their paths on this machine."""
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.metadata_props[:]


def _describe(proto: Any, header: AdapterHeader, side_px: int) -> None:
    """Write into the file all that somebody needs who has nothing but the file."""
    import onnx

    channels, scaling = header.model.input_channels, header.normalization
    proto.producer_name = "napari-sam2-adapters"
    proto.producer_version = version("napari-sam2-adapters")
    proto.doc_string = _instructions(header, side_px)
    onnx.helper.set_model_props(
        proto,
        {
            "format": "napari-sam2-adapters ONNX 1",
            "package_version": proto.producer_version,
            "instructions": proto.doc_string,
            "classes": json.dumps([entry.model_dump() for entry in header.classes]),
            "normalization": scaling.model_dump_json(),
            "tile_size_px": str(side_px),
            "input_channels": str(channels),
            "pixel_size": json.dumps(header.pixel_size),
            "unit": header.unit or "",
            "model": header.model.model_dump_json(),
            "backbone_sha256": header.backbone_sha256,
            "adapter_sha256": header.tensors_sha256,
            "scores": json.dumps(header.scores),
            "versions": json.dumps(
                {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}
            ),
        },
    )


def _instructions(header: AdapterHeader, side_px: int) -> str:
    scaling, channels = header.normalization, header.model.input_channels
    between = (
        f"the grey values {scaling.low:g} and {scaling.high:g}"
        if scaling.mode == "range"
        else f"its {scaling.low:g} % and {scaling.high:g} % percentiles over the whole image"
    )
    return (
        f"Input {INPUT}: float32 (batch, {channels}, {side_px}, {side_px}); scale each channel so that {between} become 0 and 1, and clip. "
        f"Output {OUTPUT}: float32 (batch, {len(header.classes)}, {side_px}, {side_px}), in the order of 'classes'; the label of a pixel "
        "is the 'value' of the class with the largest probability. Larger images: overlapping tiles, of which the middle is kept."
    )
