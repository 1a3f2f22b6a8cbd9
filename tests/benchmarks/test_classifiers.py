"""Classifiers of single pixels: the linear one against up-sampling everything, and which pixels are drawn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from linear_probe import LinearProbe, fit_logistic_regression
from methods import giga_macs
from pixels import labelled_pixels

from napari_sam2_adapters.data.dataset import build_dataset
from napari_sam2_adapters.data.pairs import Pair
from napari_sam2_adapters.data.samples import load_sample


@pytest.fixture(scope="module")
def dataset():
    sample = load_sample("fluorescence")
    pairs = sample.train_pairs(strokes=True)[:2]
    return build_dataset(pairs, sample.classes, held_out_fraction=0)


def test_pixels_are_labelled_ones_shared_out_over_the_images(dataset):
    drawn = list(labelled_pixels(dataset, 0, most=400))
    assert [len(places) for _, places, _ in drawn] == [200, 200]
    for region, (_, places, classes) in zip(dataset.train, drawn, strict=True):
        truth = dataset.read_labels(region).ravel()
        assert len(set(places)) == 200
        np.testing.assert_array_equal(classes, truth[places])
        assert (classes >= 0).all()
    again = next(labelled_pixels(dataset, 0, most=400))
    np.testing.assert_array_equal(again[1], drawn[0][1])
    assert (next(labelled_pixels(dataset, 1, most=400))[1] != drawn[0][1]).any()


def test_logistic_regression_finds_the_line_and_undoes_the_standardisation():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 2, generator=generator) * torch.tensor([0.01, 100]) + 5
    targets = ((features[:, 0] - 5) / 0.01 + (features[:, 1] - 5) / 100 > 0).long()
    weight, bias = fit_logistic_regression(features, targets, 2)
    found = (features @ weight.T + bias).argmax(1)
    assert (found == targets).float().mean() > 0.99


def test_the_linear_classifier_is_one_on_maps_at_full_size(dataset):
    probe = LinearProbe("mobile", dataset, 0)
    image = torch.from_numpy(dataset.read(dataset.train[0])[0][None, :, :90, :100])
    with torch.no_grad():
        maps = probe._maps(image)
        full = torch.cat(
            [F.interpolate(m, (96, 112), mode="bilinear", align_corners=False) for m in maps], 1
        )
        wanted = torch.einsum("kc,bchw->bkhw", torch.cat(list(probe.weights), 1), full)
        wanted = (wanted + probe.bias.view(1, -1, 1, 1))[:, :, :90, :100]
        torch.testing.assert_close(probe(image), wanted, rtol=1e-3, atol=1e-3)
    names = set(probe.trained_parameters())
    assert names == {"bias", "weights.0", "weights.1", "weights.2", "weights.3"}
    # MobileSAM's encoder alone; the linear classifier adds next to nothing.
    assert 1.6 < giga_macs(probe, 1) < 1.9


def test_images_of_two_channels_are_refused_by_the_linear_classifier():
    image = np.zeros((2, 64, 64), np.uint8)
    labels = np.ones((64, 64), np.uint8)
    labels[:32] = 2
    two = build_dataset([Pair(image, labels, "CYX", "two")], held_out_fraction=0)
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        LinearProbe("mobile", two, 0)
