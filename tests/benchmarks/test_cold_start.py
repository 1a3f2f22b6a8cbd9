from __future__ import annotations

import os
import sys
from pathlib import Path

import cold_start
import pytest


def test_a_process_that_uses_torch_keeps_a_start_from_being_cold() -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("reads /proc")
    import torch  # noqa: F401 (this process uses it)

    assert os.getpid() in cold_start._users_of_torch()


def test_a_row_is_of_medians_and_says_what_torch_alone_takes() -> None:
    def runs(*seconds: float) -> list[dict[str, float]]:
        return [{"torch": s / 2, "imported": s / 2 + 0.5, "seconds": s} for s in seconds]

    row = cold_start._row({"cold": runs(9.0, 3.0, 5.0), "warm": runs(2.0, 2.0, 1.0)})
    assert (row["seconds"], row["torch_imported_after"], row["all_imported_after"]) == (5, 2.5, 3)
    assert (row["warm_seconds"], row["warm_torch_imported_after"]) == (2.0, 1.0)
    assert not row["ok"]
    assert cold_start._row({"cold": runs(4.0), "warm": runs(1.0)})["ok"]


def test_without_the_right_to_empty_the_page_cache_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cold_start, "_FORGET", tmp_path / "none")
    monkeypatch.setattr(sys, "argv", ["cold_start.py"])
    with pytest.raises(SystemExit, match="by root"):
        cold_start.main()
