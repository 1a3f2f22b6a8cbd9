"""The cases of a GPU, small and on the CPU: a card is seldom at hand, and what breaks them is seen here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from on_cuda import images_per_second, interactive_steps, stack

CPU = torch.device("cpu")


def check(row: dict[str, Any], name: str) -> None:
    assert row["name"] == name
    assert row["ratio"] > 0 or name == "cuda_steps"  # it need not have waited
    near = abs(row["ratio"] - row["bar"]) <= 0.001  # both are rounded in a row
    assert near or row["ok"] == (row["ratio"] <= row["bar"])
    assert row["device"] == "cpu"


def test_steps_are_counted_and_what_they_waited_for() -> None:
    (row,) = interactive_steps(CPU, side=64, seconds=0.2)
    check(row, "cuda_steps")
    assert row["steps_per_second"] > 0
    assert 0 <= row["ratio"] <= 1


def test_images_go_through_one_by_one_and_in_the_best_batch() -> None:
    rows = images_per_second(CPU, side=64, batches=(1, 2), repeats=1)
    for row, (adapter, what) in zip(
        rows, [("lw", "one"), ("lw", "best"), ("hp", "one"), ("hp", "best")], strict=True
    ):
        check(row, f"cuda_{adapter}_{what}")
    assert rows[1]["images_per_second"] >= rows[0]["images_per_second"] > 0


def test_a_stack_and_its_slices() -> None:
    (row,) = stack(CPU, side=64, repeats=1)
    check(row, "cuda_stack")
    assert row["ratio"] == pytest.approx(row["seconds"] / row["baseline_seconds"], rel=0.05)
