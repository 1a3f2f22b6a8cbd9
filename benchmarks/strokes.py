"""Sparse annotation as a person would paint it, simulated from dense labels.

Each class of an image gets 3 to 8 strokes a few pixels wide, by turns in its interior and along its edge, under 3 % of the pixels in all.
Strokes never leave their class, and what they do not cover is unlabelled, also where it is background.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

__all__ = ["FEWEST", "LARGEST_SHARE", "MOST", "draw_strokes", "simulate_strokes"]

FEWEST, MOST = 3, 8
"""Strokes of a class in an image."""
LARGEST_SHARE = 0.03
"""Strokes cover less than this share of an image."""
_RADIUS_PX = 1.5
_EDGE_PX = 3.0
"""The middle of a stroke along the edge is at most this far from another class."""
_TURN = 0.25
"""Standard deviation of the change of direction at each pixel, in radians."""
_NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x)


def simulate_strokes(labels: NDArray[np.int16], seed: int, name: str = "") -> NDArray[np.int16]:
    """Label values (H, W) where a stroke lies, -1 elsewhere.

    Parameters
    ----------
    labels
        (H, W) dense label values from 0 on; negative values are no class and get no strokes.
    seed
        Together with ``name`` it decides the strokes, so that an image has the same ones whatever it is drawn with.
    name
        Name of the image.

    Notes
    -----
    Every class gets at least a pixel, which in images of fewer than some hundred pixels may be more than 3 %.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = [int(value) for value in np.unique(labels) if value >= 0]
    result = np.full(labels.shape, -1, np.int16)
    # One pixel fewer than the share, since strokes stay below it.
    budget_px = (int(LARGEST_SHARE * labels.size) - 1) // max(len(values), 1)
    for value in values:
        for stroke in draw_strokes(labels == value, budget_px, rng):
            result[tuple(stroke.T)] = value
    return result


def draw_strokes(
    inside: NDArray[np.bool_], budget_px: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """The strokes of one class, each as its pixels (n, 2) row and column.

    Parameters
    ----------
    inside
        (H, W), where the class is; not empty.
    budget_px
        Most pixels of all strokes together; each stroke has at least one.
    """
    count = int(rng.integers(FEWEST, MOST + 1))
    # Padded with the edge, as the border of the image is not the border of a class.
    depth = distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    if inside.all():
        depth = np.full(inside.shape, 2 * _EDGE_PX)
    # Where nothing lies deep, as in membranes, the deepest half stands for the interior.
    interior = inside & (depth > min(_EDGE_PX, float(np.median(depth[inside]))))
    edge = inside & (depth <= _EDGE_PX)
    longest = max(inside.shape) // 4
    strokes = []
    for number in range(count):
        allowed = (interior, edge)[number % 2]
        path = _walk(allowed if allowed.any() else inside, longest, rng)
        strokes.append(_widened(path, inside, max(1, budget_px // count)))
    return strokes


def _walk(
    allowed: NDArray[np.bool_], longest: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """A path over allowed pixels that keeps its direction as well as it can."""
    starts = np.flatnonzero(allowed)
    row, column = (int(i) for i in np.unravel_index(rng.choice(starts), allowed.shape))
    direction = rng.uniform(0, 2 * np.pi)
    path = [(row, column)]
    seen = set(path)
    while len(path) < longest:
        direction += rng.normal(0, _TURN)
        steps = [
            (row + y, column + x, np.arctan2(y, x))
            for y, x in _NEIGHBOURS
            if 0 <= row + y < allowed.shape[0]
            and 0 <= column + x < allowed.shape[1]
            and allowed[row + y, column + x]
            and (row + y, column + x) not in seen
        ]
        # Nobody turns back sharply within a stroke.
        steps = [step for step in steps if np.cos(step[2] - direction) > -0.1]
        if not steps:
            break
        row, column, angle = max(steps, key=lambda step: float(np.cos(step[2] - direction)))
        # Along an edge the direction follows what was possible.
        direction += 0.5 * float(np.angle(np.exp(1j * (angle - direction))))
        path.append((row, column))
        seen.add((row, column))
    return path


def _widened(
    path: list[tuple[int, int]], inside: NDArray[np.bool_], most_px: int
) -> NDArray[np.intp]:
    """The path with a round brush, cut to the class, from its start until it has ``most_px`` pixels."""
    reach = int(_RADIUS_PX)
    brush = [
        (y, x)
        for y in range(-reach, reach + 1)
        for x in range(-reach, reach + 1)
        if y * y + x * x <= _RADIUS_PX**2
    ]
    brush.sort(key=lambda offset: offset[0] ** 2 + offset[1] ** 2)  # the middle first
    painted: dict[tuple[int, int], None] = {}
    for row, column in path:
        for y, x in brush:
            place = (row + y, column + x)
            if (
                0 <= place[0] < inside.shape[0]
                and 0 <= place[1] < inside.shape[1]
                and inside[place]
            ):
                painted[place] = None
            if len(painted) >= most_px:
                return np.array(list(painted), np.intp)
    return np.array(list(painted), np.intp)
