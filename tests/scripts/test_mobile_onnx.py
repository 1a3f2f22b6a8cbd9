"""MobileSAM read out of ONNX files, and the measure of how far two outputs are apart."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models import tiny_vit
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import mobile_check
import mobile_onnx


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/patch_embed/seq/seq.0/c/Conv", "image_encoder.patch_embed.seq.0.c"),
        ("/layers.2/blocks.5/attn/qkv/MatMul", "image_encoder.layers.2.blocks.5.attn.qkv"),
        ("/neck/neck.1/Mul", "image_encoder.neck.1"),
        (
            "/transformer/layers.1/mlp/lin2/MatMul",
            "mask_decoder.transformer.layers.1.mlp.lin2",
        ),
        ("/output_upscaling/output_upscaling.1/Add_1", "mask_decoder.output_upscaling.1"),
        ("/mask_downscaling/mask_downscaling.4/Mul", "prompt_encoder.mask_downscaling.4"),
    ],
)
def test_module_path_comes_from_the_node(node, module):
    assert mobile_onnx.module_path(node) == module


def test_attention_biases_are_recovered_from_the_full_table():
    attention = tiny_vit.Attention(8, 4, 2, resolution=(5, 5))
    nn.init.normal_(attention.attention_biases)
    table = attention.get_attention_biases(torch.device("cpu")).detach()
    assert torch.equal(mobile_onnx.attention_biases(table), attention.attention_biases.detach())
    table[0, 3, 4] += 1
    with pytest.raises(ValueError, match="distance alone"):
        mobile_onnx.attention_biases(table)


def test_unnamed_onnx_tensors_are_named_by_their_nodes():
    random = np.random.default_rng(0)
    shapes = {
        "onnx::Conv_1": (4, 3, 3, 3),
        "onnx::Conv_2": (4,),
        "onnx::MatMul_3": (4, 12),
        "onnx::Mul_4": (6, 1, 1),
        "onnx::Add_5": (6, 1, 1),
        "onnx::Expand_6": (1, 5, 256),
        "onnx::Mul_7": (1, 256, 1, 1),
        "layers.1.blocks.0.attn.norm.bias": (4,),
        "model.prompt_encoder.not_a_point_embed.weight": (1, 256),
        "shape": (),
    }
    stored = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        mobile_onnx.Node(*parts)
        for parts in (
            ("Conv", "/patch_embed/seq/seq.2/c/Conv", ("x", "onnx::Conv_1", "onnx::Conv_2")),
            ("MatMul", "/layers.1/blocks.0/attn/qkv/MatMul", ("x", "onnx::MatMul_3")),
            ("Mul", "/output_upscaling/output_upscaling.1/Mul", ("onnx::Mul_4", "x")),
            ("Add", "/output_upscaling/output_upscaling.1/Add_1", ("x", "onnx::Add_5")),
            ("Expand", "/Expand_1", ("onnx::Expand_6", "x")),
            ("Mul", "/Mul_9", ("x", "onnx::Mul_7")),
            ("Mul", "/layers.1/Mul", ("x", "shape")),
        )
    ]
    placed = mobile_onnx.name_tensors(stored, nodes)
    named = {name: tensor.numpy() for found in placed.values() for name, tensor in found.items()}
    wanted = {
        "image_encoder.patch_embed.seq.2.c.weight": stored["onnx::Conv_1"],
        "image_encoder.patch_embed.seq.2.c.bias": stored["onnx::Conv_2"],
        "image_encoder.layers.1.blocks.0.attn.qkv.weight": stored["onnx::MatMul_3"].T,
        "mask_decoder.output_upscaling.1.weight": stored["onnx::Mul_4"].ravel(),
        "mask_decoder.output_upscaling.1.bias": stored["onnx::Add_5"].ravel(),
        "mask_decoder.iou_token.weight": stored["onnx::Expand_6"][0, :1],
        "mask_decoder.mask_tokens.weight": stored["onnx::Expand_6"][0, 1:],
        "prompt_encoder.no_mask_embed.weight": stored["onnx::Mul_7"].reshape(1, 256),
        "image_encoder.layers.1.blocks.0.attn.norm.bias": stored[
            "layers.1.blocks.0.attn.norm.bias"
        ],
        "prompt_encoder.not_a_point_embed.weight": stored[
            "model.prompt_encoder.not_a_point_embed.weight"
        ],
    }
    assert named.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(named[name], array)


def test_difference_measures_size_and_masks():
    wanted = torch.tensor([3.0, -4.0, 1.0, 2.0])
    found = mobile_check.difference("x", wanted + torch.tensor([0, 5.0, 0, 0]), wanted, masks=True)
    assert found.largest == 5.0
    assert found.relative == pytest.approx(5 / 30**0.5)
    assert found.agreement == pytest.approx(3 / 4)
