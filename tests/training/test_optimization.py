from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.models import memory, recomputing
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training import optimization
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.optimization import Stepper, reduced_precision
from napari_sam2_adapters.training.recipes import RECIPES


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 1, 32, 32, generator=generator)
    return images, (images[:, 0] > 0.5).long()


def stepper(
    segmenter: Segmenter,
    recipe: str = "interactive",
    batch_size: int = 4,
    loss: str = "paper",
    correct_shares: bool = True,
    crf_weight: float = 3.0,
) -> Stepper:
    return Stepper(
        segmenter,
        RECIPES[recipe],
        build_loss(loss, [1, 1]),
        learning_rate=None,
        batch_size=batch_size,
        correct_shares=correct_shares,
        crf_weight=crf_weight,
    )


def fail_above(largest_batch: int) -> Callable[..., None]:
    def hook(module: object, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > largest_batch:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")

    return hook


@pytest.mark.parametrize("adapter", ["hp", "lw", "lora"])
def test_a_step_moves_what_learns_and_nothing_else(tiny_segmenter, batch, adapter: str) -> None:
    segmenter = tiny_segmenter(adapter=adapter, n_classes=2)
    trained = segmenter.trained_parameters().keys()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    one = stepper(segmenter)
    for _ in range(2):  # adapters that start at zero reach their first half in the second step
        one.take(*batch, progress=0.05, seed=0)
    moved = {n for n, v in segmenter.state_dict().items() if not torch.equal(v, before[n])}
    assert moved <= set(trained)
    assert len(moved) > 0.8 * len(trained)
    frozen = [p for n, p in segmenter.named_parameters() if n not in trained]
    assert frozen
    assert all(p.grad is None for p in frozen)


@torch.no_grad()
def move_lora(segmenter: Segmenter) -> Segmenter:
    """What starts at zero hides dropout."""
    for name, parameter in segmenter.trained_parameters().items():
        if name.endswith("lora_b"):
            parameter.fill_(0.05)
    return segmenter.train()


@pytest.mark.parametrize(
    ("adapter", "loss"),
    [("lw", "paper"), ("lw", "ce_dice"), ("lw", "composite"), ("lora", "ce_dice")],
)
def test_a_batch_in_parts_learns_what_the_whole_batch_does(
    tiny_segmenter, batch, adapter: str, loss: str
) -> None:
    """Also where the loss counts over the batch, as Dice does, where few pixels are labelled, and with dropout."""
    images, labels = batch
    labels = labels.clone()
    labels[0, 4:] = labels[1, :, :30] = -1
    results = []
    for part_size in (4, 3, 1):
        segmenter = move_lora(tiny_segmenter(n_classes=2, adapter=adapter))
        one = stepper(segmenter, "paper", loss=loss)
        one.part_size = part_size
        value, _ = one.take(images, labels, progress=0.5, seed=0)
        results.append((value, one.slots()))
    for value, slots in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-5)
        for name, slot in slots.items():
            if name.startswith("exp_avg/"):
                scale = float(results[0][1][name].abs().max())
                torch.testing.assert_close(
                    slot, results[0][1][name], rtol=0, atol=2e-3 * scale + 1e-7
                )


@pytest.mark.parametrize("said", [{"crf_weight": 3.0}, {"correct_shares": True}])
@pytest.mark.parametrize(
    ("labelled_rows", "progress", "differs"), [(32, 0.5, False), (4, 0.05, False), (4, 0.5, True)]
)
def test_unlabelled_pixels_have_a_say_once_the_network_has_learnt_a_little(
    tiny_segmenter, batch, said, labelled_rows: int, progress: float, differs: bool
) -> None:
    images, labels = batch
    labels = labels.clone()
    labels[:, labelled_rows:] = -1
    losses, slots = [], []
    for settings in ({}, said):
        one = stepper(
            tiny_segmenter(n_classes=2), **{"crf_weight": 0.0, "correct_shares": False, **settings}
        )
        losses.append(one.take(images, labels, progress=progress, seed=0)[0])
        one.take(images, labels, progress=progress, seed=1)  # the first that knows shares
        slots.append(one.slots())
    assert losses[0] == losses[1]  # of the labelled pixels, as the held-out loss
    moved = [name for name in slots[0] if not torch.equal(slots[0][name], slots[1][name])]
    assert bool(moved) == differs


