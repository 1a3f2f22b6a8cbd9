from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2_adapters.metrics import confusion_matrix, iou_per_class
from napari_sam2_adapters.training.losses import (
    LOSSES,
    Term,
    binary_cross_entropy,
    build_loss,
    class_weights,
    cross_entropy,
    dice_loss,
    focal_tversky_loss,
    line_dice_loss,
    lovasz_loss,
    soft_skeleton,
    thin_classes,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 3 * torch.randn(2, 3, 16, 20, generator=generator)


@pytest.fixture
def target(generator: torch.Generator) -> Tensor:
    return torch.randint(-1, 3, (2, 16, 20), generator=generator)


def certain(target: Tensor, n_classes: int, size: float = 30.0) -> Tensor:
    return size * F.one_hot(target.clamp(min=0), n_classes).movedim(-1, 1).float()


def test_the_table_of_losses_is_the_written_one() -> None:
    names = {name: [term.name for term in terms] for name, terms in LOSSES.items()}
    assert names == {
        "ce_dice": ["weighted_cross_entropy", "dice"],
        "paper": ["cross_entropy"],
        "composite": ["binary_cross_entropy", "dice", "focal_tversky"],
        "lovasz": ["weighted_cross_entropy", "lovasz"],
        "thin": ["weighted_cross_entropy", "dice", "line_dice"],
    }
    assert LOSSES["thin"][-1] == Term("line_dice", weight=0.5, starts_at=1 / 3)
    assert all(term.weight == 1 for term in LOSSES["composite"])


def test_undecided_cross_entropy_is_log_c() -> None:
    target = torch.tensor([[[0, 1], [2, -1]]])
    assert float(cross_entropy(torch.zeros(1, 3, 2, 2), target)) == pytest.approx(math.log(3))


def test_weighted_cross_entropy_by_hand() -> None:
    logits = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3)
    target = torch.tensor([[[0, 1, 1]]])
    miss, hit = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    value = cross_entropy(logits, target, torch.tensor([3.0, 1.0]))
    assert float(value) == pytest.approx((3 * miss + 2 * hit) / 5, rel=1e-6)


def test_paper_loss_is_bce_for_two_classes(generator: torch.Generator) -> None:
    logits = 4 * torch.randn(2, 2, 8, 8, generator=generator)
    target = torch.randint(0, 2, (2, 8, 8), generator=generator)
    expected = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], target.float())
    loss = build_loss("paper", [10, 10])(logits, target, 0.0)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(binary_cross_entropy(logits, target), expected)


