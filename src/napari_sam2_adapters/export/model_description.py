"""What a bioimage.io package says of a model: what goes in, how it is scaled, what comes out, whom to cite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.units import unit_name
from napari_sam2_adapters.export.comparison import INPUT, OUTPUT
from napari_sam2_adapters.export.onnx import OPSET, Translated
from napari_sam2_adapters.export.package_info import PackageInfo

__all__ = ["describe_model", "preprocessing"]

_SMALLEST_RANGE = 1e-12
"""What the specification adds to the distance of the percentiles; our own scaling adds nothing."""
_PAPERS = {
    "hp": ("SAM2 adapters HP and LW", "10.48550/arXiv.2605.05979"),
    "lw": ("SAM2 adapters HP and LW", "10.48550/arXiv.2605.05979"),
    "lora": ("SAM2LoRA", "10.48550/arXiv.2510.10288"),
    "mobile": ("MobileSAM", "10.48550/arXiv.2306.14289"),
    "sam2": ("SAM 2", "10.48550/arXiv.2408.00714"),
}


def preprocessing(scaling: Normalization) -> list[Any]:
    """The scaling of a model in the specification's own steps.

    ``range`` is the same formula. ``percentile`` is that of each channel of each image, as here, by the same (linear) interpolation; it
    differs where both percentiles fall on one grey value, and NaN stays NaN.

    Raises
    ------
    ValueError
        When the specification cannot say it: a high percentile of 1 or less.
    """
    from bioimageio.spec.model import v0_5 as spec

    clip = spec.ClipDescr(kwargs=spec.ClipKwargs(min=0.0, max=1.0))
    if scaling.mode == "range":
        gain = 1 / (scaling.high - scaling.low)
        # From 0 to 1 nothing is to be scaled, and the specification refuses to be told so.
        if (scaling.low, gain) == (0, 1):
            return [clip]
        linear = spec.ScaleLinearKwargs(gain=gain, offset=-scaling.low * gain)
        return [spec.ScaleLinearDescr(kwargs=linear), clip]
    if scaling.high <= 1:
        raise ValueError(
            f"This model scales between the {scaling.low:g} % and {scaling.high:g} % percentiles, and bioimage.io takes a high percentile "
            "above 1 only. Export it as ONNX."
        )
    between = spec.ScaleRangeKwargs(
        axes=(spec.AxisId("y"), spec.AxisId("x")),
        min_percentile=scaling.low,
        max_percentile=scaling.high,
        eps=_SMALLEST_RANGE,
    )
    return [spec.ScaleRangeDescr(kwargs=between), clip]


def describe_model(
    folder: Path,
    translated: Translated,
    info: PackageInfo,
    name: str,
    cover: Path,
    documentation: Path,
) -> Any:
    """The description of a package whose network and test arrays lie in a folder, as an object of `bioimageio.spec`.

    Parameters
    ----------
    folder
        With ``network.onnx``, ``test_input.npy`` and ``test_output.npy``.
    translated, info
        The network, and what is said of it.
    name
        What the model is called.
    cover, documentation
        Files that go into the package.

    Raises
    ------
    pydantic.ValidationError
        When the specification does not take an entry.
    """
    from bioimageio.spec.model import v0_5 as spec

    header = translated.header
    names = ", ".join(entry.name for entry in header.classes)
    about = f"Semantic segmentation into {names}: {header.model.adapter.upper()} adapter on {header.model.backbone}."
    family = "mobile" if header.model.backbone == "mobile" else "sam2"
    cited = [
        spec.CiteEntry(text=text, doi=spec.Doi(doi))
        for text, doi in (_PAPERS[header.model.adapter], _PAPERS[family])
    ]
    return spec.ModelDescr(
        name=name,
        description=info.description or about[:1024],
        authors=[spec.Author(name=author.strip()) for author in info.authors if author.strip()],
        license=info.licence,
        tags=list(dict.fromkeys(("segmentation", "semantic-segmentation", "2d", *info.tags))),
        cite=[
            *(spec.CiteEntry(text=doi, doi=spec.Doi(doi)) for doi in info.cite),
            *cited,
        ],
        covers=[spec.FileDescr(source=cover)],
        documentation=spec.FileDescr(source=documentation),
        inputs=[_input(folder, translated)],
        outputs=[_output(folder, translated)],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=folder / "network.onnx", opset_version=OPSET)
        ),
        config=spec.Config.model_validate(
            {
                "napari_sam2_adapters": {
                    "classes": [entry.model_dump() for entry in header.classes],
                    "normalization": header.normalization.model_dump(),
                    "adapter_sha256": header.tensors_sha256,
                    "backbone_sha256": header.backbone_sha256,
                }
            }
        ),
    )


def _input(folder: Path, translated: Translated) -> Any:
    from bioimageio.spec.model import v0_5 as spec

    header, side = translated.header, translated.tile_size_px
    return spec.InputTensorDescr(
        id=spec.TensorId(INPUT),
        description="Image as it was taken; it is scaled as described.",
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(
                channel_names=[f"channel{n}" for n in range(header.model.input_channels)]
            ),
            *(
                spec.SpaceInputAxis(id=spec.AxisId(axis), size=side, concatenable=True, **size)
                for axis, size in zip("yx", _sizes(translated), strict=True)
            ),
        ],
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        preprocessing=preprocessing(header.normalization),
        test_tensor=spec.FileDescr(source=folder / "test_input.npy"),
    )


def _output(folder: Path, translated: Translated) -> Any:
    from bioimageio.spec.model import v0_5 as spec

    classes = [entry.name for entry in translated.header.classes]
    return spec.OutputTensorDescr(
        id=spec.TensorId(OUTPUT),
        description="Probability of each class.",
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=classes),
            *(
                spec.SpaceOutputAxisWithHalo(
                    id=spec.AxisId(axis),
                    size=spec.SizeReference(
                        tensor_id=spec.TensorId(INPUT), axis_id=spec.AxisId(axis)
                    ),
                    halo=translated.tile_size_px // 8,
                    **size,
                )
                for axis, size in zip("yx", _sizes(translated), strict=True)
            ),
        ],
        data=[spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)) for _ in classes],
        test_tensor=spec.FileDescr(source=folder / "test_output.npy"),
    )


def _sizes(translated: Translated) -> Sequence[dict[str, Any]]:
    """Scale and unit of the rows and of the columns, where the model knows them in a unit that the specification has."""
    from bioimageio.spec.model.v0_5 import SpaceUnit

    header, unit = translated.header, unit_name(translated.header.unit)
    if header.pixel_size is None or unit not in get_args(SpaceUnit):
        return [{}, {}]
    return [{"scale": length, "unit": unit} for length in header.pixel_size[-2:]]