@pytest.mark.parametrize("part_size", [4, 2])
@pytest.mark.parametrize("adapter", ["hp", "lora"])
def test_what_is_computed_again_learns_the_same_in_less_memory(
    tiny_segmenter, adapter: str, part_size: int
) -> None:
    """LoRA has dropout, which has to fall on the same places again."""
    images = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    labels = (images[:, 0] > 0.5).long()
    learnt, peaks = [], []
    for recompute in (False, True):
        # what the detail head keeps is small beside blocks of a real network, but not beside these
        segmenter = tiny_segmenter(adapter=adapter, n_classes=2, detail="none")
        one = Stepper(
            segmenter,
            RECIPES["paper"],
            build_loss("paper", [1, 1]),
            learning_rate=None,
            batch_size=part_size,
            recompute=recompute,
        )

        def take(stepper: Stepper = one) -> None:
            for seed in (0, 1):
                stepper.take(images, labels, progress=0.0, seed=seed)

        peaks.append(memory.peak_bytes(torch.device("cpu"), take))
        learnt.append(segmenter.trained_state())
        assert all("forward" not in vars(block) for block in segmenter.backbone.blocks())
    assert peaks[1] < 0.8 * peaks[0]
    for name, value in learnt[0].items():
        assert torch.equal(value, learnt[1][name]), name


def test_the_plan_learns_nothing_and_divides_the_batch(
    tiny_segmenter, batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    before, one = segmenter.trained_state(), stepper(segmenter)
    state = torch.get_rng_state()
    roomy = one.plan(32)
    assert (roomy.at_once, one.part_size, roomy.side_px) == (4, 4, 32)
    assert "4 crops of 32 px at a time" in roomy.sentence
    monkeypatch.setattr(memory, "usable_memory", lambda device: roomy.needed_bytes * 2 // 3)
    assert one.plan(32).at_once == one.part_size == 2
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[n]) for n, v in segmenter.trained_state().items())
    assert all(p.grad is None for p in segmenter.parameters())
    assert one.slots() == {}
    assert not any(sums.any() for sums in one.shares.state().values())


