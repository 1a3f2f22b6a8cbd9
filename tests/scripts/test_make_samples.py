"""The script that makes the sample data, on drawn nuclei."""

import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from skimage.draw import disk

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import make_samples


@pytest.fixture
def nuclei():
    numbered = np.zeros((256, 320), np.uint16)
    for number, centre in enumerate(
        [(40, 40), (40, 76), (120, 60), (130, 160), (200, 90), (200, 220), (60, 200)]
    ):
        numbered[disk(centre, 20)] = 300 * (number + 1)
    numbered[10:15, 120:125] = 7  # a speck
    return numbered


def test_classes_are_background_nucleus_and_a_band_of_four(nuclei):
    labels = make_samples.three_classes(nuclei)
    assert labels[40, 40] == make_samples.NUCLEUS
    assert labels[250, 10] == make_samples.BACKGROUND
    assert (labels[120, 60:110] == make_samples.BORDER).sum() == 4
    assert labels[40, 58] == make_samples.BORDER  # where two nuclei touch
    assert labels[12, 122] == make_samples.BACKGROUND


def test_strokes_are_right_sparse_and_the_same_each_time(nuclei):
    nuclei = nuclei[:, :256]
    labels = make_samples.three_classes(nuclei)
    strokes = [make_samples.paint(nuclei, labels, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(*strokes)
    painted = strokes[0] > 0
    assert 0.01 < painted.mean() < 0.06
    assert (strokes[0][painted] == labels[painted]).all()
    assert set(np.unique(strokes[0])) == {0, 1, 2, 3}


def test_files_have_names_that_a_person_understands(tmp_path, nuclei):
    for folder, picture in (("images", (nuclei > 0).astype(np.uint8) * 40), ("labels", nuclei)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "abc123.png").write_bytes(imagecodecs.png_encode(picture))
    make_samples.write_sample(tmp_path / "in", "abc1", tmp_path / "out", "train_1")
    make_samples.write_sample(tmp_path / "in", "abc1", tmp_path / "out", "held_out_1")
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert found == [
        f"{folder}/{name}.png"
        for folder, names in (
            ("images", ("held_out_1", "train_1")),
            ("labels", ("held_out_1", "train_1")),
            ("strokes", ("train_1",)),
        )
        for name in names
    ]
    image = imagecodecs.png_decode((tmp_path / "out/images/train_1.png").read_bytes())
    assert image.shape == (256, 256)
    assert image.max() == 255
    with pytest.raises(SystemExit, match="has 0 images named zzz"):
        make_samples.write_sample(tmp_path / "in", "zzz", tmp_path / "out", "train_1")


def test_a_wrong_source_leaves_the_samples_alone(tmp_path, monkeypatch):
    target = tmp_path / "samples"
    (target / "fluorescence").mkdir(parents=True)
    (target / "fluorescence" / "precious.png").touch()
    monkeypatch.setattr(
        sys, "argv", ["make_samples.py", str(tmp_path / "nowhere"), "--target", str(target)]
    )
    with pytest.raises(SystemExit, match="has 0 images"):
        make_samples.main()
    assert (target / "fluorescence" / "precious.png").exists()
