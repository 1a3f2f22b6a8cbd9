"""Files of microscopes through bioio, with a plug-in that is installed as bioio asks for it."""

import importlib

import dask.array
import numpy as np
import pytest

from napari_sam2_adapters.data.formats import microscope
from napari_sam2_adapters.data.io import read_image, write_labels
from napari_sam2_adapters.data.samples import load_sample

PLUGIN = """
import datetime, pathlib
import dask.array, numpy as np, xarray
from bioio_base import reader, reader_metadata, types

class Reader(reader.Reader):
    def __init__(self, image, fs_kwargs={}, **kwargs):
        self.file = dict(np.load(str(image)))

    @staticmethod
    def _is_supported_image(fs, path, **kwargs):
        np.load(str(path)).close()
        return True

    @property
    def scenes(self):
        return tuple(self.file["scenes"].tolist())

    def _read_delayed(self):
        array = self.file[self.current_scene]
        dims = list(str(self.file["dims"]))
        coords = {"C": self.file["channels"].tolist()} if self.file["channels"].size else {}
        chunks = [n if d in "YXS" else 1 for n, d in zip(array.shape, dims)]
        return xarray.DataArray(dask.array.from_array(array, chunks=chunks), dims=dims, coords=coords)

    _read_immediate = _read_delayed

    @property
    def physical_pixel_sizes(self):
        return types.PhysicalPixelSizes(*[None if s == 0 else float(s) for s in self.file["sizes"]])

    @property
    def time_interval(self):
        return datetime.timedelta(seconds=float(self.file["interval"]))

class ReaderMetadata(reader_metadata.ReaderMetadata):
    @staticmethod
    def get_supported_extensions():
        return ["czi"]

    @staticmethod
    def get_reader():
        return Reader
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A plug-in for CZI, found by its entry point; its files are numpy's."""
    site = tmp_path / "site"
    about = site / "bioio_seen-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "bioio_seen.py").write_text(PLUGIN)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bioio-seen\nVersion: 1.0\nRequires-Dist: bioio-base\n"
    )
    (about / "entry_points.txt").write_text("[bioio.readers]\nbioio-seen = bioio_seen\n")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()


def save(path, dims, *scenes, sizes=(2.0, 0.3, 0.25), interval=1.5, channels=()):
    names = [f"scene {number}" for number in range(1, len(scenes) + 1)]
    with path.open("wb") as file:
        np.savez(
            file,
            dims=dims,
            scenes=names,
            sizes=sizes,
            interval=interval,
            channels=np.array(channels, str),
            **dict(zip(names, scenes, strict=True)),
        )
    return path


def test_axes_sizes_channels_and_time(tmp_path, plugin):
    values = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    path = save(tmp_path / "a.czi", "TCZYX", values, channels=["DAPI", "GFP", "RFP"])
    found = read_image(path)
    assert (found.axes, found.rgb, found.notices) == ("TCZYX", False, ())
    assert found.channel_names == ("DAPI", "GFP", "RFP")
    assert (found.pixel_size, found.unit) == ((2.0, 0.3, 0.25), "micrometer")
    assert (found.geometry.time_step, found.geometry.time_unit) == (1.5, "second")
    np.testing.assert_array_equal(found.array, values)
    labels = write_labels(
        tmp_path / "l.tif", values[:, 0], axes="TZYX", geometry=found.geometry, source=path
    )
    assert read_image(labels).pixel_size == pytest.approx((2.0, 0.3, 0.25))


def test_axes_of_one_are_left_out_and_large_images_stay_lazy(tmp_path, plugin, monkeypatch):
    monkeypatch.setattr(microscope, "EAGER_BYTES", 1000)
    image = load_sample("fluorescence").train_images
    path = save(tmp_path / "a.czi", "ZYX", image, channels=[])
    found = read_image(path)
    assert (found.axes, found.channel_names) == ("ZYX", ())
    assert found.geometry.time_step is None
    assert isinstance(found.array, dask.array.Array)
    np.testing.assert_array_equal(np.asarray(found.array), image)
    plane = read_image(save(tmp_path / "b.czi", "YX", image[0], sizes=(0, 0.3, 0.25)))
    assert (plane.axes, plane.pixel_size) == ("YX", (0.3, 0.25))


def test_colours(tmp_path, plugin):
    rgb = load_sample("tissue").train_images[0]
    for name, parts in (("a.czi", 3), ("b.czi", 4)):
        values = np.dstack([rgb, rgb[..., :1]])[..., :parts]
        found = read_image(save(tmp_path / name, "YXS", values))
        assert (found.axes, found.rgb) == ("YXC", True)
        np.testing.assert_array_equal(found.array, rgb)
    both = np.stack([rgb, rgb])
    with pytest.raises(ValueError, match="colours in each of its channels"):
        read_image(save(tmp_path / "c.czi", "CYXS", both, channels=["a", "b"]))


def test_unknown_sizes_are_none(tmp_path, plugin):
    image = load_sample("fluorescence").train_images[0]
    assert read_image(save(tmp_path / "a.czi", "YX", image, sizes=(0, 0, 0))).geometry is None


def test_the_first_of_several_scenes_is_read_and_said(tmp_path, plugin):
    image = load_sample("fluorescence").train_images
    found = read_image(save(tmp_path / "a.czi", "YX", *image[:3]))
    np.testing.assert_array_equal(found.array, image[0])
    assert found.notices == (
        "It holds 3 scenes (scene 1, scene 2, scene 3), and this is the first. Save the others as files of their own.",
    )


def test_what_no_plug_in_reads_names_the_plug_in(tmp_path, plugin, monkeypatch, capfd):
    monkeypatch.setattr(microscope, "find_spec", lambda _: None)
    for name, words in (
        ("a.czi", r"It needs bioio-czi \(under the GPL; pip install bioio-czi\)"),
        ("a.nd2", r"It needs bioio-nd2 \(pip install 'napari-sam2-adapters\[bioio\]'\)"),
        (
            "a.oir",
            r"It needs bioio-bioformats \(under the GPL, needs Java; pip install bioio-bioformats\)",
        ),
    ):
        (tmp_path / name).write_bytes(b"II*\0, as some of them begin")
        with pytest.raises(ValueError, match=words):
            read_image(tmp_path / name)
    monkeypatch.setattr(microscope, "find_spec", lambda _: "there")
    with pytest.raises(ValueError, match=r"a\.nd2 cannot be read by bioio-nd2. It may be damaged"):
        read_image(tmp_path / "a.nd2")
    (tmp_path / "p.nd2").write_bytes(b"\x89PNG\r\n, with another name")
    with pytest.raises(ValueError, match=r"called Microscope, but what is in it is PNG"):
        read_image(tmp_path / "p.nd2")
    assert capfd.readouterr() == ("", "")


def test_what_a_plug_in_stumbles_over_is_a_sentence(tmp_path, plugin):
    path = save(tmp_path / "a.czi", "TCYX", np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"a\.czi cannot be read \([^\n]+save it again"):
        read_image(path)
