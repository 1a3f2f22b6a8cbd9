"""Make the sample data of the package from the Data Science Bowl 2018 nuclei (CC0).

``python scripts/make_samples.py SOURCE``, where SOURCE has ``images/`` and ``labels/`` (numbered nuclei) with
PNG files of one name, as in the corrected stage 1 set.

Three classes are made from the numbered nuclei: 1 background, 2 nucleus, 3 border. The border is a band of 4 px
along every outline, 2 px to each side of where a nucleus meets the background or another nucleus. Nuclei below
60 px are specks and count as background. The strokes imitate what a person paints in a minute or two: a few
wandering brush strokes in the background and inside some nuclei, and arcs along some outlines; 0 elsewhere.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from skimage import draw, filters, measure, morphology, segmentation

SIDE_PX = 256
SMALLEST_NUCLEUS_PX = 60
BACKGROUND, NUCLEUS, BORDER = 1, 2, 3
TARGET = Path(__file__).parents[1] / "src" / "napari_sam2_adapters" / "samples"

# first characters of the source names; those from c on are the test part of the benchmarks and not used here
CHOSEN = {
    "fluorescence": {
        "train": ("03b9306f44", "03f583ec50", "14cc1424c5", "1bd0f2b300"),
        "held_out": ("02903040e1", "0d2bf916cc", "1023509cf8"),
    },
    "tissue": {
        "train": ("4d4f254f3b", "6ab24e7e1f", "709e094e39", "a5fe0b7412"),
        "held_out": ("33a5b0ff23", "45f059cf21", "853a4c6790"),
    },
}


def main() -> None:
    """Write every sample anew; what is there is replaced only when all of it could be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--target", type=Path, default=TARGET, help="where the samples go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for kind, parts in CHOSEN.items():
            for part, names in parts.items():
                for number, name in enumerate(names, start=1):
                    write_sample(arguments.source, name, Path(made) / kind, f"{part}_{number}")
        for kind in CHOSEN:
            shutil.rmtree(arguments.target / kind, ignore_errors=True)
            shutil.copytree(Path(made) / kind, arguments.target / kind)
    total = sum(path.stat().st_size for path in arguments.target.rglob("*.png"))
    print(f"{total / 1e6:.2f} MB in {arguments.target}")


def write_sample(source: Path, name: str, folder: Path, title: str) -> None:
    """Write the image, its dense labels and, for a training image, its strokes."""
    found = sorted((source / "images").glob(f"{name}*.png"))
    if len(found) != 1:
        raise SystemExit(f"{source / 'images'} has {len(found)} images named {name}…, wanted one.")
    image = imagecodecs.png_decode(found[0].read_bytes())[:SIDE_PX, :SIDE_PX, ...]
    nuclei = imagecodecs.png_decode((source / "labels" / found[0].name).read_bytes())
    labels = three_classes(nuclei[:SIDE_PX, :SIDE_PX])
    pictures = {"images": stretch(image) if image.ndim == 2 else image[..., :3], "labels": labels}
    if title.startswith("train"):
        rng = np.random.default_rng(int(name, 16))
        pictures["strokes"] = paint(nuclei[:SIDE_PX, :SIDE_PX], labels, rng)
    for kind, picture in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        encoded = imagecodecs.png_encode(np.ascontiguousarray(picture), level=9)
        (folder / kind / f"{title}.png").write_bytes(encoded)


def stretch(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Use the whole 8-bit range: the fluorescence images are 5 bits deep and look black as they are."""
    low, high = np.percentile(image, [0.1, 99.9])
    return np.clip((image - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)


def three_classes(nuclei: NDArray[Any]) -> NDArray[np.uint8]:
    """Background 1, nucleus 2, border 3 from numbered nuclei (0 is background)."""
    kept = np.where(np.bincount(nuclei.ravel())[nuclei] >= SMALLEST_NUCLEUS_PX, nuclei, 0)
    labels = np.where(kept > 0, NUCLEUS, BACKGROUND).astype(np.uint8)
    outline = segmentation.find_boundaries(kept, mode="thick")  # 1 px to each side
    labels[morphology.dilation(outline, morphology.diamond(1))] = BORDER
    return labels


def paint(
    nuclei: NDArray[Any], labels: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Strokes like a person's: 3 in the background, 1 in each of 4 nuclei, 4 arcs of outline."""
    strokes = np.zeros_like(labels)
    for _ in range(3):
        _brush(strokes, labels, BACKGROUND, _wander(labels == BACKGROUND, 70, rng), 2.5)
    whole = [
        region
        for region in measure.regionprops(nuclei)
        if region.area > 300 and min(region.bbox) > 0 and max(region.bbox) < SIDE_PX
    ]
    order = [whole[i] for i in rng.permutation(len(whole))]
    for region in order[:4]:
        inside = (nuclei == region.label) & (labels == NUCLEUS)
        _brush(strokes, labels, NUCLEUS, _wander(inside, 18, rng), 2.0)
    for region in order[2:6]:
        outline = max(measure.find_contours(nuclei == region.label, 0.5), key=len)
        first, length = (
            int(rng.integers(len(outline))),
            min(len(outline), int(rng.integers(50, 90))),
        )
        arc = np.take(outline, range(first, first + length), axis=0, mode="wrap")
        _brush(strokes, labels, BORDER, filters.gaussian(arc, (3, 0), mode="nearest"), 1.6)
    return strokes


def _wander(
    allowed: NDArray[np.bool_], length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A path of 1 px steps that bends slowly and turns away from where it may not go."""
    room = morphology.erosion(allowed, morphology.disk(3))
    rows, columns = np.nonzero(room if room.any() else allowed)
    start = int(rng.integers(len(rows)))
    position = np.array([rows[start], columns[start]], float)
    angle, bend = rng.uniform(0, 2 * np.pi), 0.0
    path = [position]
    for _ in range(length):
        bend = 0.8 * bend + rng.normal(0, 0.06)
        for turn in np.linspace(0, np.pi, 13):
            for sign in (1, -1):
                heading = angle + bend + sign * turn
                step = position + np.array([np.sin(heading), np.cos(heading)])
                row, column = step.round().astype(int)
                if 0 <= row < SIDE_PX and 0 <= column < SIDE_PX and room[row, column]:
                    break
            else:
                continue
            position, angle = step, heading
            path.append(position)
            break
    return np.array(path)


def _brush(
    strokes: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    value: int,
    path: NDArray[np.float64],
    radius: float,
) -> None:
    """Draw a round brush along a path, where the labels agree: the painter is careful."""
    for row, column in path:
        rows, columns = draw.disk((row, column), radius, shape=strokes.shape)
        right = labels[rows, columns] == value
        strokes[rows[right], columns[right]] = value


if __name__ == "__main__":
    main()
