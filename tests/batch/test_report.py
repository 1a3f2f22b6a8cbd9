"""The report's files: what others wrote there stays, and a table that is open elsewhere stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_sam2_adapters.batch import report as reports
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.scheme import survey_batch

ENTRY = Entry(name="a", image="a.tif", status="done", settings_sha256="0")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.csv", b"my own weeks of work\n1,2,3\n"),
        ("report.csv", b"image of a cat\n"),
        ("report.jsonl", b'{"mine": 1}\n{"mine": 2}'),
        ("report.jsonl", b"one line without an end"),
    ],
)
def test_what_others_wrote_in_its_place_is_left_alone(
    job: BatchJob, name: str, content: bytes
) -> None:
    job.output.mkdir(parents=True)
    (job.output / name).write_bytes(content)
    assert name in survey_batch(job).conflict
    with pytest.raises(ValueError, match=rf"holds {name} that no batch wrote"):
        next(run_batch(job))
    assert (job.output / name).read_bytes() == content
    assert not (job.output / "job.json").exists()
    assert not survey_batch(job, BatchOptions(overwrite=True)).conflict


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_its_own_files_are_known_again(tmp_path: Path, mark: str) -> None:
    report = Report(tmp_path)
    assert report.of_others == []
    report.open(["cell"], "0")
    report.add(ENTRY)
    assert Report(tmp_path).of_others == []
    lines, table = tmp_path / "report.jsonl", tmp_path / "report.csv"
    table.write_bytes(table.read_bytes()[3:].replace(b",", mark.encode()))  # saved by a spreadsheet
    lines.write_bytes(lines.read_bytes()[:20])  # torn by a crash
    assert Report(tmp_path).of_others == []


def test_a_table_that_is_open_elsewhere_is_told_of_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(tmp_path)
    report.open(["cell"], "0")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reports, "write_atomically", refuse)
    report.add(ENTRY)
    with pytest.warns(UserWarning, match=r"report\.csv is open in another program"):
        report.write_table("0")
    assert Report(tmp_path).last("a") == ENTRY
    (tmp_path / "report.csv").unlink()
    with pytest.raises(PermissionError):  # a folder that cannot be written
        report.write_table("0")