def test_a_crop_that_cannot_be_measured_is_tried_alone(tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    segmenter.register_forward_pre_hook(fail_above(0))
    one = stepper(segmenter)
    assert (one.plan(32).at_once, one.part_size) == (1, 1)


def test_out_of_memory_halves_the_parts_and_goes_on(tiny_segmenter, batch) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    expected, _ = stepper(tiny_segmenter(n_classes=2)).take(*batch, progress=0.05, seed=0)
    segmenter.register_forward_pre_hook(fail_above(1))
    one = stepper(segmenter)
    loss, _ = one.take(*batch, progress=0.05, seed=0)
    assert one.part_size == 1
    assert loss == pytest.approx(expected, rel=1e-5)
    assert all(p.grad is None for p in segmenter.parameters())
    assert "batches of 4 crops now go through the network 1 at a time" in str(one.take_notice())
    assert one.take_notice() is None


def test_when_not_even_one_crop_fits_it_says_so(tiny_segmenter, batch) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    segmenter.register_forward_pre_hook(fail_above(0))
    with pytest.raises(MemoryError, match="Not even one crop of 32×32 px"):
        stepper(segmenter).take(*batch, progress=0.0, seed=0)


def test_another_error_is_passed_on(tiny_segmenter, batch) -> None:
    segmenter = tiny_segmenter(n_classes=2)

    def broken(module: object, inputs: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    segmenter.register_forward_pre_hook(broken)
    one = stepper(segmenter)
    with pytest.raises(RuntimeError, match="multiplied"):
        one.take(*batch, progress=0.0, seed=0)
    assert one.part_size == 4


def test_half_a_gradient_does_not_add_to_the_next_step(tiny_segmenter, batch) -> None:
    """The second part of the batch fails, so the first one's gradient is there already."""
    results = []
    for fails in (False, True):
        segmenter = tiny_segmenter(n_classes=2)
        one = stepper(segmenter)
        one.part_size = 2
        if fails:
            passes = 0

            def break_the_second(module: object, inputs: object) -> None:
                nonlocal passes
                passes += 1
                if passes == 2:
                    raise RuntimeError("staged")

            segmenter.register_forward_pre_hook(break_the_second)
            with pytest.raises(RuntimeError, match="staged"):
                one.take(*batch, progress=0.05, seed=0)
            assert all(p.grad is None for p in segmenter.parameters())
        one.take(*batch, progress=0.05, seed=0)
        results.append(segmenter.trained_state())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_restored_slots_lie_in_memory_as_they_did(tiny_segmenter, batch) -> None:
    """Another order would be added up in another order, and round otherwise."""
    segmenter = tiny_segmenter(n_classes=2).to(memory_format=torch.channels_last)
    one = stepper(segmenter)
    one.take(*batch, progress=0.05, seed=0)
    made = {
        (name, slot): (value.stride(), value.device)
        for name, p in segmenter.trained_parameters().items()
        for slot, value in one.optimizer.state[p].items()
    }
    slots = {name: value.contiguous() for name, value in one.slots().items()}
    one.restore(slots, 3)
    assert one.part_size == 3
    assert any(slots[f"exp_avg/{n}"].stride() != made[n, "exp_avg"][0] for n, _ in made)
    for name, p in segmenter.trained_parameters().items():
        for slot, value in one.optimizer.state[p].items():
            assert (value.stride(), value.device) == made[name, slot]
            assert torch.equal(value, slots[f"{slot}/{name}"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_moves_nothing(tiny_segmenter, batch, value: float) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    before = segmenter.trained_state()
    segmenter.register_forward_hook(lambda module, inputs, output: output * value)
    one = stepper(segmenter)
    loss, _ = one.take(*batch, progress=0.05, seed=0)
    assert math.isnan(loss)
    assert all(torch.equal(v, before[n]) for n, v in segmenter.trained_state().items())
    assert one.slots() == {}


def test_a_bad_batch_leaves_the_shares_as_they_were(tiny_segmenter, batch) -> None:
    images, labels = batch
    labels = labels.clone()
    labels[:, 4:] = -1
    segmenter, bad = tiny_segmenter(n_classes=2), [False]
    segmenter.register_forward_hook(lambda m, i, out: out * math.nan if bad[0] else out)
    one = stepper(segmenter)
    for bad[0] in (False, True, False):
        loss, _ = one.take(images, labels, progress=0.5, seed=0)
        assert math.isnan(loss) == bad[0]
        assert all(torch.isfinite(value).all() for value in one.shares.state().values())


def test_no_part_drops_what_another_one_does(tiny_segmenter, batch) -> None:
    images, labels = batch
    segmenter = move_lora(tiny_segmenter(n_classes=2, adapter="lora", lora_dropout=0.5))
    seen: list[Tensor] = []
    segmenter.register_forward_hook(lambda m, i, out: seen.append(out.detach().clone()))
    one = stepper(segmenter, batch_size=1)
    same = images[:1].expand(2, -1, -1, -1)
    for seed in (7, 8):
        one._accumulate(same, labels[:2], 0.05, seed)
    by_part = [seen[i] for i in (0, 1, 4, 5)]  # each goes through twice in a step
    assert torch.equal(seen[0], seen[2])
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(by_part, 2))


def test_the_plan_counts_what_the_loss_takes(tiny_segmenter, monkeypatch) -> None:
    """It sees the whole batch, also where the network sees a crop at a time."""
    held = []

    def plan(*given: object, held_bytes: Callable[[int], int], **more: Any) -> MemoryPlan:
        held.append(held_bytes(64))
        return memory.plan_memory(*given, held_bytes=held_bytes, **more)

    monkeypatch.setattr(optimization, "plan_memory", plan)
    for size in (1, 33):
        stepper(tiny_segmenter(n_classes=2), batch_size=size, loss="thin").plan(64)
    logits_of_one = 64**2 * 2 * 4
    assert held[1] - held[0] > 32 * 2 * logits_of_one


def test_moving_to_the_cpu_moves_no_other_network(tiny_segmenter, batch) -> None:
    """Networks share their frozen weights; double precision stands in for another device."""
    segmenter = tiny_segmenter(n_classes=2)
    shared = {id(p): p for p in segmenter.parameters() if not p.requires_grad}
    twin = copy.deepcopy(segmenter, shared)
    before = {name: value.data_ptr() for name, value in twin.state_dict().items()}
    stepper(segmenter)._move_to_cpu()
    segmenter.double()
    assert {name: value.data_ptr() for name, value in twin.state_dict().items()} == before
    assert {p.dtype for p in twin.parameters()} == {torch.float32}
    with torch.no_grad():
        twin(batch[0])


@pytest.mark.parametrize(("share", "at_once"), [("1.0", 4), ("1e-6", 1)])
def test_what_goes_on_with_the_cpu_keeps_to_its_share_of_the_memory(
    tiny_segmenter, batch, monkeypatch, share: str, at_once: int
) -> None:
    monkeypatch.setenv("SAM2_ADAPTERS_MEMORY_SHARE", share)
    moved = []

    class OnSmallDevice(Segmenter):
        @property
        def device(self) -> torch.device:
            return torch.device("cpu" if moved else "meta")

        def forward(self, image: Tensor) -> Tensor:
            if not moved:
                raise torch.OutOfMemoryError("CUDA out of memory (staged)")
            return super().forward(image)

    segmenter = tiny_segmenter(n_classes=2)
    segmenter.__class__ = OnSmallDevice
    monkeypatch.setattr(optimization, "move_apart", lambda *_: moved.append(1))
    one = stepper(segmenter, batch_size=4)
    one.take(*batch, progress=0.5, seed=0)
    assert moved
    assert one.part_size == at_once


def test_dropout_is_the_same_again_where_no_random_state_is_kept(
    tiny_segmenter, batch, monkeypatch
) -> None:
    """PyTorch's checkpoints keep none of Apple's GPU."""
    forgetful = partial(recomputing.checkpoint, preserve_rng_state=False)
    monkeypatch.setattr(recomputing, "checkpoint", forgetful)
    slots = []
    for recompute in (False, True):
        segmenter = move_lora(tiny_segmenter(n_classes=2, adapter="lora", lora_dropout=0.5))
        one = Stepper(
            *(segmenter, RECIPES["paper"], build_loss("paper", [1, 1])),
            learning_rate=None,
            batch_size=4,
            recompute=recompute,
        )
        one.take(*batch, progress=0.05, seed=0)
        slots.append(one.slots())
    assert all(torch.equal(value, slots[1][name]) for name, value in slots[0].items())


def test_the_gradient_is_clipped(tiny_segmenter, batch) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    segmenter.register_forward_hook(lambda module, inputs, output: output * 1000)
    one = stepper(segmenter)
    one.take(*batch, progress=0.05, seed=0)
    first_moment = [v for n, v in one.slots().items() if n.startswith("exp_avg/")]
    norm = math.sqrt(sum(float((v**2).sum()) for v in first_moment)) / 0.1
    assert norm == pytest.approx(1.0, rel=1e-3)


def test_dropout_hangs_on_the_seed_alone(tiny_segmenter, batch) -> None:
    losses = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(losses))
        segmenter = move_lora(tiny_segmenter(n_classes=2, adapter="lora", lora_dropout=0.5))
        state = torch.get_rng_state()
        losses.append(stepper(segmenter).take(*batch, progress=0.05, seed=seed)[0])
        assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_cpu_computes_in_full_precision(tiny_segmenter, batch) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    with torch.no_grad():
        expected = segmenter(batch[0])
        with reduced_precision(torch.device("cpu"), RECIPES["interactive"]):
            assert torch.equal(segmenter(batch[0]), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_computes_in_bfloat16_where_the_recipe_asks(tiny_segmenter, batch) -> None:
    device = torch.device("cuda", 0)
    with reduced_precision(device, RECIPES["paper"]):
        assert not torch.is_autocast_enabled("cuda")
    with reduced_precision(device, RECIPES["interactive"]):
        assert torch.get_autocast_dtype("cuda") == torch.bfloat16
    segmenter = tiny_segmenter(n_classes=2).to(device)
    loss, _ = stepper(segmenter).take(*batch, progress=0.05, seed=0)
    assert math.isfinite(loss)
