"""Measures of segmentation beside Dice and IoU: boundaries, regions between membranes, and ranking by probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.stats import rankdata
from skimage.measure import label
from skimage.segmentation import expand_labels

__all__ = ["area_under_roc", "boundary_f_scores", "rand_and_information"]


def boundary_f_scores(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    n_classes: int,
    tolerance_px: float = 2.0,
) -> NDArray[np.float64]:
    """F-score of the outline of each class, (n_classes,); NaN where a class has an outline in neither image.

    The outline of a class is its pixels that have one of their four neighbours in another class; the border of the image and of what is
    unlabelled is none. Precision is the share of the predicted outline that lies within ``tolerance_px`` (Euclidean) of the true one,
    recall the reverse, and F their harmonic mean (Csurka et al., BMVC 2013). An outline in one of the images alone scores 0.

    Parameters
    ----------
    truth, predicted
        (H, W) class indices; pixels where ``truth`` is negative do not count.
    """
    counted = truth >= 0
    scores = np.full(n_classes, np.nan)
    for index in range(n_classes):
        true, found = (_outline(image == index, counted) for image in (truth, predicted))
        if true.any() and found.any():
            precision = float((distance_transform_edt(~true)[found] <= tolerance_px).mean())
            recall = float((distance_transform_edt(~found)[true] <= tolerance_px).mean())
            both = precision + recall
            scores[index] = 2 * precision * recall / both if both else 0.0
        elif true.any() or found.any():
            scores[index] = 0.0
    return scores


def _outline(inside: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = inside & counted & binary_dilation(~inside & counted)
    return result


def rand_and_information(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
) -> tuple[float, float]:
    """V_rand and V_info of the regions between membranes: foreground-restricted, boundaries thinned.

    Arganda-Carreras et al., *Crowdsourcing the creation of image segmentation algorithms for connectomics* (Front. Neuroanat. 9:142, 2015), with
    alpha = 0.5, which weighs splits and mergers alike. With ``p_ij`` the share of pixels in predicted region i and true region j, and
    ``s_i``, ``t_j`` its sums::

        V_rand = Σ p_ij² / (0.5 Σ s_i² + 0.5 Σ t_j²)
        V_info = I(S; T) / (0.5 H(S) + 0.5 H(T))

    Regions are 4-connected components of what is no membrane. Only pixels inside true regions count. The predicted membranes are thinned
    to nothing, each of their pixels going to the nearest predicted region: this keeps the regions apart as a skeleton does, so that the
    width of a membrane does not matter. The paper takes the best threshold of a probability map; this takes the labels as they are.

    Parameters
    ----------
    truth, predicted
        (H, W), True on membranes.

    Returns
    -------
    v_rand, v_info
        Between 0 and 1; NaN when the truth has no region. V_info is 1 where both have one region.
    """
    true = label(~truth, connectivity=1)
    found = label(~predicted, connectivity=1)
    found = expand_labels(found, distance=float(np.hypot(*found.shape)))
    inside = true > 0
    if not inside.any():
        return float("nan"), float("nan")
    width = int(true.max()) + 1
    _, counts = np.unique(found[inside].astype(np.int64) * width + true[inside], return_counts=True)
    joint = counts / inside.sum()
    of_found = np.bincount(found[inside]) / inside.sum()
    of_true = np.bincount(true[inside]) / inside.sum()
    v_rand = 2 * _squares(joint) / (_squares(of_found) + _squares(of_true))
    entropies = _entropy(of_found) + _entropy(of_true)
    information = entropies - _entropy(joint)
    return v_rand, 2 * information / entropies if entropies > 0 else 1.0


def _squares(shares: NDArray[np.float64]) -> float:
    return float((shares**2).sum())


def _entropy(shares: NDArray[np.float64]) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def area_under_roc(truth: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Probability that a true pixel ranks above another one, ties counting half (Mann and Whitney).

    Parameters
    ----------
    truth, probability
        (N,) the pixels that count, of all images together.

    Returns
    -------
    float
        Between 0 and 1; NaN when all pixels are of one kind.
    """
    positive = int(truth.sum())
    negative = truth.size - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(probability.astype(np.float32))
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