def test_binary_cross_entropy_of_a_certain_mistake_is_finite_with_a_gradient() -> None:
    logits = torch.tensor([100.0, 0.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    loss = binary_cross_entropy(logits, torch.ones(1, 1, 1, dtype=torch.int64))
    loss.backward()
    assert loss.item() == pytest.approx((200 - math.log(2)) / 3)
    assert torch.isfinite(logits.grad).all()
    assert float(logits.grad[0, 1]) < 0


def test_dice_of_an_undecided_answer_is_one_half() -> None:
    target = torch.arange(2).repeat(5000).view(1, 100, 100)
    assert float(dice_loss(torch.zeros(1, 2, 100, 100), target)) == pytest.approx(0.5, abs=1e-4)


def test_dice_counts_only_classes_that_are_there() -> None:
    target = torch.zeros(1, 50, 50, dtype=torch.int64)
    wrong_for_absent = certain(target, 4)
    assert float(dice_loss(wrong_for_absent, target)) == pytest.approx(0, abs=1e-6)


def test_focal_tversky_by_hand() -> None:
    # Class 1 has 400 pixels, of which 100 are found; nothing else is called class 1.
    target = torch.zeros(1, 30, 30, dtype=torch.int64)
    target[0, :20, :20] = 1
    answer = torch.zeros_like(target)
    answer[0, :10, :10] = 1
    t_object = (100 + 1) / (100 + 0.7 * 300 + 1)
    t_ground = (500 + 1) / (500 + 0.3 * 300 + 1)
    expected = ((1 - t_object) ** 0.75 + (1 - t_ground) ** 0.75) / 2
    assert float(focal_tversky_loss(certain(answer, 2), target)) == pytest.approx(expected, 1e-4)


def test_focal_tversky_has_a_finite_slope_at_the_perfect_answer() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = certain(target, 2, 200.0).requires_grad_()
    focal_tversky_loss(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


def test_lovasz_of_certain_answers_is_one_minus_iou(target: Tensor, generator) -> None:
    answer = torch.randint(0, 3, target.shape, generator=generator)
    confusion = confusion_matrix(target.numpy(), answer.numpy(), 3)
    expected = 1 - float(iou_per_class(confusion).mean())
    assert float(lovasz_loss(certain(answer, 3, 50.0), target)) == pytest.approx(expected, abs=1e-5)


def test_lovasz_is_the_sum_over_levels_of_one_minus_iou(logits: Tensor, target: Tensor) -> None:
    """The integral over all thresholds of 1 - IoU of the pixels whose error lies above."""
    labelled = target >= 0
    probabilities = logits.double().softmax(dim=1).movedim(1, -1)[labelled]
    costs = []
    for index in range(3):
        own = target[labelled] == index
        errors = (own.double() - probabilities[:, index]).abs()
        levels = torch.cat((torch.zeros(1).double(), errors.sort().values))
        cost = 0.0
        for low, high in itertools.pairwise(levels):
            wrong = errors > low
            found, together = (own & ~wrong).sum(), (own | wrong).sum()
            cost += float((high - low) * (1 - found / together))
        costs.append(cost)
    expected = sum(costs) / 3
    assert float(lovasz_loss(logits.double(), target)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much(name: str, target: Tensor) -> None:
    loss = build_loss(name, [100, 50, 20])
    assert float(loss(certain(target, 3), target, 1.0)) < 1e-3
    assert float(loss(certain((target + 1) % 3, 3), target, 1.0)) > 1


@pytest.mark.parametrize("name", LOSSES)
def test_unlabelled_pixels_have_no_say(
    name: str, logits: Tensor, target: Tensor, generator: torch.Generator
) -> None:
    loss = build_loss(name, [100, 50, 20])
    logits.requires_grad_()
    value = loss(logits, target, 1.0)
    value.backward()
    unlabelled = (target < 0).unsqueeze(1).expand_as(logits)
    assert unlabelled.any()
    assert (logits.grad[unlabelled] == 0).all()
    assert (logits.grad[~unlabelled] != 0).float().mean() > 0.5
    other = logits.detach().clone()
    other[unlabelled] = 5 * torch.randn(other.shape, generator=generator)[unlabelled]
    assert float(loss(other, target, 1.0)) == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_labels_costs_exactly_nothing(name: str, logits: Tensor) -> None:
    logits.requires_grad_()
    nothing = torch.full((2, 16, 20), -1)
    value = build_loss(name, [100, 50, 20])(logits, nothing, 1.0)
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_classes_and_of_images_does_not_matter(
    name: str, logits: Tensor, target: Tensor
) -> None:
    counts = [100, 50, 20]
    order = [2, 0, 1]
    value = build_loss(name, counts)(logits, target, 1.0)
    new_index = torch.tensor([order.index(old) for old in range(3)])
    renamed = torch.where(target >= 0, new_index[target.clamp(min=0)], target)
    permuted = build_loss(name, [counts[i] for i in order])(logits[:, order], renamed, 1.0)
    torch.testing.assert_close(permuted, value)
    torch.testing.assert_close(build_loss(name, counts)(logits.flip(0), target.flip(0), 1.0), value)
    turned = build_loss(name, counts)(logits.transpose(2, 3), target.transpose(1, 2), 1.0)
    torch.testing.assert_close(turned, value)


@pytest.mark.parametrize("name", ["ce_dice", "paper", "composite", "lovasz"])
def test_few_labels_weigh_as_much_as_many(name: str) -> None:
    logits = torch.tensor([0.3, -0.4]).view(1, 2, 1, 1).expand(1, 2, 200, 200)
    dense = torch.arange(2).repeat(20000).view(1, 200, 200)
    sparse = dense.clone()
    sparse[:, 40:] = -1
    loss = build_loss(name, [1, 1])
    assert float(loss(logits, sparse, 0.0)) == pytest.approx(float(loss(logits, dense, 0.0)), 1e-3)


def test_class_weights_follow_the_inverse_root_and_are_clipped() -> None:
    assert class_weights([10, 10]).tolist() == [1, 1]
    weights = class_weights([400, 100])
    assert float(weights[1] / weights[0]) == pytest.approx(2)
    assert class_weights([1_000_000, 1]).tolist() == pytest.approx([math.sqrt(0.5), 4], abs=1e-3)
    assert class_weights([50, 0, 50]).tolist() == [1, 1, 1]


def test_thin_starts_after_the_first_third(logits: Tensor, target: Tensor) -> None:
    thin, plain = build_loss("thin", [9, 5, 2]), build_loss("ce_dice", [9, 5, 2])
    assert float(thin(logits, target, 0.33)) == float(plain(logits, target, 0.33))
    added = thin(logits, target, 0.34) - plain(logits, target, 0.34)
    torch.testing.assert_close(added, 0.5 * line_dice_loss(logits, target, (1, 2)))


def test_thin_classes_leave_out_the_ground() -> None:
    assert thin_classes([5, 100, 7]) == (0, 2)


def test_the_skeleton_of_a_bar_is_its_middle_line() -> None:
    bar = torch.zeros(1, 1, 21, 41)
    bar[..., 8:13, :] = 1
    skeleton = soft_skeleton(bar, iterations=4)[0, 0]
    assert (skeleton[10, 5:36] == 1).all()
    assert skeleton[:, 5:36].sum() == 31


def test_a_gap_in_a_line_costs_more_than_a_thinner_line() -> None:
    target = torch.zeros(1, 32, 60, dtype=torch.int64)
    target[0, 14:17] = 1
    broken, thinner = target.clone(), target.clone()
    broken[0, 14:17, 20:40] = 0
    thinner[0, 14] = 0
    assert int((broken != target).sum()) == int((thinner != target).sum())
    cost = {
        name: float(line_dice_loss(certain(answer, 2), target, (1,)))
        for name, answer in (("whole", target), ("broken", broken), ("thinner", thinner))
    }
    assert cost["whole"] == pytest.approx(0, abs=1e-6)
    assert cost["broken"] > 0.15
    assert cost["thinner"] < 0.05


def test_losses_are_float32_for_bfloat16_logits(logits: Tensor, target: Tensor) -> None:
    value = build_loss("ce_dice", [9, 5, 2])(logits.bfloat16(), target, 0.0)
    assert value.dtype == torch.float32
