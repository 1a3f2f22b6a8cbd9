"""What is written besides the labels, and that labels never are made anew for it."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2_adapters.batch.extras import ruler_of
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, Extras
from napari_sam2_adapters.batch.report import Report
from napari_sam2_adapters.batch.run import ItemRecord, run_batch
from napari_sam2_adapters.batch.scheme import survey_batch
from napari_sam2_adapters.batch.stamps import file_sha256
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image, read_labels

ALL = Extras(measurements=True, overlays=True, html_report=True)


def run(job: BatchJob, **options: bool) -> dict[str, ItemRecord]:
    return {record.item.name: record for record in run_batch(job, BatchOptions(**options))}


def with_extras(job: BatchJob, extras: Extras = ALL) -> BatchJob:
    return job.model_copy(update={"extras": extras})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def times(job: BatchJob) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in job.output.glob("*.tif")}


def test_measurements_are_in_units_of_the_image(job: BatchJob, images: Path) -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 200, (3, 40, 40), dtype=np.uint8)
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(
        images / "stack.tif", stack, imagej=True, resolution=(2.0, 2.0), metadata=metadata
    )
    last = run(with_extras(job, Extras(measurements=True)))
    rows = table(job.output / "measurements" / "cell 1.csv")
    labels = read_labels(job.output / "cell 1.tif").array
    grey = read_image(images / "cell 1.tif").array
    assert {row["class"]: int(row["pixels"]) for row in rows} == last["cell 1"].pixels
    for row in rows:
        here = labels == int(row["index"])
        assert float(row["area_um2"]) == pytest.approx(here.sum() * 0.25)
        assert float(row["intensity_mean"]) == pytest.approx(grey[here].mean())
        assert float(row["centroid_x_um"]) == pytest.approx(np.nonzero(here)[1].mean() * 0.5)
    of_stack = table(job.output / "measurements" / "stack.csv")
    assert {row["z"] for row in of_stack} == {"0", "1", "2"}
    assert {float(row["centroid_z_um"]) for row in of_stack} == {0.0, 2.0, 4.0}
    assert not (job.output / "overlays").exists()
    assert not (job.output / "report.html").exists()


@pytest.mark.parametrize("axes", ["ZYX", "YXZ", "TYZX"])
def test_each_axis_has_its_own_pixel_size_wherever_it_stands(axes: str) -> None:
    """A geometry is in the order Z, Y, X."""
    geometry = Geometry((5.0, 2.0, 0.5), "micrometer", (50.0, 20.0, 5.0), time_step=3.0)
    array = np.zeros((2, 2, 2, 2)[: len(axes)], np.uint8)
    ruler = ruler_of(ImageFile(array, axes, Path("a.npz"), geometry=geometry))
    sizes, starts = {"Z": 5, "Y": 2, "X": 0.5, "T": 3}, {"Z": 50, "Y": 20, "X": 5, "T": 0}
    positions = np.array([range(len(axes))], float)
    wanted = [starts[axis] + sizes[axis] * place for place, axis in enumerate(axes)]
    np.testing.assert_allclose(ruler.to_world(positions), [wanted])
    assert ruler.content([axes.index("Y"), axes.index("X")]) == pytest.approx(1)


def test_places_in_time_are_in_the_unit_of_the_file(job: BatchJob, images: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 200, (2, 40, 40), dtype=np.uint8)
    metadata = {"axes": "TYX", "finterval": 0.5, "tunit": "msec", "unit": "um"}
    tifffile.imwrite(images / "a.tif", frames, imagej=True, resolution=(2, 2), metadata=metadata)
    run(with_extras(job, Extras(measurements=True)))
    rows = table(job.output / "measurements" / "a.csv")
    assert {float(row["centroid_t_msec"]) for row in rows} == {0, 0.5}


def test_what_is_asked_for_later_comes_without_the_labels_being_made_anew(job: BatchJob) -> None:
    run(job)
    before, entries = times(job), Report(job.output)
    assert [r.status for r in survey_batch(with_extras(job)).records] == ["pending"] * 4
    last = run(with_extras(job))
    assert {record.status for record in last.values()} == {"done"}
    assert times(job) == before
    for name in last:
        assert (job.output / "measurements" / f"{name}.csv").is_file()
        assert (job.output / "overlays" / f"{name}.png").is_file()
        now, then = Report(job.output).last(name), entries.last(name)
        assert now is not None
        assert then is not None
        assert (now.outputs, now.finished) == (then.outputs, then.finished)
        assert set(now.extras) == {"measurements", "overlay"}
    assert all(record.earlier for record in run(with_extras(job)).values())
    (job.output / "overlays" / "cell 2.png").unlink()
    again = run(with_extras(job))
    assert [name for name, record in again.items() if not record.earlier] == ["cell 2"]
    assert (job.output / "overlays" / "cell 2.png").is_file()
    assert all(record.earlier for record in run(job).values())  # without them nothing is to be done
    assert times(job) == before


@pytest.mark.parametrize(
    ("axes", "shape", "label_format"),
    [("ZTYX", (2, 2, 20, 24), "tif"), ("TYX", (3, 20, 24), "nii.gz")],
)
def test_what_comes_later_is_of_the_same_planes_where_the_format_has_other_axes(
    job: BatchJob, images: Path, axes: str, shape: tuple[int, ...], label_format: str
) -> None:
    """TIFF stores time before depth, and NIfTI adds a depth."""
    for path in images.iterdir():
        path.unlink()
    pixels = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    tifffile.imwrite(images / "a.tif", pixels, photometric="minisblack", metadata={"axes": axes})
    own = job.model_copy(update={"label_format": label_format})
    asked = Extras(measurements=True)
    at_once = with_extras(own.model_copy(update={"output": job.output / "at once"}), asked)
    run(at_once)
    run(own)
    (record,) = run(with_extras(own, asked)).values()
    assert not any("not written" in notice for notice in record.notices)
    assert table(job.output / "measurements" / "a.csv") == table(
        at_once.output / "measurements" / "a.csv"
    )


def test_labels_and_what_comes_besides_never_disagree(
    job: BatchJob, saved_model: Callable[..., Path]
) -> None:
    run(with_extras(job))
    other = job.model_copy(update={"model": saved_model(5)})
    run(other, overwrite=True)  # without them: those that lie there are of the former labels
    overlay = job.output / "overlays" / "cell 0.png"
    stale = file_sha256(overlay)
    assert run(with_extras(other))["cell 0"].status == "done"
    last = Report(job.output).last("cell 0")
    assert last is not None
    assert last.extras["overlay"].labels_sha256 == last.outputs["labels"].sha256
    assert last.extras["overlay"].sha256 == file_sha256(overlay) != stale


def test_a_table_that_a_user_has_changed_is_left_alone(job: BatchJob, images: Path) -> None:
    run(with_extras(job))
    mine = job.output / "measurements" / "cell 1.csv"
    mine.write_text("my own sums")
    last = run(with_extras(job))
    assert last["cell 1"].earlier
    (job.output / "cell 1.tif").unlink()
    (notice,) = run(with_extras(job))["cell 1"].notices
    assert "cell 1.csv in measurements is not the batch's, or was changed" in notice
    assert mine.read_text() == "my own sums"
    assert run(with_extras(job), overwrite=True)["cell 1"].status == "done"
    assert table(mine)[0]["pixels"]


def test_a_table_that_cannot_be_written_leaves_the_labels_done(job: BatchJob) -> None:
    job.output.mkdir()
    (job.output / "measurements").write_text("a file in the place of the folder")
    last = run(with_extras(job, Extras(measurements=True)))
    assert {record.status for record in last.values()} == {"done"}
    (notice,) = last["cell 0"].notices
    assert "cell 0.csv in measurements was not written" in notice


def test_a_killed_run_knows_its_own_files(job: BatchJob) -> None:
    run(with_extras(job))
    report = Report(job.output)
    last = report.last("cell 0")
    assert last is not None
    # As a kill between the picture and the last line of the report leaves it.
    report.add(last.model_copy(update={"extras": {}, "writes": ("overlay",)}))
    (job.output / "overlays" / "cell 0.png").write_bytes(b"another picture")
    before = times(job)
    run(with_extras(job))
    with Image.open(job.output / "overlays" / "cell 0.png") as picture:
        assert picture.size == (40, 40)
    assert times(job) == before


class _Page(HTMLParser):
    """Tags that are open or closed wrongly, addresses, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(job: BatchJob) -> _Page:
    page = _Page()
    page.feed((job.output / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert not page.open
    return page


def test_the_page_holds_all_that_it_shows(
    job: BatchJob, images: Path, write_image: Callable[..., Path]
) -> None:
    nasty = "<script>alert(1)</script> & \"q\" 'é'".replace("/", "∕")
    write_image(images / f"{nasty}.tif", 9, side=500)
    (images / "broken.tif").write_bytes(b"broken")
    run(with_extras(job, Extras(html_report=True)))
    page = read_page(job)
    assert "script" not in page.tags
    assert nasty in page.text
    assert "1 image failed" in page.text
    assert "cannot be read" in page.text
    assert "class 1" in page.text
    assert "Tile (px)" in page.text
    assert "mobile" in page.text
    pictures = [a for a in page.addresses if a.startswith("data:")]
    assert len(pictures) == 5
    assert all(a.startswith(("data:image/jpeg;base64,", "overlays/")) for a in page.addresses)
    sizes = set()
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))) as shown:
            assert np.asarray(shown).std() > 10
            sizes.add(shown.size)
    assert sizes == {(40, 40), (240, 240)}
    style = (job.output / "report.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"https?://|@import|url\(", style)


def test_the_page_follows_the_runs(job: BatchJob, images: Path) -> None:
    records = run_batch(with_extras(job))
    for record in records:
        if record.status == "done":
            break
    records.close()
    assert "3not done yet" in read_page(job).text
    run(with_extras(job))
    assert "not done yet" not in read_page(job).text


def test_a_page_from_elsewhere_is_left_alone(job: BatchJob) -> None:
    job.output.mkdir()
    (job.output / "report.html").write_text("<p>mine</p>")
    with pytest.warns(UserWarning, match="was not written by a batch and is left alone"):
        run(with_extras(job))
    assert (job.output / "report.html").read_text() == "<p>mine</p>"


def test_long_names_and_folders_of_the_same_name(
    job: BatchJob, images: Path, write_image: Callable[..., Path]
) -> None:
    write_image(images / "overlays" / "x.tif", 1)
    write_image(images / f"{'n' * 251}.tif", 2)
    everything = with_extras(job).model_copy(update={"subfolders": True})
    last = run(everything)
    assert {record.status for record in last.values()} == {"done"}
    assert (job.output / "overlays" / "overlays" / "x.png").is_file()
    assert (job.output / "overlays" / f"{'n' * 251}.png").is_file()
