from __future__ import annotations

import json

import performance
import pytest
import torch


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["performance.py", *arguments])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    performance.main()


def test_rows_go_to_standard_output_and_the_table_beside_them(monkeypatch, capsys) -> None:
    run(monkeypatch, "--only", "deformable", "cuda_steps", "--repeats", "1")
    printed = capsys.readouterr()
    measured, missing = (json.loads(line) for line in printed.out.splitlines())
    assert measured["name"] == "deformable"
    assert measured["ratio"] == pytest.approx(
        measured["seconds"] / measured["baseline_seconds"], rel=0.1
    )
    assert measured["ok"] == (measured["ratio"] <= measured["bar"])
    assert (missing["name"], missing["ratio"], missing["ok"]) == ("cuda_steps", None, None)
    for row in (measured, missing):
        assert {"baseline", "bar", "machine", "processor", "torch", "date", "command"} <= set(row)
    assert [line.split()[0] for line in printed.err.splitlines()] == ["deformable", "cuda_steps"]


def test_rows_go_into_a_file_that_grows_and_the_table_to_standard_output(
    monkeypatch, capsys, tmp_path
) -> None:
    file = tmp_path / "new" / "rows.jsonl"
    for name in ("cuda_steps", "cuda_stack"):
        run(monkeypatch, "--only", name, "--json", str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["name"] for row in rows] == ["cuda_steps", "cuda_stack"]
    assert "not measured: no CUDA device" in capsys.readouterr().out


def test_every_case_is_listed(monkeypatch, capsys) -> None:
    run(monkeypatch, "--list")
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [*performance.CASES, *performance.PROCESSES, *performance.ON_CUDA]


def test_a_run_of_all_cases_ends_with_what_it_took(monkeypatch, capsys) -> None:
    monkeypatch.setattr(performance, "CASES", {"deformable": performance.CASES["deformable"]})
    monkeypatch.setattr(performance, "PROCESSES", {})
    run(monkeypatch, "--repeats", "1")
    *others, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [row["name"] for row in others] == ["deformable", *performance.ON_CUDA]
    assert (last["name"], last["ratio"], last["bar"], last["ok"]) == ("all_cases", None, 1800, True)
    assert last["command"] == "performance.py --threads 2 --repeats 1 --side 8192 --large-on mobile"
