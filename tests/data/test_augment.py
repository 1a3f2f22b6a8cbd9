"""Image and labels turn together, and what opens is unlabelled."""

import pytest
import torch
from skimage.data import astronaut

from napari_sam2_adapters.data.augment import (
    augment_interactive,
    augment_paper,
    augment_upright,
    center_crop,
    interactive_source_size,
    paper_source_size,
    upright_source_size,
)
from napari_sam2_adapters.data.samples import load_sample

RECIPES = [
    (augment_interactive, interactive_source_size),
    (augment_upright, upright_source_size),
    (augment_paper, paper_source_size),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinates(side):
    """An image that shows where each pixel comes from, and labels that are its quantised copy."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = (torch.stack([rows, columns]).float() + 0.5) / side
    return image, (rows * 8 // side) * 8 + columns * 8 // side


@pytest.mark.parametrize(("augment", "source_size"), RECIPES)
def test_labels_follow_the_image(augment, source_size, monkeypatch):
    monkeypatch.setattr("napari_sam2_adapters.data.augment._shade", lambda image, _: image)
    image, labels = coordinates(source_size(96))
    numbers = generator()
    for _ in range(20):
        turned, found = augment(image, labels, 96, numbers)
        blocks = turned * 8
        expected = blocks[0].long() * 8 + blocks[1].long()
        known = found >= 0
        assert known.float().mean() > 0.97
        # a pixel at the edge of a block may fall to either side of it
        clear = known & ((blocks - blocks.round()).abs() > 0.08).all(dim=0)
        assert clear.float().mean() > 0.6
        assert torch.equal(expected[clear], found[clear])


@pytest.mark.parametrize(("augment", "source_size"), RECIPES)
@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("source", ["wanted", "no rim", "too small"])
def test_shapes_types_and_ranges(augment, source_size, channels, source):
    size = 64
    side = {"wanted": source_size(size), "no rim": size, "too small": 20}[source]
    numbers = generator(1)
    image = torch.rand(channels, side, side, generator=numbers)
    labels = torch.randint(-1, 3, (side, side), generator=numbers)
    for _ in range(12):
        out, found = augment(image, labels, size, numbers)
        assert out.shape == (channels, size, size)
        assert found.shape == (size, size)
        assert out.dtype == torch.float32
        assert found.dtype == labels.dtype
        assert out.is_contiguous()
        assert found.is_contiguous()
        assert 0 <= out.min() <= out.max() <= 1
        assert set(found.unique().tolist()) <= {-1, 0, 1, 2}


@pytest.mark.parametrize(("augment", "source_size"), RECIPES)
def test_the_wanted_source_size_opens_nothing(augment, source_size):
    side = source_size(100)
    labels = torch.ones(side, side, dtype=torch.int64)
    numbers = generator(2)
    for _ in range(40):
        image, found = augment(torch.ones(1, side, side), labels, 100, numbers)
        assert (found == 1).all()
        if augment is augment_paper:
            assert image.min() > 0.999


def test_corners_that_a_turn_opens_are_unlabelled():
    numbers, opened = generator(3), 0
    for _ in range(20):
        image, labels = augment_paper(
            torch.ones(1, 80, 80), torch.ones(80, 80, dtype=torch.int64), 80, numbers
        )
        assert set(labels.unique().tolist()) <= {-1, 1}
        if (labels < 0).sum() > 200:
            assert image[0][labels < 0].mean() < 0.2
            opened += 1
    assert opened > 10


def test_what_a_zoom_out_opens_is_unlabelled():
    numbers, opened = generator(3), 0
    for _ in range(20):
        _, labels = augment_interactive(
            torch.ones(1, 80, 80), torch.ones(80, 80, dtype=torch.int64), 80, numbers
        )
        opened += int((labels < 0).any())
    assert opened > 4


@pytest.mark.parametrize(("augment", "source_size"), RECIPES)
def test_the_generator_decides_everything(augment, source_size):
    side = source_size(64)
    image, labels = (
        torch.rand(1, side, side, generator=generator()),
        torch.zeros(side, side, dtype=torch.int64),
    )
    torch.manual_seed(0)
    numbers = generator(5)
    state = numbers.get_state()
    first = augment(image, labels, 64, numbers)[0]
    second = augment(image, labels, 64, numbers)[0]
    torch.manual_seed(1)
    numbers.set_state(state)
    assert torch.equal(first, augment(image, labels, 64, numbers)[0])
    assert torch.equal(second, augment(image, labels, 64, numbers)[0])
    assert not torch.equal(first, second)


def test_upright_keeps_left_left_and_up_up():
    side = upright_source_size(64)
    image, labels = coordinates(side)
    numbers = generator(4)
    for _ in range(20):
        rows, columns = augment_upright(image, labels, 64, numbers)[0]
        assert (rows[-8:].mean() - rows[:8].mean()) > 0.2
        assert (columns[:, -8:].mean() - columns[:, :8].mean()) > 0.2


def test_the_input_is_left_alone():
    image, labels = coordinates(100)
    copies = image.clone(), labels.clone()
    for augment, _ in RECIPES:
        augment(image, labels, 70, generator())
    assert torch.equal(image, copies[0])
    assert torch.equal(labels, copies[1])


def test_turns_flips_and_scales_all_occur():
    """A corner mark: over many draws it is seen in all four corners, at small and at large scale."""
    side = 128
    labels = torch.zeros(side, side, dtype=torch.int64)
    labels[:64, :64] = 1
    labels[60:68, 60:68] = 2
    corners, areas, numbers = set(), [], generator(7)
    for _ in range(80):
        _, found = augment_interactive(
            torch.rand(1, side, side, generator=numbers), labels, 96, numbers
        )
        quadrants = [found[20, 20], found[20, 75], found[75, 20], found[75, 75]]
        corners.add(max(range(4), key=lambda k: int(quadrants[k])))
        areas.append(int((found == 2).sum()))
    assert corners == {0, 1, 2, 3}
    assert min(areas) < 0.7 * 64
    assert max(areas) > 1.5 * 64


def test_zoomed_labels_lie_over_the_middles_of_their_pixels(monkeypatch):
    """Zoomed in by 1.2, every label is that of the source pixel under the middle of the new one, on both sides."""
    monkeypatch.setattr("napari_sam2_adapters.data.augment.LARGEST_SCALE", 1.2)
    monkeypatch.setattr("napari_sam2_adapters.data.augment.SMALLEST_SCALE", 1.2)
    labels = torch.arange(40 * 40).reshape(40, 40)
    _, found = augment_interactive(torch.zeros(1, 40, 40), labels, 48, generator())
    middles = ((torch.arange(48) + 0.5) / 1.2).long()
    upright = labels[middles][:, middles]
    turned = [torch.rot90(m, k) for m in (upright, upright.flip(1)) for k in range(4)]
    assert any(torch.equal(found, one) for one in turned)


def test_a_real_picture_stays_recognisable():
    """Shading is mild: the shaded picture still correlates with its source."""
    from napari_sam2_adapters.data.augment import _shade

    numbers = generator(8)
    grey = torch.from_numpy(load_sample("fluorescence").train_images[0] / 255).float()[None]
    colour = torch.from_numpy(astronaut()[:256, :256] / 255).float().permute(2, 0, 1)
    for picture in (grey, colour):
        for _ in range(20):
            shaded = _shade(picture, numbers)
            both = torch.stack([picture.flatten(), shaded.flatten()])
            assert torch.corrcoef(both)[0, 1] > 0.95
            assert not torch.equal(shaded, picture)


def test_a_centre_crop_that_is_too_large_is_mirrored_and_unlabelled():
    image, labels = coordinates(9)
    bigger, found = center_crop(image, labels, 15)
    assert bigger.shape == (2, 15, 15)
    assert torch.equal(found[3:12, 3:12], labels)
    assert (found >= 0).sum() == 81
    assert torch.equal(bigger[:, 2, 3:12], image[:, 1])
    assert torch.equal(center_crop(bigger, found, 9)[0], image)
    assert center_crop(image, labels, 60)[0].shape == (2, 60, 60)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 8, 9\) and \(8, 8\)"):
        augment_interactive(torch.zeros(1, 8, 9), torch.zeros(8, 8), 4, generator())
