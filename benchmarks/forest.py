"""A random forest on multiscale features, as in scikit-image's TrainableSegmenter, ilastik, APOC and Labkit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pixels import labelled_pixels
from skimage.feature import multiscale_basic_features

from napari_sam2_adapters.data.dataset import Dataset

__all__ = ["PixelForest", "pixel_features"]

TREES = 100


def pixel_features(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity, gradient and Hessian eigenvalues at scales of 1 to 16 px, (H, W, features).

    Parameters
    ----------
    image
        (C, H, W) between 0 and 1.
    """
    features: NDArray[np.float32] = multiscale_basic_features(
        np.moveaxis(image, 0, -1), channel_axis=-1, sigma_min=1, sigma_max=16
    )
    return features


class PixelForest:
    """A random forest that classifies pixels one by one.

    100 trees as in ilastik and Labkit. On the sample, trees of depth 10 or 12, larger leaves, or a twentieth of the pixels for each tree moved
    the Dice of no class by more than 0.006.

    Parameters
    ----------
    dataset
        What to learn from; see `labelled_pixels`.
    seed
        Seed of the trees and of the choice of pixels.

    Raises
    ------
    ImportError
        When scikit-learn is not there.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        try:
            from sklearn.ensemble import RandomForestClassifier
        except ImportError as error:
            raise ImportError(
                'The method "forest" needs scikit-learn. Install the extra: pip install "napari-sam2-adapters[bench]".'
            ) from error
        self._n_classes = len(dataset.classes)
        inputs, targets = [], []
        for image, places, labels in labelled_pixels(dataset, seed):
            features = pixel_features(image)
            inputs.append(features.reshape(-1, features.shape[-1])[places])
            targets.append(labels)
        self._forest: Any = RandomForestClassifier(
            TREES, min_samples_leaf=2, n_jobs=1, random_state=seed
        )
        self._forest.fit(np.concatenate(inputs), np.concatenate(targets))

    def probabilities(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(C, H, W) between 0 and 1 to (classes, H, W)."""
        features = pixel_features(image)
        found = self._forest.predict_proba(features.reshape(-1, features.shape[-1]))
        result = np.zeros((self._n_classes, *image.shape[1:]), np.float32)
        result[self._forest.classes_] = found.T.reshape(-1, *image.shape[1:])
        return result
